"""Prompts given to the tracker and the results it gives back."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

ObjectState = Literal["tracked", "lost"]
ReplayMode = Literal["exact", "replayed", "jumped", "reencoded"]


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What a user says about one object on one frame, in source pixels.

    Exactly one of points, box, mask, or a box with points.
    """

    object_id: int | None = None
    """The object to refine; None makes a new one; an unused id >= 1 makes it with that id."""
    points: ArrayLike | None = None
    """(N, 2) float, (x, y) in source pixels, 1 <= N <= 16."""
    labels: ArrayLike | None = None
    """(N,) int, 1 foreground, 0 background; default all foreground."""
    box: ArrayLike | None = None
    """(4,) float, x0, y0, x1, y1 in source pixels."""
    mask: ArrayLike | None = None
    """(H, W) bool at source size."""
    frame: int | None = None
    """The frame it was made on, as given to `step`; None = the one being stepped."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackedObject:
    """One object on one frame."""

    object_id: int
    state: ObjectState
    """"lost" while the object score is <= 0."""
    mask: NDArray[np.bool_]
    """(H, W) bool at source size; all False while lost."""
    logits: NDArray[np.float32]
    """(h, w) float32 low-resolution mask logits, foreground > 0."""
    score: float
    """Object score as a probability in [0, 1]: is the object visible?"""
    predicted_iou: float
    """The decoder's own estimate of the mask's quality, in [0, 1]."""
    box: tuple[int, int, int, int] | None
    """x0, y0, x1, y1 of the mask in source pixels, x1 and y1 exclusive; None when empty."""
    area: int
    """Foreground pixels of the mask."""
    candidates: NDArray[np.bool_] | None = None
    """(3, H, W) bool: the three masks of an ambiguous first click, best first; else None."""


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """What was done with one prompt."""

    object_id: int
    frame: int
    """The frame it was applied to: always the one it was made on."""
    mode: ReplayMode
    """"exact": on the newest frame; "replayed": on an earlier one, and the object was followed
    again from there to the newest; "reencoded": likewise, with features computed anew; "jumped":
    on an earlier one, and the object is followed again from the next frame on."""
    replayed_frames: int
    result: TrackedObject
    """The object on the frame the prompt was made on."""


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """The result of one step."""

    index: int
    """Running count of the frames this stream has stepped, from 0."""
    objects: dict[int, TrackedObject]
    """By object id, in the order the objects were made."""
    prompted: tuple[int, ...] = ()
    """Object ids of the step's prompts, in the order the prompts were given."""
    applied: tuple[Applied, ...] = ()
    """What was done with each prompt, in the order the prompts were given."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Timings in ms by stage: "encode", "track", "prompt", "replay", "masks"."""
