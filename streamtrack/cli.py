"""The command line: serve, run, models, download, devices, bench, eval.

Whatever goes wrong is one sentence on stderr and an exit status: 2 wrong usage or
configuration, 3 the source failed, 4 the model or its checkpoint failed. Heavy modules
are imported by the commands that use them, so that --help answers at once.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

from streamtrack.cli_parser import build_parser
from streamtrack.errors import ConfigError, StreamtrackError

if TYPE_CHECKING:
    from streamtrack.config import Config
    from streamtrack.offline import OfflineRun
    from streamtrack.tracking.tracker import Tracker

_WIDE = 200  # columns of a table that no terminal shows


class _Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


def entry() -> NoReturn:
    """Run the command line of this process and exit."""
    sys.exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Args:
        argv: the arguments; None = those of the process.
    """
    try:
        args = build_parser().parse_args(argv)
        _configure_logging(args.command)
        with _ending_on_sigterm():
            _COMMANDS[args.command](args)
        sys.stdout.flush()
    except StreamtrackError as exc:
        return _complain(str(exc), exc.exit_code)
    except _Terminated:
        return 143
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of stdout went away: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as exc:  # --help and --version
        return exc.code if isinstance(exc.code, int) else 0
    except Exception as exc:
        return _complain(_describe_bug(exc), 1)
    return 0


def _serve(args: argparse.Namespace) -> None:
    """Serve until told to stop."""
    config = serve_config(args)
    _ensure_model(config.tracker.model, given=config.tracker.checkpoint is not None)
    from streamtrack.serving.app import serve

    serve(config)


def serve_config(args: argparse.Namespace) -> "Config":
    """Return the configuration of `serve`: defaults, then the file, then the flags.

    Raises:
        ConfigError: a key, value or source is wrong, or two sources have one id.
        SourceError: a file or folder does not exist.
    """
    from streamtrack.config import load_config
    from streamtrack.media.sources import parse_source

    sources: dict[str, object] = {}
    for text in args.sources:
        spec = parse_source(text)
        if spec.id in sources:
            raise ConfigError(
                f"Two sources have the id {spec.id}; give one another, as in {spec.id}-2=SOURCE."
            )
        sources[spec.id] = {"source": spec.text, "loop": spec.kind in ("file", "folder")}
    tracker = {name: getattr(args, name) for name in _MODEL_FLAGS}
    server = {name: getattr(args, name) for name in ("host", "port", "token")}
    return load_config(
        args.config, {"server": server, "tracker": tracker, "sources": sources or None}
    )


_MODEL_FLAGS = ("model", "checkpoint", "image_size", "device", "dtype")


def _run(args: argparse.Namespace) -> None:
    """Follow the prompted objects through one source."""
    from streamtrack.exports import check_places
    from streamtrack.media.sources import open_source, parse_source
    from streamtrack.offline import OfflineRun, RunSettings
    from streamtrack.progress import run_progress
    from streamtrack.prompt_plan import plan_prompts

    spec = parse_source(args.source)
    settings = RunSettings(
        prompts=plan_prompts(args.click, args.box, args.mask, args.prompts),
        frames=args.frames,
        output=args.output,
        masks=args.masks,
        tracks=args.tracks,
        realtime=args.realtime,
    )
    check_places(settings.output, settings.masks, settings.tracks)
    tracker = _load_tracker(args)
    console = Console(stderr=True)
    if not settings.prompts:
        _tell(console, "Nothing is followed: no --click, --box, --mask or --prompts was given.")
    if console.is_terminal:
        _tell(console, f"{tracker.model} on {tracker.device}: {tracker.why}")
    opener = partial(open_source, spec, realtime=settings.realtime)
    run = OfflineRun(settings, tracker.open(), opener)
    try:
        with run_progress(settings.frames, console) as show:
            run.go(
                lambda: show(run.frames, run.fps, len(run.objects)),
                lambda reason: _tell(console, reason),
            )
    finally:
        if run.frames:
            _say(_summary(run, tracker))


