"""The rolling window: the pictures of the last seconds, bounded in time and in bytes.

Late clicks and pinned frames find the picture that was shown in it. One thread writes, others
read; each call holds a lock for microseconds.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class WindowState:
    """What a window holds and what it has let go."""

    frames: int
    bytes: int
    seconds: float
    """From the oldest picture kept to the newest."""
    aged_out: int
    """Pictures that left because they were too old: the normal way to go."""
    squeezed_out: int
    """Pictures that left early because the bytes did not suffice."""


class Window:
    """The newest pictures by frame id."""

    def __init__(self, *, seconds: float = 2.0, max_bytes: int = 256 * 2**20) -> None:
        """Keep pictures for `seconds`, and never more than `max_bytes` of them."""
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._pictures: OrderedDict[int, tuple[float, Picture]] = OrderedDict()
        self._bytes = 0
        self._aged_out = 0
        self._squeezed_out = 0
        self._lock = threading.Lock()

    def add(self, frame_id: int, moment: float, picture: Picture) -> None:
        """Keep a picture; older ones leave.

        Args:
            frame_id: larger than any before.
            moment: time.monotonic() seconds when it was captured.
            picture: (H, W, 3) uint8 RGB, not written to from now on.
        """
        with self._lock:
            self._pictures[frame_id] = (moment, picture)
            self._bytes += picture.nbytes
            while self._oldest() < moment - self._seconds:
                self._drop_oldest()
                self._aged_out += 1
            while self._bytes > self._max_bytes and len(self._pictures) > 1:
                self._drop_oldest()
                self._squeezed_out += 1

    def picture(self, frame_id: int) -> Picture | None:
        """Return the picture of a frame, or None when it is not kept."""
        with self._lock:
            kept = self._pictures.get(frame_id)
            return None if kept is None else kept[1]

    def frame_ids(self) -> list[int]:
        """Return the ids of the frames kept, oldest first."""
        with self._lock:
            return list(self._pictures)

    def state(self) -> WindowState:
        """Return what the window holds now."""
        with self._lock:
            newest = next(reversed(self._pictures.values()), (0.0, None))[0]
            seconds = newest - self._oldest() if self._pictures else 0.0
            return WindowState(
                len(self._pictures), self._bytes, seconds, self._aged_out, self._squeezed_out
            )

    def _oldest(self) -> float:
        return next(iter(self._pictures.values()))[0]

    def _drop_oldest(self) -> None:
        _, (_, picture) = self._pictures.popitem(last=False)
        self._bytes -= picture.nbytes
