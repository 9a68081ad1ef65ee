"""The backdrop of the drawn scene: sky, hills and a meadow that slide past each other."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamtrack.media.demo_art import Colour, Plane, mix, soft_noise

_SWAY = 0.10
"""Farthest the meadow slides to either side, as a share of the picture's width."""
_PERIOD_S = 41.0
"""Seconds in which the view sways there and back."""


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A strip of the backdrop, wider than the picture."""

    picture: NDArray[np.uint8]
    """(h, w, 3) uint8 RGB, multiplied by its opacity."""
    see_through: NDArray[np.uint8] | None
    """(h, w, 3) uint8, 255 where what lies behind shows; None where nothing does."""
    top: int
    """The row of the picture on which it begins."""
    depth: float
    """How far it slides, 1 with the meadow, 0 not at all."""


class Backdrop:
    """Draws the backdrop at any moment; everything is painted when it is made."""

    def __init__(self, height: int, width: int, rng: np.random.Generator) -> None:
        """Paint the layers for pictures of height x width pixels."""
        self._shape = (height, width)
        self._margin = math.ceil(_SWAY * width) + 2
        across = width + 2 * self._margin
        self._layers = (
            _paint_sky(height, across, rng),
            _paint_hills(height, across, rng),
            _paint_meadow(height, across, rng),
        )

    def draw(self, seconds: float) -> NDArray[np.uint8]:
        """Return a new (H, W, 3) uint8 RGB picture of the backdrop."""
        height, width = self._shape
        picture = np.zeros((height, width, 3), np.uint8)
        sway = _SWAY * width * math.sin(2 * math.pi * seconds / _PERIOD_S)
        for layer in self._layers:
            begin = self._margin + sway * layer.depth
            rows = picture[layer.top : layer.top + layer.picture.shape[0]]
            strip = _slide(layer.picture, begin, width)
            if layer.see_through is not None:
                cv2.multiply(rows, _slide(layer.see_through, begin, width), rows, 1 / 255)
                cv2.add(rows, strip, rows)
            else:
                rows[:] = strip
        return picture


def _slide(strip: NDArray[np.uint8], begin: float, width: int) -> NDArray[np.uint8]:
    """Return width columns of a strip from a fractional column on."""
    first = math.floor(begin)
    share = begin - first
    here, right = strip[:, first : first + width], strip[:, first + 1 : first + 1 + width]
    return np.asarray(cv2.addWeighted(here, 1 - share, right, share, 0), np.uint8)


def _layer(rgb: NDArray[np.float32], opacity: Plane | None, rows: slice, depth: float) -> _Layer:
    """Cut a painted layer to its rows and store it as bytes."""
    if opacity is not None:
        rgb = rgb * opacity[..., None]
    picture = np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8)[rows]
    behind = None
    if opacity is not None:
        single = np.clip((1 - opacity) * 255 + 0.5, 0, 255).astype(np.uint8)[rows]
        behind = cv2.merge([single] * 3)
    return _Layer(np.ascontiguousarray(picture), behind, rows.start, depth)


def _paint_sky(height: int, width: int, rng: np.random.Generator) -> _Layer:
    """Sky with soft clouds and far blue ridges."""
    down = np.broadcast_to(np.linspace(0, 1, height, dtype=np.float32)[:, None], (height, width))
    rgb = mix((0.36, 0.58, 0.84), (0.90, 0.92, 0.90), np.clip(down / 0.58, 0, 1))
    clouds = soft_noise(rng, (height, width), 5, 5, stretch=2.4)
    cover = np.clip((clouds - 0.52) * 3.2, 0, 1) * np.clip(1.05 - down * 1.7, 0, 1)
    shade = np.clip(0.80 + 0.35 * (clouds - 0.5), 0, 1)
    rgb += (shade[..., None] * np.float32(1.16) - rgb) * (cover * 0.85)[..., None]
    for level, rise, tint in ((0.50, 0.10, (0.60, 0.71, 0.80)), (0.55, 0.07, (0.48, 0.62, 0.66))):
        ridge = level - rise * _profile(width, 4, rng)
        _cover(rgb, down, ridge, mix(tint, (0.80, 0.85, 0.82), np.clip((down - level) * 5, 0, 1)))
    return _layer(rgb, None, slice(0, round(0.70 * height)), 0.18)


def _paint_hills(height: int, width: int, rng: np.random.Generator) -> _Layer:
    """Wooded hills at middle distance."""
    shape = (height, width)
    down = np.broadcast_to(np.linspace(0, 1, height, dtype=np.float32)[:, None], shape)
    trees = soft_noise(rng, shape, 38, 3)
    crowns = 0.030 * soft_noise(rng, (1, width), 60, 2)[0]
    ridge = 0.585 - 0.085 * _profile(width, 3, rng) - crowns
    opacity = np.clip((down - ridge) * height * 0.8 + 0.5, 0, 1)
    rgb = mix((0.22, 0.38, 0.27), (0.45, 0.58, 0.36), np.clip((down - 0.5) * 6, 0, 1))
    rgb *= (0.72 + 0.50 * trees)[..., None]
    first = max(0, math.floor(float(ridge.min()) * height) - 2)
    return _layer(rgb, opacity.astype(np.float32), slice(first, round(0.72 * height)), 0.5)


def _paint_meadow(height: int, width: int, rng: np.random.Generator) -> _Layer:
    """Grass that grows coarser towards the viewer, with daisies and a sandy path."""
    shape = (height, width)
    down = np.broadcast_to(np.linspace(0, 1, height, dtype=np.float32)[:, None], shape)
    near = np.clip((down - 0.60) / 0.40, 0, 1)
    edge = 0.625 - 0.03 * _profile(width, 2, rng)
    opacity = np.clip((down - edge) * height * 0.8 + 0.5, 0, 1).astype(np.float32)
    fine, coarse = soft_noise(rng, shape, 150, 2, 0.5), soft_noise(rng, shape, 40, 3, 0.4)
    patches = soft_noise(rng, shape, 6, 3, 2.5)
    rgb = mix((0.56, 0.66, 0.34), (0.30, 0.46, 0.20), near)
    rgb *= (0.74 + 0.28 * fine * (1 - near) + 0.36 * coarse * near + 0.16 * patches)[..., None]
    middle = 0.80 + 0.03 * np.sin(np.linspace(0, 7, width, dtype=np.float32))
    path = np.asarray(
        np.clip(1.3 - np.abs(down - middle) / 0.075 - 0.5 * coarse, 0, 1) * 0.75, np.float32
    )
    sand = mix((0.72, 0.62, 0.44), (0.84, 0.75, 0.57), patches) * (0.85 + 0.2 * fine)[..., None]
    rgb += (sand - rgb) * path[..., None]
    _sow(rgb, path, rng)
    first = max(0, math.floor(float(edge.min()) * height) - 2)
    return _layer(rgb, opacity, slice(first, height), 1.0)


def _sow(rgb: NDArray[np.float32], path: Plane, rng: np.random.Generator) -> None:
    """Draw small flowers on the grass, larger towards the viewer."""
    height, width = path.shape
    for _ in range(width // 7):
        x, y = int(rng.integers(width)), int(height * (0.66 + 0.34 * rng.random() ** 0.7))
        flower: Colour = (0.96, 0.94, 0.86) if rng.random() < 0.7 else (0.95, 0.78, 0.28)
        radius = height * 0.0045 * (y / height - 0.45) * (0.7 + 0.6 * rng.random())
        if y < height and path[y, x] < 0.1 and radius > 0.3:
            centre = (x * 16 + 8, y * 16 + 8)
            cv2.circle(rgb, centre, max(1, round(radius * 16)), flower, -1, cv2.LINE_8, 4)


def _profile(width: int, bumps: int, rng: np.random.Generator) -> Plane:
    """Return (width,) heights in [0, 1] of a rolling skyline."""
    return np.asarray(soft_noise(rng, (1, width), bumps, 3)[0], np.float32)


def _cover(
    rgb: NDArray[np.float32], down: Plane, ridge: Plane, colours: NDArray[np.float32]
) -> None:
    """Paint what lies below a skyline."""
    share = np.clip((down - ridge) * rgb.shape[0] * 0.8 + 0.5, 0, 1)
    rgb += (colours - rgb) * share[..., None]