def _models(args: argparse.Namespace) -> None:
    """List the models."""
    from streamtrack.listings import models_table

    table, sentence = models_table()
    console = _stdout()
    console.print(table)
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _download(args: argparse.Namespace) -> None:
    """Download one model's weights."""
    from streamtrack.progress import download_progress
    from streamtrack.tracking.registry import model_entry

    name = model_entry(args.model).name
    from streamtrack.tracking.checkpoints import download

    with download_progress(name, Console(stderr=True)) as progress:
        path = download(name, progress=progress)
    _say(f"{name} is here: {path}")


def _devices(args: argparse.Namespace) -> None:
    """List cameras and compute devices."""
    from streamtrack.listings import devices_table

    _stdout().print(devices_table())


def _bench(args: argparse.Namespace) -> None:
    """Time steps on this machine."""
    from streamtrack.bench_command import bench

    bench(args, _stdout(), Console(stderr=True))


def _eval(args: argparse.Namespace) -> None:
    """Measure a model on sequences with true masks."""
    from streamtrack.evaluation import find_sequences

    find_sequences(args.dataset)  # before a model is downloaded
    tracker = _load_tracker(args)
    from streamtrack.eval_command import evaluate

    evaluate(args, tracker, _stdout(), Console(stderr=True))


_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "serve": _serve,
    "run": _run,
    "models": _models,
    "download": _download,
    "devices": _devices,
    "bench": _bench,
    "eval": _eval,
}


def _load_tracker(args: argparse.Namespace) -> "Tracker":
    """Return the tracker that the flags name, downloading its weights if need be."""
    _ensure_model(args.model or "auto", given=args.checkpoint is not None)
    from streamtrack.tracking.tracker import Tracker

    return Tracker.load(
        args.model or "auto",
        checkpoint=args.checkpoint,
        image_size=args.image_size,
        device=args.device or "auto",
        dtype=args.dtype,
    )


def _ensure_model(name: str, *, given: bool) -> None:
    """Download a named model's weights, with a progress bar, unless they are here or given."""
    from streamtrack.tracking.registry import find_checkpoint, model_entry

    if name == "auto":
        return
    entry = model_entry(name)
    if given or entry.url is None or find_checkpoint(name) is not None:
        return
    from streamtrack.progress import download_progress
    from streamtrack.tracking.checkpoints import download

    with download_progress(name, Console(stderr=True)) as progress:
        download(name, progress=progress)


def _summary(run: "OfflineRun", tracker: "Tracker") -> str:
    """Return the line that ends a run."""
    from streamtrack.progress import peak_memory_bytes

    objects = f"{len(run.objects)} object{'' if len(run.objects) == 1 else 's'}"
    memory = peak_memory_bytes()
    peak = f", peak memory {memory / 2**20:.0f} MiB" if memory else ""
    return (
        f"{run.frames} frames in {run.seconds:.1f} s ({run.fps:.1f} fps), {objects}, "
        f"{tracker.model} on {tracker.device}{peak}"
    )


def _configure_logging(command: str) -> None:
    """Send the log to stderr: what a server does, and otherwise only errors."""
    logging.basicConfig(
        level=logging.INFO if command == "serve" else logging.ERROR,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that exports are finished."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _describe_bug(exc: Exception) -> str:
    """Return one sentence on an error nobody foresaw; its text may hold secrets."""
    if os.environ.get("STREAMTRACK_DEBUG"):
        traceback.print_exception(exc)
    last = traceback.extract_tb(exc.__traceback__)[-1]
    place = f"{os.path.basename(last.filename)}:{last.lineno}"
    return (
        f"Something in streamtrack itself failed ({type(exc).__name__} at {place}); "
        "set STREAMTRACK_DEBUG=1 to see where, and report it."
    )


def _complain(sentence: str, status: int) -> int:
    """Write one line to stderr and return the exit status."""
    sys.stderr.write(f"streamtrack: {' '.join(sentence.split())}\n")
    return status


def _say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")


def _tell(console: Console, sentence: str) -> None:
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _stdout() -> Console:
    """Return a console that does not squeeze tables where no terminal limits them."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDE)
