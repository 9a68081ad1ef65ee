"""Carry the newest masks of the tracker onto the newest frame.

The display thread of a stream shows it every frame, and every result of the tracker when it
comes, however late. Each object is then moved in one go from the frame its mask is known on:
going in steps and fitting at each was measured to be no better, and errors cannot add up.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamtrack.display.flow import FLOW_PX, Floats, FlowWindow, Image, Picture, pixel_grid, warp
from streamtrack.display.refine import Fitted, Known, refit

_MARGIN_KNOWN_PX, _MARGIN_NEW_PX = 40, 20
"""Working pixels around an object, where it is known and where it is looked for: the first
shows more ground, which tells the uncovered (measured)."""
WORK_PX = 256
"""Longer side of one object at working size; each of N has 1/sqrt(N) of it. 192 loses 0.003 J
(measured, benchmarks/LOG.md 2026-11-21)."""
_MIN_WORK_PX = 96
_LOST_SUPPORT = 0.05
"""Support below which an object is no longer shown (guess)."""

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the picture, x1 and y1 exclusive."""


@dataclass(frozen=True, slots=True, eq=False)
class CarriedObject:
    """An object on the newest frame."""

    mask: NDArray[np.bool_]
    """(H, W) bool at the picture's size."""
    box: Box
    """Around the region in which the mask may be set."""
    support: float
    """Share of the object that still looks as it did where it was tracked, 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pictures:
    """A frame at its own and at half its size: shrinking by two is ten times as fast as by any
    other factor (measured)."""

    whole: Picture
    half: Picture

    @property
    def size(self) -> tuple[int, ...]:
        """(height, width) in pixels."""
        return self.whole.shape[:2]


@dataclass(frozen=True, slots=True, eq=False)
class _Anchor:
    """An object on the frame it was tracked on."""

    known: Known
    box: Box
    """What `known` covers."""
    scale: float
    """Working pixels per pixel of the picture."""
    coarse: Floats
    """(h, w) float32, the mask on the grid of the flow."""


class Carrier:
    """The newest masks of one stream, carried to its newest frame; one thread owns it."""

    def __init__(self, *, frames: int = 64, refine: bool = True, work_px: int = WORK_PX) -> None:
        """Make a carrier.

        Args:
            frames: how many frames are kept; results of older ones come too late. Pictures
                are kept by reference.
            refine: whether masks are fitted to the picture, or moved by flow alone.
            work_px: longer side of one object at working size; less is faster. Both may be
                changed at any time: refine for the next frame, work_px for the next result.
        """
        self._flow = FlowWindow(frames=frames)
        self.refine = refine
        self.work_px = work_px
        self._pictures: OrderedDict[int, _Pictures] = OrderedDict()
        self._anchors: dict[int, _Anchor] = {}
        self._anchored_on: int | None = None

    @property
    def newest(self) -> int | None:
        """The id of the newest frame."""
        return self._flow.newest

    def add(self, frame_id: int, picture: Picture) -> bool:
        """Add the next frame; False when it does not continue the one before it (a cut).

        Args:
            frame_id: larger than the ids before it.
            picture: (H, W, 3) uint8 RGB; it must not change afterwards.
        """
        half = _halved(picture)
        goes_on = self._flow.add(frame_id, half)
        self._pictures[frame_id] = _Pictures(picture, half)
        while next(iter(self._pictures)) not in self._flow:
            self._pictures.popitem(last=False)
        return goes_on

    def anchor(self, frame_id: int, logits: Mapping[int, Floats]) -> bool:
        """Take a result of the tracker; False when its frame is no longer known.

        Args:
            frame_id: the frame that was tracked; results older than the last are refused.
            logits: (h, w) float32 by object id, on any grid that covers the whole frame;
                all objects that are visible. Those not named are no longer carried.
        """
        picture = self._pictures.get(frame_id)
        if picture is None or (self._anchored_on is not None and frame_id < self._anchored_on):
            return False
        longest = max(
            min(_MIN_WORK_PX, self.work_px), round(self.work_px / np.sqrt(max(1, len(logits))))
        )
        anchors = {
            object_id: _make_anchor(picture, one, self._flow.shape, longest)
            for object_id, one in logits.items()
        }
        self._anchors = {key: anchor for key, anchor in anchors.items() if anchor is not None}
        self._anchored_on = frame_id
        return True

    def carried(self) -> dict[int, CarriedObject]:
        """Return the objects on the newest frame; none when a cut lies between."""
        newest = self._flow.newest
        if newest is None or self._anchored_on is None:
            return {}
        path = self._flow.path(self._anchored_on, newest)
        if path is None:
            return {}
        found = {
            object_id: self._carry(anchor, path, self._pictures[newest])
            for object_id, anchor in self._anchors.items()
        }
        return {
            object_id: one
            for object_id, one in found.items()
            if one is not None and one.support >= _LOST_SUPPORT
        }

    def clear(self) -> None:
        """Forget all frames and objects."""
        self._flow.clear()
        self._pictures.clear()
        self._anchors.clear()
        self._anchored_on = None

    def _carry(self, anchor: _Anchor, path: Floats, picture: _Pictures) -> CarriedObject | None:
        size = picture.size
        box = _box_of(warp(anchor.coarse, path), size, _MARGIN_NEW_PX / anchor.scale, 0.05)
        if box is None:
            return None
        work = _work_size(box, anchor.scale)
        x, y = _came_from(path, box, work, size, anchor)
        if self.refine:
            colours = _cut_out(picture, box, work)
            fitted = refit(anchor.known, colours, (x, y))
        else:
            moved = np.asarray(cv2.remap(anchor.known.mask, x, y, cv2.INTER_LINEAR), np.float32)
            fitted = Fitted(moved, 1.0)
        x0, y0, x1, y1 = box
        mask = np.zeros(size, np.bool_)
        mask[y0:y1, x0:x1] = cv2.resize(fitted.mask, (x1 - x0, y1 - y0)) > 0.5
        return CarriedObject(mask, box, fitted.support)


def _make_anchor(
    picture: _Pictures, logits: Floats, coarse_size: tuple[int, int], longest: int
) -> _Anchor | None:
    """Cut an object out of the frame it was tracked on; None when it is not there."""
    size = picture.size
    tight = _box_of(logits, size, 0.0, 0.0)
    if tight is None:
        return None
    scale = min(1.0, longest / max(tight[2] - tight[0], tight[3] - tight[1]))
    box = _box_of(logits, size, _MARGIN_KNOWN_PX / scale, 0.0)
    assert box is not None
    work = _work_size(box, scale)
    colours = _cut_out(picture, box, work)
    mask = _soft_mask(logits, box, work, size)
    coarse = cv2.resize(
        np.clip(logits + np.float32(0.5), 0, 1), coarse_size[::-1], interpolation=cv2.INTER_AREA
    )
    return _Anchor(Known(colours, mask), box, scale, np.asarray(coarse, np.float32))


def _soft_mask(logits: Floats, box: Box, work: tuple[int, int], size: tuple[int, ...]) -> Floats:
    """Return (h, w) float32 coverage in [0, 1] of a box at working size."""
    height, width = logits.shape
    x0, y0, x1, y1 = box
    if (height, width) == tuple(size):
        soft = np.clip(logits[y0:y1, x0:x1] + np.float32(0.5), 0, 1)
        return np.asarray(cv2.resize(soft, work[::-1], interpolation=cv2.INTER_AREA), np.float32)
    x, y = _centres(box, work)
    x, y = (x + 0.5) * (width / size[1]) - 0.5, (y + 0.5) * (height / size[0]) - 0.5
    x, y = (np.ascontiguousarray(np.broadcast_to(one, work), np.float32) for one in (x, y))
    fine = cv2.remap(logits, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(fine + np.float32(0.5), 0, 1), np.float32)


def _came_from(
    path: Floats, box: Box, work: tuple[int, int], size: tuple[int, ...], anchor: _Anchor
) -> tuple[Floats, Floats]:
    """Return where each working pixel of a box was, in working pixels of the anchor."""
    x, y = _centres(box, work)
    zoom_x, zoom_y = size[1] / path.shape[1], size[0] / path.shape[0]
    at_x = np.broadcast_to((x + 0.5) / zoom_x - 0.5, work).astype(np.float32)
    at_y = np.broadcast_to((y + 0.5) / zoom_y - 0.5, work).astype(np.float32)
    flow = cv2.remap(path, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    x0, y0, x1, y1 = anchor.box
    high, wide = anchor.known.mask.shape
    was_x = (x + flow[..., 0] * zoom_x + 0.5 - x0) * (wide / (x1 - x0)) - 0.5
    was_y = (y + flow[..., 1] * zoom_y + 0.5 - y0) * (high / (y1 - y0)) - 0.5
    return np.asarray(was_x, np.float32), np.asarray(was_y, np.float32)


def _centres(box: Box, work: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return x and y of the working pixels of a box, in pixels of the picture."""
    x0, y0, x1, y1 = box
    x, y = pixel_grid(*work)
    x = (x + np.float32(0.5)) * np.float32((x1 - x0) / work[1]) + np.float32(x0 - 0.5)
    y = (y + np.float32(0.5)) * np.float32((y1 - y0) / work[0]) + np.float32(y0 - 0.5)
    return x, y


