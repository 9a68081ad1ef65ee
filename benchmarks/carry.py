"""Measure how well masks are carried: the true mask of d frames ago against the truth now.

    python benchmarks/carry.py ../shared/data/davis
    python benchmarks/carry.py DATASET --every 8 --grid 64 --details

DATASET holds <sequence>/{frames/*.jpg,masks/*.png}. For each delay d: mean J (intersection
over union) over the frames of a sequence, averaged over sequences. "stale" is the old mask
as it was, "flow" moves it by flow alone, "fitted" also fits it to the picture. Times are CPU
milliseconds of this thread per frame, with one object; flow is found once a frame for all.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from streamtrack.display.carry import Carrier

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
METHODS = ("stale", "flow", "fitted")
LOGIT = 10.0
T = TypeVar("T")


def overlap(one: Mask, other: Mask) -> float:
    """Return J, 1 when both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def load(sequence: Path) -> tuple[list[Picture], list[Mask]]:
    """Return the pictures of a sequence and their masks."""
    pictures = [cv2.imread(str(one))[..., ::-1].copy() for one in sorted(sequence.glob("frames/*"))]
    masks = [cv2.imread(str(one), 0) > 127 for one in sorted(sequence.glob("masks/*"))]
    return pictures, masks


def logits_of(mask: Mask, grid: int) -> NDArray[np.float32]:
    """Return a mask as the logits of a model with a square grid; 0 keeps the picture's."""
    soft = mask.astype(np.float32)
    if grid:
        soft = cv2.resize(soft, (grid, grid), interpolation=cv2.INTER_AREA)
    return (soft * 2 - 1) * LOGIT


class Clock:
    """CPU time spent in calls, by name."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)

    def timed(self, name: str, call: Callable[..., T], *args: Any) -> T:
        """Return what the call returns."""
        start = time.thread_time()
        result = call(*args)
        self.spent[name].append((time.thread_time() - start) * 1000)
        return result

    def mean(self, name: str) -> float:
        """Mean milliseconds of a call."""
        return float(np.mean(self.spent[name] or [0.0]))


def measure(
    pictures: list[Picture],
    masks: list[Mask],
    delays: list[int],
    args: argparse.Namespace,
    clock: Clock,
) -> Iterator[tuple[str, int, float]]:
    """Yield method, delay and J for the frames of a sequence."""  # fmt: skip
    carriers = {"flow": Carrier(refine=False), "fitted": Carrier()}
    for n, picture in enumerate(pictures):
        clock.timed("find flow", carriers["fitted"].add, n, picture)
        carriers["flow"].add(n, picture)
        if n % args.every:
            continue
        for d in (one for one in delays if one <= n):
            yield "stale", d, overlap(masks[n - d], masks[n])
            for method, carrier in carriers.items():
                carrier._anchored_on = None
                logits = {1: logits_of(masks[n - d], args.grid)}
                clock.timed(f"{method}: take a mask", carrier.anchor, n - d, logits)
                carrier.carried()  # composes the flow, as each frame before has done
                found = clock.timed(f"{method}: carry it", carrier.carried)
                mask = found[1].mask if found else np.zeros_like(masks[n])
                yield method, d, overlap(mask, masks[n])


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--delays", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--every", type=int, default=1, help="measure every so many frames")
    parser.add_argument("--grid", type=int, default=0, help="side of the logits; 0 = the picture's")
    parser.add_argument("--details", action="store_true", help="print every sequence")
    parser.add_argument("--threads", type=int, default=1, help="threads of OpenCV")
    return parser.parse_args()


def main() -> None:
    """Measure and print two tables."""
    args = parse()
    cv2.setNumThreads(args.threads)
    clock = Clock()
    means: dict[str, dict[tuple[str, int], float]] = {}
    for sequence in sorted(one for one in args.dataset.iterdir() if one.is_dir()):
        scores: dict[tuple[str, int], list[float]] = defaultdict(list)
        for method, d, score in measure(*load(sequence), args.delays, args, clock):
            scores[method, d].append(score)
        means[sequence.name] = {key: float(np.mean(one)) for key, one in scores.items()}
    console = Console(width=100)
    console.print(table(means, args))
    for name in clock.spent:
        console.print(f"{name:>20} {clock.mean(name):6.2f} ms")


def table(means: dict[str, dict[tuple[str, int], float]], args: argparse.Namespace) -> Table:
    """Return the table of J, with a row for each method or each sequence and method."""
    result = Table(title=f"Mean J of masks carried over d frames, {len(means)} sequences")
    for column in ("sequence", "method", *(f"d={d}" for d in args.delays)):
        result.add_column(column, justify="right")
    shown = dict(means) if args.details else {}
    everything = {
        (method, d): float(np.mean([one[method, d] for one in means.values()]))
        for method in METHODS
        for d in args.delays
    }
    for name, scores in {**shown, "mean": everything}.items():
        for method in METHODS:
            result.add_row(name, method, *(f"{scores[method, d]:.3f}" for d in args.delays))
    return result


if __name__ == "__main__":
    main()
