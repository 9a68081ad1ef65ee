"""The painters of the drawn scene's things: ball, fish, box, kite, robot, balloon."""

import math

import numpy as np
from numpy.typing import NDArray

from streamtrack.media.demo_art import (
    Canvas,
    Colour,
    Plane,
    Sprite,
    circle,
    ellipse,
    mix,
    polygon,
    slab,
    stick,
)

_WHITE: Colour = (0.95, 0.93, 0.88)
_INK: Colour = (0.11, 0.11, 0.14)


def paint_ball(pixels: int, rng: np.random.Generator, phase: float) -> Sprite:
    """A beach ball: coloured lobes between white ones, seen a little from above."""
    canvas = Canvas(pixels, rng)
    x, y = canvas.x / 0.97, canvas.y / 0.97
    depth = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    tilt = 0.55
    pole = y * math.cos(tilt) + depth * math.sin(tilt)
    front = depth * math.cos(tilt) - y * math.sin(tilt)
    turn = (np.arctan2(x, front) / (2 * math.pi) + 0.5 + rng.random()) * 8 % 8
    lobe = turn.astype(int)
    table: list[Colour] = [
        (0.86, 0.16, 0.14), _WHITE, (0.10, 0.36, 0.72), _WHITE,
        (0.97, 0.72, 0.12), _WHITE, (0.16, 0.56, 0.36), _WHITE,
    ]  # fmt: skip
    colours = np.asarray(table, np.float32)[lobe]
    seam = np.abs(turn - np.round(turn))
    colours *= 1 - 0.25 * np.exp(-((seam / 0.035) ** 2))[..., None]
    cap = np.clip((np.abs(pole) - 0.955) * 90, 0, 1)
    colours += (np.asarray((0.86, 0.16, 0.14), np.float32) - colours) * cap[..., None]
    ball = circle(canvas.x, canvas.y, 0.97)
    canvas.shape(ball, colours, texture=canvas.noise(5), strength=0.10)
    canvas.rgb *= (0.55 + 0.45 * depth)[..., None]  # symmetric, for the ball rolls
    return canvas.sprite()


def paint_gloss(pixels: int, rng: np.random.Generator, phase: float) -> Sprite:
    """The light on the ball, which stays where it is while the ball rolls."""
    canvas = Canvas(pixels, rng)
    glint = np.exp(-((canvas.x + 0.34) ** 2 + (canvas.y + 0.42) ** 2) / 0.07) * 0.55
    shade = np.clip((canvas.x + canvas.y * 1.5 - 0.1) * 0.40, 0, 0.5)
    inside = canvas.coverage(circle(canvas.x, canvas.y, 0.94))
    canvas.alpha = np.maximum(glint, shade) * inside
    canvas.rgb[:] = (glint / np.maximum(glint + shade, 1e-6))[..., None]
    return canvas.sprite()


def paint_fish(pixels: int, rng: np.random.Generator, phase: float) -> Sprite:
    """A koi that swims to the right: white with orange patches and dark spots."""
    canvas = Canvas(pixels, rng)
    x = canvas.x
    behind = np.clip(0.35 - x, 0, 2)
    wave = 0.13 * behind * np.sin(2 * math.pi * phase + 2.6 * behind)
    y = np.asarray(canvas.y - wave, np.float32)
    patches = canvas.noise(4, 2)
    spots = canvas.noise(11, 1)
    scales = np.asarray(np.sin(26 * (x + y * 0.6)) * np.sin(26 * (x - y * 0.6)), np.float32)
    fins: Colour = (0.96, 0.62, 0.36)
    rays = np.asarray(0.5 + 0.5 * np.sin(60 * y / (0.3 + behind)), np.float32)
    fork = np.abs(y) - 0.10 - 0.85 * (-0.55 - x), x + 0.50, -0.90 - x + 0.13 * np.cos(5 * y)
    tail = np.asarray(np.maximum.reduce(fork) * 0.75, np.float32)
    canvas.shape(tail, fins, bevel=0.08, texture=rays, strength=0.2)
    canvas.shape(ellipse(x + 0.02, y + 0.36, 0.30, 0.17), fins, bevel=0.06, texture=rays)
    body = _fish_body(x, y)
    colours = mix(_WHITE, (0.93, 0.38, 0.10), np.clip((patches - 0.46) * 12, 0, 1))
    colours += (np.asarray(_INK, np.float32) - colours) * np.clip((spots - 0.70) * 14, 0, 0.9)[
        ..., None
    ]
    canvas.shape(body, colours, bevel=0.34, texture=scales * 0.5 + 0.5, strength=0.07)
    canvas.shape(stick(x, y, (0.10, 0.16), (-0.14, 0.30), 0.07), fins, bevel=0.05, texture=rays)
    canvas.shape(circle(x - 0.62, y + 0.09, 0.085), (0.98, 0.96, 0.90), bevel=0.05)
    canvas.shape(circle(x - 0.64, y + 0.09, 0.048), _INK, bevel=0.03)
    canvas.shape(stick(x, y, (0.84, 0.10), (0.73, 0.14), 0.014), (0.55, 0.18, 0.08))
    return canvas.sprite()


