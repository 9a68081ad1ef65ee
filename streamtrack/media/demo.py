"""The drawn scene: an endless film of moving things whose true masks are known.

A frame is a pure function of the seed and its number, so any frame can be asked
for at any time. Things cross and hide each other, and some leave the picture and
come back; at frame 0 all are wholly visible and apart.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamtrack.media.demo_art import PHASES, Painter, Sprite
from streamtrack.media.demo_backdrop import Backdrop
from streamtrack.media.demo_things import (
    paint_ball,
    paint_balloon,
    paint_box,
    paint_fish,
    paint_gloss,
    paint_kite,
    paint_robot,
)

DEFAULT_SIZE = (540, 960)
"""(height, width) of the scene unless told otherwise."""
_START_S = 1.5
"""Things gather speed over about this many seconds."""


@dataclass(frozen=True, slots=True)
class DemoThing:
    """Where a thing of the scene is on one frame."""

    object_id: int
    """Its id in the scene's truth map, from 1."""
    name: str
    point: tuple[int, int]
    """(x, y) in pixels, the visible point farthest from the visible part's edge."""
    area: int
    """Visible pixels."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a thing looks and moves; lengths are shares of the scene's unit."""

    name: str
    painter: Painter
    radius: float
    """Half its sprite's size."""
    depth: int
    """Things of greater depth are drawn first."""
    ground: bool
    """Whether it stands on the meadow (and throws a shadow) or flies."""
    level: float
    """Height of its path's middle, as a share of the picture's height."""
    reach: float
    """How far it goes to either side of the middle, as a share of the width."""
    period_s: float
    """Seconds for going there and back."""
    lift: float
    """How far it rises and sinks, as a share of the picture's height."""
    lift_s: float
    """Seconds for rising and sinking."""
    sway: float = 0.0
    """Degrees by which it rocks."""
    rolls: bool = False
    faces: bool = False
    """Whether it turns to where it goes."""
    phases_hz: float = 0.0
    """Cycles of its own movement in a second; 0 for a stiff thing."""


_KINDS = (
    _Kind("ball", paint_ball, 0.125, 1, True, 0.80, 0.74, 23.0, 0.05, 1.5, rolls=True),
    _Kind("fish", paint_fish, 0.170, 2, False, 0.32, 0.76, 26.0, 0.20, 11.0,
          sway=9, faces=True, phases_hz=1.1),
    _Kind("box", paint_box, 0.140, 5, True, 0.69, 0.36, 17.0, 0.02, 7.0, sway=4),
    _Kind("kite", paint_kite, 0.180, 6, False, 0.25, 0.37, 14.0, 0.06, 5.3,
          sway=13, phases_hz=0.9),
    _Kind("robot", paint_robot, 0.160, 3, True, 0.735, 0.41, 19.0, 0.008, 0.55,
          sway=2, phases_hz=0.9),
    _Kind("balloon", paint_balloon, 0.170, 7, False, 0.30, 0.72, 37.0, 0.05, 9.0, sway=3),
)  # fmt: skip

MAX_THINGS = len(_KINDS)
DEFAULT_THINGS = 5


@dataclass(frozen=True, slots=True)
class _Pose:
    """Where a thing is at a moment, in pixels and radians."""

    x: float
    y: float
    angle: float
    stretch: float
    """Horizontal scale; negative when it is seen from the other side."""
    ground_y: float


