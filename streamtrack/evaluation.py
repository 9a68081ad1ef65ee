"""How well a model tracks: J, F and J&F on sequences with true masks, as DAVIS defines them.

J is intersection over union; F the harmonic mean of the precision and recall of the outline,
where a pixel counts as found within 0.8 % of the picture's diagonal (Perazzi et al., CVPR 2016).
The frame an object is prompted on does not count; every later frame does.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from streamtrack.errors import SourceError
from streamtrack.tracking.prompts import Prompt

PromptKind = Literal["mask", "box", "click"]
Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]

OUTLINE_BOUND = 0.008
"""Share of the diagonal within which outlines agree."""
_FRAMES, _MASKS = ("frames", "JPEGImages", "images"), ("masks", "Annotations")
_PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True, slots=True)
class LabelledSequence:
    """A sequence on disk with a true mask for every frame that has one."""

    name: str
    frames: tuple[Path, ...]
    masks: Mapping[str, Path]
    """PNG by the name of its frame, without the ending."""

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frames)

    def pictures(self) -> Iterator[Picture]:
        """Yield the frames, (H, W, 3) uint8 RGB.

        Raises:
            SourceError: one cannot be read.
        """
        for path in self.frames:
            yield cv2.cvtColor(_read(path), cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)

    def truth(self) -> list[dict[int, Mask] | None]:
        """Return the (H, W) masks by object for every frame; None where there are none.

        Every colour but black is an object; objects are numbered by colour from 1.

        Raises:
            SourceError: a mask cannot be read.
        """
        painted: list[NDArray[np.int64] | None] = []
        for path in self.frames:
            mask = self.masks.get(path.stem)
            painted.append(None if mask is None else _read(mask).astype(np.int64) @ _CODE)
        known = [np.unique(one) for one in painted if one is not None]
        colours = [code for code in np.unique(np.concatenate(known)).tolist() if code]
        return [
            None
            if codes is None
            else {number: codes == code for number, code in enumerate(colours, 1)}
            for codes in painted
        ]


_CODE = np.array([1, 256, 65536], np.int64)


def _read(path: Path) -> Picture:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise SourceError(f"{path} is no readable picture; give pictures such as JPEG and PNG.")
    return np.asarray(pixels, np.uint8)


def find_sequences(dataset: Path) -> list[LabelledSequence]:
    """Return the sequences of a dataset, by name.

    A sequence is a folder with frames and masks of the same names: SEQUENCE/{frames,masks}, or as
    in DAVIS JPEGImages/[480p/]SEQUENCE and Annotations/[480p/]SEQUENCE.

    Raises:
        SourceError: there is none.
    """
    if not dataset.is_dir():
        raise SourceError(f"{dataset} is no folder; give a folder of sequences with true masks.")
    found = [one for folder in (dataset, *_folders(dataset)) if (one := _in_one(folder))]
    found += _as_davis(dataset)
    unique = {one.name: one for one in found}
    if not unique:
        raise SourceError(
            f"{dataset} holds no sequence with true masks; give a folder with frames/ and masks/, "
            "a folder of such folders, or one with JPEGImages/ and Annotations/."
        )
    return [unique[name] for name in sorted(unique)]


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir())


def _in_one(folder: Path) -> LabelledSequence | None:
    frames = next((folder / name for name in _FRAMES if (folder / name).is_dir()), None)
    masks = next((folder / name for name in _MASKS if (folder / name).is_dir()), None)
    return None if frames is None or masks is None else _sequence(folder.name, frames, masks)


def _as_davis(dataset: Path) -> list[LabelledSequence]:
    frames, masks = dataset / "JPEGImages", dataset / "Annotations"
    if (frames / "480p").is_dir():
        frames, masks = frames / "480p", masks / "480p"
    if not frames.is_dir():
        return []
    both = [(one, masks / one.name) for one in _folders(frames)]
    made = [_sequence(one.name, one, other) for one, other in both if other.is_dir()]
    return [one for one in made if one is not None]


def _sequence(name: str, frames: Path, masks: Path) -> LabelledSequence | None:
    pictures = sorted(one for one in frames.iterdir() if one.suffix.lower() in _PICTURES)
    known = {one.stem: one for one in masks.glob("*.png")}
    if not pictures or not any(one.stem in known for one in pictures):
        return None
    return LabelledSequence(name, tuple(pictures), known)


def prompt_of(mask: Mask, object_id: int, kind: PromptKind) -> Prompt:
    """Return the prompt that stands for a true mask, which must not be empty.

    Args:
        mask: (H, W).
        object_id: of the object.
        kind: the mask itself, its tight box, or a click on its innermost point.
    """
    if kind == "mask":
        return Prompt(object_id, mask=mask)
    if kind == "box":
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        return Prompt(object_id, box=[x, y, x + width - 1, y + height - 1])
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), mask.shape)
    return Prompt(object_id, points=[[float(column), float(row)]])


def jaccard(found: Mask, true: Mask) -> float:
    """Return intersection over union; 1 for two empty masks."""
    union = np.count_nonzero(found | true)
    return np.count_nonzero(found & true) / union if union else 1.0


def outline_f(found: Mask, true: Mask) -> float:
    """Return the F measure of the outlines; 1 for two empty masks."""
    bound = math.ceil(OUTLINE_BOUND * math.hypot(*true.shape))
    ours, theirs = _outline(found), _outline(true)
    count, wanted = int(ours.sum()), int(theirs.sum())
    if not count or not wanted:
        return float(count == wanted)
    disk = _disk(bound)
    precision = cv2.countNonZero(cv2.bitwise_and(ours, cv2.dilate(theirs, disk))) / count
    recall = cv2.countNonZero(cv2.bitwise_and(theirs, cv2.dilate(ours, disk))) / wanted
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _outline(mask: Mask) -> NDArray[np.uint8]:
    """Return 1 where the pixel to the right, below or both differs."""
    right, below, both = mask.copy(), mask.copy(), mask.copy()
    right[:, :-1] = mask[:, 1:]
    below[:-1] = mask[1:]
    both[:-1, :-1] = mask[1:, 1:]
    edge = (mask ^ right) | (mask ^ below) | (mask ^ both)
    edge[-1] = (mask ^ right)[-1]
    edge[:, -1] = (mask ^ below)[:, -1]
    edge[-1, -1] = False
    return edge.astype(np.uint8)


def _disk(radius: int) -> NDArray[np.uint8]:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x * x + y * y <= radius * radius, np.uint8)


@dataclass(frozen=True, slots=True)
class Score:
    """Means over the frames after the prompt; `first` is J on the prompted frame."""

    j: float
    f: float
    first: float

    @property
    def jf(self) -> float:
        """J&F, their mean."""
        return (self.j + self.f) / 2


def score(
    found: Sequence[Mapping[int, Mask] | None],
    truth: Sequence[Mapping[int, Mask] | None],
    prompted: Mapping[int, int],
) -> dict[int, Score]:
    """Return the scores of each object.

    Args:
        found: masks by object, frame by frame; None for a frame that does not count.
        truth: likewise; None where nothing is known.
        prompted: the frame each object was prompted on.
    """
    scores: dict[int, Score] = {}
    for key, begin in prompted.items():
        pairs = [
            (ours[key] if key in ours else np.zeros_like(true[key]), true[key])
            for ours, true in zip(found[begin:], truth[begin:], strict=True)
            if true is not None and ours is not None
        ]
        js = [jaccard(*pair) for pair in pairs]
        fs = [outline_f(*pair) for pair in pairs]
        later = js[1:] or js, fs[1:] or fs
        scores[key] = Score(float(np.mean(later[0])), float(np.mean(later[1])), js[0])
    return scores


def mean_score(scores: Sequence[Score]) -> Score:
    """Return the mean of scores, of objects or of sequences."""
    means = (float(np.mean([getattr(one, name) for one in scores])) for name in ("j", "f", "first"))
    return Score(*means)
