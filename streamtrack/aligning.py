"""Bring the tracker's newest masks onto a newer frame, as well as the time allows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamtrack.commands import StreamFrame
from streamtrack.display.carry import WORK_PX, Carrier
from streamtrack.display.overlay import OverlayObject
from streamtrack.media.slot import Slot
from streamtrack.media.window import Window

_CAUGHT_UP = 12
"""Frames at most that are followed to catch up with a result; the rest is passed over (guess)."""
_LEVELS = ((WORK_PX, True), (192, True), (128, True), (96, True), (96, False))
"""Working size and whether masks are fitted, best first; each takes two thirds to nine tenths of
the time of the one before, the last nearly none (measured, benchmarks/LOG.md 2026-11-21)."""
_BEGIN = 2
_FULL, _ROOM = 0.65, 0.4
"""Shares of the budget: above the first on average the next level is taken, below the second the
better one is tried. Single frames take up to one and a half times the average (measured)."""
_HURRY, _PATIENCE = 10, 90
"""Frames after a change of the level before it gets worse, and better (guess)."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What the tracker found on one frame."""

    frame: StreamFrame
    objects: tuple[OverlayObject, ...]
    logits: Mapping[int, NDArray[np.float32]]
    """(h, w) float32 by object id, of those that are visible."""


class Aligner:
    """Carries results onto frames; found() from any thread, the rest from one."""

    def __init__(self, window: Window, budget_ms: float) -> None:
        """Carry within a stream.

        Args:
            window: its pictures of the last seconds.
            budget_ms: what a shown frame may take in all; took() says what it did.
        """
        self._window = window
        self._budget_s = budget_ms / 1000
        self._results: Slot[Result] = Slot()
        self._ahead: Result | None = None
        """Found on a frame that is still to be shown."""
        self._result: Result | None = None
        self._level = _BEGIN
        self._carrier = Carrier(work_px=_LEVELS[_BEGIN][0])
        self._since_change = 0
        self._mean_s = 0.0

    def found(self, result: Result) -> None:
        """Take the newest result."""
        self._results.put(result)

    def onto(self, frame: StreamFrame) -> tuple[tuple[OverlayObject, ...], float]:
        """Return the newest masks carried onto a frame, and when the frame they come from came.

        Args:
            frame: newer than any before.

        Returns:
            The objects, and time.monotonic() seconds.
        """
        self._take(frame)
        result = self._result
        if result is None or not result.logits:
            self._carrier.clear()
            return (), frame.row.t_capture
        if frame.row.frame_id != self._carrier.newest:
            self._carrier.add(frame.row.frame_id, frame.picture)
        carried = self._carrier.carried()
        objects = tuple(
            replace(one, mask=carried[one.object_id].mask, box=carried[one.object_id].box)
            for one in result.objects
            if one.object_id in carried
        )
        return objects, result.frame.row.t_capture

    def took(self, seconds: float) -> None:
        """Hear what a shown frame took; chooses how well the next ones are fitted."""
        self._mean_s += 0.15 * (seconds - self._mean_s)
        self._since_change += 1
        load = self._mean_s / self._budget_s
        worse = load > _FULL and self._level < len(_LEVELS) - 1 and self._since_change >= _HURRY
        better = load < _ROOM and self._level > 0 and self._since_change >= _PATIENCE
        if worse or better:
            self._level += 1 if worse else -1
            self._since_change = 0
            self._carrier.work_px, self._carrier.refine = _LEVELS[self._level]

    def _take(self, frame: StreamFrame) -> None:
        """Anchor the newest result, if there is one the display has not seen."""
        result = self._results.get(0) or self._ahead
        if result is None:
            return
        found_on = result.frame.row.frame_id
        self._ahead = result if found_on > frame.row.frame_id else None
        known = self._result.frame.row.frame_id if self._result else 0
        if self._ahead is not None or found_on < known:
            return
        self._result = result
        if result.logits and not self._carrier.anchor(found_on, result.logits):
            self._catch_up(result, frame.row.frame_id)

    def _catch_up(self, result: Result, before: int) -> None:
        """Begin to carry: follow the pictures since the tracked one."""
        first = result.frame.row.frame_id
        self._carrier.clear()
        self._carrier.add(first, result.frame.picture)
        between = [i for i in self._window.frame_ids() if first < i < before]
        for place in range(min(len(between), _CAUGHT_UP)):
            frame_id = between[place * len(between) // min(len(between), _CAUGHT_UP)]
            if (picture := self._window.picture(frame_id)) is not None:
                self._carrier.add(frame_id, picture)
        self._carrier.anchor(first, result.logits)