class _Thing:
    """One thing of the scene with its sprites."""

    def __init__(
        self, kind: _Kind, object_id: int, start: float, size: tuple[int, int], seed: int
    ) -> None:
        """Paint the thing and fix its path, which begins at start (a share of the width)."""
        self.kind = kind
        self.object_id = object_id
        rng = np.random.default_rng([seed, object_id])
        height, self._width = size
        self._height = height
        self.radius = kind.radius * min(height, self._width * 9 / 16)
        pixels = max(8, 2 * math.ceil(self.radius) + 2)
        count = PHASES if kind.phases_hz else 1
        look = int(rng.integers(1 << 31))
        self.sprites = tuple(
            kind.painter(pixels, np.random.default_rng(look), phase / count)
            for phase in range(count)
        )
        self._period_s = kind.period_s * rng.uniform(0.95, 1.10)
        self._lift_s = kind.lift_s * rng.uniform(0.9, 1.1)
        bearing = math.asin((start - 0.5) / kind.reach)
        towards_left = start > 0.5 or (start == 0.5 and rng.random() < 0.5)
        self._bearing = math.pi - bearing if towards_left else bearing

    def pose(self, seconds: float) -> _Pose:
        """Return where the thing is."""
        kind = self.kind
        eased = seconds - _START_S * (1 - math.exp(-seconds / _START_S))
        turn = 2 * math.pi * eased / self._period_s + self._bearing
        x = self._width * (0.5 + kind.reach * math.sin(turn))
        rise = 2 * math.pi * eased / self._lift_s
        ground_y = self._height * kind.level
        wave = -abs(math.sin(rise)) if kind.ground else math.sin(rise)
        y = ground_y + self._height * kind.lift * wave
        angle = math.radians(kind.sway) * math.sin(2 * math.pi * eased / 3.1 + 2 * self.object_id)
        stretch = 1.0
        if kind.rolls:
            angle = (x - 0.5 * self._width) / self.radius
        if kind.faces:
            lean = math.tanh(6 * math.cos(turn))
            stretch = math.copysign(max(0.3, abs(lean)), lean)
            angle *= math.copysign(1, lean)
        return _Pose(x, y, angle, stretch, ground_y)

    def sprite(self, seconds: float) -> Sprite:
        """Return the picture of its cycle that belongs to the moment."""
        at = seconds * self.kind.phases_hz * len(self.sprites)
        return self.sprites[int(at) % len(self.sprites)]


