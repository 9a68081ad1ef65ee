"""Fit a carried mask to the picture it was carried onto.

Flow is blurred at the edges of moving things and drags along what it uncovers. So each pixel
near the carried contour looks for its like in the frame whose mask is known: around where
flow says it came from, where it would be had it moved with the object as a whole, and where
had it moved with the ground. The pixels of similar colour found there vote whether it is of
the object. Where flow explains the picture, its own answer stands. A colour guided filter
then lays the edge onto the picture's.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamtrack.display.flow import Floats, Image, Picture
from streamtrack.display.guided import guided_filter

_TRUST_GREYS = 15.0
"""Change of colour at which flow's answer counts 1/e; 10 to 20 are alike (measured)."""
_SURE = 0.8
"""Trust above which a pixel does not vote (measured: 0.95 is no better)."""
_COLOUR_SIGMA = 10.0
"""Sum of the three channels' differences, in grey levels (measured)."""
_FIT_POINTS, _FIT_LEAST = 200, 12
_FIT_PX = 2.0
_FIT_GREYS = 25.0
_BLOCK = 4096
_STILL = 0.01
"""Share of the contour's surroundings that may have changed unlooked at (guess)."""
_OUTSIDE = 255
"""Label of pixels that have no vote."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """An object in the frame whose mask is known, cut out at working size."""

    colours: Picture
    """(h, w, 3) uint8 RGB."""
    mask: Floats
    """(h, w) float32, share of each pixel that is of the object, 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A carried mask."""

    mask: Image
    """(h, w) float32, 0 to 1; the object is above 0.5."""
    support: float
    """Share of the carried object that still looks as it did, 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """How far and how densely pixels look around, in pixels of their level."""

    offsets: NDArray[np.int64]
    """(n, 2) dx, dy around where flow says a pixel was."""
    glances: NDArray[np.int64]
    """(n, 2) dx, dy around where the motion of a whole says it was."""
    sigma: float
    """Distance at which a vote counts 0.6."""
    band: int
    """Side of the square around a pixel in which the contour may be, odd."""
    prior: float
    """Weight of what was known of a pixel before it looked."""
    guide: int
    """Step of the guided filter: 2 takes a third of the time of 1."""


def _spiral(count: int, radius: float) -> NDArray[np.int64]:
    """Return (n, 2) offsets (dx, dy) spread evenly over a disc, the middle among them."""
    i = np.arange(1, count + 1)
    turn, r = i * 2.399963, radius * np.sqrt(i / count)
    spread = np.rint(np.stack([r * np.cos(turn), r * np.sin(turn)], axis=1)).astype(np.int64)
    return np.unique(np.vstack([[[0, 0]], spread]), axis=0)


_COARSE = _Look(_spiral(32, 14), _spiral(16, 6), 9.0, 17, 1e-3, 1)
_FINE = _Look(_spiral(24, 12), _spiral(16, 6), 9.0, 15, 0.05, 2)
"""Coarse to fine, wide to narrow (measured, benchmarks/LOG.md 2026-11-21)."""

CameFrom = tuple[Floats, Floats]
_Motion = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """The known picture, moved."""

    colours: Image
    """(h, w, 3) uint8 RGB."""
    mask: Image
    """(h, w) float32, where the object would be."""
    labels: Picture
    """(h, w) uint8: 254 is of the object, 0 is not, _OUTSIDE has no vote."""
    offsets: NDArray[np.int64]
    """(n, 2) dx, dy at which it is looked at."""


def refit(known: Known, colours: Picture, came_from: CameFrom) -> Fitted:
    """Return the mask of an object in a new picture, coarsely first.

    Args:
        known: the object as it was; sides even.
        colours: (h, w, 3) uint8 RGB, the working region of the new picture; sides even.
        came_from: x and y, each (h, w) float32: where flow says each pixel was, in pixels
            of the known cut-out.
    """
    fine = _follow(known, colours, came_from)
    support = _support(fine)
    if _explained(fine):
        return Fitted(fine.mask, support)
    half_known, half_colours = Known(_half(known.colours), _half(known.mask)), _half(colours)
    half_from = _half_position(came_from[0]), _half_position(came_from[1])
    half = _follow(half_known, half_colours, half_from)
    coarse = _fit(half_known, half_colours, half_from, half, None, _COARSE)
    begun = np.clip(cv2.resize(coarse, (colours.shape[1], colours.shape[0])), 0, 1)
    return Fitted(_fit(known, colours, came_from, fine, begun, _FINE), support)


