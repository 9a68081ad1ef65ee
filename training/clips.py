"""Training clips made on the fly: pictures, videos and drawn shapes set in motion.

A clip is layers over a moving background. A labelled region of the background picture, a
region cut out of another picture and a drawn shape can each be an object; objects cross,
deform, hide behind others, leave and come back. Where an object is not to be seen, that
too is known.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from training import drawing
from training.cutouts import any_picture, cut_out, joined, matched, moments, part, region, turned
from training.data import Library
from training.motion import Motion, elastic, make_motion
from training.photometry import Photometry

Rng = np.random.Generator

VISIBLE_START = 0.004
"""Smallest share of the first frame an object must show to be prompted."""
TRIES = 8
JOINED_SHARE = 0.4
"""Share of the pasted things that are two in one."""
SHADOW_SHARE = 0.35
"""Share of the pasted things that cast a shadow, which does not belong to them."""
BLOB_SHARE = 0.6
"""Share of the clips of labelled regions that also have one without an edge."""
JOINED = 1
"""Two things as one: a click may mean either, a box or a mask says that it is both."""
EDGELESS = 2
"""Nothing in the picture tells where it ends, so that only a mask can say it."""
LEAP_SHARE = 0.4
"""Share of the clips that go on much later after their first frame."""
TRACK_SHARE = 0.45
"""Share of the clips of labelled regions that show a tracked thing of a video."""
SCENE_SHARE = 0.05
"""Share of clips that show the drawn scene of the demo, under other seeds."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A clip with the masks of its objects."""

    frames: NDArray[np.uint8]
    """(T, S, S, 3) uint8 RGB."""
    masks: NDArray[np.uint8]
    """(T, O, S, S) uint8, 0 or 1: what is visible of each object."""
    clicks: NDArray[np.float32]
    """(O, 2) (x, y) in pixels: a click on each object in the first frame."""
    boxes: NDArray[np.float32]
    """(O, 4) x0, y0, x1, y1 in pixels: a box drawn by hand in the first frame."""
    vague: NDArray[np.int8]
    """(O,): 0, or `JOINED`, or `EDGELESS`."""
    leapt: bool = False
    """Much time has passed between the first frame and the second: place, size, look and ground
    may be others."""


@dataclass(slots=True, eq=False)
class _Layer:
    """A moving cut-out."""

    pixels: NDArray[np.uint8]  # (h, w, 4) RGBA
    motion: Motion
    is_object: bool = True
    regions: list[NDArray[np.uint8]] = field(default_factory=list)  # (h, w) masks inside it
    vague: int = 0
    shadow: tuple[float, float, float] | None = None  # shift in x and y in frame sides, depth
    vague_regions: list[int] = field(default_factory=list)
    later: NDArray[np.uint8] | None = None  # pixels after a leap, of the same shape


def make_clip(
    library: Library,
    seed: tuple[int, ...],
    size: int,
    frames: int,
    objects: int = 2,
    leaps: bool = False,
) -> Clip:
    """Return the clip of a seed: the same seed, library and sizes give the same clip.

    Args:
        library: what real pictures and videos to use.
        seed: any non-negative integers.
        size: side of the frames in pixels.
        frames: number of frames.
        objects: number of objects; where a scene has fewer, one is prompted twice.
        leaps: let some clips go on much later after their first frame.
    """
    rng = np.random.default_rng(seed)
    for _ in range(TRIES):
        clip = _try_clip(library, rng, size, frames, objects, leaps)
        if clip is not None:
            return clip
    return make_clip(library, (*seed, 1), size, frames, objects, leaps)


def _try_clip(
    library: Library, rng: Rng, size: int, frames: int, objects: int, leaps: bool
) -> Clip | None:
    leapt = False
    if library.scenes and rng.random() < SCENE_SHARE:
        pictures, masks = _drawn_scene(library, rng, size, frames)
        vague = np.zeros(masks.shape[1], np.int8)
    else:
        leapt = leaps and frames > 2 and rng.random() < LEAP_SHARE
        pictures, masks, vague = _layered(library, rng, size, frames, leapt)
    chosen = _choose(rng, masks, objects)
    if chosen is None:
        return None
    masks = masks[:, chosen]
    pictures = Photometry(rng, frames).apply(rng, pictures)
    clicks = np.stack([click_on(rng, m) for m in masks[0]])
    boxes = np.stack([box_around(rng, m) for m in masks[0]])
    return Clip(pictures, masks, clicks, boxes, vague[chosen], leapt)


