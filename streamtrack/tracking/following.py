"""One video: its objects, their bounded memories, and the frames prompts may still name."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from streamtrack.errors import PromptError, PromptTooOld, TooManyObjects, UnknownObject
from streamtrack.tracking.application import (
    Applier,
    Costs,
    Followed,
    Item,
    Outcome,
    applied_prompts,
)
from streamtrack.tracking.history import History, PastFrame, PastObject
from streamtrack.tracking.prompts import Prompt, Tracked, TrackedObject
from streamtrack.tracking.results import to_objects
from streamtrack.tracking.segmentation import Segmentation
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.validation import CheckedPrompt, check_picture, check_prompt, check_totals

Picture = NDArray[np.uint8]
Checked = list[tuple[int, PastFrame, CheckedPrompt]]
"""Object id, frame and prompt, in the order the prompts were given."""


class TrackingStream:
    """One video's objects and their bounded memories.

    Not thread-safe: one thread owns a tracker and all its streams.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        *,
        max_objects: int = 32,
        rewind_frames: int = 16,
        feature_bytes: int = 256 * 2**20,
        replay_budget_ms: float | None = None,
        pictures: Callable[[int], Picture | None] | None = None,
    ) -> None:
        """Start with no objects; `Tracker.open` is the usual way and says what the rest means."""
        self._segmenter = segmenter
        self._max_objects = max_objects
        self._pictures = pictures
        self._history = History(frames=max(1, rewind_frames), feature_bytes=feature_bytes)
        self._costs = Costs()
        self._applier = Applier(
            segmenter, self._history, budget_ms=replay_budget_ms, costs=self._costs
        )
        self._objects: dict[int, Followed] = {}
        self._last = Tracked(-1, {})
        self._last_frame = -1
        self._next_id = 1

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of the objects being followed, oldest first."""
        return tuple(self._objects)

    @property
    def index(self) -> int:
        """Index the next stepped frame will have."""
        return self._last.index + 1

    @property
    def last_frame(self) -> int:
        """Number of the frame stepped last; -1 before the first."""
        return self._last_frame

    @property
    def state_bytes(self) -> int:
        """Bytes of all memories and features held; constant in steady state."""
        kept = list(self._history.tensors())
        for followed in self._objects.values():
            kept.extend(followed.bank.tensors())
        storages = {one.untyped_storage().data_ptr(): one.untyped_storage() for one in kept}
        return sum(storage.nbytes() for storage in storages.values())

    def check(self, prompt: Prompt, size: tuple[int, int]) -> None:
        """Raise the PromptError that `step` would raise for this prompt; change nothing.

        Args:
            prompt: in source pixels.
            size: (height, width) of the frame to be stepped.
        """
        ahead = PastFrame(self._last_frame + 1, np.empty((*size, 3), np.uint8), None)
        self._checked([prompt], ahead)

    def step(
        self, picture: Picture, prompts: Sequence[Prompt] = (), *, frame: int | None = None
    ) -> Tracked:
        """Follow all objects onto one frame, then apply the prompts.

        A prompt that names an earlier frame is applied there; see `apply`.

        Args:
            picture: (H, W, 3) uint8 RGB; kept for late prompts, so do not write to it.
            prompts: in source pixels; those of one object are applied by frame, then in order.
            frame: number of this frame, larger than any before; default the last plus one.

        Raises:
            PromptError: a prompt cannot be applied; nothing has changed.
            DeviceError: the device failed; nothing has changed.
        """
        check_picture(picture)
        number = self._last_frame + 1 if frame is None else frame
        if number <= self._last_frame:
            raise PromptError(
                f"The frame's number is {number}, but frame {self._last_frame} was stepped "
                "already; number frames upwards."
            )
        newest = PastFrame(number, picture, None)
        checked = self._checked(prompts, newest)
        times: dict[str, float] = {}
        self._history.add(newest)
        if not self._objects and not checked:
            self._last, self._last_frame = Tracked(self.index, {}), number
            return self._last
        try:
            with self._segmenter.running():
                present, found = self._follow(newest, times)
                outcomes = self._apply(checked, present, times)
                objects = self._results(newest, found, outcomes, times)
        except BaseException:
            self._history.remove(newest)
            raise
        self._objects = present
        self._commit(outcomes)
        self._last_frame = number
        applied = applied_prompts(outcomes)
        ids = tuple(one.object_id for one in applied)
        self._last = Tracked(self.index, objects, ids, applied, times)
        return self._last

    def apply(self, prompts: Sequence[Prompt]) -> Tracked:
        """Apply prompts without a new frame; those that name no frame go to the newest.

        A prompt on an earlier frame that is still kept is applied there, and its object alone
        is followed again to the newest frame. When that would take longer than the replay
        budget the object goes on from the next frame instead. A frame that was not stepped
        takes its place in the object's own count of frames; other objects' memories are left
        as they are.

        Returns:
            The newest frame's objects.

        Raises:
            PromptTooOld: a frame is no longer kept, or nothing was stepped yet.
            PromptError: a prompt cannot be applied; nothing has changed.
            DeviceError: the device failed; nothing has changed.
        """
        newest = self._history.find(self._last_frame)
        if newest is None:
            raise PromptTooOld("No frame was stepped yet; step one first.")
        checked = self._checked(prompts, newest)
        times: dict[str, float] = {}
        with self._segmenter.running():
            outcomes = self._apply(checked, self._objects, times)
            objects = self._results(newest, {}, outcomes, times)
        self._commit(outcomes)
        applied = applied_prompts(outcomes)
        ids = tuple(one.object_id for one in applied)
        self._last = Tracked(self._last.index, self._last.objects | objects, ids, applied, times)
        return self._last

    def correct(
        self, frame: int, masks: Mapping[int, NDArray[np.bool_]], budget_ms: float | None = None
    ) -> Tracked:
        """Take a better model's masks of an earlier frame, and follow their objects to now.

        What the objects remembered before counts no more. A correction is no prompt: `undo`
        does not take it back, but with the prompt before it. Objects that are unknown or were
        prompted since, and frames that are gone, are passed over.

        Args:
            frame: the frame's number.
            masks: (H, W) bool at the frame's size, by object id; not empty.
            budget_ms: what following the objects again may take, all together.

        Returns:
            The newest frame's objects.

        Raises:
            DeviceError: the device failed; nothing has changed.
        """
        past, newest = self._find(frame), self._history.find(self._last_frame)
        wanted = {key: one for key, one in masks.items() if key in self._objects and one.any()}
        if past is None or newest is None or not wanted:
            return self._last
        share_ms = None if budget_ms is None else budget_ms / len(wanted)
        times: dict[str, float] = {}
        with self._segmenter.running(), _timed(times, "correct"):
            tried = {
                key: self._applier.correct(key, self._objects[key], past, mask, share_ms)
                for key, mask in wanted.items()
            }
            outcomes = {key: one for key, one in tried.items() if one is not None}
            objects = self._results(newest, {}, outcomes, {})
        self._commit(outcomes)
        self._last = Tracked(self._last.index, self._last.objects | objects, notes=times)
        return self._last

    def pin(self, frame: int) -> bool:
        """Keep a frame for prompts beyond the rewind window, until it is unpinned.

        Returns:
            False when the frame is not known any more.
        """
        past = self._find(frame)
        if past is not None:
            self._history.pin(past)
        return past is not None

    def unpin(self, frame: int) -> None:
        """Let a pinned frame go."""
        self._history.unpin(frame)

    def forget_before(self, frame: int) -> None:
        """Let go of the frames before this one; the newest and pinned ones stay."""
        self._history.forget_before(min(frame, self._last_frame))

    def remove(self, object_id: int) -> None:
        """Forget one object.

        Raises:
            UnknownObject: no object has this id.
        """
        self._known(object_id)
        self._forget(object_id)

    def undo(self, object_id: int) -> bool:
        """Take back the object's last prompt; what was learned since goes with it.

        Returns:
            False when it was the only prompt, so that the object went too.

        Raises:
            UnknownObject: no object has this id.
        """
        followed = self._known(object_id)
        bank = followed.bank.copy()
        since = bank.newest_prompted
        if not bank.undo():
            self._forget(object_id)
            return False
        self._objects[object_id] = Followed(bank, followed.clock)
        for past in self._history:
            kept = past.objects.get(object_id)
            if kept is not None and kept.index >= since:
                del past.objects[object_id]
        return True

    def reset(self) -> None:
        """Forget all objects; ids and the frame index go on."""
        for object_id in self.object_ids:
            self._forget(object_id)

    def _forget(self, object_id: int) -> None:
        del self._objects[object_id]
        self._history.forget(object_id)
        left = {key: one for key, one in self._last.objects.items() if key != object_id}
        self._last = replace(self._last, objects=left)

    def _known(self, object_id: int) -> Followed:
        followed = self._objects.get(object_id)
        if followed is None:
            ids = ", ".join(map(str, self._objects)) or "none"
            raise UnknownObject(f"No object has the id {object_id}; the objects followed: {ids}.")
        return followed

    def _checked(self, prompts: Sequence[Prompt], newest: PastFrame) -> Checked:
        """Validate all prompts and give new objects their ids; changes nothing."""
        known, next_id = set(self._objects), self._next_id
        checked: Checked = []
        for prompt in prompts:
            past = newest if prompt.frame in (None, newest.frame) else self._past(prompt, newest)
            one = check_prompt(prompt, past.size, known)
            object_id = next_id if one.object_id is None else one.object_id
            if object_id not in known and len(known) >= self._max_objects:
                raise TooManyObjects(
                    f"{len(known)} objects are followed already, which is the limit; remove one "
                    "first."
                )
            known.add(object_id)
            next_id = max(next_id, object_id + 1)
            checked.append((object_id, past, one))
        check_totals(((object_id, past.frame), one) for object_id, past, one in checked)
        return checked

    def _past(self, prompt: Prompt, newest: PastFrame) -> PastFrame:
        frame = prompt.frame
        assert frame is not None
        past = self._find(frame) if frame < newest.frame else None
        if past is None:
            oldest = min((one.frame for one in self._history), default=newest.frame)
            raise PromptTooOld(
                f"The prompt names frame {frame}, but only frames {oldest} to {newest.frame} are "
                "kept; prompt one that is shown now."
            )
        return past

    def _find(self, frame: int) -> PastFrame | None:
        """Return a kept frame, or one that was shown but not stepped."""
        if (past := self._history.find(frame)) is not None:
            return past
        picture = self._pictures(frame) if self._pictures and frame <= self._last_frame else None
        return None if picture is None else PastFrame(frame, picture, None)

    def _follow(
        self, newest: PastFrame, times: dict[str, float]
    ) -> tuple[dict[int, Followed], dict[int, Segmentation]]:
        """Follow all objects onto the newest frame; commits nothing but the frame's own record."""
        if not self._objects:
            return {}, {}
        with _timed(times, "encode"):
            features = self._applier.features(newest)
        with _timed(times, "track"):
            views = [one.bank.view(one.clock) for one in self._objects.values()]
            found = self._segmenter.track(features, views)
            clocks = [one.clock for one in self._objects.values()]
            memories = self._segmenter.follow(features, found, clocks)
        self._costs.observe(track=times["track"] / len(found))
        present = {}
        for (object_id, one), segmentation, memory in zip(
            self._objects.items(), found, memories, strict=True
        ):
            newest.objects[object_id] = PastObject(one.bank, one.clock, segmentation.logits)
            bank = one.bank.copy()
            bank.add(one.clock, memory)
            present[object_id] = Followed(bank, one.clock + 1)
        return present, dict(zip(self._objects, found, strict=True))

    def _apply(
        self, checked: Checked, present: dict[int, Followed], times: dict[str, float]
    ) -> dict[int, Outcome]:
        """Return what the prompts change, by object."""
        by_object: dict[int, list[Item]] = {}
        for order, (object_id, past, prompt) in enumerate(checked):
            by_object.setdefault(object_id, []).append(Item(order, past, prompt))
        encoded_ms, tracked_ms = self._costs.encoded_ms, self._costs.tracked_ms
        with _timed(times, "prompt"):
            outcomes = {
                object_id: self._applier.apply(
                    object_id,
                    present.get(object_id),
                    sorted(items, key=lambda item: (item.past.frame, item.order)),
                )
                for object_id, items in by_object.items()
            }
        encode, replay = self._costs.encoded_ms - encoded_ms, self._costs.tracked_ms - tracked_ms
        times["encode"] = times.get("encode", 0.0) + encode
        times["replay"] = replay
        times["prompt"] -= encode + replay
        return outcomes

    def _results(
        self,
        newest: PastFrame,
        found: dict[int, Segmentation],
        outcomes: dict[int, Outcome],
        times: dict[str, float],
    ) -> dict[int, TrackedObject]:
        for object_id, outcome in outcomes.items():
            if outcome.newest is not None:
                found[object_id] = outcome.newest
        with _timed(times, "masks"):
            for object_id, outcome in outcomes.items():
                outcome.render(object_id)
            return to_objects(found, newest.size)

    def _commit(self, outcomes: dict[int, Outcome]) -> None:
        for object_id, outcome in outcomes.items():
            self._objects[object_id] = outcome.followed
            self._next_id = max(self._next_id, object_id + 1)
            if outcome.stale_since is not None:
                self._history.forget(object_id, since=outcome.stale_since)
            for past, kept in outcome.kept:
                if self._history.find(past.frame) is None:
                    self._history.add(past)
                past.objects[object_id] = kept
        self._history.evict()


@contextmanager
def _timed(times: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time the block takes to times[stage], in ms."""
    start = time.perf_counter()
    yield
    times[stage] = times.get(stage, 0.0) + (time.perf_counter() - start) * 1000
