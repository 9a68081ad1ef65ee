"""Things cut out of pictures, for clips: alone, two as one, and seen from another side."""

import cv2
import numpy as np
from numpy.typing import NDArray

from training import drawing
from training.data import Library, Picture

Rng = np.random.Generator
Pixels = NDArray[np.uint8]

CLIP_ART_SHARE = 0.35
"""Share of the cut-outs that are clip art, where there is some."""
WIRY_SHARE = 0.3
"""Share of the joined parts that are of rods and wheels."""


def region(rng: Rng, picture: Picture) -> tuple[int, ...] | None:
    """Return a label set of the picture, a whole thing four times as often as a part."""
    if picture.wholes and (not picture.parts or rng.random() < 0.8):
        return picture.wholes[rng.integers(len(picture.wholes))]
    return picture.parts[rng.integers(len(picture.parts))] if picture.parts else None


def any_picture(library: Library, rng: Rng) -> Picture:
    """Return a picture, each set as often as the others."""
    first, last = library.sets[rng.integers(len(library.sets))]
    return library.pictures[rng.integers(first, last)]


def joined(rng: Rng, one: Pixels, other: Pixels) -> Pixels:
    """Return two RGBA cut-outs that touch as one, as a rider and a horse."""
    scale = rng.uniform(0.4, 1.0) * max(one.shape[:2]) / max(other.shape[:2])
    size = tuple(max(8, round(side * scale)) for side in other.shape[1::-1])
    other = np.asarray(cv2.resize(other, size, interpolation=cv2.INTER_AREA), np.uint8)
    (h1, w1), (h2, w2) = one.shape[:2], other.shape[:2]
    canvas = np.zeros((h1 + 2 * h2, w1 + 2 * w2, 4), np.uint8)
    canvas[h2 : h2 + h1, w2 : w2 + w1] = one
    angle = rng.uniform(0, 2 * np.pi)  # its centre lies near the edge of the first
    top = round(h2 + h1 / 2 + 0.45 * h1 * np.sin(angle) - h2 / 2)
    left = round(w2 + w1 / 2 + 0.45 * w1 * np.cos(angle) - w2 / 2)
    here = canvas[top : top + h2, left : left + w2]
    over = other[..., 3] > 127
    here[over] = other[over]
    x, y, w, h = cv2.boundingRect(np.ascontiguousarray(canvas[..., 3]))
    return canvas[y : y + h, x : x + w]


def matched(rng: Rng, pixels: Pixels, ground: Pixels) -> Pixels:
    """Return an RGBA cut-out in light and colours nearer to those of the ground it is laid on."""
    share = rng.uniform(0, 0.7)
    inside = pixels[..., 3] > 127
    if not inside.any():
        return pixels
    shift = share * (ground.reshape(-1, 3).mean(0) - pixels[inside][:, :3].mean(0))
    moved = np.clip(pixels[..., :3] + shift, 0, 255).astype(np.uint8)
    return np.dstack([moved, pixels[..., 3]])


def cut_out(library: Library, rng: Rng) -> Pixels:
    """Return an (h, w, 4) RGBA piece of clip art or region of a picture; else a drawn shape."""
    if library.clip_art and rng.random() < CLIP_ART_SHARE:
        return library.clip_art[rng.integers(len(library.clip_art))]
    picture = any_picture(library, rng)
    labels = region(rng, picture)
    if labels is None:
        return drawing.sprite(rng)
    mask = picture.mask(labels)
    if rng.random() < 0.5:  # what labels leave of the ground around a thing
        mask = np.asarray(cv2.erode(mask, np.ones((3, 3), np.uint8)), np.uint8)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.3, 1.2))), np.uint8)
    x, y, w, h = cv2.boundingRect(mask)
    return np.dstack([picture.pixels, mask])[y : y + h, x : x + w]


def part(library: Library, rng: Rng, ground: Pixels) -> Pixels:
    """Return an RGBA cut-out to join to another one: some are thin rods and wheels."""
    if rng.random() < WIRY_SHARE:
        return drawing.wiry(rng)
    return matched(rng, cut_out(library, rng), ground)


def turned(library: Library, rng: Rng, pixels: Pixels, ground: Pixels) -> Pixels:
    """Return an RGBA cut-out as it looks later, from elsewhere: other light, sides and parts.

    Its shape in pixels stays, so that the same motion fits.
    """
    height, width = pixels.shape[:2]
    light = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.04, 3))
    seen = pixels.copy()
    seen[..., :3] = np.clip(pixels[..., :3] * light, 0, 255).astype(np.uint8)
    roll = rng.random()
    if roll < 0.25:
        return np.ascontiguousarray(seen[:, ::-1])
    if roll < 0.5:  # a part that was not to be seen before
        both = joined(rng, seen, part(library, rng, ground))
        return np.asarray(cv2.resize(both, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    if roll < 0.7:  # from the side: narrower
        narrow = max(8, round(width * rng.uniform(0.4, 0.9)))
        left = (width - narrow) // 2
        out = np.zeros_like(seen)
        out[:, left : left + narrow] = cv2.resize(
            seen, (narrow, height), interpolation=cv2.INTER_AREA
        )
        return out
    return seen


def moments(rng: Rng, length: int, frames: int, leapt: bool) -> list[int]:
    """Return which of a track's `length` frames to show, evenly apart, forward or backward.

    After a leap the first is any other one. A track that is too short goes to and fro.
    """
    furthest = max(1.0, (length - 1) / max(1, frames - 1))
    stride = max(1, round(float(np.exp(rng.uniform(0, np.log(furthest))))))
    start = int(rng.integers(0, max(1, length - stride * (frames - 1))))
    path = start + stride * np.arange(frames)
    if leapt:
        path[0] = rng.integers(length)
    path = np.abs((path + length - 1) % max(1, 2 * (length - 1)) - (length - 1))
    return [int(t) for t in (path if rng.random() < 0.5 else length - 1 - path)]
