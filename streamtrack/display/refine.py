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

_TRUST_GREYS = 15.0
"""Change of colour at which flow's answer counts 1/e; 10 to 20 are alike (measured)."""
_SURE = 0.8
"""Trust above which a pixel does not vote (measured: 0.95 is no better)."""
_COLOUR_SIGMA = 14.0
"""Sum of the three channels' differences, in grey levels (measured)."""
_GUIDE_PX, _GUIDE_EPS = 3, 1e-4
_FIT_POINTS, _FIT_LEAST = 200, 12
_FIT_PX = 2.0
_FIT_GREYS = 25.0
_BLOCK = 4096
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


def _spiral(count: int, radius: float) -> NDArray[np.int64]:
    """Return (n, 2) offsets (dx, dy) spread evenly over a disc, the middle among them."""
    i = np.arange(1, count + 1)
    turn, r = i * 2.399963, radius * np.sqrt(i / count)
    spread = np.rint(np.stack([r * np.cos(turn), r * np.sin(turn)], axis=1)).astype(np.int64)
    return np.unique(np.vstack([[[0, 0]], spread]), axis=0)


_COARSE = _Look(_spiral(32, 14), _spiral(16, 6), 9.0, 17, 1e-3)
_FINE = _Look(_spiral(24, 12), _spiral(16, 6), 9.0, 15, 0.05)
"""Coarse to fine, wide to narrow (measured, benchmarks/LOG.md 2026-11-21)."""

_CameFrom = tuple[Floats, Floats]
_Motion = NDArray[np.float64]
_View = tuple[Image, Picture, NDArray[np.int64]]
"""A picture, its labels, and the offsets at which it is looked at."""


def refit(known: Known, colours: Picture, came_from: _CameFrom) -> Fitted:
    """Return the mask of an object in a new picture, coarsely first.

    Args:
        known: the object as it was; sides even.
        colours: (h, w, 3) uint8 RGB, the working region of the new picture; sides even.
        came_from: x and y, each (h, w) float32: where flow says each pixel was, in pixels
            of the known cut-out.
    """
    half_known = Known(_half(known.colours), _half(known.mask))
    half_from = _half_position(came_from[0]), _half_position(came_from[1])
    coarse = _fit(half_known, _half(colours), half_from, None, _COARSE)
    height, width = colours.shape[:2]
    start = np.clip(cv2.resize(coarse.mask, (width, height)), 0, 1)
    return _fit(known, colours, came_from, start, _FINE)


def _half(image: Image) -> Image:
    size = image.shape[1] // 2, image.shape[0] // 2
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _half_position(x: Floats) -> Floats:
    """Return positions at half size, in pixels of half size."""
    return np.asarray((_half(x) - np.float32(0.5)) * np.float32(0.5), np.float32)


