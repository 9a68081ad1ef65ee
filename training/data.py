"""The pictures and videos that may shape nano, read once and kept in memory.

Only the folders named in `PICTURE_SETS` and `VIDEOS` are ever opened: their terms allow
their use for weights that are given away. A fixed part of each is kept for validation.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from streamtrack.media.demo import DemoScene

PICTURE_SETS = ("feral_cat", "ccp")
VIDEOS = "videos"
HELD_OUT_VIDEOS = ("aquarium", "children")
HELD_OUT_EVERY = 20
"""Every 20th picture of a set, by name, is for validation."""
MAX_SIDE = 320
"""Pictures and videos are kept at this size: the model sees 256 pixels."""
VIDEO_STRIDE = 2
MIN_REGION = 0.01
"""Smallest share of its picture that a region may have."""

CLIP_ART = (
    "animals",
    "buildings",
    "electronics",
    "food",
    "people",
    "plants",
    "recreation",
    "tools",
    "transportation",
)
"""Folders of openclipart that show things rather than signs."""
NO_THINGS = ("sign", "symbol", "icon", "card", "flag")
"""Words in the folders of what is left out."""
CLIP_ART_SIDE = 176
"""Clip art is kept at this size, in pixels of its larger side."""
CLIP_ART_COVER = (0.12, 0.9)
"""Least and most of its rectangle that a piece of clip art may fill."""

SCENE_SEEDS = range(1000, 1008)
"""Drawn scenes for training; the demo's own seeds are not among them."""
SCENE_SIZE = (216, 384)

Split = Literal["train", "validation"]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture with labelled regions."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    labels: NDArray[np.uint8]
    """(H, W) uint8 label map, 0 = background."""
    wholes: tuple[tuple[int, ...], ...]
    """Label sets that make whole things: one cat, one dressed person."""
    parts: tuple[tuple[int, ...], ...]
    """Label sets that make parts of things: a coat, a bag."""

    def mask(self, region: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the (H, W) uint8 mask, 0 or 255, of a label set."""
        return np.where(np.isin(self.labels, region), 255, 0).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A thing of a video, on those of its frames on which its mask is known."""

    pictures: NDArray[np.uint8]
    """(N, H, W, 3) uint8 RGB, in the order of time."""
    masks: NDArray[np.uint8]
    """(N, H, W) uint8, 0 or 255."""

    @classmethod
    def of(cls, pictures: list[NDArray[np.uint8]], masks: list[NDArray[np.uint8]]) -> "Track":
        """Return a track of pictures and masks of any size, made as small as the library's."""
        size = _small(*pictures[0].shape[:2])
        small = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in pictures]
        soft = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in masks]
        hard = np.where(np.stack(soft) > 127, 255, 0).astype(np.uint8)
        return cls(np.stack(small).astype(np.uint8), hard)


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """Everything that clips are made of."""

    pictures: tuple[Picture, ...]
    sets: tuple[tuple[int, int], ...]
    """First and one past the last index in `pictures` of each picture set."""
    videos: tuple[NDArray[np.uint8], ...]
    """Each (N, H, W, 3) uint8 RGB."""
    scenes: tuple[DemoScene, ...] = ()
    """Drawn scenes, whose true masks are known."""
    clip_art: tuple[NDArray[np.uint8], ...] = ()
    """Each (h, w, 4) uint8 RGBA: a whole thing."""
    tracks: tuple[Track, ...] = ()
    """Things of the videos with pseudo-labels."""


def load_library(
    root: Path,
    split: Split,
    limit: int | None = None,
    clip_art: Path | None = None,
    tracks: Path | None = None,
) -> Library:
    """Read one split of the data.

    Args:
        root: the folder that holds train/ and videos/.
        split: "train", or the held-out "validation".
        limit: at most so many pictures per set, for tests.
        clip_art: the folder of Debian's openclipart-png; None to do without.
        tracks: the folder that training/pseudo_labels.py wrote; None to do without.

    Raises:
        FileNotFoundError: a picture set, the videos or the tracks are not there.
    """
    pictures: list[Picture] = []
    sets: list[tuple[int, int]] = []
    for name in PICTURE_SETS:
        start = len(pictures)
        paths = _split(_files(root / "train" / name / "images", "*.jpg"), split)
        pictures += [read_picture(path, whole_labels=name == "feral_cat") for path in paths[:limit]]
        sets.append((start, len(pictures)))
    held_out = split == "validation"
    paths = _files(root / VIDEOS, "*.mp4")
    videos = [read_video(p) for p in paths if (p.stem in HELD_OUT_VIDEOS) == held_out]
    seeds = () if held_out or limit is not None else SCENE_SEEDS
    scenes = tuple(DemoScene(SCENE_SIZE, seed=seed) for seed in seeds)
    art = () if held_out or clip_art is None else read_clip_art(clip_art)
    known = () if held_out or tracks is None else read_tracks(tracks)
    return Library(tuple(pictures), tuple(sets), tuple(videos), scenes, art, known)


