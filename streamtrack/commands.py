"""What may be asked of a stream's tracker, and what it answers."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from streamtrack.errors import PromptError
from streamtrack.media.ledger import LedgerRow
from streamtrack.tracking.prompts import Prompt, ReplayMode


class Busy(PromptError):
    """Too much is waiting, or the stream has ended."""

    code = "busy"


class NoFrame(PromptError):
    """The stream has not shown a frame yet."""

    code = "no_frame"


@dataclass(frozen=True, slots=True, eq=False)
class StreamFrame:
    """A picture at the size at which it is tracked and shown, with its ledger row."""

    picture: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB; H and W are even."""
    row: LedgerRow

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.picture.shape[:2]
        return height, width


@dataclass(frozen=True, slots=True, eq=False)
class Click:
    """A prompt in normalised coordinates, to be applied to the frame it was made on."""

    received: float
    """time.monotonic() seconds when it came."""
    object_id: int | None = None
    """The object to refine; None makes a new one."""
    points_norm: tuple[tuple[float, float], ...] | None = None
    """(x, y) in [0, 1] of the frame."""
    labels: tuple[int, ...] | None = None
    """1 foreground, 0 background; one for each point."""
    box_norm: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1 in [0, 1] of the frame."""
    mask: NDArray[np.bool_] | None = None
    """(h, w) bool of any size; it is stretched to the frame."""
    frame_id: int | None = None
    """The stream's frame it was made on; None means the newest."""
    adopted: bool = False
    """The object's id was given by another tracker; it is made here when it is not known."""

    def prompt(self, size: tuple[int, int], *, frame: int | None = None) -> Prompt:
        """Return the prompt in pixels of a frame of this (height, width).

        Args:
            size: of the frame it was made on.
            frame: that frame's number, when it is not the one being stepped.

        A point on the right or lower edge belongs to the last pixel.
        """
        height, width = size
        points = box = mask = None
        if self.points_norm is not None:
            edge = (width - 0.001, height - 0.001)
            scaled = np.asarray(self.points_norm, np.float64) * (width, height)
            points = np.minimum(scaled, edge)
        if self.box_norm is not None:
            box = np.asarray(self.box_norm, np.float64) * (width, height, width, height)
        if self.mask is not None:
            resized = cv2.resize(
                self.mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
            )
            mask = resized.astype(np.bool_)
        return Prompt(self.object_id, points, self.labels, box, mask, frame)


@dataclass(frozen=True, slots=True)
class Change:
    """A command that is not a prompt."""

    kind: Literal["undo", "remove", "reset", "rename", "pin", "unpin"]
    object_id: int | None = None
    name: str = ""
    frame_id: int = 0
    """The frame to keep, or to let go."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a click's way to its mask took, in ms, stage by stage."""

    queue_ms: float = 0.0
    """From its coming to the tracker's turn."""
    encode_ms: float = 0.0
    prompt_ms: float = 0.0
    replay_ms: float = 0.0
    """Following the object from the click's frame to the newest."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done about a command."""

    object_id: int | None
    latency_s: float
    """Seconds from its coming to its result."""
    row: LedgerRow | None = None
    """The frame a click was applied to; None for other commands."""
    applied_at: int = 0
    """The newest frame when it was applied: up to here the object is followed."""
    mode: ReplayMode = "exact"
    parts: Parts = Parts()
