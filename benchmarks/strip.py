"""Draw what a slow tracker's masks look like, left where they were found and carried.

    python benchmarks/strip.py CLIP --box X0,Y0,X1,Y1 --out docs/two-clocks.jpg

nano follows every frame and stands in for a slow tracker: of its masks only every n-th is used.
Upper row: the newest used mask as it was found. Lower row: carried onto the frame.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamtrack.display.carry import Carrier
from streamtrack.display.overlay import OverlayObject, OverlaySettings, draw_overlay
from streamtrack.media.sources import open_source
from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.tracker import Tracker

WIDE = 300


def titled(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Return a small picture with a line of text."""
    scale = WIDE / picture.shape[1]
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cv2.rectangle(small, (0, 0), (WIDE, 20), (20, 20, 24), -1)
    white = (255, 255, 255)
    cv2.putText(small, text, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, white, 1, cv2.LINE_AA)
    return np.asarray(small, np.uint8)


def main() -> None:
    """Draw the strip."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("clip")
    parser.add_argument("--box", required=True, help="of the thing in the first frame")
    parser.add_argument("--start", type=int, default=0, help="first frame")
    parser.add_argument("--every", type=int, default=15, help="frames between two used masks")
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    stream, carrier = Tracker.load("nano").open(), Carrier()
    settings = OverlaySettings(labels=False)
    shown_at = np.linspace(args.every * 0.2, args.every * 1.95, args.columns).round().astype(int)
    columns, used = [], None
    for number, frame in enumerate(open_source(args.clip)):
        index = number - args.start
        if index < 0:
            continue
        prompts = [] if index else [Prompt(box=[float(x) for x in args.box.split(",")])]
        found = stream.step(frame.picture, prompts).objects[1]
        carrier.add(index, frame.picture)
        if index % args.every == 0:
            used = found
            carrier.anchor(index, {1: found.logits})
        if index in shown_at and used is not None:
            stale = OverlayObject(1, "", "tracked", 1.0, used.mask, used.box)
            carried = carrier.carried().get(1)
            aligned = []
            if carried is not None:
                aligned = [OverlayObject(1, "", "tracked", 1.0, carried.mask, carried.box)]
            age = f"mask of {index % args.every} frames ago"
            columns.append(
                np.vstack(
                    [
                        titled(draw_overlay(frame.picture, [stale], settings), f"left: {age}"),
                        titled(draw_overlay(frame.picture, aligned, settings), f"carried: {age}"),
                    ]
                )
            )
        if index > shown_at[-1]:
            break
    picture = cv2.cvtColor(np.hstack(columns), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(args.out), picture, [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == "__main__":
    main()
