"""Smooth random motion of a layer: place, scale, turn, shear and bending over time."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator

NEARING_SHARE = 0.2
"""Share of the layers that come nearer, or go away, quickly, whatever the pace of the clip."""
NEARING_RATES = (0.03, 0.2)
"""By what share of their size they typically grow, or shrink, per frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Bend:
    """An elastic deformation that swings over time."""

    fields: NDArray[np.float32]
    """(2, 4, 4, 2) two coarse displacement fields, in shares of the layer's size."""
    phase: float
    rate: float

    def at(self, t: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return the (h, w, 2) displacement in pixels of the layer at frame t."""
        angle = self.phase + self.rate * t
        coarse = self.fields[0] * np.cos(angle) + self.fields[1] * np.sin(angle)
        coarse = (coarse * (shape[1], shape[0])).astype(np.float32)
        return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def elastic(rng: Rng, pace: float) -> Bend:
    """Return a random bend; faster clips bend faster."""
    amount = rng.uniform(0.005, 0.04)
    fields = rng.normal(0, amount, (2, 4, 4, 2)).astype(np.float32)
    return Bend(fields, rng.uniform(0, 2 * np.pi), min(1.5, pace * rng.uniform(3, 15)))


@dataclass(slots=True, eq=False)
class Motion:
    """The affine path of a layer over the frames of a clip."""

    size: int
    """Side of the clip's frames in pixels."""
    matrices: NDArray[np.float64]
    """(T, 2, 3): layer pixels to frame pixels."""
    middle: NDArray[np.float64]
    """(3,) x, y, 1 of the layer's middle in its pixels."""
    bend: Bend | None = None
    away: set[int] = field(default_factory=set)
    """Frames at which the layer is out of sight."""
    bend_from: int = 0
    """What is added to the time of bending after the first frame."""

    def warp(
        self, pixels: NDArray[np.uint8], t: int, border: int = cv2.BORDER_CONSTANT
    ) -> NDArray[np.uint8]:
        """Return the layer as seen in frame t: (S, S) or (S, S, C) uint8."""
        matrix = self.matrices[t]
        if self.bend is None:
            warped = cv2.warpAffine(
                pixels, matrix, (self.size, self.size), flags=cv2.INTER_LINEAR, borderMode=border
            )
            return np.asarray(warped, np.uint8)
        inverse = cv2.invertAffineTransform(matrix).astype(np.float32)
        y, x = np.mgrid[0 : self.size, 0 : self.size].astype(np.float32)
        shift = self.bend.at(t + self.bend_from * (t > 0), (self.size, self.size)) * (
            pixels.shape[0] / self.size
        )
        map_x = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2] + shift[..., 0]
        map_y = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2] + shift[..., 1]
        warped = cv2.remap(pixels, map_x, map_y, cv2.INTER_LINEAR, borderMode=border)
        return np.asarray(warped, np.uint8)

    def hidden(self, t: int) -> bool:
        """Return whether the layer is out of sight at frame t."""
        return t in self.away

    def leave(self, rng: Rng) -> None:
        """Take the layer out of sight for a while after the first frame."""
        frames = len(self.matrices)
        if frames < 2:
            return
        first = int(rng.integers(1, frames))
        last = first + int(rng.integers(1, max(2, frames // 2 + 1)))
        self.away |= set(range(first, min(last, frames)))
        if last < frames and rng.random() < 0.5:  # come back somewhere else
            self.matrices[last:, :, 2] += rng.uniform(-0.4, 0.4, 2) * self.size

    def leap(self, rng: Rng, cover: bool = False) -> None:
        """Go on elsewhere after the first frame, in another size and turned, as if much later.

        Args:
            rng: source of chance.
            cover: the layer fills the frame, as a background does.
        """
        size = np.array([self.size, self.size])
        scale = np.exp(rng.uniform(-0.3, 0.8) if cover else np.clip(rng.normal(0.2, 0.8), -1, 1.7))
        angle = rng.normal(0, 0.06 if cover else 0.25)
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        change = np.array([[cos, -sin], [sin, cos]])
        here = rng.uniform(0.1, 0.9, 2) * size  # this point of the second frame ..
        there = rng.uniform(0.15, 0.85, 2) * size  # .. is moved there
        if not cover:  # not so far that nothing of the layer would be left to be seen
            here = self.matrices[1] @ self.middle
        self.matrices[1:, :, :2] = change @ self.matrices[1:, :, :2]
        self.matrices[1:, :, 2] = (self.matrices[1:, :, 2] - here) @ change.T + there
        self.bend_from = int(rng.integers(0, 40))

    def pass_by(self, rng: Rng) -> None:
        """Show the layer only for a while after the first frame."""
        frames = len(self.matrices)
        first = int(rng.integers(1, frames))
        last = first + int(rng.integers(1, max(2, frames // 2 + 1)))
        self.away = set(range(frames)) - set(range(first, last))


def make_motion(
    rng: Rng,
    frames: int,
    pace: float,
    scale: float,
    size: int,
    shape: tuple[int, int],
    aspect: float,
    cover: bool = False,
) -> Motion:
    """Return a smooth random path.

    Args:
        rng: source of chance.
        frames: number of frames.
        pace: typical motion per frame, in frame sides.
        scale: the layer's larger side, in frame sides.
        size: side of the frames in pixels.
        shape: (height, width) of the layer.
        aspect: by how much the picture is squeezed in width.
        cover: fill the frame, as a background does.
    """
    height, width = shape
    steps = np.arange(frames)
    drift = _wander(rng, frames, pace * (0.5 if cover else 1.0), 2)
    growth = 0.7 * pace
    if pace > 0 and rng.random() < NEARING_SHARE:
        growth = max(growth, float(np.exp(rng.uniform(*np.log(NEARING_RATES)))))
    grow = np.exp(_wander(rng, frames, growth, 1)[:, 0])
    turn = _wander(rng, frames, pace * 1.5, 1)[:, 0] + rng.normal(0, 0.08 if cover else 0.25)
    shear = _wander(rng, frames, pace * 0.5, 1)[:, 0]
    if cover:
        base = max(size / height, size / (width * aspect)) * rng.uniform(1.05, 1.5)
        start = rng.uniform(0.4, 0.6, 2)
    else:
        base = scale * size / max(height, width * aspect)
        start = rng.uniform(0.12, 0.88, 2)
    centre = _bounce(start + drift, 0.3 if cover else 0.08) * size
    flip = -1.0 if rng.random() < 0.5 else 1.0
    matrices = np.empty((frames, 2, 3))
    for t in steps:
        cos, sin = np.cos(turn[t]), np.sin(turn[t])
        linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, shear[t]], [0, 1]])
        linear = np.diag([aspect, 1.0]) @ linear @ np.diag([flip, 1.0]) * base * grow[t]
        matrices[t, :, :2] = linear
        matrices[t, :, 2] = centre[t] - linear @ np.array([width / 2, height / 2])
    return Motion(size, matrices, np.array([width / 2, height / 2, 1.0]))


def _wander(rng: Rng, frames: int, pace: float, axes: int) -> NDArray[np.float64]:
    """Return (frames, axes) of a smooth walk that starts at 0 and moves `pace` per frame."""
    velocity = rng.normal(0, pace, (1, axes)) + np.cumsum(
        rng.normal(0, pace * 0.3, (frames, axes)), 0
    )
    velocity *= 0.97 ** np.arange(frames)[:, None]
    path = np.cumsum(velocity, 0)
    return np.asarray(path - path[0])


def _bounce(path: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """Reflect a path at the borders of [margin, 1 - margin]."""
    span = 1 - 2 * margin
    phase = np.mod(path - margin, 2 * span)
    return np.where(phase < span, phase, 2 * span - phase) + margin
