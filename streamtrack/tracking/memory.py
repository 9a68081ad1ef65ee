"""The memory bank: the bounded set of one object's memories.

Two lengths are kept, as SAM 2 reads them: mask memories of the last few frames, and
object pointers of a longer past; and the newest prompted frames beside them. Nothing
else that SAM 2 can read at a later frame exists, so nothing else is stored
(proven bit for bit in tests/test_parity.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from streamtrack.tracking.motion_prior import Trace

PROMPTED_FRAMES_ATTENDED = 4
"""K: prompted frames read by memory attention; SAM 3 ships the same number."""
UNDO_DEPTH = 4
"""Earlier prompts of one frame that undo can go back to; guess."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameMemory:
    """What one object's segmentation of one frame leaves behind."""

    features: Tensor | None
    """(1, C, h, w) bfloat16 `maskmem_features`; None when too old to be attended, or left out."""
    pointer: Tensor
    """(1, D) object pointer."""
    trace: Trace | None = None
    """The frame and its mask, of a model that takes evidence of the frames before."""
    lost: bool = False
    """The object was not to be seen, and the model remembers only where it was."""


@dataclass(frozen=True, slots=True, eq=False)
class MemoryView:
    """What memory attention reads at one frame, in SAM 2's order of concatenation."""

    features: tuple[tuple[int, Tensor], ...]
    """(frames ago, features), oldest first after the prompted frames, which have 0."""
    pointers: tuple[tuple[int, Tensor], ...]
    """(frames ago, pointer); negative for a prompted frame that lies ahead."""

    traces: tuple[Trace, ...] = ()
    """Of the newest prompted frame before, and of the newest frame before, last; may be one."""

    @property
    def shape(self) -> tuple[int, int]:
        """Counts of mask memories and pointers: equal shapes can share one batch."""
        return len(self.features), len(self.pointers)


@dataclass(frozen=True, slots=True, eq=False)
class _Prompted:
    """A prompted frame's memory and what undo needs to take it back."""

    memory: FrameMemory
    replaced: FrameMemory | None
    """The frame's ordinary memory from before it was prompted."""
    earlier: tuple[FrameMemory, ...] = ()
    """The frame's prompted memories from before its latest prompts, newest last."""


