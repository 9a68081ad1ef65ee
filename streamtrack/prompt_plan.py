"""Prompts given before a run: from the command line's flags or a file to a plan by frame.

Whatever names no object belongs to object 1, and whatever names no frame to frame 0.
Clicks and a box on the same object and frame are one prompt, in the order given.
"""

import contextlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from streamtrack.errors import ConfigError, PromptError
from streamtrack.masks import MAX_SIDE_PX, decode_rle
from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.validation import check_prompt

CLICK_FORM = "X,Y[,LABEL[,OBJECT[,FRAME]]]"
BOX_FORM = "X0,Y0,X1,Y1[,OBJECT[,FRAME]]"
MASK_FORM = "PNG[=OBJECT[,FRAME]]"


@dataclass(frozen=True, slots=True, eq=False)
class PlannedPrompt:
    """A prompt, the frame it waits for, and where it was written."""

    frame: int
    """Running number of the frame in the run, from 0."""
    prompt: Prompt
    """With its object id; in source pixels."""
    origin: str
    """For messages, such as "--click 10,20" or "prompts.jsonl, line 3"."""


def plan_prompts(
    clicks: Sequence[str] = (),
    boxes: Sequence[str] = (),
    masks: Sequence[str] = (),
    file: Path | None = None,
) -> list[PlannedPrompt]:
    """Return all prompts of a run in the order of their frames.

    Args:
        clicks: texts of the form CLICK_FORM.
        boxes: texts of the form BOX_FORM.
        masks: texts of the form MASK_FORM.
        file: JSON lines {"frame", "object", "points", "labels", "box", "mask"}.

    Raises:
        ConfigError: a text, a line or a file is wrong, or two prompts contradict.
    """
    drafts: dict[tuple[int, int], _Draft] = {}
    for text in boxes:
        box, object_id, frame = _parse_box(text)
        draft = drafts.setdefault((frame, object_id), _Draft())
        draft.add(f"--box {text}", box=box)
    for text in masks:
        mask, object_id, frame = _parse_mask(text)
        draft = drafts.setdefault((frame, object_id), _Draft())
        draft.add(f"--mask {text}", mask=mask)
    for text in clicks:
        point, label, object_id, frame = _parse_click(text)
        draft = drafts.setdefault((frame, object_id), _Draft())
        draft.add(f"--click {text}", point=point, label=label)
    planned = [draft.planned(frame, object_id) for (frame, object_id), draft in drafts.items()]
    if file is not None:
        planned += _read_file(file, {(p.frame, p.prompt.object_id): p.origin for p in planned})
    return sorted(planned, key=lambda one: one.frame)


def check_plan(planned: Iterable[PlannedPrompt], size: tuple[int, int]) -> None:
    """Check every prompt against the size of the frames, before any frame is followed.

    Args:
        planned: in the order of their frames.
        size: (height, width) in pixels.

    Raises:
        PromptError: one cannot be applied; the message says where it was written.
    """
    known: set[int] = set()
    for one in planned:
        with named(one):
            check_prompt(one.prompt, size, known)
        known.add(one.prompt.object_id or 1)


@contextlib.contextmanager
def named(one: PlannedPrompt) -> Iterator[None]:
    """Put where a prompt was written in front of the message of its PromptError."""
    try:
        yield
    except PromptError as exc:
        raise type(exc)(f"{one.origin}: {exc}") from exc


