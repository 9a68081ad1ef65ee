"""Time one step: ours against its peers on the same frames, interleaved in one run.

    python benchmarks/step.py --peers upstream --size 512 --objects 1 8
    python benchmarks/step.py --peers upstream transformers --size 1024 --frames 3
    python benchmarks/step.py --savings --objects 8
    python benchmarks/step.py --model nano --size 256 --objects 1 2 4

Weights are random (nano: the embedded ones; upstream: the same as ours; transformers: its own),
frames are real where a clip is at hand, else drawn. Every frame is stepped by each side in
turn, so that all see the same noise of the machine; the first frames fill the memory and are
not counted. Growth is what the state gained per counted frame: memories, and for a peer that
keeps them also pictures. Error is that of the mask logits relative to ours in float32. Ours
keeps no frames for late prompts here; with them the state is constant too, 15 frames later.
"""

import argparse
import importlib.util
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
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import peers
from benchmarks.peers import Logits, Picture
from streamtrack.media.sources import open_source
from streamtrack.tracking.official import build_sam2
from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.registry import registry
from streamtrack.tracking.savings import Savings
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.tracker import Tracker
from tests.oracle import build_upstream

CLIP = Path(__file__).resolve().parents[2] / "shared/data/videos/05_default_juggle.mp4"
MIB = 2**20
SAVINGS = {
    "2x2 pooled": Savings(memory_pooling=2),
    "3 memories": Savings(mask_memories=3),
    "every 2nd": Savings(memory_every=2),
    "pooled, 3, 2nd": Savings(memory_pooling=2, mask_memories=3, memory_every=2),
}


@dataclass
class Side:
    """One contestant: a step function, the bytes of its state, its times and answers."""

    name: str
    step: Callable[[Picture, list[Prompt]], Logits]
    state_bytes: Callable[[], int]
    times_ms: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    grown_from: int = 0

    def timed(self, picture: Picture, prompts: list[Prompt]) -> Logits:
        """Step and keep the time."""
        start = time.perf_counter()
        found = self.step(picture, prompts)
        self.times_ms.append((time.perf_counter() - start) * 1000)
        return found

    def start_counting(self) -> None:
        """Forget the warm-up."""
        self.times_ms.clear()
        self.errors.clear()
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

    def step(picture: Picture, prompts: list[Prompt]) -> Logits:
        return {i: one.logits for i, one in stream.step(picture, prompts).objects.items()}

    return Side(f"ours {name}", step, lambda: stream.state_bytes)


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
    """Build the sides; the first is ours in float32, the one the ratios refer to the last."""
    if args.model == "nano":
        tracker = Tracker.load("nano", image_size=args.size, dtype=torch.float32)
        mixed = Tracker.load("nano", image_size=args.size, dtype=torch.bfloat16)
        return [ours(tracker, "fp32"), ours(mixed, "bf16")]
    config = registry()[args.model].config
    assert config is not None
    model = random_model(config, args.size)

    def side(name: str, dtype: torch.dtype, savings: Savings | None = None) -> Side:
        segmenter = Segmenter(model, dtype=dtype, savings=savings)
        return ours(Tracker(segmenter, model=args.model), name)

    sides = [side("fp32", torch.float32)]
    if args.bf16:
        sides.append(side("bf16", torch.bfloat16))
    if args.savings:
        kind = torch.bfloat16 if args.bf16 else torch.float32
        sides += [side(name, kind, savings) for name, savings in SAVINGS.items()]
    if "transformers" in args.peers:
        step, state = peers.transformers(args.size, frame_size)
        sides.append(Side("transformers fp32", step, lambda: tensor_bytes(state)))
    if "upstream" in args.peers:
        predictor = build_upstream(config, args.size)
        predictor.load_state_dict(model.state_dict())
        step, kept = peers.upstream(predictor, args.size, frame_size)
        sides.append(Side("upstream fp32", step, lambda: tensor_bytes(kept)))
    return sides


def random_model(config: str, size: int) -> Any:
    """Return a model whose choices rounding cannot change: with random weights they are ties."""
    torch.manual_seed(0)
    model = build_sam2(config, image_size=size)
    decoder = model.sam_mask_decoder
    with torch.no_grad():
        decoder.pred_obj_score_head.layers[-1].bias.fill_(5)
        decoder.iou_prediction_head.layers[-1].bias.copy_(torch.tensor([0.0, 0.0, 4.0, 0.0]))
    return model


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
        given = prompts if index == 0 else []
        found = {side.name: side.timed(picture, given) for side in order}
        for side in sides[1:]:
            if found[side.name]:
                side.errors.append(relative_error(found[side.name], found[sides[0].name]))
    return sides


def relative_error(found: Logits, exact: Logits) -> float:
    """Norm of the difference over the norm, all objects together."""
    difference = sum(float(np.square(found[i] - exact[i]).sum()) for i in exact)
    return (difference / sum(float(np.square(one).sum()) for one in exact.values())) ** 0.5


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="sam2.1-tiny")
    parser.add_argument("--peers", choices=("upstream", "transformers"), nargs="*", default=[])
    parser.add_argument("--size", type=int, default=512, help="side of the model's input")
    parser.add_argument("--objects", type=int, nargs="+", default=[1])
    parser.add_argument("--frames", type=int, default=10, help="counted frames")
    parser.add_argument("--warm-up", type=int, default=16, help="frames that fill the memory")
    parser.add_argument("--clip", type=Path, default=CLIP)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--savings", action="store_true", help="also time the approximations")
    return parser.parse_args()


def main() -> None:
    """Measure and print one table."""
    args = parse()
    console = Console(width=100)
    if "transformers" in args.peers and importlib.util.find_spec("transformers") is None:
        console.print("transformers is left out: it is not installed (pip install transformers).")
        args.peers.remove("transformers")
    pictures = list(islice(frames(args.clip), args.warm_up + args.frames))
    table = Table(title=f"{args.model} at {args.size} px, median of {args.frames} steps")
    for column in ("objects", "side", "ms", "ratio to the last", "growth MiB/frame", "error"):
        table.add_column(column, justify="right")
    for objects in args.objects:
        sides = measure(args, objects, pictures)
        for side in sides:
            table.add_row(
                str(objects),
                side.name,
                f"{side.median_ms:.1f}",
                f"{side.median_ms / sides[-1].median_ms:.2f}",
                f"{side.growth_mib:.3f}",
                f"{statistics.median(side.errors):.1e}" if side.errors else "",
            )
    console.print(table)


if __name__ == "__main__":
    main()