def spread(ages: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Return which memories to read: of each wanted age, or the oldest that is not older.

    What is left is made up from the newest, so that as many are read as there are or are wanted.

    Args:
        ages: of the memories there are, rising.
        wanted: ages, rising.
    """
    within = [age for age in ages if age <= wanted[-1]]
    taken = {max(young) for most in wanted if (young := [a for a in within if a <= most])}
    for age in within:
        if len(taken) >= len(wanted):
            break
        taken.add(age)
    return sorted(taken)


class MemoryBank:
    """One object's memories, bounded whatever the length of the stream."""

    def __init__(
        self, *, mask_memories: int = 6, pointers: int = 15, ages: tuple[int, ...] | None = None
    ) -> None:
        """Make an empty bank.

        Args:
            mask_memories: ordinary mask memories that are read, frames t-1 ... t-n.
            pointers: ordinary object pointers that are read, frames t-1 ... t-n.
            ages: of the mask memories to read instead, rising, for a model that wants them
                further apart; `spread` says what is read where a frame left none.
        """
        self._mask_memories, self._ages = mask_memories, ages
        self._reach = ages[-1] if ages else mask_memories
        self._pointers = max(pointers, self._reach)
        self._read_pointers = pointers
        self._lost = 0
        self._places: dict[int, int] = {}  # of ordinary frames, lost ones not counted
        self._prompted: dict[int, _Prompted] = {}  # in order of first prompting, as SAM 2
        self._recent: dict[int, FrameMemory] = {}
        self._correction: tuple[int, FrameMemory] | None = None

    def add(self, index: int, memory: FrameMemory) -> None:
        """Store the ordinary memory of frame `index` and forget what is out of reach.

        Frames on which the object is lost do not count: what was seen before stays in reach.
        """
        self._lost += memory.lost
        self._recent[index] = memory
        self._places[index] = index - self._lost
        self._forget(index)

    def add_prompted(self, index: int, memory: FrameMemory) -> None:
        """Store the memory of a prompted frame in place of its ordinary one."""
        known = self._prompted.get(index)
        if known is not None:
            earlier = (*known.earlier, known.memory)[-UNDO_DEPTH:]
            self._prompted[index] = _Prompted(memory, known.replaced, earlier)
        else:
            self._prompted[index] = _Prompted(memory, self._recent.pop(index, None))
        self._forget(index)

    def add_correction(self, index: int, memory: FrameMemory) -> None:
        """Store what a better model says of frame `index`.

        It takes the place of all that was remembered before, the prompts among it; those stay
        for undo only.
        """
        self._correction = (index, memory)
        self._recent.clear()

    def copy(self) -> "MemoryBank":
        """Return a bank that goes its own way; the memories themselves are shared."""
        twin = MemoryBank(
            mask_memories=self._mask_memories, pointers=self._read_pointers, ages=self._ages
        )
        twin._lost, twin._places = self._lost, dict(self._places)
        twin._prompted, twin._recent = dict(self._prompted), dict(self._recent)
        twin._correction = self._correction
        return twin

    def take_prompted(self, other: "MemoryBank", *, since: int, shift: int = 0) -> None:
        """Add the prompted frames of another bank from `since` on, moved by `shift`.

        With them, replaying an object's past reads the same prompted frames ahead of it as
        SAM 2 does when it propagates again from a corrected frame.
        """
        for index, prompted in other._prompted.items():
            if index >= since:
                self._recent.pop(index + shift, None)
                self._prompted[index + shift] = prompted

    def is_prompted(self, index: int) -> bool:
        """Tell whether frame `index` is a prompted one."""
        return index in self._prompted

    def ordinary(self, index: int) -> FrameMemory | None:
        """Return the ordinary memory of frame `index`, also one that a prompt replaced."""
        prompted = self._prompted.get(index)
        return self._recent.get(index) or (prompted.replaced if prompted else None)

    def drop_prompted(self, index: int) -> None:
        """Forget that frame `index` was prompted, and its memory."""
        del self._prompted[index]

    def forget_recent(self) -> None:
        """Drop all ordinary memories."""
        self._recent.clear()

    def undo(self) -> bool:
        """Take back the newest prompt; memories made after it go with it.

        Returns:
            False when no prompted memory is left, so that the object must go.
        """
        self._correction = None
        index, prompted = max(self._prompted.items())
        for later in [t for t in self._recent if t > index]:
            del self._recent[later]
        if prompted.earlier:
            *earlier, memory = prompted.earlier
            self._prompted[index] = _Prompted(memory, prompted.replaced, tuple(earlier))
            return True
        del self._prompted[index]
        if prompted.replaced is not None:
            self._recent[index] = prompted.replaced
        return bool(self._prompted)

    def view(self, index: int) -> MemoryView:
        """Return what SAM 2 reads at frame `index`.

        Restates `_prepare_memory_conditioned_features` (stride 1, forward):
        https://github.com/facebookresearch/sam2/blob/2b90b9f5ceec907a1c18123530e92e794ad901a4/sam2/modeling/sam2_base.py#L497
        """
        selected = self._select(index)
        begun = -1 if self._correction is None else self._correction[0]
        ordinary = {
            t: p.memory for t, p in self._prompted.items() if t not in selected and t > begun
        }
        ordinary.update(self._recent)
        features = [(0, _attended(self._prompted[t].memory)) for t in selected]
        if self._correction is not None:
            features.insert(0, (0, _attended(self._correction[1])))
        features += self._slots(self._by_age(index, ordinary))
        pointers = [(index - t, self._prompted[t].memory.pointer) for t in selected if t <= index]
        if self._correction is not None:
            pointers.insert(0, (index - self._correction[0], self._correction[1].pointer))
        for ago, memory in reversed(self._by_age(index, ordinary)):
            if ago <= self._read_pointers:
                pointers.append((ago, memory.pointer))
        return MemoryView(tuple(features), tuple(pointers), self._traces(index))

    def _slots(self, aged: list[tuple[int, FrameMemory]]) -> list[tuple[int, Tensor]]:
        """Return (slot, features) of the memories to read, oldest first; the newest has slot 1.

        The slot is the memory's age, as in SAM 2, or its rank where ages are given.
        """
        known = {ago: memory.features for ago, memory in aged if memory.features is not None}
        if self._ages is None:
            return [(ago, one) for ago, one in known.items() if ago <= self._mask_memories]
        chosen = spread(sorted(known), self._ages)
        return [(slot, known[chosen[slot - 1]]) for slot in range(len(chosen), 0, -1)]

    def _by_age(
        self, index: int, ordinary: dict[int, FrameMemory]
    ) -> list[tuple[int, FrameMemory]]:
        """Return the ordinary memories of frames before `index`, oldest first, and their age."""
        now = index - self._lost
        aged = [
            (now - self._places.get(t, t - self._lost), memory)
            for t, memory in ordinary.items()
            if t < index and not memory.lost
        ]
        return sorted(aged, key=lambda one: -one[0])

    def _traces(self, index: int) -> tuple[Trace, ...]:
        """Return the traces of the newest prompted frame and of the newest frame before `index`."""
        kept = {t: p.memory for t, p in self._prompted.items() if t < index}
        if self._correction is not None and self._correction[0] < index:
            kept[self._correction[0]] = self._correction[1]
        anchor = kept[max(kept)] if kept else None
        kept.update({t: memory for t, memory in self._recent.items() if t < index})
        newest = kept[max(kept)] if kept else None
        memories = (newest,) if anchor in (None, newest) else (anchor, newest)
        return tuple(m.trace for m in memories if m is not None and m.trace is not None)

    @property
    def newest_prompted(self) -> int:
        """Index of the newest prompted frame."""
        return max(self._prompted)

    @property
    def prompted_frames(self) -> tuple[int, ...]:
        """Indices of the prompted frames that are kept."""
        return tuple(self._prompted)

    @property
    def state_bytes(self) -> int:
        """Bytes of all tensors held."""
        return sum(t.numel() * t.element_size() for t in self.tensors())

    def _select(self, index: int) -> list[int]:
        """Return the prompted frames to attend, ordered as `select_closest_cond_frames`.

        https://github.com/facebookresearch/sam2/blob/2b90b9f5ceec907a1c18123530e92e794ad901a4/sam2/modeling/sam2_utils.py#L19
        """
        begun = -1 if self._correction is None else self._correction[0]
        frames = [t for t in self._prompted if t > begun]
        if len(frames) <= PROMPTED_FRAMES_ATTENDED:
            return frames
        before = max((t for t in frames if t < index), default=None)
        after = min((t for t in frames if t >= index), default=None)
        chosen = [t for t in (before, after) if t is not None]
        others = sorted((t for t in frames if t not in chosen), key=lambda t: abs(t - index))
        return chosen + others[: PROMPTED_FRAMES_ATTENDED - len(chosen)]

    def _forget(self, index: int) -> None:
        """Drop what no later frame can read."""
        # Prompted frames that lie ahead (while the past is replayed) do not count.
        while sum(t <= index for t in self._prompted) > PROMPTED_FRAMES_ATTENDED + 1:
            oldest = min(self._prompted)
            # Never selected again; inside the window SAM 2 reads it as an ordinary memory.
            self._recent[oldest] = self._prompted.pop(oldest).memory
        newest, now = max((t for t in self._recent if t <= index), default=0), index - self._lost
        for t in list(self._recent):
            memory, place = self._recent[t], self._places.get(t, t - self._lost)
            gone = memory.lost and t < newest
            if gone or (place <= now - self._pointers and not memory.lost):
                del self._recent[t]
            elif place <= now - self._reach and memory.features is not None:
                self._recent[t] = replace(memory, features=None)
        self._places = {t: place for t, place in self._places.items() if t in self._recent}
        for t, prompted in self._prompted.items():
            if t <= index - self._reach:  # no later frame would read it after an undo
                self._prompted[t] = replace(prompted, replaced=None)

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor held."""
        kept = list(self._recent.values())
        for prompted in self._prompted.values():
            kept.extend((prompted.memory, *prompted.earlier))
            if prompted.replaced is not None:
                kept.append(prompted.replaced)
        if self._correction is not None:
            kept.append(self._correction[1])
        for memory in kept:
            yield memory.pointer
            if memory.trace is not None:
                yield memory.trace.logits
                if memory.trace.counts is not None:
                    yield memory.trace.counts
            if memory.features is not None:
                yield memory.features


def _attended(memory: FrameMemory) -> Tensor:
    assert memory.features is not None, "a prompted frame keeps its mask memory"
    return memory.features
