"""The words of the command line."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from streamtrack import __version__
from streamtrack.errors import ConfigError

_SOURCE = (
    "a webcam (0, /dev/video0), rtsp://..., a video file, a folder of frames, or demo (a drawn "
    "scene)"
)
_EXIT = "exit status: 0 done, 2 wrong usage or configuration, 3 source failed, 4 model failed"
_PROMPTS = (
    "Coordinates are source pixels. A prompt that names no OBJECT is for object 1, one that names "
    "no FRAME for frame 0, the first; fields in between may be empty, as in 40,60,,2. Clicks (and "
    "a box) on the same object and frame are one prompt, in the order given."
)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are a ConfigError of one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raise a ConfigError instead of printing the usage."""
        sentence = f"{message[:1].upper()}{message[1:]}".rstrip(".")
        raise ConfigError(f"{sentence}; see `{self.prog} --help`.")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; `command` names the one that was given."""
    parser = _Parser(
        prog="streamtrack",
        description="Click anything in a live video and it stays masked.",
        epilog=_EXIT,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"streamtrack {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_run(commands)
    _add_others(commands)
    return parser


_Commands = argparse._SubParsersAction  # the type add_subparsers returns; it has no public name


def _add_serve(commands: "_Commands[_Parser]") -> None:
    serve = commands.add_parser(
        "serve", help="show sources in the browser and follow what is clicked", allow_abbrev=False
    )
    serve.add_argument(
        "sources", nargs="*", metavar="[ID=]SOURCE", help=f"{_SOURCE}; files begin again at the end"
    )
    serve.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=_at_least(0), help="TCP port (default 8080; 0: a free one)")
    serve.add_argument("--token", help="secret that viewers must give")
    _add_model(serve)


def _add_run(commands: "_Commands[_Parser]") -> None:
    run = commands.add_parser(
        "run",
        help="follow prompted objects through a source and export the result",
        description=_PROMPTS,
        epilog=_EXIT,
        allow_abbrev=False,
    )
    run.add_argument("source", metavar="SOURCE", help=_SOURCE)
    for flag, form, meaning in (
        ("--click", "X,Y[,LABEL[,OBJECT[,FRAME]]]", "a point; LABEL 1 on the object, 0 off it"),
        ("--box", "X0,Y0,X1,Y1[,OBJECT[,FRAME]]", "a box around the object"),
        ("--mask", "PNG[=OBJECT[,FRAME]]", "the object is what is not black, or opaque"),
    ):
        run.add_argument(
            flag, metavar=form, help=f"{meaning}; may be repeated", action="append", default=[]
        )
    run.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE.jsonl",
        help="one prompt per line: frame, object, points, labels, box, mask (COCO RLE)",
    )
    run.add_argument("--frames", type=_at_least(1), metavar="N", help="end after N frames")
    run.add_argument("--output", type=Path, metavar="OUT.mp4", help="video with the masks drawn in")
    run.add_argument(
        "--masks", type=Path, metavar="DIR", help="writes DIR/OBJECT/FRAME.png, 0 and 255"
    )
    run.add_argument(
        "--tracks", type=Path, metavar="FILE.jsonl", help="one line per frame: boxes, scores, RLE"
    )
    run.add_argument(
        "--realtime", action="store_true", help="take the newest frame instead of every frame"
    )
    _add_model(run)


def _add_others(commands: "_Commands[_Parser]") -> None:
    commands.add_parser("models", help="list models: what is here, what fits, what auto takes")
    download = commands.add_parser("download", help="download a model's weights")
    download.add_argument("model", metavar="MODEL", help="a name that `streamtrack models` lists")
    commands.add_parser("devices", help="list cameras and compute devices")
    _add_bench(commands)
    _add_eval(commands)


def _add_bench(commands: "_Commands[_Parser]") -> None:
    bench = commands.add_parser(
        "bench",
        help="time a step on this machine: models x sizes x objects x streams",
        description="Several values of one flag are combined with those of all others. Models "
        "whose weights are not here are timed with random ones.",
        epilog=_EXIT,
        allow_abbrev=False,
    )
    count = _at_least(1)
    bench.add_argument("--model", nargs="+", default=["nano"], help="names (default nano)")
    bench.add_argument(
        "--image-size", type=count, nargs="+", metavar="N", help="sides of the input in pixels"
    )
    bench.add_argument("--objects", type=count, nargs="+", default=[1], metavar="N")
    bench.add_argument("--streams", type=count, nargs="+", default=[1], metavar="N")
    bench.add_argument("--dtype", nargs="+", default=["auto"], help="auto, float32, bfloat16")
    bench.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    bench.add_argument("--frames", type=count, default=12, metavar="N", help="counted (12)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    bench.add_argument(
        "--tune", action="store_true", help="find the numbers (dtype) to take for each model"
    )


def _add_eval(commands: "_Commands[_Parser]") -> None:
    evaluate = commands.add_parser(
        "eval",
        help="measure J, F and J&F on sequences with true masks",
        description="The frame an object is prompted on does not count. A dataset is a folder of "
        "sequences with frames/ and masks/, one such sequence, or laid out as DAVIS.",
        epilog=_EXIT,
        allow_abbrev=False,
    )
    evaluate.add_argument("dataset", type=Path, metavar="DATASET", help="folder of sequences")
    evaluate.add_argument(
        "--prompt",
        choices=("mask", "box", "click"),
        default="mask",
        help="the true mask, its box, or a click on its innermost point (default mask)",
    )
    evaluate.add_argument(
        "--realtime",
        type=_rate,
        metavar="FPS",
        help="play on a camera's clock and score what is shown, and stale masks beside it",
    )
    evaluate.add_argument(
        "--frames", type=_at_least(2), metavar="N", help="the first N frames of each sequence"
    )
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the scores there too")
    evaluate.add_argument("--csv", type=Path, metavar="FILE", help="write the scores there too")
    _add_model(evaluate)


def _rate(text: str) -> float:
    """Return a number of frames per second."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.1 <= rate <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate between 0.1 and 1000 frames/s")
    return rate


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="a name, or auto: the best one here (default auto)")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights of that model")
    parser.add_argument(
        "--image-size", type=_at_least(1), metavar="N", help="side of the model's input in pixels"
    )
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps (default auto)")
    parser.add_argument(
        "--dtype", help="numbers to calculate with: auto, float32 or bfloat16 (default auto)"
    )


def _at_least(least: int) -> Callable[[str], int]:
    """Return a converter of whole numbers that are not smaller than `least`."""

    def convert(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return convert