@dataclass(slots=True)
class _Draft:
    """What the flags say about one object on one frame."""

    points: list[tuple[float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: list[float] | None = None
    mask: NDArray[np.bool_] | None = None
    origins: list[str] = field(default_factory=list)

    def add(
        self,
        origin: str,
        *,
        point: tuple[float, float] | None = None,
        label: int = 1,
        box: list[float] | None = None,
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add one flag, or say that it contradicts an earlier one."""
        if self.mask is not None or (self.box or self.points) and point is None:
            raise ConfigError(
                f"{self.origins[0]} and {origin} speak of the same object on the same frame; "
                "give the second another OBJECT or FRAME."
            )
        self.origins.append(origin)
        if point is not None:
            self.points.append(point)
            self.labels.append(label)
        self.box, self.mask = box or self.box, mask if self.mask is None else self.mask

    def planned(self, frame: int, object_id: int) -> PlannedPrompt:
        """Return the one prompt the flags make."""
        points, labels = (self.points, self.labels) if self.points else (None, None)
        prompt = Prompt(object_id, points, labels, self.box, self.mask)
        return PlannedPrompt(frame, prompt, " ".join(self.origins))


def _parse_click(text: str) -> tuple[tuple[float, float], int, int, int]:
    fields = text.split(",")
    try:
        if not 2 <= len(fields) <= 5:
            raise ValueError
        x, y = (_number(one) for one in fields[:2])
        label = _whole(fields, 2, default=1)
        if label > 1:
            raise ValueError
        return (x, y), label, _whole(fields, 3, default=1, least=1), _whole(fields, 4, default=0)
    except ValueError:
        raise _wrong("--click", text, CLICK_FORM) from None


def _parse_box(text: str) -> tuple[list[float], int, int]:
    fields = text.split(",")
    try:
        if not 4 <= len(fields) <= 6:
            raise ValueError
        box = [_number(one) for one in fields[:4]]
        return box, _whole(fields, 4, default=1, least=1), _whole(fields, 5, default=0)
    except ValueError:
        raise _wrong("--box", text, BOX_FORM) from None


def _parse_mask(text: str) -> tuple[NDArray[np.bool_], int, int]:
    path, object_id, frame = text, 1, 0
    if (found := re.fullmatch(r"(.+)=([\d,]*)", text)) and not Path(text).exists():
        fields = found[2].split(",")
        try:
            if len(fields) > 2:
                raise ValueError
            path = found[1]
            object_id, frame = _whole(fields, 0, default=1, least=1), _whole(fields, 1, default=0)
        except ValueError:
            raise _wrong("--mask", text, MASK_FORM) from None
    return read_mask(Path(path)), object_id, frame


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Return the (H, W) bool mask of a picture file: opaque where it has transparency, else
    everything that is not black, or not label 0.

    Raises:
        ConfigError: the file is missing, not a picture, too large or empty.
    """
    try:
        with Image.open(path) as picture:
            if max(picture.size) > MAX_SIDE_PX:
                raise ConfigError(
                    f"The mask {path} is larger than {MAX_SIDE_PX} pixels; give it at the size of "
                    "the source."
                )
            pixels = np.asarray(picture)
            transparent = picture.mode in ("RGBA", "LA")
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as exc:
        raise ConfigError(f"The mask {path} is not a picture that can be read.") from exc
    except OSError as exc:
        reason = exc.strerror or "it is truncated or damaged"
        raise ConfigError(f"The mask {path} cannot be read: {reason}.") from exc
    if transparent and (pixels[..., -1] < 255).any():
        mask: NDArray[np.bool_] = pixels[..., -1] > 0
    else:
        colours = pixels[..., :-1] if transparent else pixels
        mask = np.asarray(np.atleast_3d(colours > 0).any(axis=2), dtype=np.bool_)
    if not mask.any():
        raise ConfigError(f"The mask {path} is empty; mark at least one pixel of the object.")
    return mask


class _Line(BaseModel):
    """One line of a prompt file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    frame: Annotated[int, Field(ge=0)] = 0
    object: Annotated[int, Field(ge=1)] = 1
    points: list[Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]] | None = None
    labels: list[Literal[0, 1]] | None = None
    box: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)] | None = None
    mask: dict[str, Any] | None = None


def _read_file(path: Path, taken: dict[tuple[int, int | None], str]) -> list[PlannedPrompt]:
    """Return the prompts of a file; each object and frame may be named once."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"The prompt file {path} cannot be read: {reason}.") from exc
    planned = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        one = _parse_line(line, f"{path}, line {number}")
        key = (one.frame, one.prompt.object_id)
        if key in taken:
            raise ConfigError(
                f"{one.origin}: object {key[1]} has a prompt on frame {key[0]} already "
                f"({taken[key]}); join them in one line."
            )
        taken[key] = one.origin
        planned.append(one)
    return planned


def _parse_line(line: str, origin: str) -> PlannedPrompt:
    try:
        content = _Line.model_validate(json.loads(line))
        mask = None if content.mask is None else decode_rle(content.mask)
    except ValidationError as exc:
        raise ConfigError(f"{origin}: {_complaint(exc)}.") from exc
    except (json.JSONDecodeError, RecursionError) as exc:
        raise ConfigError(f"{origin}: this is not JSON.") from exc
    except ValueError as exc:  # of the mask
        raise ConfigError(f"{origin}: {exc}") from exc
    prompt = Prompt(content.object, content.points, content.labels, content.box, mask)
    return PlannedPrompt(content.frame, prompt, origin)


def _complaint(error: ValidationError) -> str:
    """Return what is wrong with a line, in words without full stop."""
    problem = error.errors(include_url=False)[0]
    place = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"the key {place} is unknown; known are {', '.join(_Line.model_fields)}"
    if not place:
        return "a line must be a JSON object"
    return f"{place}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


def _number(text: str) -> float:
    """Return a finite number, or raise ValueError."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _whole(fields: Sequence[str], place: int, *, default: int, least: int = 0) -> int:
    """Return the whole number at a place; the default where it is left out or empty."""
    if place >= len(fields) or not fields[place].strip():
        return default
    number = int(fields[place])
    if number < least:
        raise ValueError
    return number


def _wrong(flag: str, text: str, form: str) -> ConfigError:
    return ConfigError(
        f"{flag} {text} is not of the form {form}; coordinates are source pixels, LABEL is 0 or 1, "
        "OBJECT counts from 1 and FRAME from 0."
    )
