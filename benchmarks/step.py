"""Time one step: ours against a peer on the same weights and frames, interleaved in one run.

    python benchmarks/step.py --peer upstream --size 512 --objects 1 4
    python benchmarks/step.py --model nano --size 256 --objects 1 2 4

Weights are random (nano: the embedded ones), frames are real where a clip is at hand, else
drawn. Every frame is stepped by each side in turn, so that both see the same noise of the
machine; the first frames fill the memory and are not counted. Growth is what the state
gained per counted frame: memories, and for a peer that keeps them also pictures. Ours keeps
no frames for late prompts here; with them the state is constant too, 15 frames later.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from streamtrack.media.sources import open_source
from streamtrack.tracking.preprocess import to_image
from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.registry import registry
from streamtrack.tracking.segmenter import Segmenter, build_sam2
from streamtrack.tracking.tracker import Tracker
from tests.oracle import Upstream, build_upstream

CLIP = Path(__file__).resolve().parents[2] / "shared/data/videos/05_default_juggle.mp4"
MIB = 2**20
Picture = NDArray[np.uint8]


@dataclass
class Side:
    """One contestant: a step function, the bytes of its state, and its times."""

    name: str
    step: Callable[[Picture, list[Prompt]], None]
    state_bytes: Callable[[], int]
    times_ms: list[float] = field(default_factory=list)
    grown_from: int = 0

    def timed(self, picture: Picture, prompts: list[Prompt]) -> None:
        """Step and keep the time."""
        start = time.perf_counter()
        self.step(picture, prompts)
        self.times_ms.append((time.perf_counter() - start) * 1000)

    def start_counting(self) -> None:
        """Forget the warm-up."""
        self.times_ms.clear()
        self.grown_from = self.state_bytes()

    @property
    def median_ms(self) -> float:
        """Median of the counted steps."""
        return statistics.median(self.times_ms)

    @property
    def growth_mib(self) -> float:
        """MiB gained per counted frame."""
        return (self.state_bytes() - self.grown_from) / MIB / len(self.times_ms)


def ours(tracker: Tracker, name: str) -> Side:
    """Step with our tracker."""
    stream = tracker.open(max_objects=1000, rewind_frames=1)

    def step(picture: Picture, prompts: list[Prompt]) -> None:
        stream.step(picture, prompts)

    return Side(name, step, lambda: stream.state_bytes)


def upstream(predictor: Any, size: int, frame_size: tuple[int, int]) -> Side:
    """Step with SAM 2's video predictor; it keeps every picture it was given."""
    images: list[torch.Tensor] = []
    stream = Upstream(predictor, images, frame_size)
    stream._state["images"] = images

    def step(picture: Picture, prompts: list[Prompt]) -> None:
        images.append(to_image(picture, size))
        stream._state["num_frames"] = max(16, len(images))
        for object_id, logits in stream.step(prompts).items():
            assert logits.ndim == 2, object_id

    return Side("upstream fp32", step, lambda: tensor_bytes(stream._state))


def tensor_bytes(value: Any) -> int:
    """Bytes of all distinct tensors inside nested containers."""
    storages: dict[int, int] = {}

    def visit(one: Any) -> None:
        if isinstance(one, torch.Tensor):
            storage = one.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(one, dict):
            for item in one.values():
                visit(item)
        elif isinstance(one, list | tuple):
            for item in one:
                visit(item)

    visit(value)
    return sum(storages.values())


def frames(clip: Path) -> Iterator[Picture]:
    """Yield pictures of the clip, or of the drawn scene where it is missing."""
    source = open_source(str(clip) if clip.exists() else "demo")
    while True:
        for frame in source:
            yield frame.picture


def prompts_for(objects: int, frame_size: tuple[int, int]) -> list[Prompt]:
    """Boxes spread over the frame, one for each object."""
    height, width = frame_size
    boxes = []
    for i in range(objects):
        x, y = width * (0.05 + 0.6 * (i % 4) / 4), height * (0.1 + 0.5 * (i // 4 % 4) / 4)
        boxes.append(Prompt(i + 1, box=[x, y, x + width / 4, y + height / 3]))
    return boxes


def contestants(args: argparse.Namespace, frame_size: tuple[int, int]) -> list[Side]:
    """Build the sides on the same weights."""
    if args.model == "nano":
        tracker = Tracker.load("nano", image_size=args.size, dtype=torch.float32)
        mixed = Tracker.load("nano", image_size=args.size, dtype=torch.bfloat16)
        return [ours(tracker, "ours fp32"), ours(mixed, "ours bf16")]
    config = registry()[args.model].config
    assert config is not None
    torch.manual_seed(0)
    model = build_sam2(config, image_size=args.size)
    sides = [ours(Tracker(Segmenter(model), model=args.model), "ours fp32")]
    if args.bf16:
        mixed = Segmenter(model, dtype=torch.bfloat16)
        sides.append(ours(Tracker(mixed, model=args.model), "ours bf16"))
    if args.peer == "upstream":
        predictor = build_upstream(config, args.size)
        predictor.load_state_dict(model.state_dict())
        sides.append(upstream(predictor, args.size, frame_size))
    return sides


def measure(args: argparse.Namespace, objects: int, pictures: list[Picture]) -> list[Side]:
    """Step all sides through all pictures in turn."""
    frame_size = pictures[0].shape[:2]
    sides = contestants(args, (frame_size[0], frame_size[1]))
    prompts = prompts_for(objects, (frame_size[0], frame_size[1]))
    for index, picture in enumerate(pictures):
        if index == args.warm_up:
            for side in sides:
                side.start_counting()
        order = sides if index % 2 else sides[::-1]
        for side in order:
            side.timed(picture, prompts if index == 0 else [])
    return sides


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="sam2.1-tiny")
    parser.add_argument("--peer", choices=("upstream", "none"), default="none")
    parser.add_argument("--size", type=int, default=512, help="side of the model's input")
    parser.add_argument("--objects", type=int, nargs="+", default=[1])
    parser.add_argument("--frames", type=int, default=10, help="counted frames")
    parser.add_argument("--warm-up", type=int, default=16, help="frames that fill the memory")
    parser.add_argument("--clip", type=Path, default=CLIP)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


def main() -> None:
    """Measure and print one table."""
    args = parse()
    pictures = list(islice(frames(args.clip), args.warm_up + args.frames))
    table = Table(title=f"{args.model} at {args.size} px, median of {args.frames} steps")
    for column in ("objects", "side", "ms per step", "ratio to the last", "growth MiB/frame"):
        table.add_column(column, justify="right")
    for objects in args.objects:
        sides = measure(args, objects, pictures)
        for side in sides:
            ratio = side.median_ms / sides[-1].median_ms
            table.add_row(
                str(objects),
                side.name,
                f"{side.median_ms:.1f}",
                f"{ratio:.2f}",
                f"{side.growth_mib:.3f}",
            )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
