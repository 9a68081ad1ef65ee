"""The bounded predictor: one model, any number of streams and objects.

tracker = Tracker.load("nano")
stream = tracker.open()
tracked = stream.step(picture, [Prompt(points=[[x, y]])])
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamtrack.errors import (
    PromptError,
    PromptTooOld,
    TooManyObjects,
    TooManyPoints,
    UnknownObject,
)
from streamtrack.masks import mask_box
from streamtrack.tracking.loading import load_segmenter
from streamtrack.tracking.memory import FrameMemory, MemoryBank
from streamtrack.tracking.preprocess import mask_to_input, to_image, to_masks
from streamtrack.tracking.prompts import Prompt, Tracked, TrackedObject
from streamtrack.tracking.segmenter import Features, PointInput, Segmentation, Segmenter
from streamtrack.tracking.validation import MAX_POINTS, CheckedPrompt, check_prompt

logger = logging.getLogger(__name__)


class Tracker:
    """A model on a device, shared by any number of streams.

    Not thread-safe: one thread owns a tracker and all its streams.
    """

    def __init__(self, segmenter: Segmenter, *, model: str, why: str = "") -> None:
        """Wrap a segmenter; `Tracker.load` is the usual way.

        Args:
            segmenter: the model.
            model: its name.
            why: one sentence that says why this model was chosen.
        """
        self.segmenter = segmenter
        self.model = model
        self.why = why

    @classmethod
    def load(
        cls,
        model: str = "auto",
        *,
        checkpoint: Path | str | None = None,
        image_size: int | None = None,
        device: str = "auto",
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Load a model and put it on a device.

        Args:
            model: "nano", "sam2.1-tiny" ..., or "auto" for the best that is here and fits.
            checkpoint: weights to use; None = the model's own, downloaded if need be.
            image_size: side of the model's input in pixels, a multiple of 32; None = its own.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            dtype: torch.float32 or torch.bfloat16; None = what is fast on the device.

        Raises:
            CheckpointError: the model is unknown or its weights are missing or broken.
            ConfigError: the image size or device does not exist.
            DeviceError: the device cannot hold the model.
        """
        loaded = load_segmenter(
            model, checkpoint=checkpoint, image_size=image_size, device=device, dtype=dtype
        )
        return cls(loaded.segmenter, model=loaded.model, why=loaded.why)

    @property
    def device(self) -> str:
        """The device's name, such as "cpu"."""
        return str(self.segmenter.device)

    @property
    def image_size(self) -> int:
        """Side of the model's input in pixels."""
        return self.segmenter.image_size

    def open(self, *, max_objects: int = 32) -> "TrackingStream":
        """Return a new stream's state, one for each video."""
        return TrackingStream(self.segmenter, max_objects=max_objects)


@dataclass(slots=True, eq=False)
class _Followed:
    """One object: its memories, and its points on the frame last prompted."""

    bank: MemoryBank
    points: PointInput | None = None
    prompted_index: int = -1


@dataclass(slots=True, eq=False)
class _Draft:
    """One object's part of a step that is not committed yet."""

    found: Segmentation | None = None
    memory: FrameMemory | None = None
    prompted: list[FrameMemory] = field(default_factory=list)
    points: PointInput | None = None