def _fit(
    known: Known, colours: Picture, came_from: _CameFrom, start: Image | None, look: _Look
) -> Fitted:
    """Return the mask at one level.

    Args:
        known: the object as it was.
        colours: (h, w, 3) uint8 RGB.
        came_from: as in `refit`, at this level.
        start: (h, w) float32, what a coarser level found.
        look: how to look around.
    """
    x, y = came_from
    carried: Image = cv2.remap(known.mask, x, y, cv2.INTER_LINEAR)
    colours_then = cv2.remap(known.colours, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    change = _change(colours, colours_then)
    support = _support(carried, change)
    begun = carried if start is None else start
    near = cv2.blur((carried + begun) * np.float32(0.5), (look.band, look.band))
    band = (near > 0.01) & (near < 0.99)
    if not band.any():
        return Fitted(carried, support)

    # Vote where flow does not explain the picture.
    trust = np.exp(-((change / _TRUST_GREYS) ** 2))
    unsure = np.flatnonzero(band & (trust < _SURE))
    mask = carried.copy()
    if len(unsure):
        views = [(colours_then, _labels(carried), look.offsets)]
        motions = _whole_motions(x, y, carried, near, change)
        views += _moved(known, colours.shape, motions, look.glances)
        said = _vote(colours, unsure, views, begun.ravel()[unsure], look)
        own, weight = carried.ravel()[unsure], trust.ravel()[unsure]
        mask.ravel()[unsure] = weight * own + (1 - weight) * said

    # Lay the edge onto the picture's, where it changed.
    smooth = guided_filter(colours, mask)
    return Fitted(np.where(band, trust * mask + (1 - trust) * smooth, mask), support)


def _change(now: Picture, then: Image) -> Floats:
    """Return how far colours changed, (h, w) float32 in grey levels."""
    difference = cv2.absdiff(now, then)
    channels = cv2.split(difference)
    most = cv2.max(cv2.max(channels[0], channels[1]), channels[2])
    return np.asarray(cv2.blur(most, (3, 3)), np.float32)


def _support(carried: Image, change: Floats) -> float:
    inside = change[carried > 0.5]
    return float(np.mean(inside < 2 * _TRUST_GREYS)) if inside.size else 0.0


def _labels(mask: Image) -> Picture:
    """Return a mask as labels 0 to 254."""
    return np.asarray(cv2.convertScaleAbs(mask, alpha=254.0), np.uint8)


def _whole_motions(
    x: Floats,
    y: Floats,
    carried: Image,
    near: Image,
    change: Floats,
) -> tuple[_Motion | None, _Motion | None]:
    """Return the motion of the object as a whole and that of the ground around it."""
    alike = change < _FIT_GREYS
    core = cv2.erode(carried, np.ones((5, 5), np.uint8)) > 0.9
    return _motion(x, y, core & alike), _motion(x, y, (near < 0.01) & alike)


def _moved(
    known: Known,
    shape: tuple[int, ...],
    motions: tuple[_Motion | None, _Motion | None],
    glances: NDArray[np.int64],
) -> list[_View]:
    """Return the known object moved by its own motion, and the known ground by its own."""
    size, flags = (shape[1], shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    views: list[_View] = []
    for motion, is_object in zip(motions, (True, False), strict=True):
        if motion is None:
            continue
        colours = cv2.warpAffine(known.colours, motion, size, flags=flags)
        mask = cv2.warpAffine(
            known.mask, motion, size, flags=flags, borderValue=0.0 if is_object else 1.0
        )
        labels = _labels(mask)
        labels[(mask <= 0.3) if is_object else (mask >= 0.3)] = _OUTSIDE
        views.append((colours, labels, glances))
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
    margin = int(max(np.abs(spread).max() for _, _, spread in views))
    stride = width + 2 * margin
    stacked, offsets, nearness = [], [], []
    for i, (picture, labels, spread) in enumerate(views):
        packed = cv2.merge([*cv2.split(picture), labels])
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


def guided_filter(
    colours: Picture, mask: Image, radius: int = _GUIDE_PX, eps: float = _GUIDE_EPS
) -> Floats:
    """Return a mask made locally linear in the picture's colours (He et al., ECCV 2010).

    Args:
        colours: (h, w, 3) uint8 RGB.
        mask: (h, w) float32, 0 to 1.
        radius: of the windows, in pixels.
        eps: variance of colour, each channel in [0, 1], below which an area counts as flat.
    """
    side = (2 * radius + 1, 2 * radius + 1)

    def mean(image: Image) -> Image:
        return cv2.blur(image, side)

    scaled = colours.astype(np.float32) * np.float32(1 / 255)
    red, green, blue = cv2.split(scaled)
    mr, mg, mb, mp = mean(red), mean(green), mean(blue), mean(mask)
    # Covariances of the colours with the mask, and among themselves.
    cr, cg, cb = (
        mean(red * mask) - mr * mp,
        mean(green * mask) - mg * mp,
        mean(blue * mask) - mb * mp,
    )
    rr, gg, bb = (mean(c * c) - m * m + eps for c, m in ((red, mr), (green, mg), (blue, mb)))
    rg, rb, gb = (
        mean(red * green) - mr * mg,
        mean(red * blue) - mr * mb,
        mean(green * blue) - mg * mb,
    )
    # Invert the symmetric 3 x 3 matrix by its adjugate.
    irr, irg, irb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    igg, igb, ibb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    scale = 1 / (irr * rr + irg * rg + irb * rb)
    ar = (irr * cr + irg * cg + irb * cb) * scale
    ag = (irg * cr + igg * cg + igb * cb) * scale
    ab = (irb * cr + igb * cg + ibb * cb) * scale
    rest = mp - ar * mr - ag * mg - ab * mb
    return np.asarray(mean(ar) * red + mean(ag) * green + mean(ab) * blue + mean(rest), np.float32)
