"""Check prompts before anything is touched: one object's bad prompt never harms another."""

from collections.abc import Container, Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamtrack.errors import PromptError, TooManyPoints, UnknownObject
from streamtrack.tracking.prompts import Prompt

MAX_POINTS = 16


@dataclass(frozen=True, slots=True, eq=False)
class CheckedPrompt:
    """A prompt whose arrays have the shapes and ranges they should."""

    object_id: int | None
    points: NDArray[np.float32]
    """(N, 2) float32 in source pixels; box corners first."""
    labels: NDArray[np.int32]
    """(N,): 0 background, 1 foreground, 2 and 3 the box's corners."""
    mask: NDArray[np.bool_] | None
    """(H, W)."""

    @property
    def has_box(self) -> bool:
        """Whether the first two points are a box's corners."""
        return len(self.labels) > 0 and int(self.labels[0]) == 2


def check_prompt(prompt: Prompt, size: tuple[int, int], known: Container[int]) -> CheckedPrompt:
    """Return the prompt in one form, or say what is wrong with it.

    Args:
        prompt: as the user gave it, in source pixels.
        size: (height, width) of the frame it was made on.
        known: ids of the objects being followed.

    Raises:
        PromptError: it is malformed, not finite, outside the frame or empty.
        TooManyPoints: it carries more than 16 points.
        UnknownObject: its object id is not a whole number of at least 1.
    """
    object_id = _checked_id(prompt.object_id)
    given = [name for name in ("points", "box", "mask") if getattr(prompt, name) is not None]
    if given not in (["points"], ["box"], ["mask"], ["points", "box"]):
        raise PromptError(
            f"A prompt was given {' and '.join(given) or 'nothing'}, but takes points, a box, a "
            "mask, or a box with points; give one of these."
        )
    if prompt.mask is not None:
        none = np.zeros(0, np.int32)
        mask = _checked_mask(prompt.mask, size)
        return CheckedPrompt(object_id, np.zeros((0, 2), np.float32), none, mask)
    points, labels = _checked_points(prompt, size)
    if prompt.box is not None:
        corners = _checked_box(prompt.box, size)
        points = np.concatenate([corners, points])
        labels = np.concatenate([np.array([2, 3], np.int32), labels])
    elif object_id not in known and not (labels == 1).any():
        raise PromptError(
            "A new object was given background points only; give at least one foreground point "
            "on it first."
        )
    return CheckedPrompt(object_id, points, labels, None)


def check_totals(checked: Iterable[tuple[Hashable, CheckedPrompt]]) -> None:
    """Bound the points of several prompts for one object on one frame: they add up.

    Args:
        checked: prompts in order, each with what tells its object and frame.

    Raises:
        TooManyPoints: there are more than 16 on one frame.
    """
    totals: dict[Hashable, int] = {}
    for key, prompt in checked:
        starts_anew = prompt.has_box or prompt.mask is not None
        totals[key] = int((prompt.labels < 2).sum()) + (0 if starts_anew else totals.get(key, 0))
        if totals[key] > MAX_POINTS:
            raise TooManyPoints(
                f"An object was given {totals[key]} points on one frame, but at most {MAX_POINTS} "
                "are taken; give fewer, or a box."
            )


def _checked_id(object_id: object) -> int | None:
    if object_id is None:
        return None
    if isinstance(object_id, bool) or not isinstance(object_id, int | np.integer) or object_id < 1:
        raise UnknownObject(
            f"The object id is {object_id!r}, but ids are whole numbers from 1; use one of the "
            "followed objects' ids, or none for a new object."
        )
    return int(object_id)


def _array(value: ArrayLike, what: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise PromptError(f"The {what} {value!r} are not numbers; give plain numbers.") from None
    if not np.isfinite(array).all():
        raise PromptError(f"The {what} hold a value that is not finite; give plain numbers.")
    return array


def _checked_points(
    prompt: Prompt, size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    if prompt.points is None:
        if prompt.labels is not None:
            raise PromptError("Labels were given without points; give a point for each label.")
        return np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    points = _array(prompt.points, "points")
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise PromptError(
            f"The points have shape {points.shape}, but must be (N, 2) with N from 1 to "
            f"{MAX_POINTS}; give a list of [x, y] pairs."
        )
    if len(points) > MAX_POINTS:
        raise TooManyPoints(
            f"The prompt has {len(points)} points, but at most {MAX_POINTS} are taken; "
            "give fewer, or a box."
        )
    height, width = size
    for x, y in points:
        if not (0 <= x <= width and 0 <= y <= height):
            raise PromptError(
                f"The point ({x:g}, {y:g}) lies outside the {width}x{height} frame; "
                "give source pixels, x then y."
            )
    ones = np.ones(len(points))
    labels = ones if prompt.labels is None else _array(prompt.labels, "labels")
    if labels.shape != (len(points),):
        raise PromptError(
            f"There are {len(points)} points but labels of shape {labels.shape}; "
            "give one label for each point."
        )
    if not np.isin(labels, (0, 1)).all():
        wrong = labels[~np.isin(labels, (0, 1))][0]
        raise PromptError(f"The label {wrong:g} is neither 1 (foreground) nor 0 (background).")
    return points.astype(np.float32), labels.astype(np.int32)


def _checked_box(value: ArrayLike, size: tuple[int, int]) -> NDArray[np.float32]:
    box = _array(value, "box corners")
    if box.shape != (4,):
        raise PromptError(f"The box has shape {box.shape}, but must be x0, y0, x1, y1.")
    x0, y0, x1, y1 = box
    height, width = size
    text = f"The box {x0:g}, {y0:g}, {x1:g}, {y1:g}"
    if not (x0 < x1 and y0 < y1):
        raise PromptError(f"{text} is empty; give x0 < x1 and y0 < y1.")
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise PromptError(f"{text} reaches outside the {width}x{height} frame; clip it.")
    return box.reshape(2, 2).astype(np.float32)


def _checked_mask(value: ArrayLike, size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.asarray(value)
    if mask.dtype.kind not in "biuf" or mask.shape != size:
        raise PromptError(
            f"The mask has shape {mask.shape}, but the frame is {size[0]} rows by {size[1]} "
            "columns; give a mask of the frame's size."
        )
    mask = mask > 0
    if not mask.any():
        raise PromptError("The mask is empty; mark at least one pixel of the object.")
    return mask


def check_picture(picture: NDArray[np.uint8]) -> None:
    """Raise PromptError unless the picture is (H, W, 3) uint8."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise PromptError(
            f"The picture is {picture.dtype} of shape {picture.shape}, but must be uint8 of shape "
            "(H, W, 3), RGB; convert it."
        )