class DemoScene:
    """An endless film of moving things, drawn frame by frame."""

    def __init__(
        self,
        size: tuple[int, int] = DEFAULT_SIZE,
        fps: float = 30.0,
        seed: int = 0,
        things: int = DEFAULT_THINGS,
    ) -> None:
        """Paint everything once, in about half a second.

        Args:
            size: (height, width) in pixels, each at least 32.
            fps: frames in a second of the film.
            seed: films of one seed are alike, pixel for pixel.
            things: how many things move, 1 to MAX_THINGS.
        """
        if min(size) < 32 or not 1 <= things <= MAX_THINGS or not fps > 0:
            raise ValueError(f"No scene of size {size}, {fps} fps and {things} things.")
        self.size = size
        self.fps = fps
        rng = np.random.default_rng(seed)
        self._backdrop = Backdrop(*size, rng)
        kinds = _KINDS[:things]
        starts = _starts(kinds, rng)
        self._things = [
            _Thing(kind, number, start, size, seed)
            for number, (kind, start) in enumerate(zip(kinds, starts, strict=True), 1)
        ]
        self._order = sorted(self._things, key=lambda thing: -thing.kind.depth)
        self._gloss = {
            thing.object_id: paint_gloss(thing.sprites[0].rgba.shape[0], rng, 0)
            for thing in self._things
            if thing.kind.rolls
        }
        self._shadow = _paint_shadow(max(16, round(min(size) * 0.3)))

    @property
    def names(self) -> dict[int, str]:
        """The things' names by object id."""
        return {thing.object_id: thing.kind.name for thing in self._things}

    def draw(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw a frame.

        Args:
            index: number of the frame, from 0.

        Returns:
            picture (H, W, 3) uint8 RGB and truth (H, W) uint8: the id of the thing
            that is seen at each pixel, 0 for the backdrop. Both are new arrays.
        """
        seconds = index / self.fps
        picture = self._backdrop.draw(seconds)
        truth = np.zeros(self.size, np.uint8)
        poses = {thing.object_id: thing.pose(seconds) for thing in self._order}
        for thing in self._order:
            if thing.kind.ground:
                self._draw_shadow(picture, thing, poses[thing.object_id])
        for thing in self._order:
            pose = poses[thing.object_id]
            sprite = thing.sprite(seconds)
            _blit(picture, sprite, _placement(sprite, pose, 1.0), truth, thing.object_id)
            if thing.object_id in self._gloss:
                gloss = self._gloss[thing.object_id]
                still = _Pose(pose.x, pose.y, 0.0, 1.0, pose.ground_y)
                _blit(picture, gloss, _placement(gloss, still, 1.0))
        return picture, truth

    def things(self, index: int) -> list[DemoThing]:
        """Return the things that can be seen on a frame, with a point to click on each."""
        _, truth = self.draw(index)
        return visible_things(truth, self.names)

    def _draw_shadow(self, picture: NDArray[np.uint8], thing: _Thing, pose: _Pose) -> None:
        """Darken the ground under a thing, less the higher it is."""
        height = max(0.0, pose.ground_y - pose.y) / thing.radius
        scale = 2 * thing.radius / self._shadow.rgba.shape[0] * (1.15 + 0.25 * height)
        below = _Pose(pose.x, pose.ground_y + 0.90 * thing.radius, 0.0, 1.0, 0.0)
        _blit(picture, self._shadow, _placement(self._shadow, below, scale, flat=0.30))


def visible_things(truth: NDArray[np.uint8], names: dict[int, str]) -> list[DemoThing]:
    """Return the things of a truth map, each with its innermost visible point.

    Args:
        truth: (H, W) uint8 map of object ids, 0 = backdrop.
        names: the things' names by object id.
    """
    found = []
    for object_id, name in names.items():
        mask = (truth == object_id).astype(np.uint8)
        if area := cv2.countNonZero(mask):
            inset = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0,))
            inside = cv2.distanceTransform(inset, cv2.DIST_L2, 5)[1:-1, 1:-1]
            y, x = np.unravel_index(int(inside.argmax()), inside.shape)
            found.append(DemoThing(object_id, name, (int(x), int(y)), area))
    return found


def _starts(kinds: tuple[_Kind, ...], rng: np.random.Generator) -> list[float]:
    """Return where each thing begins, as shares of the width, so that none touches another."""
    starts = [0.0] * len(kinds)
    for ground in (True, False):
        row = [number for number, kind in enumerate(kinds) if kind.ground is ground]
        places = [0.5] if len(row) == 1 else list(np.linspace(0.2, 0.8, max(2, len(row))))
        for number, place in zip(row, rng.permutation(len(row)), strict=True):
            starts[number] = float(places[place])
    return starts


def _paint_shadow(pixels: int) -> Sprite:
    """Return a soft round shadow."""
    axis = (np.arange(pixels, dtype=np.float32) + 0.5) * 2 / pixels - 1
    fall = np.clip(1 - np.hypot(axis[None, :], axis[:, None]), 0, 1)
    rgba = np.zeros((pixels, pixels, 4), np.uint8)
    rgba[..., 3] = (np.clip(fall * 1.6, 0, 1) ** 1.5 * 120).astype(np.uint8)
    return Sprite(rgba)


def _placement(sprite: Sprite, pose: _Pose, scale: float, flat: float = 1.0) -> NDArray[np.float64]:
    """Return the (2, 3) matrix that takes sprite pixels to picture pixels."""
    centre = (sprite.rgba.shape[0] - 1) / 2
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    wide, high = scale * pose.stretch, scale * flat
    linear = np.array([[cos * wide, -sin * high], [sin * wide, cos * high]])
    shift = np.array([pose.x, pose.y]) - linear @ [centre, centre]
    return np.column_stack([linear, shift])


def _blit(
    picture: NDArray[np.uint8],
    sprite: Sprite,
    matrix: NDArray[np.float64],
    truth: NDArray[np.uint8] | None = None,
    object_id: int = 0,
) -> None:
    """Draw a sprite into the picture, and its id into the truth map where it covers half."""
    height, width = picture.shape[:2]
    n = sprite.rgba.shape[0]
    corners = matrix @ np.array([[0, n, 0, n], [0, 0, n, n], [1, 1, 1, 1]])
    left, top = np.maximum(np.floor(corners.min(axis=1)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(corners.max(axis=1)).astype(int) + 1, (width, height))
    if left >= right or top >= bottom:
        return
    local = matrix - [[0, 0, left], [0, 0, top]]
    placed = cv2.warpAffine(sprite.rgba, local, (int(right - left), int(bottom - top)))
    alpha = placed[..., 3]
    region = picture[top:bottom, left:right]
    see_through = cv2.merge([255 - alpha] * 3)
    cv2.multiply(region, see_through, region, 1 / 255)
    cv2.add(region, np.ascontiguousarray(placed[..., :3]), region)
    if truth is not None:
        truth[top:bottom, left:right][alpha > 127] = object_id
