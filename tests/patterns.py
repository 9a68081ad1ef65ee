"""Frames that carry their own number, so that a picture says which frame it is."""

import threading
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from streamtrack.media.frame import Frame

BITS = 16
CELL = 16  # pixels; survives both codecs at any bitrate


SPEED = 13  # pixels a frame: the block crosses the picture in less than a second
BLOCK = 60


def block_left(number: int, width: int = 320) -> int:
    """Return where the red block of a picture begins."""
    return (SPEED * number) % (width - BLOCK)


def numbered(number: int, size: tuple[int, int] = (240, 320)) -> NDArray[np.uint8]:
    """Draw a picture with its number as black and white cells along the top, twice inverted.

    Below them a red block crosses from left to right, again and again.
    """
    picture = np.full((*size, 3), 110, np.uint8)
    picture[80:160, block_left(number, size[1]) :][:, :BLOCK] = (200, 40, 40)
    for bit in range(BITS):
        value = 255 * (number >> bit & 1)
        left = CELL * (bit + 2)
        picture[:CELL, left : left + CELL] = value
        picture[CELL : 2 * CELL, left : left + CELL] = 255 - value
    return picture


def number_of(picture: NDArray[np.uint8]) -> int:
    """Read the number of a picture.

    Raises:
        ValueError: the cells contradict each other.
    """
    number = 0
    for bit in range(BITS):
        left = CELL * (bit + 2) + CELL // 2
        above, below = (int(picture[y, left].mean()) for y in (CELL // 2, CELL + CELL // 2))
        if abs(above - below) < 60:
            raise ValueError(f"bit {bit} is not readable: {above}, {below}")
        number |= (above > below) << bit
    return number


class NumberedSource:
    """A live source of numbered() pictures at a steady rate."""

    live = True
    description = "numbered"

    def __init__(self, fps: float = 25.0, size: tuple[int, int] = (240, 320)) -> None:
        self.fps: float | None = fps
        self._size = size
        self._closed = threading.Event()

    def frames(self) -> Iterator[Frame]:
        assert self.fps is not None
        number = 0
        while not self._closed.wait(1 / self.fps):
            number += 1
            yield Frame(numbered(number, self._size), time.monotonic())

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def close(self) -> None:
        self._closed.set()


class ResizingSource(NumberedSource):
    """Becomes larger after so many frames, as a browser's camera does when the link gets better."""

    def __init__(self, after: int = 30) -> None:
        super().__init__()
        self._after = after

    def frames(self) -> Iterator[Frame]:
        number = 0
        for frame in super().frames():
            number += 1
            large = number > self._after
            yield Frame(numbered(number, (480, 640)), frame.arrival) if large else frame


def noise_planes(index: int, width: int) -> NDArray[np.uint8]:
    """Return (W * 27 / 32, W) yuv420p planes of a 16:9 picture whose blobs drift."""
    height = width * 9 // 16
    rng = np.random.default_rng(7)
    coarse = rng.integers(40, 215, (height // 10, width // 10), np.uint8)
    big = np.repeat(np.repeat(coarse, 10, 0), 10, 1)[:height]
    luma = np.roll(big, (2 * index, 3 * index), (0, 1))
    grey = np.full((height // 2, width), 128, np.uint8)
    return np.concatenate([luma, grey])
