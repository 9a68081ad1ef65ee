"""Apply prompts to one object, on the newest frame or on an earlier one.

A prompt on an earlier frame is applied there, with the memories the object had there, and
the object alone is followed again from there to the newest frame. For a frame the tracker
stepped this equals SAM 2's `add_new_points_or_box` on it followed by `propagate_in_video`
from it (tests/test_parity_late.py). A frame that was shown but never stepped takes its place
in the object's own count of frames; the memories of other objects never hear of it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from streamtrack.tracking.history import History, PastFrame, PastObject
from streamtrack.tracking.memory import MemoryBank, MemoryView
from streamtrack.tracking.preprocess import mask_to_input, to_image, to_input_points
from streamtrack.tracking.prompts import Applied, ReplayMode, TrackedObject
from streamtrack.tracking.results import to_objects
from streamtrack.tracking.segmentation import Features, PointInput, Segmentation
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.validation import CheckedPrompt


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """One object's present: its memories and how many frames it has seen."""

    bank: MemoryBank
    clock: int
    """Index the next frame will have in the object's own count."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One prompt on one frame."""

    order: int
    """Its place among all prompts of the call."""
    past: PastFrame
    prompt: CheckedPrompt


@dataclass(slots=True, eq=False)
class Outcome:
    """All that one object's prompts change; nothing is changed until it is committed."""

    followed: Followed
    mode: ReplayMode = "exact"
    replayed_frames: int = 0
    kept: list[tuple[PastFrame, PastObject]] = field(default_factory=list)
    stale_since: int | None = None
    """Frame after which what is kept of the object no longer holds."""
    prompted: dict[int, tuple[Item, Segmentation]] = field(default_factory=dict)
    """By order: the prompt and the object on its frame."""
    newest: Segmentation | None = None
    """The object on the newest frame, when it was followed that far."""
    rendered: dict[int, TrackedObject] = field(default_factory=dict)
    """By order: the object on its prompt's frame, at the source's size."""

    def render(self, object_id: int) -> None:
        """Bring the prompted frames' masks to the source's size."""
        for order, (item, found) in self.prompted.items():
            self.rendered[order] = to_objects({object_id: found}, item.past.size)[object_id]


@dataclass(frozen=True, slots=True, eq=False)
class _Start:
    """Where an object's prompts begin to take effect."""

    bank: MemoryBank
    view: MemoryView | None
    """None on the object's initial frame."""
    index: int
    previous: Tensor | None
    points: PointInput | None


@dataclass(slots=True)
class Costs:
    """What a replayed frame takes, in ms, by exponential averages, and what all took together."""

    track: float = 0.0
    encode: float = 0.0
    tracked_ms: float = 0.0
    encoded_ms: float = 0.0

    def observe(self, *, track: float | None = None, encode: float | None = None) -> None:
        """Take a measurement in."""
        self.tracked_ms += track or 0.0
        self.encoded_ms += encode or 0.0
        if track is not None:
            self.track = track if self.track == 0 else 0.7 * self.track + 0.3 * track
        if encode is not None:
            self.encode = encode if self.encode == 0 else 0.7 * self.encode + 0.3 * encode


