"""Let the pictures of a recording pass as fast as they were filmed."""

import threading
import time
from collections.abc import Callable
from fractions import Fraction

_FALLBACK_FPS = 30.0
_JUMP_S = 10.0
"""A gap in the pts longer than this is a cut, not a wait (guess)."""
_LATE_S = 1.0
"""Who is later than this starts a new schedule instead of catching up (guess)."""


class Pacer:
    """Waits until a picture is due; due times count from the start, so none drifts."""

    def __init__(
        self, closed: threading.Event, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make a pacer whose waits end when closed is set."""
        self._closed = closed
        self._clock = clock
        self._step_s = 1 / _FALLBACK_FPS
        self._start: float | None = None
        self._media_s = 0.0
        self._last_s: float | None = None

    def restart(self, fps: float | None) -> None:
        """Begin a recording; its first picture is due one interval after the last one."""
        self._step_s = 1 / (fps or _FALLBACK_FPS)
        self._last_s = None

    def wait(self, pts: int | None, time_base: Fraction | None) -> bool:
        """Wait until a picture is due.

        Args:
            pts: its presentation timestamp; None counts as one interval after the last.
            time_base: seconds per unit of pts.

        Returns:
            False when closed, at once.
        """
        at_s = None if pts is None or time_base is None else float(pts * time_base)
        passed = None if at_s is None or self._last_s is None else at_s - self._last_s
        usable = passed is not None and 0 <= passed <= _JUMP_S
        self._last_s = at_s
        now = self._clock()
        if self._start is None:
            self._start = now
        else:
            self._media_s += passed if usable and passed is not None else self._step_s
        if now - (self._start + self._media_s) > _LATE_S:
            self._start = now - self._media_s
        return not self._closed.wait(max(0.0, self._start + self._media_s - now))
