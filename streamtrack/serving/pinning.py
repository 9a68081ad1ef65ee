"""Freeze to aim: one frame that a viewer keeps for prompts, for a bounded time."""

import asyncio
import contextlib

from streamtrack.commands import Busy, Change
from streamtrack.errors import PromptTooOld
from streamtrack.media.ledger import LedgerRow
from streamtrack.stream import Stream

PIN_S = 10.0
"""A pinned frame is let go by then."""


class Pin:
    """The one frame a control socket may pin; used on the event loop."""

    def __init__(self, stream: Stream, loop: asyncio.AbstractEventLoop) -> None:
        """Pin nothing yet."""
        self._stream = stream
        self._loop = loop
        self._kept: tuple[int, asyncio.TimerHandle] | None = None

    def keep(self, row: LedgerRow | None) -> int:
        """Pin a frame in place of the one before; None pins the newest. Returns its id.

        Raises:
            PromptTooOld: the frame is gone.
            Busy: the stream has ended or too much waits.
        """
        self.let_go()
        row = row or self._stream.ledger.newest
        if row is None or not self._stream.pin(row):
            raise PromptTooOld("That frame is not kept any more; pin one that is shown now.")
        self._kept = (row.frame_id, self._loop.call_later(PIN_S, self.let_go))
        self._stream.submit(Change("pin", frame_id=row.frame_id))
        return row.frame_id

    def let_go(self) -> None:
        """Unpin; does nothing without a pinned frame."""
        if self._kept is None:
            return
        frame_id, timer = self._kept
        self._kept = None
        timer.cancel()
        self._stream.unpin(frame_id)
        with contextlib.suppress(Busy):  # the stream has ended, and its frames with it
            self._stream.submit(Change("unpin", frame_id=frame_id))
