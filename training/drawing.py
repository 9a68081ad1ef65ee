"""Procedurally drawn shapes and textures: objects that no photograph constrains."""

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator


def texture(rng: Rng, height: int, width: int) -> NDArray[np.uint8]:
    """Return a (H, W, 3) uint8 texture: plain, gradient, clouds, stripes, checks or spots."""
    first, second = (rng.integers(0, 256, 3).astype(np.float32) for _ in range(2))
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))](rng, height, width)
    pixels = first + pattern[..., None] * (second - first)
    if rng.random() < 0.7:
        pixels += (_clouds(rng, height, width)[..., None] - 0.5) * rng.uniform(10, 90)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _clouds(rng: Rng, height: int, width: int) -> NDArray[np.float32]:
    cells = int(rng.integers(2, 17))
    coarse = rng.random((cells, cells), dtype=np.float32)
    grown = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(grown, 0, 1).astype(np.float32)


def _ramp(rng: Rng, height: int, width: int) -> NDArray[np.float32]:
    """Return a plane through a random direction, 0 to about 1."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    plane = x / width * np.cos(angle) + y / height * np.sin(angle)
    return np.asarray(plane - plane.min(), np.float32)


def _plain(rng: Rng, height: int, width: int) -> NDArray[np.float32]:
    return np.zeros((height, width), np.float32)


def _stripes(rng: Rng, height: int, width: int) -> NDArray[np.float32]:
    wave = np.sin(_ramp(rng, height, width) * 2 * np.pi * rng.uniform(2, 12))
    return (wave > rng.uniform(-0.5, 0.5)).astype(np.float32)


def _checks(rng: Rng, height: int, width: int) -> NDArray[np.float32]:
    return np.abs(_stripes(rng, height, width) - _stripes(rng, height, width))


def _spots(rng: Rng, height: int, width: int) -> NDArray[np.float32]:
    canvas = np.zeros((height, width), np.uint8)
    radius = max(1, int(min(height, width) * rng.uniform(0.02, 0.1)))
    for _ in range(int(rng.integers(5, 40))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(canvas, centre, radius, 1, -1, cv2.LINE_AA)
    return canvas.astype(np.float32)


_PATTERNS = (_plain, _ramp, _clouds, _stripes, _checks, _spots)


def shape(rng: Rng, size: int = 128) -> NDArray[np.uint8]:
    """Return a (size, size) uint8 mask, 0 to 255, of an ellipse, polygon, star or blob."""
    kind = rng.integers(4)
    count = 48 if kind in (0, 3) else int(rng.integers(3, 8)) * (2 if kind == 2 else 1)
    angles = np.sort(rng.uniform(0, 2 * np.pi, count)) if kind == 1 else np.arange(count)
    if kind != 1:
        angles = angles * 2 * np.pi / count
    radii = np.ones(count)
    if kind == 1:
        radii = rng.uniform(0.7, 1.0, count)
    elif kind == 2:
        radii[::2] = rng.uniform(0.35, 0.8)
    elif kind == 3:
        for order in (2, 3, 4):
            radii += rng.uniform(0, 0.3) * np.sin(order * angles + rng.uniform(0, 6.3))
        radii /= radii.max()
    stretch = np.array([1.0, rng.uniform(0.4, 1.0)])
    turn = rng.uniform(0, 2 * np.pi)
    corners = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] * stretch
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = corners @ rotation * (size / 2 - 2) + size / 2
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [corners.astype(np.int32)], 255, cv2.LINE_AA)
    return mask


def sprite(rng: Rng, size: int = 128) -> NDArray[np.uint8]:
    """Return a (size, size, 4) uint8 RGBA textured shape, some with a second one on top."""
    mask = shape(rng, size)
    pixels = texture(rng, size, size)
    if rng.random() < 0.3:
        half = shape(rng, size // 2)
        inner = np.zeros((size, size), np.uint8)
        start = int(rng.integers(size // 8, size // 2 - size // 8 + 1))
        inner[start : start + size // 2, start : start + size // 2] = half
        pixels = np.where((inner > 127)[..., None], texture(rng, size, size), pixels)
    return np.dstack([pixels, mask])


def wiry(rng: Rng, size: int = 128) -> NDArray[np.uint8]:
    """Return a (size, size, 4) uint8 RGBA thing of rods and wheels, as bicycles and chairs are."""
    mask = np.zeros((size, size), np.uint8)
    thick = max(2, round(size * rng.uniform(0.025, 0.08)))
    corners = rng.integers(size // 8, size - size // 8, (int(rng.integers(2, 6)), 2))
    cv2.polylines(mask, [corners.astype(np.int32)], rng.random() < 0.5, 255, thick, cv2.LINE_AA)
    for corner in corners[: int(rng.integers(0, 3))]:
        wheel = int(size * rng.uniform(0.12, 0.3))
        centre = tuple(int(v) for v in np.clip(corner, wheel, size - wheel))
        wide = max(wheel // 3, round(wheel * rng.uniform(0.4, 1.0)))
        cv2.ellipse(mask, centre, (wide, wheel), rng.uniform(0, 30), 0, 360, 255, thick)
    dark = texture(rng, size, size).astype(np.float32) * rng.uniform(0.1, 1.0)
    return np.dstack([dark.astype(np.uint8), mask])
