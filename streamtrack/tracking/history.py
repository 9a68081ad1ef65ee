"""The frames a late prompt may still be made on: what the tracker needs to go back to them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from streamtrack.tracking.memory import MemoryBank
from streamtrack.tracking.segmentation import Features, PointInput


@dataclass(frozen=True, slots=True, eq=False)
class PastObject:
    """One object on a past frame."""

    bank: MemoryBank
    """Its memories as they were before the frame."""
    index: int
    """The frame's place in the object's own count of frames."""
    logits: Tensor
    """(1, 1, h, w) mask logits on the frame."""
    points: PointInput | None = None
    """Points given on the frame."""


@dataclass(slots=True, eq=False)
class PastFrame:
    """One frame that was stepped, or was shown and then prompted."""

    frame: int
    picture: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB, the caller's own array."""
    features: Features | None
    """None until needed, and again when evicted."""
    objects: dict[int, PastObject] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture."""
        height, width = self.picture.shape[:2]
        return height, width


class History:
    """The newest frames, bounded by number, and their features, bounded by bytes."""

    def __init__(self, *, frames: int, feature_bytes: int) -> None:
        """Make an empty history.

        Args:
            frames: how many frames are kept.
            feature_bytes: of all features kept; the oldest are evicted first.
        """
        self._limit = frames
        self._feature_bytes = feature_bytes
        self._frames: list[PastFrame] = []
        self._pinned: dict[int, PastFrame] = {}

    def __iter__(self) -> Iterator[PastFrame]:
        """Yield the frames, oldest first."""
        return iter(self._frames)

    def add(self, past: PastFrame) -> None:
        """Keep a frame in its place in time; the oldest goes when there are too many."""
        self._frames.append(past)
        self._frames.sort(key=lambda one: one.frame)
        del self._frames[: -self._limit or len(self._frames)]
        self.evict()

    def remove(self, past: PastFrame) -> None:
        """Take back a frame that was added."""
        self._frames.remove(past)

    def forget_before(self, frame: int) -> None:
        """Drop the frames before this one."""
        self._frames = [one for one in self._frames if one.frame >= frame]

    def find(self, frame: int) -> PastFrame | None:
        """Return the frame, or None when it was never stepped or is gone."""
        kept = next((one for one in self._frames if one.frame == frame), None)
        return kept or self._pinned.get(frame)

    @property
    def newest(self) -> int:
        """Number of the newest frame; -1 when there is none."""
        return self._frames[-1].frame if self._frames else -1

    def reaches(self, frame: int) -> bool:
        """Tell whether everything that was stepped after `frame` is still kept."""
        return bool(self._frames) and self._frames[0].frame <= frame

    def before(self, frame: int) -> PastFrame | None:
        """Return the newest frame before `frame`."""
        return max(
            (one for one in self._frames if one.frame < frame),
            key=lambda one: one.frame,
            default=None,
        )

    def since(self, frame: int) -> list[PastFrame]:
        """Return the frames after `frame`, oldest first."""
        return [one for one in self._frames if one.frame > frame]

    def pin(self, past: PastFrame) -> None:
        """Keep a frame beyond the window until it is unpinned."""
        self._pinned[past.frame] = past

    def unpin(self, frame: int) -> None:
        """Let a pinned frame go; one that is not pinned is left alone."""
        self._pinned.pop(frame, None)

    def forget(self, object_id: int, *, since: int = -1) -> None:
        """Drop what is kept of one object on the frames from `since` on."""
        for past in (*self._frames, *self._pinned.values()):
            if past.frame >= since:
                past.objects.pop(object_id, None)

    def evict(self) -> None:
        """Drop the oldest features until they fit their bytes."""
        total = 0
        for past in reversed(self._frames):
            if past.features is not None:
                total += past.features.nbytes
                if total > self._feature_bytes:
                    past.features = None

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor held, some of them more than once."""
        for past in (*self._frames, *self._pinned.values()):
            if past.features is not None:
                yield from past.features.maps
            for kept in past.objects.values():
                yield kept.logits
                yield from kept.bank.tensors()
