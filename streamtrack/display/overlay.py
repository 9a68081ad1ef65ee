"""Draw what is tracked over the picture: fill, outline and label of each object."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamtrack.display.labels import Label, render_label
from streamtrack.tracking.prompts import ObjectState

COLOURS: tuple[tuple[int, int, int], ...] = (
    (255, 72, 84),
    (36, 164, 255),
    (255, 200, 20),
    (40, 200, 104),
    (186, 92, 255),
    (255, 128, 24),
    (0, 216, 206),
    (255, 110, 205),
    (166, 226, 44),
    (84, 98, 240),
    (178, 112, 62),
    (158, 206, 255),
    (255, 176, 158),
    (0, 136, 112),
    (214, 184, 255),
    (148, 150, 40),
)
"""Red, green, blue of the objects 1, 2, …; neighbours are far apart, and all differ."""

_HALO = (12, 12, 16)
_NEIGHBOURS = np.ones((3, 3), np.uint8)
_FINE_EDGE_PX = 8000
"""Edge pixels up to which outlines are smooth lines; a torn mask has more, and its lines
would take a second (measured on noise)."""

_PARTS_PX = 160
"""Parts of larger masks are told apart on a coarser grid: 1.5 ms become 0.1 (measured)."""


@dataclass(frozen=True, slots=True)
class OverlaySettings:
    """What the overlay shows."""

    masks: bool = True
    """Whether objects are filled."""
    fill_alpha: float = 0.45
    """Opacity of the fill, 0 to 1."""
    outline: bool = True
    """Whether objects have an outline."""
    labels: bool = True
    """Whether objects have a label with id, name and score."""


@dataclass(frozen=True, slots=True, eq=False)
class OverlayObject:
    """An object as it is drawn."""

    object_id: int
    name: str
    """Empty for none."""
    state: ObjectState
    """What is "lost" is not drawn."""
    score: float
    """Probability in [0, 1] that the object is visible."""
    mask: NDArray[np.bool_]
    """(H, W) bool at the picture's size."""
    box: tuple[int, int, int, int] | None
    """x0, y0, x1, y1 around the mask, x1 and y1 exclusive; None to look for it."""


def object_colour(object_id: int) -> tuple[int, int, int]:
    """Return the red, green and blue of an object, 0 to 255; ids count from 1."""
    return COLOURS[(object_id - 1) % len(COLOURS)]


def draw_overlay(
    picture: NDArray[np.uint8],
    objects: Sequence[OverlayObject],
    settings: OverlaySettings | None = None,
) -> NDArray[np.uint8]:
    """Return the picture with the objects drawn over it; the given one stays as it is.

    Args:
        picture: (H, W, 3) uint8 RGB of any size.
        objects: what to draw, the last on top.
        settings: what to show; everything when None.
    """
    settings = settings or OverlaySettings()
    drawn = np.ascontiguousarray(picture).copy()
    shown = [(item, box) for item in objects if (box := _visible_box(item, picture.shape))]
    for item, box in shown:
        if settings.masks and settings.fill_alpha > 0:
            _fill(drawn, item, box, min(settings.fill_alpha, 1.0))
        if settings.outline:
            _outline(drawn, item, box)
    if settings.labels:
        _draw_labels(drawn, shown)
    return drawn


_Box = tuple[int, int, int, int]


def _visible_box(item: OverlayObject, shape: tuple[int, ...]) -> _Box | None:
    """Return the object's box inside the picture; None when there is nothing to draw."""
    if item.mask.shape != shape[:2]:
        raise ValueError(
            f"The mask of object {item.object_id} has shape {item.mask.shape}, but the picture "
            f"has {shape[:2]}; give the mask at the picture's size."
        )
    if item.state == "lost":
        return None
    if item.box is None:
        x, y, width, height = cv2.boundingRect(item.mask.view(np.uint8))
        return (x, y, x + width, y + height) if width else None
    x0, y0, x1, y1 = item.box
    box = max(0, x0), max(0, y0), min(shape[1], x1), min(shape[0], y1)
    return box if box[0] < box[2] and box[1] < box[3] else None


def _cut(item: OverlayObject, box: _Box) -> NDArray[np.uint8]:
    """Return the part of the mask in the box as (h, w) uint8, 0 or 1."""
    x0, y0, x1, y1 = box
    return np.ascontiguousarray(item.mask[y0:y1, x0:x1]).view(np.uint8)


