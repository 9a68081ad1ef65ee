"""From a tracked object to what is drawn of it and what is told about it."""

from collections.abc import Container, Mapping
from dataclasses import replace

import numpy as np

from streamtrack.display.overlay import OverlayObject
from streamtrack.masks import encode_rle
from streamtrack.messages import ObjectNow
from streamtrack.tracking.prompts import TrackedObject


def timings(notes: dict[str, object]) -> list[float]:
    """Return the milliseconds of a step's stages."""
    return [float(value) for value in notes.values() if isinstance(value, int | float)]


def without(found: Mapping[int, TrackedObject], lost: Container[int]) -> dict[int, TrackedObject]:
    """Return the objects with some of them lost, whatever was found."""
    return {
        key: replace(one, state="lost", mask=np.zeros_like(one.mask), box=None, area=0)
        if key in lost
        else one
        for key, one in found.items()
    }


def overlay_object(one: TrackedObject, name: str) -> OverlayObject:
    """Return what is drawn of an object."""
    return OverlayObject(one.object_id, name, one.state, one.score, one.mask, one.box)


def object_now(one: TrackedObject, name: str, with_mask: bool) -> ObjectNow:
    """Return what is told of an object."""
    return ObjectNow(
        object_id=one.object_id,
        name=name,
        state=one.state,
        score=round(one.score, 4),
        predicted_iou=round(one.predicted_iou, 4),
        box=one.box,
        area=one.area,
        rle=encode_rle(one.mask) if with_mask else None,
    )