def _half(image: Image) -> Image:
    size = image.shape[1] // 2, image.shape[0] // 2
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _half_position(x: Floats) -> Floats:
    """Return positions at half size, in pixels of half size."""
    return np.asarray((_half(x) - np.float32(0.5)) * np.float32(0.5), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Followed:
    """The known picture moved as flow says."""

    colours: Image
    """(h, w, 3) uint8 RGB."""
    mask: Image
    """(h, w) float32."""
    change: Floats
    """(h, w) float32, how far the new picture differs, in grey levels."""
    trust: Floats
    """(h, w) float32, 1 where it does not differ, towards 0 where it does."""


def _follow(known: Known, colours: Picture, came_from: CameFrom) -> _Followed:
    x, y = came_from
    mask = cv2.remap(known.mask, x, y, cv2.INTER_LINEAR)
    then = cv2.remap(known.colours, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    channels = cv2.split(cv2.absdiff(colours, then))
    most = cv2.max(cv2.max(channels[0], channels[1]), channels[2])
    change = np.asarray(cv2.blur(most, (3, 3)), np.float32)
    trust = np.exp(-((change * np.float32(1 / _TRUST_GREYS)) ** 2))
    return _Followed(then, mask, change, trust)


def _support(followed: _Followed) -> float:
    """Return the share of the object that looks as it did."""
    inside = followed.change[followed.mask > 0.5]
    return float(np.mean(inside < 2 * _TRUST_GREYS)) if inside.size else 0.0


def _band(mask: Image, side: int) -> NDArray[np.bool_]:
    """Return (h, w) bool, where both values of a mask are near."""
    near = cv2.blur(mask, (side, side))
    return np.asarray((near > 0.01) & (near < 0.99))


def _explained(followed: _Followed) -> bool:
    """Whether flow explains the picture all along the contour."""
    band = _band(followed.mask, _FINE.band)
    unsure = np.count_nonzero(band & (followed.trust < _SURE))
    return bool(unsure <= _STILL * np.count_nonzero(band))


def _fit(
    known: Known,
    colours: Picture,
    came_from: CameFrom,
    followed: _Followed,
    coarse: Image | None,
    look: _Look,
) -> Image:
    """Return the mask at one level, (h, w) float32.

    Args:
        known: the object as it was.
        colours: (h, w, 3) uint8 RGB.
        came_from: as in `refit`, at this level.
        followed: what flow makes of it.
        coarse: (h, w) float32, what a coarser level found.
        look: how to look around.
    """
    views = _whole_views(known, came_from, followed, look)
    begun = coarse
    if begun is None:
        begun = (followed.mask + views[0].mask) * np.float32(0.5) if views else followed.mask
    band = _band((followed.mask + begun) * np.float32(0.5), look.band)

    # Vote where flow does not explain the picture.
    unsure = np.flatnonzero(band & (followed.trust < _SURE))
    mask = followed.mask.copy()
    if len(unsure):
        views.append(_View(followed.colours, mask, _labels(mask), look.offsets))
        said = _vote(colours, unsure, views, begun.ravel()[unsure], look)
        weight = followed.trust.ravel()[unsure]
        mask.ravel()[unsure] = said + weight * (mask.ravel()[unsure] - said)

    # Lay the edge onto the picture's, where it changed.
    smooth = guided_filter(colours, mask, look.guide)
    return np.where(band, smooth + followed.trust * (mask - smooth), mask)


def _labels(mask: Image) -> Picture:
    """Return a mask as labels 0 to 254."""
    return np.asarray(cv2.convertScaleAbs(mask, alpha=254.0), np.uint8)


def _whole_views(
    known: Known, came_from: CameFrom, followed: _Followed, look: _Look
) -> list[_View]:
    """Return the known object moved as a whole, and the known ground moved as a whole."""
    x, y = came_from
    carried, alike = followed.mask, followed.change < _FIT_GREYS
    core = cv2.erode(carried, np.ones((5, 5), np.uint8)) > 0.9
    ground = cv2.blur(carried, (look.band, look.band)) < 0.01
    size, flags = (x.shape[1], x.shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    views: list[_View] = []
    for part, is_object in ((core, True), (ground, False)):
        motion = _motion(x, y, part & alike)
        if motion is None:
            continue
        colours = cv2.warpAffine(known.colours, motion, size, flags=flags)
        border = 0.0 if is_object else 1.0
        mask = cv2.warpAffine(known.mask, motion, size, flags=flags, borderValue=border)
        labels = _labels(mask)
        labels[(mask <= 0.3) if is_object else (mask >= 0.3)] = _OUTSIDE
        views.append(_View(colours, mask if is_object else carried, labels, look.glances))
    return views


def _motion(x: Floats, y: Floats, part: NDArray[np.bool_]) -> _Motion | None:
    """Return the (2, 3) affine motion that most of a part made, None if none fits."""
    chosen = np.flatnonzero(part)
    if len(chosen) < _FIT_LEAST:
        return None
    chosen = chosen[:: max(1, len(chosen) // _FIT_POINTS)]
    now = np.stack([chosen % x.shape[1], chosen // x.shape[1]], axis=1).astype(np.float32)
    then = np.stack([x.ravel()[chosen], y.ravel()[chosen]], axis=1)
    found = cv2.estimateAffine2D(
        now, then, method=cv2.RANSAC, ransacReprojThreshold=_FIT_PX, maxIters=100,
        confidence=0.95, refineIters=3,
    )  # fmt: skip
    return None if found[0] is None else np.asarray(found[0], np.float64)


def _vote(
    colours: Picture, pixels: NDArray[np.int64], views: list[_View], start: Image, look: _Look
) -> Floats:
    """Return what the views say of some pixels, 0 to 1.

    Args:
        colours: (h, w, 3) uint8 RGB, the new picture.
        pixels: (n,) flat indices into it.
        views: where to look.
        start: (n,) what holds where nothing like a pixel is found.
        look: how nearness and what was known weigh.
    """
    width = colours.shape[1]
    margin = int(max(np.abs(view.offsets).max() for view in views))
    stride = width + 2 * margin
    stacked, offsets, nearness = [], [], []
    for i, view in enumerate(views):
        spread = view.offsets
        packed = cv2.merge([*cv2.split(view.colours), view.labels])
        padded = cv2.copyMakeBorder(
            packed, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=[_OUTSIDE] * 4
        )
        stacked.append(padded.reshape(-1, 4).view(np.uint32).ravel())
        offsets.append(i * len(stacked[0]) + spread[:, 1] * stride + spread[:, 0])
        nearness.append(np.exp(-(spread**2).sum(axis=1) / (2 * look.sigma**2)))
    everything, offset = np.concatenate(stacked), np.concatenate(offsets)
    near = np.concatenate(nearness).astype(np.float32)
    centre = (pixels // width + margin) * stride + pixels % width + margin
    target = np.ascontiguousarray(colours.reshape(-1, 3)[pixels].T)  # (3, n)
    said = np.empty(len(pixels), np.float32)
    for first in range(0, len(pixels), _BLOCK):
        part = slice(first, first + _BLOCK)
        seen = everything.take(centre[part] + offset[:, None])  # (offsets, n)
        votes, voters = _count(seen, target[:, part], near)
        said[part] = (votes + look.prior * start[part]) / (voters + look.prior)
    return said


_LIKENESS = np.exp(-((np.arange(256) / _COLOUR_SIGMA) ** 2) / 2).astype(np.float32)
_LIKENESS[255] = 0
_SHARE = np.minimum(np.arange(256, dtype=np.float32) / 254, 1)


def _count(seen: NDArray[np.uint32], target: Picture, near: Floats) -> tuple[Floats, Floats]:
    """Return the votes for the object and all votes, each (n,), weighed by likeness.

    Args:
        seen: (offsets, n) uint32, packed red, green, blue and label.
        target: (3, n) uint8, the colours that are looked for.
        near: (offsets,) weight of each offset.
    """
    *channels, label = cv2.split(seen.view(np.uint8).reshape(*seen.shape, 4))
    distance = np.where(label == _OUTSIDE, np.uint8(255), np.uint8(0))
    for channel, wanted in zip(channels, target, strict=True):
        wanted = np.ascontiguousarray(np.broadcast_to(wanted, channel.shape))
        distance = cv2.add(distance, cv2.absdiff(channel, wanted))
    weight = cv2.LUT(distance, _LIKENESS)
    votes = near @ (weight * cv2.LUT(label, _SHARE))
    return votes, near @ weight