def _fish_body(x: Plane, y: Plane) -> Plane:
    """Signed distance, near the edge, to a body that tapers to the tail."""
    along = np.clip((x + 0.66) / 1.58, 0, 1)
    half_height = 0.015 + 0.92 * along**0.9 * np.sqrt(1 - along) * (1.06 - 0.28 * along)
    ends = np.maximum(-0.66 - x, x - 0.92)
    return np.asarray(np.maximum((np.abs(y) - half_height) * 0.8, ends), np.float32)


def paint_box(pixels: int, rng: np.random.Generator, phase: float) -> Sprite:
    """A wooden box with a painted chequer, seen from the front, above and the right."""
    canvas = Canvas(pixels, rng)
    x, y = canvas.x, canvas.y
    grain = canvas.noise(4, 4, stretch=7)
    light: Colour = (0.93, 0.84, 0.66)
    dark: Colour = (0.13, 0.42, 0.44)
    front = _chequer(x + 0.94, y + 0.42, 1.34 / 4, light, dark)
    canvas.shape(slab(x + 0.27, y - 0.25, 0.67, 0.67, 0.03), front, texture=grain)
    lean = np.asarray((y + 0.42) / -0.44, np.float32)  # 0 at the front edge, 1 at the back
    top = _chequer(x + 0.94 - 0.50 * lean, lean * 1.34, 1.34 / 4, light, dark) * 1.10
    lid = [(-0.94, -0.42), (-0.44, -0.86), (0.90, -0.86), (0.40, -0.42)]
    canvas.shape(polygon(x, y, lid), np.clip(top, 0, 1), texture=grain)
    away = np.asarray((x - 0.40) / 0.50, np.float32)
    side = _chequer(away * 1.34, y + 0.42 + 0.44 * away, 1.34 / 4, dark, light) * 0.62
    wall = [(0.40, -0.42), (0.90, -0.86), (0.90, 0.48), (0.40, 0.92)]
    canvas.shape(polygon(x, y, wall), side, texture=grain)
    for start, end in ((lid[0], lid[3]), (lid[3], lid[2]), (wall[0], wall[3])):
        canvas.shape(stick(x, y, start, end, 0.012), (1.0, 0.95, 0.82))
    return canvas.sprite()


def _chequer(x: Plane, y: Plane, cell: float, a: Colour, b: Colour) -> NDArray[np.float32]:
    """Return the colours of a chequered surface with soft borders between its cells."""
    wave = np.sin(math.pi * x / cell) * np.sin(math.pi * y / cell)
    return mix(a, b, np.asarray(np.clip(wave * 12 + 0.5, 0, 1), np.float32))


def paint_kite(pixels: int, rng: np.random.Generator, phase: float) -> Sprite:
    """A diamond kite of four panels with a tail of bows that flutters."""
    canvas = Canvas(pixels, rng)
    x, y = canvas.x, canvas.y
    cloth = canvas.noise(6, 3)
    turn = 2 * math.pi * phase
    tail = [(0.10 * math.sin(turn - 1.6 * k) * k / 3, 0.40 + 0.17 * k) for k in range(4)]
    for start, end in zip(tail, tail[1:], strict=False):
        canvas.shape(stick(x, y, start, end, 0.018), (0.35, 0.22, 0.40))
    bows: list[Colour] = [(0.98, 0.75, 0.16), (0.88, 0.25, 0.36), (0.20, 0.60, 0.66)]
    for (at_x, at_y), colour in zip(tail[1:], bows, strict=True):
        for side in (-1.0, 1.0):
            wing = stick(x, y, (at_x, at_y), (at_x + side * 0.10, at_y + 0.03), 0.05)
            canvas.shape(wing, colour, bevel=0.04)
    top, right, bottom, left = (0.0, -0.95), (0.60, -0.34), (0.0, 0.46), (-0.60, -0.34)
    panels: list[tuple[list[tuple[float, float]], Colour]] = [
        ([top, (0.0, -0.34), left], (0.88, 0.22, 0.42)),
        ([top, right, (0.0, -0.34)], (0.97, 0.66, 0.18)),
        ([(0.0, -0.34), right, bottom], (0.45, 0.24, 0.62)),
        ([left, (0.0, -0.34), bottom], (0.16, 0.58, 0.66)),
    ]
    for corners, colour in panels:
        canvas.shape(polygon(x, y, corners), colour, texture=cloth, strength=0.16)
    outline = polygon(x, y, [top, right, bottom, left])
    canvas.rgb *= np.clip(1.05 - 0.28 * (x + 0.4) * (outline < 0), 0.6, 1.2)[..., None]
    for start, end in ((top, bottom), (left, right)):
        canvas.shape(stick(x, y, start, end, 0.016), (0.93, 0.84, 0.66))
    return canvas.sprite()