class Applier:
    """Applies prompts for one stream."""

    def __init__(
        self, segmenter: Segmenter, history: History, *, budget_ms: float | None, costs: Costs
    ) -> None:
        """Work on a stream's history.

        Args:
            segmenter: the model.
            history: the frames prompts may name, the newest included.
            budget_ms: what a replay may take; None = any time.
            costs: what a replayed frame takes.
        """
        self._segmenter = segmenter
        self._history = history
        self._budget_ms = budget_ms
        self._costs = costs

    def apply(self, object_id: int, followed: Followed | None, items: Sequence[Item]) -> Outcome:
        """Apply one object's prompts in the order of their frames.

        Args:
            object_id: of the object.
            followed: its present; None for a new object.
            items: its prompts, by frame and then in the order given.
        """
        first = items[0].past
        later = self._history.since(first.frame)
        missing = sum(past.features is None for past in (first, *later))
        start = self._start(object_id, followed, first, later)
        kept = self._history.reaches(first.frame)
        if start is None or not kept or not self._affordable(later):
            return self._jump(object_id, followed, items, start)
        by_frame: dict[int, list[Item]] = {}
        for item in items:
            by_frame.setdefault(item.past.frame, []).append(item)
        bank = start.bank
        outcome = Outcome(Followed(bank, 0))
        self._prompt(outcome, by_frame[first.frame], start)
        for index, past in enumerate(later, start.index + 1):
            self._follow(outcome, object_id, past, index, by_frame.get(past.frame, []))
        outcome.followed = Followed(bank, start.index + 1 + len(later))
        outcome.replayed_frames = len(later)
        if later:
            outcome.mode = "reencoded" if missing else "replayed"
        return outcome

    def correct(
        self,
        object_id: int,
        followed: Followed,
        past: PastFrame,
        mask: NDArray[np.bool_],
        budget_ms: float | None,
    ) -> Outcome | None:
        """Take a better model's mask of an earlier frame and follow the object again to now.

        Only as many of the frames since are followed as the budget allows, evenly spread.

        Args:
            object_id: of the object.
            followed: its present.
            past: the frame.
            mask: (H, W) at the frame's size.
            budget_ms: what following may take; None = any time.

        Returns:
            None when the frame is too old, or the object was prompted since.
        """
        was, index = past.objects.get(object_id), 0
        if was is not None:
            index = was.index
        elif (before := self._history.before(past.frame)) is not None:
            was = before.objects.get(object_id)
            index = was.index + 1 if was is not None else 0
        if was is None or not self._history.reaches(past.frame):
            return None
        if followed.bank.newest_prompted > index:
            return None
        later = self._spread(self._history.since(past.frame), budget_ms)
        features = self.features(past)
        found = self._segmenter.prompt_mask(
            features, mask_to_input(mask, self._segmenter.image_size)
        )
        before_bank, bank = was.bank.copy(), was.bank.copy()
        bank.take_prompted(followed.bank, since=0)
        bank.add_correction(index, self._segmenter.remember(features, [found], prompted=True)[0])
        outcome = Outcome(Followed(bank, 0), mode="replayed", stale_since=past.frame)
        outcome.kept.append((past, PastObject(before_bank, index, found.logits)))
        for place, one in enumerate(later, index + 1):
            self._follow(outcome, object_id, one, place, [])
        outcome.followed = Followed(bank, index + 1 + len(later))
        outcome.replayed_frames = len(later)
        if not later:
            outcome.newest = found if past.frame == self._history.newest else None
        return outcome

    def _spread(self, later: list[PastFrame], budget_ms: float | None) -> list[PastFrame]:
        """Return as many of the frames as the budget allows, the last one among them."""
        cost_ms = self._costs.track or 1.0
        if budget_ms is None or len(later) * cost_ms <= budget_ms:
            return later
        count = int(budget_ms / cost_ms)
        return [later[(i + 1) * len(later) // count - 1] for i in range(count)]

    def features(self, past: PastFrame) -> Features:
        """Return a frame's features, computed from its picture where they are not kept."""
        if past.features is None:
            begin = time.perf_counter()
            image = to_image(past.picture, self._segmenter.image_size, self._segmenter.device)
            past.features = self._segmenter.encode(image)
            self._costs.observe(encode=(time.perf_counter() - begin) * 1000)
        return past.features

    def _mirrored(self, past: PastFrame) -> Features | None:
        """Return the features of a frame's mirror image, for a model that wants them."""
        if not self._segmenter.looks_in_mirror:
            return None
        image = to_image(past.picture, self._segmenter.image_size, self._segmenter.device)
        return self._segmenter.encode(image.flip(-1))

    def _affordable(self, later: Sequence[PastFrame]) -> bool:
        if self._budget_ms is None or not later:
            return True
        encodes = sum(past.features is None for past in later)
        return len(later) * self._costs.track + encodes * self._costs.encode <= self._budget_ms

    def _start(
        self,
        object_id: int,
        followed: Followed | None,
        first: PastFrame,
        later: Sequence[PastFrame],
    ) -> _Start | None:
        """Return the object as it was on the first prompted frame; None if that is unknown."""
        if followed is None:
            return _Start(self.empty_bank(), None, 0, None, None)
        was = first.objects.get(object_id)
        if was is not None and not later:
            # Prompts on the newest frame are one prompt until the next frame comes.
            view = was.bank.view(was.index) if was.index else None
            return _Start(followed.bank.copy(), view, was.index, was.logits, was.points)
        if was is not None and not self._history.reaches(first.frame):  # pinned, long ago
            view = was.bank.view(was.index) if was.index else None
            return _Start(followed.bank.copy(), view, was.index, was.logits, was.points)
        if was is not None:
            bank = was.bank.copy()
            bank.take_prompted(followed.bank, since=was.index)
            memory = self._bank_after(object_id, later, followed).ordinary(was.index)
            if memory is not None and not bank.is_prompted(was.index):
                bank.add(was.index, memory)
            return _Start(bank, bank.view(was.index), was.index, was.logits, was.points)
        return self._insertion(object_id, followed, first, later)

    def _insertion(
        self,
        object_id: int,
        followed: Followed,
        first: PastFrame,
        later: Sequence[PastFrame],
    ) -> _Start | None:
        """Follow the object onto a frame it has not seen, between two that it has."""
        before = self._history.before(first.frame)
        was = before.objects.get(object_id) if before is not None else None
        if was is None or object_id in first.objects:
            return None
        index = was.index + 1
        bank = self._bank_after(object_id, later, followed).copy()
        bank.take_prompted(followed.bank, since=index, shift=1)
        view = bank.view(index)
        found = self._segmenter.track(self.features(first), [view])
        bank.add(index, self._segmenter.follow(self.features(first), found, [index])[0])
        return _Start(bank, view, index, found[0].logits, None)

    def _bank_after(
        self, object_id: int, later: Sequence[PastFrame], followed: Followed
    ) -> MemoryBank:
        """Return the object's memories as they were before the first of the later frames."""
        for past in later:
            if (was := past.objects.get(object_id)) is not None:
                return was.bank
        return followed.bank

    def _prompt(self, outcome: Outcome, items: Sequence[Item], start: _Start) -> None:
        """Apply the prompts of one frame, one after another."""
        segmenter, past = self._segmenter, items[0].past
        features = self.features(past)
        previous, points = start.previous, start.points
        before = start.bank.copy()
        for item in items:
            if item.prompt.mask is not None:
                points = None
                mask = mask_to_input(item.prompt.mask, segmenter.image_size)
                found = segmenter.prompt_mask(features, mask)
            else:
                given = self._points(item)
                if points is not None and not item.prompt.has_box:
                    given = points.joined(given)
                points = given
                mirrored = self._mirrored(past) if start.view is None else None
                found = segmenter.prompt(features, start.view, given, previous, mirrored)
            previous = found.logits
            memory = segmenter.remember(features, [found], prompted=True)[0]
            start.bank.add_prompted(start.index, memory)
            outcome.prompted[item.order] = (item, found)
            outcome.newest = found
        assert previous is not None
        outcome.kept.append((past, PastObject(before, start.index, previous, points)))

    def _points(self, item: Item) -> PointInput:
        prompt, side = item.prompt, self._segmenter.image_size
        return PointInput(*to_input_points(prompt.points, prompt.labels, item.past.size, side))

    def _follow(
        self,
        outcome: Outcome,
        object_id: int,
        past: PastFrame,
        index: int,
        items: Sequence[Item],
    ) -> None:
        """Follow the object onto a later frame, as it was done the first time."""
        bank = outcome.followed.bank
        was = past.objects.get(object_id)
        if bank.is_prompted(index) and was is not None and not items:
            kept = PastObject(_without_prompted(bank, index), index, was.logits, was.points)
            outcome.kept.append((past, kept))
            outcome.newest = None
            return
        features = self.features(past)
        begin = time.perf_counter()
        before, view = bank.copy(), bank.view(index)
        found = self._segmenter.track(features, [view])[0]
        bank.add(index, self._segmenter.follow(features, [found], [index])[0])
        self._costs.observe(track=(time.perf_counter() - begin) * 1000)
        outcome.newest = found
        if items:
            self._prompt(outcome, items, _Start(bank, view, index, found.logits, None))
        else:
            outcome.kept.append((past, PastObject(before, index, found.logits)))

    def _jump(
        self,
        object_id: int,
        followed: Followed | None,
        items: Sequence[Item],
        start: _Start | None,
    ) -> Outcome:
        """Apply the prompts where they were made and go on from the next frame."""
        first = items[0].past
        clock = start.index + 1 + len(self._history.since(first.frame)) if start else 0
        if followed is not None:
            clock = max(clock, followed.clock)
        if start is None:
            assert followed is not None
            bank = followed.bank.copy()
            start = _Start(bank, bank.view(clock), clock, None, None)
            clock += 1
        outcome = Outcome(Followed(start.bank, clock), mode="jumped", stale_since=first.frame)
        for item in items:
            self._prompt(outcome, [item], start)
        outcome.kept.clear()
        outcome.newest = None
        start.bank.forget_recent()
        return outcome

    def empty_bank(self) -> MemoryBank:
        """Return a bank for a new object."""
        segmenter = self._segmenter
        return MemoryBank(
            mask_memories=segmenter.mask_memories,
            pointers=segmenter.pointers,
            ages=segmenter.memory_ages,
        )


def _without_prompted(bank: MemoryBank, index: int) -> MemoryBank:
    """Return a copy of the bank as it was before frame `index` was prompted."""
    twin = bank.copy()
    twin.drop_prompted(index)
    return twin


def applied_prompts(outcomes: dict[int, Outcome]) -> tuple[Applied, ...]:
    """Return what was done with each prompt, in the order the prompts were given."""
    done: dict[int, Applied] = {}
    for object_id, outcome in outcomes.items():
        for order, (item, _) in outcome.prompted.items():
            done[order] = Applied(
                object_id,
                item.past.frame,
                outcome.mode,
                outcome.replayed_frames,
                outcome.rendered[order],
            )
    return tuple(done[order] for order in sorted(done))