class TrackingStream:
    """One video's objects and their bounded memories."""

    def __init__(self, segmenter: Segmenter, *, max_objects: int = 32) -> None:
        """Start with no objects; `Tracker.open` is the usual way."""
        self._segmenter = segmenter
        self._max_objects = max_objects
        self._objects: dict[int, _Followed] = {}
        self._next_id = 1
        self._index = 0

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of the objects being followed, oldest first."""
        return tuple(self._objects)

    @property
    def index(self) -> int:
        """Index the next stepped frame will have."""
        return self._index

    @property
    def state_bytes(self) -> int:
        """Bytes of all memories held; constant in steady state."""
        return sum(followed.bank.state_bytes for followed in self._objects.values())

    def check(self, prompt: Prompt, size: tuple[int, int]) -> None:
        """Raise the PromptError that `step` would raise for this prompt; change nothing.

        Args:
            prompt: in source pixels.
            size: (height, width) of the frame to be stepped.
        """
        self._checked([prompt], size)

    def step(self, picture: NDArray[np.uint8], prompts: Sequence[Prompt] = ()) -> Tracked:
        """Follow all objects onto one frame, then apply the prompts made on it.

        Args:
            picture: (H, W, 3) uint8 RGB.
            prompts: in source pixels; those of one object are applied in order.

        Raises:
            PromptError: a prompt cannot be applied; nothing has changed.
            DeviceError: the device failed; nothing has changed.
        """
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise PromptError(
                f"The picture is {picture.dtype} of shape {picture.shape}, but must be uint8 of "
                "shape (H, W, 3), RGB; convert it."
            )
        size = (picture.shape[0], picture.shape[1])
        checked = self._checked(prompts, size)
        if not self._objects and not checked:
            self._index += 1
            return Tracked(self._index - 1, {})
        with _timed({}, "preprocess") as times:
            image = to_image(picture, self._segmenter.image_size)
        return self.step_image(image, size, checked, times)

    def step_image(
        self,
        image: Tensor,
        size: tuple[int, int],
        checked: Sequence[tuple[int, CheckedPrompt]] = (),
        times: dict[str, float] | None = None,
    ) -> Tracked:
        """Step a frame that is normalised already.

        Args:
            image: (3, S, S) float32 as `to_image` returns it.
            size: (height, width) of the source picture.
            checked: object ids and their prompts.
            times: filled with ms by stage.
        """
        times = {} if times is None else times
        index = self._index
        with self._segmenter.running():
            with _timed(times, "encode"):
                features = self._segmenter.encode(image)
            with _timed(times, "track"):
                drafts = self._track(features, index)
            with _timed(times, "prompt"):
                for object_id, prompt in checked:
                    draft = drafts.setdefault(object_id, _Draft())
                    self._apply(features, index, object_id, prompt, size, draft)
            with _timed(times, "masks"):
                objects = _results(drafts, size)
        self._commit(index, drafts)
        return Tracked(index, objects, tuple(object_id for object_id, _ in checked), dict(times))

    def remove(self, object_id: int) -> None:
        """Forget one object.

        Raises:
            UnknownObject: no object has this id.
        """
        self._known(object_id)
        del self._objects[object_id]

    def undo(self, object_id: int) -> bool:
        """Take back the object's last prompt; what was learned since goes with it.

        Returns:
            False when it was the only prompt, so that the object went too.

        Raises:
            UnknownObject: no object has this id.
        """
        followed = self._known(object_id)
        followed.points, followed.prompted_index = None, -1
        if followed.bank.undo():
            return True
        del self._objects[object_id]
        return False

    def reset(self) -> None:
        """Forget all objects; ids and the frame index go on."""
        self._objects.clear()

    def _known(self, object_id: int) -> _Followed:
        followed = self._objects.get(object_id)
        if followed is None:
            ids = ", ".join(map(str, self._objects)) or "none"
            raise UnknownObject(f"No object has the id {object_id}; the objects followed: {ids}.")
        return followed

    def _checked(
        self, prompts: Sequence[Prompt], size: tuple[int, int]
    ) -> list[tuple[int, CheckedPrompt]]:
        """Validate all prompts and give new objects their ids; changes nothing."""
        known, next_id = set(self._objects), self._next_id
        checked = []
        for prompt in prompts:
            if prompt.frame is not None and prompt.frame != self._index:
                raise PromptTooOld(
                    f"The prompt names frame {prompt.frame}, but only frame {self._index}, the "
                    "one being stepped, can be prompted; give that one or none."
                )
            one = check_prompt(prompt, size, known)
            object_id = next_id if one.object_id is None else one.object_id
            if object_id not in known and len(known) >= self._max_objects:
                raise TooManyObjects(
                    f"{len(known)} objects are followed already, which is the limit; remove one "
                    "first."
                )
            known.add(object_id)
            next_id = max(next_id, object_id + 1)
            checked.append((object_id, one))
        self._check_totals(checked)
        return checked

    def _check_totals(self, checked: Sequence[tuple[int, CheckedPrompt]]) -> None:
        """Points of several prompts on one frame add up, and their sum is bounded too."""
        totals: dict[int, int] = {}
        for object_id, prompt in checked:
            clicks = int((prompt.labels < 2).sum())
            starts_anew = prompt.has_box or prompt.mask is not None
            totals[object_id] = clicks + (0 if starts_anew else totals.get(object_id, 0))
            if totals[object_id] > MAX_POINTS:
                raise TooManyPoints(
                    f"Object {object_id} was given {totals[object_id]} points on one frame, but at "
                    f"most {MAX_POINTS} are taken; give fewer, or a box."
                )

    def _track(self, features: Features, index: int) -> dict[int, _Draft]:
        ids = list(self._objects)
        views = [self._objects[i].bank.view(index) for i in ids]
        found = self._segmenter.track(features, views)
        memories = self._segmenter.remember(features, found, prompted=False)
        return {i: _Draft(one, memory) for i, one, memory in zip(ids, found, memories, strict=True)}

    def _apply(
        self,
        features: Features,
        index: int,
        object_id: int,
        prompt: CheckedPrompt,
        size: tuple[int, int],
        draft: _Draft,
    ) -> None:
        """Segment one prompted object and put the outcome into its draft."""
        segmenter = self._segmenter
        if prompt.mask is not None:
            draft.points = None
            found = segmenter.prompt_mask(
                features, mask_to_input(prompt.mask, segmenter.image_size)
            )
        else:
            points = _to_input(prompt, size, segmenter.image_size)
            if draft.points is not None and not prompt.has_box:
                points = draft.points.joined(points)
            draft.points = points
            followed = self._objects.get(object_id)
            view = followed.bank.view(index) if followed else None
            previous = draft.found.logits if draft.found is not None else None
            found = segmenter.prompt(features, view, points, previous)
        draft.found = found
        draft.prompted += segmenter.remember(features, [found], prompted=True)

    def _commit(self, index: int, drafts: dict[int, _Draft]) -> None:
        for object_id, draft in drafts.items():
            followed = self._objects.get(object_id)
            if followed is None:
                segmenter = self._segmenter
                bank = MemoryBank(
                    mask_memories=segmenter.mask_memories, pointers=segmenter.pointers
                )
                followed = self._objects[object_id] = _Followed(bank)
                self._next_id = max(self._next_id, object_id + 1)
            if draft.memory is not None:
                followed.bank.add(index, draft.memory)
            for memory in draft.prompted:
                followed.bank.add_prompted(index, memory)
        self._index = index + 1


def _to_input(prompt: CheckedPrompt, size: tuple[int, int], image_size: int) -> PointInput:
    """Scale source pixels to input pixels in the order of SAM 2's arithmetic."""
    height, width = size
    points = torch.from_numpy(prompt.points)[None] / torch.tensor([width, height])
    return PointInput(points * image_size, torch.from_numpy(prompt.labels)[None])