def paint_robot(pixels: int, rng: np.random.Generator, phase: float) -> Sprite:
    """A small tin robot that walks: legs and arms swing with the phase."""
    canvas = Canvas(pixels, rng)
    x, y = canvas.x, canvas.y
    brushed = canvas.noise(3, 5, stretch=10)
    swing = math.sin(2 * math.pi * phase)
    steel: Colour = (0.60, 0.68, 0.74)
    paint: Colour = (0.90, 0.47, 0.24)
    for side in (-1.0, 1.0):
        lift = 0.10 * max(0.0, side * swing)
        leg = slab(x - side * 0.19, y - 0.68 + lift, 0.09, 0.20, 0.03)
        canvas.shape(leg, (0.36, 0.41, 0.47), bevel=0.06, texture=brushed)
        foot = slab(x - side * 0.21, y - 0.87 + lift, 0.17, 0.09, 0.06)
        canvas.shape(foot, paint, bevel=0.07, texture=brushed, strength=0.1)
        hand = (side * 0.60, 0.36 + 0.10 * side * swing)
        canvas.shape(stick(x, y, (side * 0.40, -0.02), hand, 0.075), steel, bevel=0.07)
        canvas.shape(circle(x - hand[0], y - hand[1], 0.11), paint, bevel=0.09)
    canvas.shape(slab(x, y - 0.24, 0.40, 0.34, 0.10), steel, bevel=0.14, texture=brushed)
    canvas.shape(slab(x, y - 0.24, 0.27, 0.20, 0.05), (0.24, 0.30, 0.36), bevel=0.03)
    lamps: list[Colour] = [(0.95, 0.30, 0.26), (0.98, 0.80, 0.26), (0.36, 0.82, 0.48)]
    for place, colour in zip((-0.15, 0.0, 0.15), lamps, strict=True):
        canvas.shape(circle(x - place, y - 0.17, 0.052), colour, bevel=0.05)
    canvas.shape(slab(x, y - 0.33, 0.20, 0.03, 0.03), (0.55, 0.80, 0.86))
    canvas.shape(stick(x, y, (0.0, -0.70), (0.0, -0.86), 0.025), (0.36, 0.41, 0.47))
    canvas.shape(circle(x, y + 0.89, 0.075), (0.95, 0.30, 0.26), bevel=0.07)
    canvas.shape(slab(x, y + 0.40, 0.46, 0.32, 0.13), paint, bevel=0.15, texture=brushed)
    canvas.shape(slab(x, y + 0.42, 0.36, 0.19, 0.10), (0.14, 0.18, 0.24), bevel=0.04)
    for side in (-1.0, 1.0):
        canvas.shape(circle(x - side * 0.16, y + 0.44, 0.092), (0.62, 0.94, 0.95), bevel=0.05)
        canvas.shape(circle(x - side * 0.16 - 0.02, y + 0.43, 0.04), _INK)
    return canvas.sprite()


def paint_balloon(pixels: int, rng: np.random.Generator, phase: float) -> Sprite:
    """A hot-air balloon with coloured gores and a wicker basket."""
    canvas = Canvas(pixels, rng)
    x, y = canvas.x, canvas.y
    for side in (-1.0, 1.0):
        rope = stick(x, y, (side * 0.24, 0.38), (side * 0.13, 0.72), 0.012)
        canvas.shape(rope, (0.30, 0.24, 0.18))
    wicker = np.asarray(0.5 + 0.5 * np.sin(90 * x) * np.sin(70 * y), np.float32)
    canvas.shape(
        slab(x, y - 0.80, 0.17, 0.12, 0.04), (0.60, 0.40, 0.22), bevel=0.06, texture=wicker
    )
    width = np.sqrt(np.clip(1 - ((y + 0.30) / 0.66) ** 2, 0.02, 1))
    gore = np.arcsin(np.clip(x / (0.66 * width), -1, 1)) / math.pi * 8 + 0.5
    stripe = np.asarray(0.5 + 0.5 * np.sign(np.sin(math.pi * gore)), np.float32)
    colours = mix((0.16, 0.34, 0.62), (0.96, 0.88, 0.72), stripe)
    band = np.exp(-(((y + 0.26) / 0.09) ** 4))
    colours += (np.asarray((0.84, 0.22, 0.24), np.float32) - colours) * band[..., None]
    bag = np.minimum(circle(x, y + 0.30, 0.66), polygon(x, y, _CONE))
    canvas.shape(bag, colours, bevel=0.60, texture=canvas.noise(5), strength=0.08)
    return canvas.sprite()


_CONE = [(-0.55, 0.06), (0.55, 0.06), (0.24, 0.46), (-0.24, 0.46)]
