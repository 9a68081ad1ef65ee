"""Fits what a source gives to what a stream can carry: picture size and frame rate."""

import threading
from collections import deque
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray


def fit_size(size: tuple[int, int], max_long_px: int, max_short_px: int) -> tuple[int, int]:
    """Return the (height, width) at which a picture of this size is tracked and shown.

    The longer side is at most max_long_px and the shorter max_short_px, both are even (yuv420p
    halves them), and the shape is kept but for that last pixel.
    """
    scale = min(1.0, max_long_px / max(size), max_short_px / min(size))
    even_height, even_width = (max(2, 2 * int(side * scale / 2 + 0.49)) for side in size)
    return even_height, even_width


def fit_picture(
    picture: NDArray[np.uint8], max_long_px: int, max_short_px: int
) -> NDArray[np.uint8]:
    """Return a (H, W, 3) uint8 picture at the size that fit_size gives; itself if it fits."""
    size = (picture.shape[0], picture.shape[1])
    height, width = fit_size(size, max_long_px, max_short_px)
    if (height, width) == size:
        return picture
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(resized, np.uint8)


class FrameRateLimit:
    """Passes over the frames that come faster than a rate."""

    def __init__(self, max_fps: float) -> None:
        """Admit at most max_fps frames a second on average."""
        self._interval = 1.0 / max_fps
        self._due = float("-inf")

    def admit(self, moment: float) -> bool:
        """Return whether the frame that came at moment (seconds) is wanted."""
        if moment < self._due - 0.25 * self._interval:  # a quarter: cameras jitter (guess)
            return False
        begun = self._due != float("-inf")
        self._due = (max(self._due, moment - self._interval) if begun else moment) + self._interval
        return True


class RateMeter:
    """Events per second over the last two seconds; any thread may tick or ask."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure with a clock of monotonic seconds."""
        self.count = 0
        self._clock = clock
        self._ticks: deque[float] = deque(maxlen=256)
        self._lock = threading.Lock()

    def tick(self) -> None:
        """Note an event."""
        with self._lock:
            self.count += 1
            self._ticks.append(self._clock())

    def rate(self) -> float:
        """Return events per second; 0 when none came for two seconds."""
        with self._lock:
            now = self._clock()
            while self._ticks and self._ticks[0] < now - 2.0:
                self._ticks.popleft()
            if len(self._ticks) < 2 or self._ticks[-1] <= self._ticks[0]:
                return 0.0
            return (len(self._ticks) - 1) / (self._ticks[-1] - self._ticks[0])
