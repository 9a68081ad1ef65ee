"""What a stream tells those who look at it."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from streamtrack.display.overlay import OverlayObject
from streamtrack.media.ledger import LedgerRow
from streamtrack.tracking.prompts import ObjectState

EventKind = Literal[
    "object_lost",
    "object_found",
    "source_lost",
    "source_back",
    "model_changed",
    "objects_reset",
    "device_failed",
    "stream_ended",
    "settings_changed",
]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One picture for the viewers."""

    row: LedgerRow
    planes: NDArray[np.uint8]
    """(H * 3 / 2, W) uint8 yuv420p (BT.601): the Y plane, then U and V."""
    objects: tuple[OverlayObject, ...] = ()
    """What is drawn in it."""


@dataclass(frozen=True, slots=True)
class ObjectNow:
    """One object on one frame, in words and numbers."""

    object_id: int
    name: str
    state: ObjectState
    score: float
    predicted_iou: float
    box: tuple[int, int, int, int] | None
    """x0, y0, x1, y1 in pixels of the frame, x1 and y1 exclusive; None while there is no mask."""
    area: int
    """Pixels of the mask."""
    rle: dict[str, object] | None = None
    """The mask as COCO run lengths, when some listener asked for masks."""


@dataclass(frozen=True, slots=True)
class ObjectsNow:
    """All objects of one stepped frame."""

    frame_id: int
    objects: tuple[ObjectNow, ...]


@dataclass(frozen=True, slots=True)
class StatsNow:
    """How a stream does, over about the last second."""

    fps_in: float
    fps_out: float
    fps_tracker: float
    step_ms: float
    """Milliseconds of the last step."""
    age_ms: float
    """Arrival of the newest shown frame until it was handed to the viewers."""
    dropped: int
    """Frames nobody saw because newer ones took their place, since the stream began."""
    viewers: int
    align: Literal["exact", "predict"] = "exact"
    """Whether frames wait for their own masks, or the newest ones are carried onto them."""
    display_ms: float = 0.0
    """What aligning and drawing took for the newest shown frame."""
    mask_age_ms: float = 0.0
    """Arrival of the frame on which the shown masks were computed until they were handed to the
    viewers; 0 when there are no masks."""
    encode_ms: float = 0.0
    """What encoding the newest picture took."""
    bitrate_bps: int = 0
    """What the encoder aims at; 0 while nobody looks on."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened once."""

    kind: EventKind
    facts: dict[str, Any] = field(default_factory=dict)


Message = ObjectsNow | StatsNow | Event


class Viewer(Protocol):
    """Takes pictures; called on the display thread, must not wait."""

    @property
    def people(self) -> int:
        """How many look on through it."""

    def show(self, shown: Shown) -> None:
        """Take the newest picture."""

    def locate(self, rtp: int) -> int | None:
        """Return the pts90 behind an RTP timestamp this viewer was sent, if known."""


class Listener(Protocol):
    """Takes messages; called on any thread, must not wait."""

    wants_masks: bool

    def tell(self, message: Message) -> None:
        """Take a message."""