def _drawn_scene(
    library: Library, rng: Rng, size: int, frames: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (T, S, S, 3) pictures and (T, O, S, S) masks of a drawn scene, often a part of it."""
    scene = library.scenes[rng.integers(len(library.scenes))]
    start = int(rng.integers(0, 5000))
    stride = float(np.exp(rng.uniform(0, np.log(60))))
    height, width = scene.size
    side = int(rng.integers(height // 2, height + 1))
    w = min(width, round(side * rng.uniform(1.0, 1.8)))
    y, x = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - w + 1))
    flip = slice(None, None, -1 if rng.random() < 0.5 else 1)
    pictures, masks = [], []
    for t in range(frames):
        picture, truth = scene.draw(start + round(t * stride))
        picture, truth = (p[y : y + side, x : x + w][:, flip] for p in (picture, truth))
        pictures.append(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA))
        truth = cv2.resize(truth, (size, size), interpolation=cv2.INTER_NEAREST)
        masks.append(np.stack([truth == i for i in scene.names]))
    return np.stack(pictures).astype(np.uint8), np.stack(masks).astype(np.uint8)


def _layered(
    library: Library, rng: Rng, size: int, frames: int, leapt: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int8]]:
    """Return (T, S, S, 3) pictures, (T, O, S, S) masks of layers in motion, (O,) vague ones."""
    aspect = float(np.exp(rng.uniform(np.log(0.5), np.log(1.2))))
    pace = float(np.exp(rng.uniform(np.log(0.004), np.log(0.1))))
    kind = rng.choice(3, p=[0.35, 0.55, 0.1])  # region, cut-outs, drawn
    if kind == 0 and library.tracks and rng.random() < TRACK_SHARE:
        backdrop = _tracked(library, rng, size, frames, pace, aspect, leapt)
    else:
        backdrop = _backdrop(library, rng, kind, size, frames, pace, aspect)
    count = (rng.integers(0, 3), rng.integers(1, 4), rng.integers(2, 5))[kind]
    ground = backdrop[0].pixels[..., :3]
    layers = _sprites(library, rng, kind, int(count), size, frames, pace, aspect, ground)
    if leapt:
        other = None
        if kind != 0 and rng.random() < 0.5:
            other = _backdrop(library, rng, kind, size, frames, pace, aspect)
        backdrop = _leap(library, rng, backdrop, layers, other)
    walls = _walls(library, rng, backdrop, layers, size, frames)
    vague = [*backdrop[0].vague_regions, *(one.vague for one in layers)]
    pictures, masks = _compose(rng, backdrop, [*layers, *walls], size, frames)
    return pictures, masks, np.array(vague, np.int8)


def _leap(
    library: Library,
    rng: Rng,
    backdrop: list[_Layer],
    layers: list[_Layer],
    other: list[_Layer] | None,
) -> list[_Layer]:
    """Let much time pass after the first frame; return the backdrop, perhaps with another one."""
    for layer in layers:
        layer.motion.leap(rng)
        if rng.random() < 0.7:
            ground = backdrop[0].pixels[..., :3]
            layer.later = turned(library, rng, layer.pixels, ground)
    if other is None:
        backdrop[0].motion.leap(rng, cover=True)
        return backdrop
    return [backdrop[0], *(other[1:] or other)]


def _backdrop(
    library: Library, rng: Rng, kind: int, size: int, frames: int, pace: float, aspect: float
) -> list[_Layer]:
    """Return the background: one layer per frame for a video, else one for all frames."""
    choice = rng.random()
    if kind != 0 and choice < 0.5:
        video = library.videos[rng.integers(len(library.videos))]
        stride = max(1, min(round(pace * 40), (len(video) - 1) // frames))
        start = int(rng.integers(0, len(video) - stride * (frames - 1)))
        still = make_motion(rng, frames, 0.0, 1.0, size, video.shape[1:3], aspect, cover=True)
        alpha = np.full(video.shape[1:3], 255, np.uint8)
        chosen = video[start : start + stride * frames : stride][:frames]
        return [_Layer(np.dstack([p, alpha]), still, False) for p in chosen]
    regions: list[NDArray[np.uint8]] = []
    vague: list[int] = []
    if kind == 2 and choice < 0.85:
        side = int(rng.integers(96, 257))
        pixels = drawing.texture(rng, side, side)
        for _ in range(int(rng.integers(0, 6))):  # clutter that belongs to the background
            patch, at = drawing.sprite(rng, side // 2), rng.integers(0, side - side // 2, 2)
            here = pixels[at[0] : at[0] + side // 2, at[1] : at[1] + side // 2]
            here[patch[..., 3] > 127] = patch[..., :3][patch[..., 3] > 127]
    else:
        picture = any_picture(library, rng)
        pixels = picture.pixels
        if kind == 0:
            found = [region(rng, picture) for _ in range(2)]
            regions = [picture.mask(r) for r in dict.fromkeys(found) if r]
            vague = [0] * len(regions)
            if rng.random() < BLOB_SHARE:
                regions.append(_blob(rng, pixels.shape[:2]))
                vague.append(EDGELESS)
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    motion = make_motion(rng, frames, pace, 1.0, size, pixels.shape[:2], aspect, cover=True)
    if kind == 0 and rng.random() < 0.5:
        motion.bend = elastic(rng, pace)
    return [_Layer(np.dstack([pixels, alpha]), motion, False, regions, vague_regions=vague)]


def _tracked(
    library: Library, rng: Rng, size: int, frames: int, pace: float, aspect: float, leapt: bool
) -> list[_Layer]:
    """Return the frames of a video as background, one layer each, with a thing that is known."""
    track = library.tracks[rng.integers(len(library.tracks))]
    shape = track.pictures.shape[1:3]
    pace = 0.0 if rng.random() < 0.7 else 0.3 * pace
    motion = make_motion(rng, frames, pace, 1.0, size, shape, aspect, cover=True)
    alpha = np.full(shape, 255, np.uint8)
    return [
        _Layer(np.dstack([track.pictures[t], alpha]), motion, False, [track.masks[t]], 0, None, [0])
        for t in moments(rng, len(track.masks), frames, leapt)
    ]


def _blob(rng: Rng, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a mask, 0 or 255, of any part of a picture: its motion alone tells where it is."""
    height, width = shape[:2]
    high, wide = (max(8, int(side * rng.uniform(0.2, 0.6))) for side in (height, width))
    top, left = int(rng.integers(0, height - high + 1)), int(rng.integers(0, width - wide + 1))
    mask = np.zeros((height, width), np.uint8)
    drawn = cv2.resize(drawing.shape(rng), (wide, high))
    mask[top : top + high, left : left + wide] = np.where(drawn > 127, 255, 0)
    return mask


def _sprites(
    library: Library,
    rng: Rng,
    kind: int,
    count: int,
    size: int,
    frames: int,
    pace: float,
    aspect: float,
    ground: NDArray[np.uint8],
) -> list[_Layer]:
    """Return moving cut-outs, some of them twins of another."""
    layers: list[_Layer] = []
    leaves = rng.random() < 0.4
    for i in range(count):
        vague = 0
        if layers and rng.random() < 0.25:
            pixels, vague = layers[-1].pixels, layers[-1].vague
            pixels = np.ascontiguousarray(pixels[:, ::-1]) if rng.random() < 0.5 else pixels
        elif kind == 2 or rng.random() < 0.1:
            pixels = drawing.sprite(rng, int(rng.integers(48, 161)))
        else:
            pixels = matched(rng, cut_out(library, rng), ground)
            if rng.random() < JOINED_SHARE:
                pixels = joined(rng, pixels, part(library, rng, ground))
                vague = JOINED
        scale = float(np.exp(rng.uniform(np.log(0.22), np.log(1.1))))
        speed = pace * float(np.exp(rng.uniform(-0.7, 0.7)))
        motion = make_motion(rng, frames, speed, scale, size, pixels.shape[:2], aspect)
        if leaves and i < 2:
            motion.leave(rng)
        if kind != 2 and rng.random() < 0.5:
            motion.bend = elastic(rng, pace)
        shadow = None
        if rng.random() < SHADOW_SHARE:
            shadow = (*rng.uniform(-0.06, 0.06, 2), rng.uniform(0.2, 0.7))
        layers.append(_Layer(pixels, motion, vague=vague, shadow=shadow))
    return layers


def _shaded(
    canvas: NDArray[np.uint8], alpha: NDArray[np.uint8], shadow: tuple[float, float, float]
) -> NDArray[np.uint8]:
    """Return the (S, S, 3) picture darkened where a thing of this (S, S) alpha casts a shadow."""
    size = len(canvas)
    x, y, depth = shadow
    moved = np.array([[1, 0, x * size], [0, 1, y * size]])
    cast = cv2.GaussianBlur(cv2.warpAffine(alpha, moved, (size, size)), (0, 0), 0.012 * size)
    return (canvas * (1 - depth / 255 * cast.astype(np.float32))[..., None]).astype(np.uint8)


def _walls(
    library: Library,
    rng: Rng,
    backdrop: list[_Layer],
    layers: list[_Layer],
    size: int,
    frames: int,
) -> list[_Layer]:
    """Return, for some clips, a thing that passes in front and hides much for a while."""
    hideable = bool(layers) or bool(backdrop[0].regions)
    if not hideable or frames < 2 or rng.random() > (0.4 if backdrop[0].regions else 0.15):
        return []
    if rng.random() < 0.5:
        pixels = drawing.texture(rng, 96, 96)
    else:
        picture = any_picture(library, rng).pixels
        y, x = (int(rng.integers(0, n - n // 2)) for n in picture.shape[:2])
        pixels = picture[y : y + picture.shape[0] // 2, x : x + picture.shape[1] // 2]
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    if rng.random() < 0.3:
        alpha = cv2.resize(drawing.shape(rng), pixels.shape[1::-1])
    motion = make_motion(
        rng, frames, 0.1, float(rng.uniform(0.5, 1.4)), size, pixels.shape[:2], 1.0
    )
    motion.pass_by(rng)
    return [_Layer(np.dstack([pixels, alpha]), motion, is_object=False)]


def _compose(
    rng: Rng, backdrop: list[_Layer], layers: list[_Layer], size: int, frames: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the (T, S, S, 3) pictures and (T, O, S, S) visible masks of all objects."""
    pictures = np.empty((frames, size, size, 3), np.uint8)
    masks = []
    for t in range(frames):
        ground = backdrop[min(t, len(backdrop) - 1)]
        canvas = ground.motion.warp(ground.pixels[..., :3], t, border=cv2.BORDER_REFLECT_101)
        shares = [ground.motion.warp(r, t) for r in ground.regions]
        for layer in layers:
            if layer.motion.hidden(t):
                if layer.is_object:
                    shares.append(np.zeros((size, size), np.uint8))
                continue
            pixels = layer.pixels if not t or layer.later is None else layer.later
            moved = layer.motion.warp(pixels, t)
            alpha = moved[..., 3]
            if layer.shadow is not None:
                canvas = _shaded(canvas, alpha, layer.shadow)
            weight = (alpha.astype(np.float32) / 255)[..., None]
            canvas = (canvas + weight * (moved[..., :3].astype(np.float32) - canvas)).astype(
                np.uint8
            )
            shares = [np.where(alpha > 127, 0, s) for s in shares]
            if layer.is_object:
                shares.append(alpha)
        pictures[t] = canvas
        masks.append(np.stack(shares) if shares else np.zeros((0, size, size), np.uint8))
    return pictures, (np.stack(masks) > 127).astype(np.uint8)


def _choose(rng: Rng, masks: NDArray[np.uint8], objects: int) -> list[int] | None:
    """Return which objects to follow: visible enough at first, those that get lost rather."""
    area = masks[0].mean((1, 2), dtype=np.float32)
    usable = np.flatnonzero((area > VISIBLE_START) & (area < 0.7))
    if not len(usable):
        return None
    gone = masks[1:, usable].reshape(masks.shape[0] - 1, len(usable), -1).any(-1).all(0)
    weight = np.where(gone, 1.0, 3.0)
    picked = rng.choice(
        usable, min(objects, len(usable)), replace=False, p=weight / weight.sum()
    ).tolist()
    while len(picked) < objects:
        picked.append(picked[0])
    return [int(i) for i in picked]


def click_on(rng: Rng, mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (x, y) of a click on a mask: half at its innermost point, half anywhere in it."""
    if rng.random() < 0.5:
        depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        return np.array([x, y], np.float32)
    ys, xs = np.nonzero(mask)
    i = rng.integers(len(ys))
    return np.array([xs[i], ys[i]], np.float32)


def box_around(rng: Rng, mask: NDArray[np.uint8], jitter: float = 0.1) -> NDArray[np.float32]:
    """Return x0, y0, x1, y1 of a mask's box, its corners moved by up to `jitter` of its size."""
    x, y, w, h = cv2.boundingRect(mask)
    moved = rng.uniform(-jitter, jitter, 4) * (w, h, w, h)
    box = np.array([x, y, x + w - 1, y + h - 1]) + moved
    size = mask.shape[0] - 1
    return np.clip(box, 0, size).astype(np.float32)
