"""Draw what nano makes of five clips: a look that no number replaces.

python benchmarks/overlays.py ../shared/data/videos --out docs/nano-strips.jpg
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamtrack.display.overlay import OverlayObject, OverlaySettings, draw_overlay
from streamtrack.media.sources import open_source
from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.tracker import Tracker

WIDE, HIGH = 300, 169
ROWS = (
    (
        "demo:seed=4,size=960x540",
        [Prompt(points=[[478, 430]]), Prompt(points=[[190, 165]])],
        (0, 30, 60, 90, 119),
    ),
    ("05_default_juggle.mp4", [Prompt(points=[[700, 150]])], (0, 20, 40, 60, 80)),
    ("01_dog.mp4", [Prompt(box=[470, 370, 700, 540])], (0, 15, 30, 45, 80)),
    ("19_cyclist.mp4", [Prompt(box=[440, 310, 760, 700])], (0, 20, 40, 60, 80)),
    ("03_skateboarder.mp4", [Prompt(box=[165, 125, 465, 485])], (0, 15, 30, 45, 60)),
)
"""Sources, prompts on their first frame, and the frames to show."""


def small(picture: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    """Return a picture at the strip's size, with its number."""
    height = round(picture.shape[0] * WIDE / picture.shape[1])
    shrunk = cv2.resize(picture, (WIDE, height), interpolation=cv2.INTER_AREA)[:HIGH]
    shrunk = cv2.copyMakeBorder(shrunk, 0, HIGH - len(shrunk), 0, 0, cv2.BORDER_CONSTANT)
    cv2.rectangle(shrunk, (0, 0), (80, 18), (20, 20, 24), -1)
    white = (255, 255, 255)
    place, font = (4, 13), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(shrunk, f"frame {index}", place, font, 0.4, white, 1, cv2.LINE_AA)
    return np.asarray(shrunk, np.uint8)


def row(
    tracker: Tracker, source: str, prompts: list[Prompt], shown: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Return one clip's pictures side by side."""
    stream, pictures = tracker.open(), []
    for index, frame in enumerate(open_source(source)):
        result = stream.step(frame.picture, [] if index else prompts)
        if index in shown:
            objects = [
                OverlayObject(i, "", o.state, o.score, o.mask, o.box)
                for i, o in result.objects.items()
            ]
            drawn = draw_overlay(frame.picture, objects, OverlaySettings(labels=False))
            pictures.append(small(drawn, index))
        if index >= max(shown):
            break
    return np.hstack(pictures)


def main() -> None:
    """Draw the strips."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("videos", type=Path, help="folder of the clips")
    parser.add_argument("--out", type=Path, default=Path("nano-strips.jpg"))
    options = parser.parse_args()
    tracker = Tracker.load("nano")
    strips = [
        row(tracker, source if ":" in source else str(options.videos / source), prompts, shown)
        for source, prompts, shown in ROWS
    ]
    picture = cv2.cvtColor(np.vstack(strips), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(options.out), picture, [cv2.IMWRITE_JPEG_QUALITY, 80])


if __name__ == "__main__":
    main()