def save_track(path: Path, track: Track) -> None:
    """Write a track to an .npz file."""
    np.savez_compressed(path, pictures=track.pictures, masks=track.masks)


def read_tracks(folder: Path) -> tuple[Track, ...]:
    """Return what `save_track` wrote to a folder.

    Raises:
        FileNotFoundError: nothing.
    """
    tracks = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            tracks.append(Track(arrays["pictures"], arrays["masks"]))
    if not tracks:
        raise FileNotFoundError(
            f"{folder} holds no tracks; make them with python -m training.pseudo_labels."
        )
    return tuple(tracks)


def read_clip_art(folder: Path) -> tuple[NDArray[np.uint8], ...]:
    """Return the (h, w, 4) RGBA pieces of clip art in a folder's `CLIP_ART`.

    Raises:
        FileNotFoundError: there are none.
    """
    pieces = []
    for path in sorted(p for name in CLIP_ART for p in (folder / name).rglob("*.png")):
        if any(word in str(path.parent.relative_to(folder)) for word in NO_THINGS):
            continue
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.dtype != np.uint8 or picture.shape[2:] != (4,):
            continue
        scale = min(1.0, CLIP_ART_SIDE / max(picture.shape[:2]))
        size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        solid = np.where(picture[..., 3] > 127, 255, 0).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(solid)
        if min(w, h) < 24 or not CLIP_ART_COVER[0] <= solid.mean() / 255 <= CLIP_ART_COVER[1]:
            continue
        pieces.append(cv2.cvtColor(picture[y : y + h, x : x + w], cv2.COLOR_BGRA2RGBA))
    if not pieces:
        raise FileNotFoundError(
            f"{folder} holds no clip art; give the png folder of Debian's openclipart-png."
        )
    return tuple(pieces)


def read_picture(path: Path, whole_labels: bool) -> Picture:
    """Read images/NAME.jpg and masks/NAME.png.

    Args:
        path: of the image.
        whole_labels: each label is a whole thing; otherwise all labels together are.
    """
    pixels = cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    labels = _read(path.parents[1] / "masks" / f"{path.stem}.png", cv2.IMREAD_GRAYSCALE)
    size = _small(*pixels.shape[:2])
    pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    counts = np.bincount(labels.ravel(), minlength=256)
    enough = MIN_REGION * labels.size
    large = tuple((int(i),) for i in np.flatnonzero(counts >= enough) if i)
    everything = tuple(int(i) for i in np.flatnonzero(counts) if i)
    if whole_labels:
        return Picture(pixels, labels, large, ())
    return Picture(pixels, labels, (everything,) if everything else (), large)


def read_video(path: Path, stride: int = VIDEO_STRIDE, side: int = MAX_SIDE) -> NDArray[np.uint8]:
    """Return (N, H, W, 3) uint8 RGB.

    Args:
        path: of the video.
        stride: every so many frames one is returned.
        side: most pixels of the larger side.

    Raises:
        FileNotFoundError: it cannot be read.
    """
    capture = cv2.VideoCapture(str(path))
    kept, count = [], 0
    while capture.grab():
        if count % stride == 0:
            ok, frame = capture.retrieve()
            if not ok:
                break
            size = _small(*frame.shape[:2], side)
            small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            kept.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        count += 1
    capture.release()
    if not kept:
        raise FileNotFoundError(f"{path} holds no readable frame; copy the videos again.")
    return np.stack(kept).astype(np.uint8)


def _read(path: Path, flags: int) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise FileNotFoundError(f"{path} is no readable picture; copy the data again.")
    return np.asarray(pixels, np.uint8)


def _files(folder: Path, pattern: str) -> list[Path]:
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise FileNotFoundError(
            f"{folder} holds no {pattern}; give the folder that holds train/ and videos/ as --data."
        )
    return paths


def _split(paths: list[Path], split: Split) -> list[Path]:
    held_out = split == "validation"
    return [p for i, p in enumerate(paths) if (i % HELD_OUT_EVERY == 0) == held_out]


def _small(height: int, width: int, side: int = MAX_SIDE) -> tuple[int, int]:
    """Return (width, height) with the larger side at most `side`."""
    scale = min(1.0, side / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))
