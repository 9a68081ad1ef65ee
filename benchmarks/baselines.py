"""nano beside classical trackers: masks moved by optical flow and fitted by GrabCut.

    python benchmarks/baselines.py ../shared/data/davis

From the true mask of the first frame: each frame's mask is the one before moved by DIS flow, its
edge found anew by GrabCut in a band around it. From one click: GrabCut on a disc around the click
finds the thing, then as above. J after the first frame.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from streamtrack.display.flow import warp
from streamtrack.evaluation import (
    LabelledSequence,
    Mask,
    Picture,
    find_sequences,
    jaccard,
    prompt_of,
)
from streamtrack.tracking.tracker import Tracker

BAND = 0.02
"""Half the width of the band in which GrabCut decides, in shares of the diagonal."""


def grabcut(picture: Picture, labels: NDArray[np.uint8]) -> Mask:
    """Return the foreground that GrabCut finds from a map of sure and probable labels."""
    if not (labels == cv2.GC_FGD).any() or not (labels == cv2.GC_BGD).any():
        return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
    models = [np.zeros((1, 65)) for _ in range(2)]
    cv2.grabCut(picture, labels, None, *models, 2, cv2.GC_INIT_WITH_MASK)
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))


def fitted(picture: Picture, mask: Mask) -> Mask:
    """Return a mask whose edge GrabCut found anew in a band around it."""
    band = max(2, round(BAND * np.hypot(*mask.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    inner, outer = cv2.erode(mask.view(np.uint8), disc), cv2.dilate(mask.view(np.uint8), disc)
    labels = np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[inner > 0], labels[outer == 0] = cv2.GC_FGD, cv2.GC_BGD
    return grabcut(picture, labels)


def clicked(picture: Picture, x: int, y: int) -> Mask:
    """Return what GrabCut finds around a click."""
    height, width = picture.shape[:2]
    labels = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    cv2.circle(labels, (x, y), height // 4, cv2.GC_PR_FGD, -1)
    cv2.circle(labels, (x, y), max(3, height // 40), cv2.GC_FGD, -1)
    edge = height // 50
    labels[:edge], labels[-edge:], labels[:, :edge], labels[:, -edge:] = (cv2.GC_BGD,) * 4
    return grabcut(picture, labels)


def classical(pictures: list[Picture], first: Mask) -> Iterator[Mask]:
    """Yield the mask of every later frame."""
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    mask, before = first, None
    for picture in pictures:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        if before is not None:
            flow = finder.calc(grey, before, None)
            mask = fitted(picture, np.asarray(warp(mask.astype(np.float32), flow) > 0.5))
            yield mask
        before = grey


def ours(tracker: Tracker, pictures: list[Picture], truth: Mask, kind: str) -> Iterator[Mask]:
    """Yield nano's mask of every later frame."""
    stream = tracker.open()
    for index, picture in enumerate(pictures):
        prompts = [] if index else [prompt_of(truth, 1, kind)]
        tracked = stream.step(picture, prompts)
        if index:
            yield tracked.objects[1].mask


def compare(sequence: LabelledSequence, tracker: Tracker, frames: int | None) -> dict[str, float]:
    """Return J by method."""
    pictures = list(sequence.pictures())[:frames]
    truth = [(one or {})[1] for one in sequence.truth()][:frames]
    ((x, y),) = np.asarray(prompt_of(truth[0], 1, "click").points, int)
    ways = {
        "mask: flow + GrabCut": classical(pictures, truth[0]),
        "mask: nano": ours(tracker, pictures, truth[0], "mask"),
        "click: GrabCut, flow": classical(pictures, clicked(pictures[0], x, y)),
        "click: nano": ours(tracker, pictures, truth[0], "click"),
    }
    return {
        name: float(np.mean([jaccard(a, b) for a, b in zip(found, truth[1:], strict=True)]))
        for name, found in ways.items()
    }


def main() -> None:
    """Compare on every sequence and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--frames", type=int, help="of each sequence")
    args = parser.parse_args()
    tracker = Tracker.load("nano")
    rows = {one.name: compare(one, tracker, args.frames) for one in find_sequences(args.dataset)}
    names = list(next(iter(rows.values())))
    rows["mean"] = {name: float(np.mean([row[name] for row in rows.values()])) for name in names}
    table = Table("sequence", *names, title="J after the first frame")
    for sequence, row in rows.items():
        table.add_row(sequence, *(f"{row[name]:.3f}" for name in names))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
