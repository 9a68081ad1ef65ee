"""Masks for the training videos, made from boxes drawn by hand.

    python -m training.pseudo_labels --data ../shared/data --out runs/tracks

`video_boxes.json` has the boxes of some things on every 15th to 36th frame. Between two boxed
frames nano follows the thing from either to the other, at 384 px; where both agree, what they
say together is taken for its true mask (a pseudo-label). Frames on which they do not are left out.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.tracker import Tracker
from training.data import HELD_OUT_VIDEOS, VIDEO_STRIDE, VIDEOS, Track, read_video, save_track

BOXES = Path(__file__).with_name("video_boxes.json")
TEACHER_SIZE = 384
"""Side of the input, in pixels: larger than the model learns with, and a little better."""
PICTURE_SIDE = 640
"""Larger side of the pictures it is given."""
AGREED = 0.75
"""Least IoU of the two directions on a frame that is kept."""
FURTHEST = 40
"""Most frames between two boxes that are followed."""

Picture = NDArray[np.uint8]
Box = Sequence[float]
"""x0, y0, x1, y1 as shares of the picture's width and height."""


def followed(tracker: Tracker, pictures: Sequence[Picture], box: Box) -> Iterator[Picture]:
    """Yield the (h, w) uint8 probability, 0 to 255, of what is boxed on the first picture.

    Args:
        tracker: who follows.
        pictures: (H, W, 3) uint8 RGB each, in the order of following.
        box: of the thing on the first of them.
    """
    height, width = pictures[0].shape[:2]
    corners = np.clip(box, 0, 0.999) * (width, height, width, height)
    stream = tracker.open(max_objects=1, rewind_frames=1)
    for t, picture in enumerate(pictures):
        found = stream.step(picture, [Prompt(1, box=corners)] if t == 0 else [])
        logits = torch.from_numpy(found.objects[1].logits)
        yield (torch.sigmoid(logits) * 255).round().to(torch.uint8).numpy()


def agreed(
    tracker: Tracker, pictures: Sequence[Picture], first: Box, last: Box
) -> Iterator[Picture | None]:
    """Yield the (H, W) uint8 mask, 0 or 255, of a thing on each picture; None where unsure.

    Args:
        tracker: who follows, forward and backward.
        pictures: (H, W, 3) uint8 RGB each.
        first: the thing's box on the first picture.
        last: its box on the last picture.
    """
    height, width = pictures[0].shape[:2]
    forward = list(followed(tracker, pictures, first))
    backward = list(followed(tracker, pictures[::-1], last))[::-1]
    for t, (one, other) in enumerate(zip(forward, backward, strict=True)):
        later = t / max(1, len(pictures) - 1)
        a, b = one > 127, other > 127
        if (a & b).sum() < AGREED * max(1, (a | b).sum()):
            yield None
            continue
        mean = cv2.addWeighted(one, 1 - later, other, later, 0)
        large = cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR)
        yield np.where(large > 127, 255, 0).astype(np.uint8)


def label(tracker: Tracker, pictures: Sequence[Picture], boxes: dict[int, Box]) -> Track | None:
    """Return a thing of a video with its masks; None if it was nowhere sure.

    Args:
        tracker: who follows.
        pictures: (H, W, 3) uint8 RGB each: the whole video.
        boxes: the thing's box on some of them.
    """
    masks: dict[int, Picture] = {}
    for start, end in pairwise(sorted(boxes)):
        if end - start > FURTHEST:
            continue
        between = agreed(tracker, pictures[start : end + 1], boxes[start], boxes[end])
        masks |= {start + t: mask for t, mask in enumerate(between) if mask is not None}
    kept = [t for t in sorted(masks) if t % VIDEO_STRIDE == 0]
    if not kept:
        return None
    return Track.of([pictures[t] for t in kept], [masks[t] for t in kept])


def main() -> None:
    """Read the options and label the videos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="holds videos/")
    parser.add_argument("--out", type=Path, default=Path("runs/tracks"))
    options = parser.parse_args()
    console = Console()
    options.out.mkdir(parents=True, exist_ok=True)
    tracker = Tracker.load("nano", image_size=TEACHER_SIZE)
    for name, things in json.loads(BOXES.read_text()).items():
        if name in HELD_OUT_VIDEOS:
            raise ValueError(f"{name} is held out for validation; take it out of {BOXES}.")
        path = options.data / VIDEOS / f"{name}.mp4"
        pictures = list(read_video(path, stride=1, side=PICTURE_SIDE))
        for thing, boxes in things.items():
            track = label(tracker, pictures, {int(t): box for t, box in boxes.items()})
            if track is not None:
                save_track(options.out / f"{name}-{thing}.npz", track)
            console.print(f"{name}, {thing}: {len(track.masks) if track else 0} frames")


if __name__ == "__main__":
    main()
