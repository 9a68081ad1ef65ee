"""How the things of the drawn scene are painted: signed distances, noise and one light.

Every painter works on a square canvas with x and y in [-1, 1], y downwards, and
returns a sprite. Nothing here is random but what the given generator draws.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
"""(n, n) float32: one value for each point of the canvas."""
Colour = tuple[float, float, float]
"""Red, green and blue in [0, 1]."""

_OVERSAMPLING = 2
_LIGHT = np.array([-0.45, -0.65, 0.62], np.float32)  # from the upper left, towards the viewer
PHASES = 8
"""Pictures in the cycle of a thing that flaps, wags or walks."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A painted thing: a picture with a soft edge, ready to be warped."""

    rgba: NDArray[np.uint8]
    """(n, n, 4) uint8, colours multiplied by alpha."""


class Canvas:
    """A square on which one thing is painted, shape over shape."""

    def __init__(self, pixels: int, rng: np.random.Generator) -> None:
        """Make an empty canvas for a sprite of pixels x pixels."""
        self.pixels = pixels
        self.rng = rng
        n = pixels * _OVERSAMPLING
        axis = (np.arange(n, dtype=np.float32) + 0.5) * 2 / n - 1
        self.x: Plane
        self.y: Plane
        self.x, self.y = np.meshgrid(axis, axis)
        self.rgb = np.zeros((n, n, 3), np.float32)
        self.alpha: Plane = np.zeros((n, n), np.float32)

    def noise(self, cells: int, octaves: int = 3, stretch: float = 1.0) -> Plane:
        """Return soft noise in [0, 1] with about cells bumps across the canvas."""
        return soft_noise(self.rng, self.x.shape, cells, octaves, stretch)

    def coverage(self, distance: Plane) -> Plane:
        """Return how much of each canvas point a shape covers, from its signed distance."""
        return np.asarray(np.clip(0.5 - distance * self.x.shape[0] / 2, 0, 1), np.float32)

    def shape(
        self,
        distance: Plane,
        colour: Colour | NDArray[np.float32],
        *,
        bevel: float = 0.0,
        texture: Plane | None = None,
        strength: float = 0.25,
    ) -> None:
        """Paint a shape over what is there.

        Args:
            distance: signed distance to the shape's edge, negative inside.
            colour: one colour or (n, n, 3) float32 in [0, 1].
            bevel: width of the rounded rim in canvas units; 0 paints it flat.
            texture: noise in [0, 1] that lightens and darkens the colour.
            strength: how much the texture does so.
        """
        cover = self.coverage(distance)
        rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
        if not rows.size:
            return
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        cover, rgb, alpha = cover[part], self.rgb[part], self.alpha[part]
        paint = np.asarray(colour, np.float32)
        paint = paint[part] if paint.ndim == 3 else np.broadcast_to(paint, rgb.shape)
        if texture is not None:
            paint = paint * (1 + strength * (texture[part][..., None] * 2 - 1))
        if bevel > 0:
            paint = self._lit(paint, distance[part], bevel)
        rgb += (np.clip(paint, 0, 1) - rgb) * cover[..., None]
        alpha += (1 - alpha) * cover

    def _lit(
        self, paint: NDArray[np.float32], distance: Plane, bevel: float
    ) -> NDArray[np.float32]:
        """Return the paint as it looks on a surface with a rounded rim under the light."""
        rise = np.clip(-distance / bevel, 0, 1)
        height = bevel * np.sqrt(1 - (1 - rise) ** 2)
        slope_y, slope_x = np.gradient(height, 2 / self.x.shape[0])
        length = np.sqrt(slope_x**2 + slope_y**2 + 1)
        light = (-slope_x * _LIGHT[0] - slope_y * _LIGHT[1] + _LIGHT[2]) / length
        glint = np.clip(light, 0, 1) ** 24 * 0.30
        return np.asarray(paint * (0.56 + 0.62 * light)[..., None] + glint[..., None], np.float32)

    def sprite(self) -> Sprite:
        """Return what was painted."""
        rgba = np.dstack([self.rgb * self.alpha[..., None], self.alpha])
        size = (self.pixels, self.pixels)
        small = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA)
        return Sprite(np.clip(small * 255 + 0.5, 0, 255).astype(np.uint8))


def soft_noise(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    cells: int,
    octaves: int = 3,
    stretch: float = 1.0,
) -> Plane:
    """Return smooth noise in [0, 1] of the given (height, width).

    Args:
        rng: where the bumps come from.
        shape: (height, width) of the result.
        cells: bumps across the width in the coarsest octave.
        octaves: layers, each twice as fine and half as strong.
        stretch: how many times wider than high a bump is.
    """
    height, width = shape[:2]
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = max(2, cells * 2**octave)
        rows = max(2, round(columns * stretch * height / width))
        grid = rng.random((rows + 1, columns + 1), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / max(high - low, 1e-6), np.float32)


def circle(x: Plane, y: Plane, radius: float) -> Plane:
    """Signed distance to a circle around (0, 0)."""
    return np.asarray(np.hypot(x, y) - radius, np.float32)


def ellipse(x: Plane, y: Plane, half_width: float, half_height: float) -> Plane:
    """Signed distance, near the edge, to an ellipse around (0, 0)."""
    unit = np.hypot(x / half_width, y / half_height)
    slope = np.hypot(x / half_width**2, y / half_height**2)
    return np.asarray(unit * (unit - 1) / np.maximum(slope, 1e-3), np.float32)


def slab(x: Plane, y: Plane, half_width: float, half_height: float, corner: float) -> Plane:
    """Signed distance to a rectangle with round corners around (0, 0)."""
    over_x, over_y = np.abs(x) - half_width + corner, np.abs(y) - half_height + corner
    outside = np.hypot(np.maximum(over_x, 0), np.maximum(over_y, 0))
    inside = np.minimum(np.maximum(over_x, over_y), 0)
    return np.asarray(outside + inside - corner, np.float32)


def stick(
    x: Plane, y: Plane, start: tuple[float, float], end: tuple[float, float], radius: float
) -> Plane:
    """Signed distance to a line with round ends."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    squared = along_x**2 + along_y**2
    at = np.clip(((x - start[0]) * along_x + (y - start[1]) * along_y) / squared, 0, 1)
    return np.asarray(
        np.hypot(x - start[0] - at * along_x, y - start[1] - at * along_y) - radius, np.float32
    )


def polygon(x: Plane, y: Plane, corners: list[tuple[float, float]]) -> Plane:
    """Signed distance, near the edges, to a convex polygon given clockwise on screen."""
    distance = np.full_like(x, -np.inf)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = float(np.hypot(bx - ax, by - ay))
        edge = ((by - ay) * (x - ax) - (bx - ax) * (y - ay)) / length
        distance = np.maximum(distance, edge)
    return np.asarray(distance, np.float32)


def mix(a: Colour, b: Colour, share: Plane) -> NDArray[np.float32]:
    """Return (n, n, 3) colours that go from a to b as share goes from 0 to 1."""
    low, high = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return np.asarray(low + (high - low) * share[..., None], np.float32)


Painter = Callable[[int, np.random.Generator, float], Sprite]
"""Paints one thing: pixels across, generator, phase of its cycle in [0, 1)."""