def _cut_out(picture: _Pictures, box: Box, work: tuple[int, int]) -> Picture:
    """Return the part of a picture in a box at working size."""
    x0, y0, x1, y1 = box
    if picture.half is not picture.whole and 2 * work[0] <= y1 - y0 and 2 * work[1] <= x1 - x0:
        part = picture.half[y0 // 2 : (y1 + 1) // 2, x0 // 2 : (x1 + 1) // 2]
    else:
        part = picture.whole[y0:y1, x0:x1]
    return np.asarray(cv2.resize(part, work[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _halved(picture: Picture) -> Picture:
    """Return a picture of half the size; the picture itself when it is small or of odd size."""
    height, width = picture.shape[:2]
    if max(height, width) < 2 * FLOW_PX or height % 2 or width % 2:
        return picture
    half = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(half, np.uint8)


def _work_size(box: Box, scale: float) -> tuple[int, int]:
    """Return (height, width) of a box at working size, both even."""
    x0, y0, x1, y1 = box
    return max(8, 2 * round((y1 - y0) * scale / 2)), max(8, 2 * round((x1 - x0) * scale / 2))


def _box_of(mask: Image, size: tuple[int, ...], margin: float, above: float) -> Box | None:
    """Return the box around what is above a value in a grid over the whole frame.

    Its corners are even, so that it covers whole pixels of the halved picture.

    Args:
        mask: (h, w) of any size.
        size: (height, width) of the picture.
        margin: added on each side, in pixels of the picture.
        above: what counts.
    """
    x, y, width, height = cv2.boundingRect((mask > above).view(np.uint8))
    if not width:
        return None
    zoom_x, zoom_y = size[1] / mask.shape[1], size[0] / mask.shape[0]
    left, upper = (max(0, int(at)) // 2 * 2 for at in (x * zoom_x - margin, y * zoom_y - margin))
    right, lower = (x + width) * zoom_x + margin, (y + height) * zoom_y + margin
    return (
        left,
        upper,
        min(size[1], 2 * int(np.ceil(right / 2))),
        min(size[0], 2 * int(np.ceil(lower / 2))),
    )
