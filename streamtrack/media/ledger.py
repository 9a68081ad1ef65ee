"""The media clock of a stream and the ledger of its latest frames.

The clock counts 90 kHz ticks in multiples of nine (100 microseconds): aiortc truncates VP8
timestamps through whole microseconds, and only multiples of nine survive that unharmed.
"""

import bisect
import math
import threading
from collections import deque
from dataclasses import dataclass, replace

CLOCK_RATE_HZ = 90_000
TICKS = 9


class MediaClock:
    """Turns monotonic seconds into strictly increasing presentation timestamps."""

    def __init__(self, start: float) -> None:
        """Begin at start, in time.monotonic() seconds."""
        self._start = start
        self._last = -TICKS

    def pts90(self, moment: float) -> int:
        """Return 9 * floor(10 000 t), t seconds since the start, or the next free tick."""
        pts = TICKS * math.floor(10_000 * max(0.0, moment - self._start))
        self._last = max(self._last + TICKS, pts)
        return self._last


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One frame of a stream."""

    frame_id: int
    """Counts the frames of the stream from 1 without a gap."""
    epoch: int
    """Changes when the source reconnects or its picture size changes."""
    pts90: int
    """Presentation timestamp in 1/90000 s, a multiple of nine."""
    t_capture: float
    """time.monotonic() seconds when it was received here (or repeated, when a source stalls)."""
    source_size: tuple[int, int]
    """(height, width) in pixels as the source gave it."""
    out_size: tuple[int, int]
    """(height, width) in pixels as it is tracked and shown."""
    t_publish: float | None = None
    """time.monotonic() seconds when it was handed to the viewers; None: not (yet) shown."""


class Ledger:
    """The rows of the last seconds, found again by frame, by timestamp or by age.

    Capture and display write, the tracking thread and the event loop read; each call holds a
    lock for microseconds.
    """

    def __init__(self, seconds: float = 10.0, max_rows: int = 2400) -> None:
        """Keep rows for at least seconds, and never more than max_rows of them."""
        self._seconds = seconds
        self._max_rows = max_rows
        self._rows: deque[LedgerRow] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of rows kept."""
        return len(self._rows)

    def add(self, row: LedgerRow) -> None:
        """Append the row of the newest frame and forget what is too old.

        Raises:
            ValueError: the row does not follow the one before it.
        """
        with self._lock:
            if self._rows:
                last = self._rows[-1]
                if row.frame_id != last.frame_id + 1 or row.pts90 <= last.pts90:
                    raise ValueError(
                        f"frame {row.frame_id} at {row.pts90} cannot follow frame "
                        f"{last.frame_id} at {last.pts90}."
                    )
            self._rows.append(row)
            oldest = row.t_capture - self._seconds
            while len(self._rows) > self._max_rows or self._rows[0].t_capture < oldest:
                self._rows.popleft()

    def shown(self, frame_id: int, moment: float) -> None:
        """Note that a frame was handed to the viewers at moment; a forgotten frame is ignored."""
        with self._lock:
            place = self._place(frame_id)
            if place is not None:
                self._rows[place] = replace(self._rows[place], t_publish=moment)

    @property
    def newest(self) -> LedgerRow | None:
        """The row of the newest frame."""
        with self._lock:
            return self._rows[-1] if self._rows else None

    def by_frame(self, frame_id: int) -> LedgerRow | None:
        """Return the row of a frame, or None when it is not kept."""
        with self._lock:
            place = self._place(frame_id)
            return None if place is None else self._rows[place]

    def by_pts(self, pts90: int) -> LedgerRow | None:
        """Return the row with this timestamp (one tick less or more is accepted)."""
        with self._lock:
            place = bisect.bisect_left(self._rows, pts90 - 1, key=lambda row: row.pts90)
            if place < len(self._rows) and self._rows[place].pts90 <= pts90 + 1:
                return self._rows[place]
            return None

    def by_age(self, moment: float) -> LedgerRow | None:
        """Return the newest row captured at or before moment, in time.monotonic() seconds."""
        with self._lock:
            place = bisect.bisect_right(self._rows, moment, key=lambda row: row.t_capture)
            return self._rows[place - 1] if place else None

    def _place(self, frame_id: int) -> int | None:
        """Return where the frame's row is; the lock is held."""
        if not self._rows:
            return None
        place = frame_id - self._rows[0].frame_id
        return place if 0 <= place < len(self._rows) else None
