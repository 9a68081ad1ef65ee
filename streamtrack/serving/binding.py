"""Find the frame that a viewer saw: by RTP timestamp, by its id, or by an estimate of its age."""

from dataclasses import dataclass
from typing import Literal

from streamtrack.errors import PromptTooOld
from streamtrack.media.ledger import LedgerRow
from streamtrack.serving.wire import At, Seen
from streamtrack.stream import Stream


@dataclass(frozen=True, slots=True)
class Bound:
    """The frame a message speaks of."""

    row: LedgerRow | None
    """None: the newest, because the message asks for it."""
    estimated: bool = False
    """Whether it was found by age only."""

    def age_s(self, now: float) -> float | None:
        """Return how old the frame is, in seconds."""
        return None if self.row is None else max(0.0, now - self.row.t_capture)


def bind(stream: Stream, at: At | Literal["latest"], now: float) -> Bound:
    """Return the frame that `at` names; never another one.

    Args:
        stream: whose frame it is.
        at: how the viewer names it.
        now: time.monotonic() seconds.

    Raises:
        PromptTooOld: the frame is unknown by now, or the picture has changed since.
    """
    if at == "latest":
        return Bound(None)
    if at.age_ms is not None:
        row = stream.ledger.by_age(now - at.age_ms / 1000)
    elif at.rtp is not None:
        row = stream.row_by_rtp(at.rtp)
    else:
        row = _by_frame(stream, at.frame_id if at.frame_id is not None else -1)
    if row is None:
        raise PromptTooOld("The frame under this click is not known any more; click again.")
    newest = stream.ledger.newest
    if newest is not None and newest.epoch != row.epoch:
        raise PromptTooOld("The picture has changed since the frame under this click; click again.")
    height, width = row.out_size
    if (at.w or width, at.h or height) != (width, height):
        raise PromptTooOld(
            f"The click was made on a picture of {at.w}x{at.h}, but that frame has "
            f"{width}x{height}; click again."
        )
    return Bound(row, estimated=at.age_ms is not None)


def _by_frame(stream: Stream, frame_id: int) -> LedgerRow | None:
    """Return a frame's row; a pinned frame outlives the ledger."""
    row = stream.ledger.by_frame(frame_id)
    if row is None and (pinned := stream.frame(frame_id)) is not None:
        return pinned.row
    return row


def glass_to_glass(stream: Stream, seen: Seen | None, now: float) -> float | None:
    """Return seconds from a frame's arrival here to its display at a viewer; None if unknown.

    Args:
        stream: whose frame it is.
        seen: what the viewer says of it; half of the round trip is the message's own way.
        now: time.monotonic() seconds.
    """
    row = stream.row_by_rtp(seen.rtp) if seen is not None else None
    if row is None or seen is None:
        return None
    return max(0.0, now - row.t_capture - (seen.ago_ms + seen.rtt_ms / 2) / 1000)