def _results(drafts: dict[int, _Draft], size: tuple[int, int]) -> dict[int, TrackedObject]:
    found = [draft.found for draft in drafts.values()]
    logits = _to_numpy(torch.cat([one.logits[:, 0] for one in found if one is not None]))
    masks = to_masks(logits, size)
    return {
        object_id: _result(object_id, one, low, mask, size)
        for object_id, one, low, mask in zip(drafts, found, logits, masks, strict=True)
        if one is not None
    }


def _result(
    object_id: int,
    found: Segmentation,
    logits: NDArray[np.float32],
    mask: NDArray[np.bool_],
    size: tuple[int, int],
) -> TrackedObject:
    score = float(found.object_score.float())
    candidates = None
    if found.candidates is not None:
        candidates = to_masks(_to_numpy(found.candidates), size)
    return TrackedObject(
        object_id=object_id,
        state="tracked" if score > 0 else "lost",
        mask=mask,
        logits=logits,
        score=1 / (1 + float(np.exp(-score))),
        predicted_iou=float(found.predicted_iou.float().clamp(0, 1)),
        box=mask_box(mask),
        area=int(np.count_nonzero(mask)),
        candidates=candidates,
    )


def _to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().cpu().numpy()
    return array


@contextmanager
def _timed(times: dict[str, float], stage: str) -> Iterator[dict[str, float]]:
    """Add the time the block takes to times[stage], in ms."""
    start = time.perf_counter()
    yield times
    times[stage] = times.get(stage, 0.0) + (time.perf_counter() - start) * 1000