def _fill(drawn: NDArray[np.uint8], item: OverlayObject, box: _Box, alpha: float) -> None:
    """Mix the object's colour into the pixels of its mask."""
    x0, y0, x1, y1 = box
    region = drawn[y0:y1, x0:x1]
    mixed = _solid(region.shape, object_colour(item.object_id))
    cv2.addWeighted(region, 1 - alpha, mixed, alpha, 0, mixed)
    cv2.copyTo(mixed, _cut(item, box), region)


def _solid(shape: tuple[int, ...], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return a picture of one colour; numpy's own filling takes 90 times as long (measured)."""
    picture = np.empty(shape, np.uint8)
    cv2.rectangle(picture, (0, 0), (shape[1], shape[0]), colour, -1)
    return picture


def _outline(drawn: NDArray[np.uint8], item: OverlayObject, box: _Box) -> None:
    """Draw the mask's edge, dark below and coloured above, readable on any ground."""
    mask = _cut(item, box)
    width = max(1, round(min(drawn.shape[:2]) / 330))
    colour = object_colour(item.object_id)
    inside = cv2.erode(mask, _NEIGHBOURS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    if cv2.countNonZero(mask) - cv2.countNonZero(inside) > _FINE_EDGE_PX:
        region = drawn[box[1] : box[3], box[0] : box[2]]
        cv2.copyTo(_solid(region.shape, colour), mask - inside, region)
        return
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=box[:2])
    smooth = [cv2.approxPolyDP(contour, 0.7, True) for contour in contours]
    cv2.polylines(drawn, smooth, True, _HALO, width + 2, cv2.LINE_AA)
    cv2.polylines(drawn, smooth, True, colour, width, cv2.LINE_AA)


def _draw_labels(drawn: NDArray[np.uint8], shown: Sequence[tuple[OverlayObject, _Box]]) -> None:
    """Put each object's label near its top, inside the picture and off the other labels."""
    height, width = drawn.shape[:2]
    text_px = min(40, max(11, round(min(height, width) * 0.027)))
    taken: list[_Box] = []
    for item, whole in shown:
        box = _largest_part(_cut(item, whole), whole)
        percent = round(100 * min(max(item.score, 0.0), 1.0))
        colour = object_colour(item.object_id)
        label = render_label(item.object_id, item.name, percent, colour, text_px)
        if place := _place(label, box, (height, width), taken):
            taken.append(place)
            _paste(drawn, label, place)


def _largest_part(mask: NDArray[np.uint8], box: _Box) -> _Box:
    """Return the box of the mask's largest connected part: stray pixels move no label."""
    step = 1 + max(mask.shape) // _PARTS_PX
    coarse = np.ascontiguousarray(mask[::step, ::step])
    _, _, stats, _ = cv2.connectedComponentsWithStats(coarse, connectivity=8, ltype=cv2.CV_16U)
    parts = stats[1:]  # the first is the background
    if len(parts) < 2:
        return box
    x, y, width, height = (step * parts[parts[:, cv2.CC_STAT_AREA].argmax(), :4]).tolist()
    right, lower = min(box[0] + x + width, box[2]), min(box[1] + y + height, box[3])
    return box[0] + x, box[1] + y, right, lower


def _place(label: Label, box: _Box, size: tuple[int, int], taken: Sequence[_Box]) -> _Box | None:
    """Return where a label goes; None when the picture is too small for it."""
    high, wide = label.opaque.shape[:2]
    if wide > size[1] or high > size[0]:
        return None
    x = min(max(0, (box[0] + box[2] - wide) // 2), size[1] - wide)
    y = box[1] - high - 3
    y = y if y >= 0 else min(box[1] + 3, size[0] - high)
    for other in sorted(taken, key=lambda place: place[1]):
        apart = x >= other[2] or x + wide <= other[0] or y >= other[3] or y + high <= other[1]
        if not apart and other[3] + 1 + high <= size[0]:
            y = other[3] + 1
    return x, y, x + wide, y + high


def _paste(drawn: NDArray[np.uint8], label: Label, place: _Box) -> None:
    """Blend a label into the picture."""
    x0, y0, x1, y1 = place
    region = drawn[y0:y1, x0:x1]
    cv2.multiply(region, label.see_through, region, 1 / 255)
    cv2.add(region, label.opaque, region)
