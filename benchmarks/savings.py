"""What faster arithmetic and approximations do to nano's masks on sequences with true masks.

    python benchmarks/savings.py ../shared/data/davis --limit 30

Objects are given by their true mask on the first frame. J is the mean overlap with the true
masks over the other frames, "same" the overlap with the masks of float32 without savings.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.savings import Savings
from streamtrack.tracking.tracker import Tracker
from training.evaluate import Sample, folder_sample

Masks = NDArray[np.bool_]
VARIANTS: dict[str, tuple[torch.dtype, Savings]] = {
    "float32": (torch.float32, Savings()),
    "bfloat16": (torch.bfloat16, Savings()),
    "3 memories": (torch.float32, Savings(mask_memories=3)),
    "2 memories": (torch.float32, Savings(mask_memories=2)),
    "1 memory": (torch.float32, Savings(mask_memories=1)),
    "every 2nd frame": (torch.float32, Savings(memory_every=2)),
    "every 4th frame": (torch.float32, Savings(memory_every=4)),
}


def follow(tracker: Tracker, sample: Sample) -> Masks:
    """Return (T, O, H, W) masks of all frames."""
    stream = tracker.open(rewind_frames=1)
    prompts = [Prompt(i + 1, mask=mask) for i, mask in enumerate(sample.masks[0])]
    found = []
    for index, picture in enumerate(sample.frames):
        tracked = stream.step(picture, prompts if index == 0 else [])
        found.append([tracked.objects[i + 1].mask for i in range(len(prompts))])
    return np.asarray(found)


def overlap(found: Masks, expected: Masks) -> float:
    """Mean intersection over union after the first frame; two empty masks agree."""
    both = np.logical_and(found, expected)[1:].sum((2, 3))
    either = np.logical_or(found, expected)[1:].sum((2, 3))
    return float(np.where(either > 0, both / np.maximum(either, 1), 1.0).mean())


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=None, help="frames of each sequence")
    args = parser.parse_args()
    samples = [folder_sample(one, args.limit) for one in sorted(args.folder.iterdir())]
    table = Table(title=f"nano on {len(samples)} sequences")
    for column in ("variant", "J", "same", "same, worst sequence"):
        table.add_column(column, justify="right")
    exact: list[Masks] = []
    for name, (dtype, savings) in VARIANTS.items():
        tracker = Tracker.load("nano", dtype=dtype, savings=savings)
        found = [follow(tracker, sample) for sample in samples]
        exact = exact or found
        true = np.mean([overlap(f, s.masks) for f, s in zip(found, samples, strict=True)])
        same = [overlap(f, e) for f, e in zip(found, exact, strict=True)]
        table.add_row(name, f"{true:.3f}", f"{np.mean(same):.3f}", f"{min(same):.3f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
