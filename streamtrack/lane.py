"""A stream's place before the tracker, and what the two sides of it look like."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from streamtrack.commands import Applied, Busy, Change, Click, StreamFrame
from streamtrack.tracking.prompts import Prompt, Tracked

COMMANDS_KEPT = 64

Command = Click | Change
Offered = Literal["idle", "taken", "behind"]
"""What the tracker makes of a frame: nothing, a result soon, or a result after an earlier one."""
Answer = Future[Applied]


class TrackingStreamLike(Protocol):
    """What the thread needs of tracking.tracker.TrackingStream."""

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of the objects followed now."""

    @property
    def last_frame(self) -> int:
        """Number of the frame stepped last; -1 before the first."""

    def check(self, prompt: Prompt, size: tuple[int, int]) -> None:
        """Raise PromptError if step would refuse the prompt on a (height, width) picture."""

    def step(
        self,
        picture: NDArray[np.uint8],
        prompts: Sequence[Prompt] = (),
        *,
        frame: int | None = None,
    ) -> Tracked:
        """Follow the objects onto a (H, W, 3) uint8 RGB picture, the frame of this number."""

    def apply(self, prompts: Sequence[Prompt]) -> Tracked:
        """Apply prompts on frames that were stepped or shown, without a new one."""

    def correct(
        self, frame: int, masks: Mapping[int, NDArray[np.bool_]], budget_ms: float | None = None
    ) -> Tracked:
        """Take a better model's masks of an earlier frame, and follow their objects to now."""

    def pin(self, frame: int) -> bool:
        """Keep a frame for prompts until it is unpinned."""

    def unpin(self, frame: int) -> None:
        """Let a pinned frame go."""

    def forget_before(self, frame: int) -> None:
        """Let go of the frames before this one."""

    def remove(self, object_id: int) -> None:
        """Forget an object."""

    def undo(self, object_id: int) -> bool:
        """Take back an object's last prompt."""

    def reset(self) -> None:
        """Forget all objects."""


class TrackerLike(Protocol):
    """What the thread needs of tracking.tracker.Tracker."""

    @property
    def model(self) -> str:
        """The model's name."""

    @property
    def device(self) -> str:
        """The device it runs on."""

    def open(
        self,
        *,
        max_objects: int = 32,
        rewind_frames: int = 16,
        feature_bytes: int = 0,
        replay_budget_ms: float | None = None,
        pictures: Callable[[int], NDArray[np.uint8] | None] | None = None,
    ) -> TrackingStreamLike:
        """Begin to follow objects in one more stream."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one turn of the tracker gave a stream."""

    frame: StreamFrame
    """The frame that was stepped."""
    tracked: Tracked
    """The objects on exactly that frame."""
    names: dict[int, str]
    """Names by object id."""
    repeated: bool
    """True when the frame had been handed out before: no new one came."""
    shown: bool = False
    """True when the display got the frame already, without waiting for this result."""


class LaneOwner(Protocol):
    """The stream at the end of a lane; called on the tracking thread."""

    def frame(self, frame_id: int) -> StreamFrame | None:
        """Return a frame of the window or a pinned one, or None when it is gone."""

    def frames_between(self, after: int, before: int) -> list[int]:
        """Return the ids of the kept frames strictly between two, oldest first."""

    def oldest_kept(self) -> int:
        """Return the id of the oldest frame in the window."""

    def again(self, frame: StreamFrame) -> StreamFrame | None:
        """Return the newest picture as a new frame; None when a newer one came."""

    def on_passed(self, frame: StreamFrame, tracked: Tracked) -> None:
        """Hear of a frame that was stepped on the way to the newest."""

    def on_outcome(self, outcome: Outcome) -> None:
        """Take the result of a step."""

    def on_device_failed(self, reason: str) -> None:
        """Hear that the device failed and the objects are gone."""


@dataclass(slots=True, eq=False)
class Lane:
    """One stream's place before the tracker; its fields are guarded by the thread's condition."""

    stream_id: str
    owner: LaneOwner
    changed: threading.Condition
    newest: StreamFrame | None = None
    fresh: bool = False
    """newest waits for its step."""
    engaged: bool = False
    """Frames go through the tracker rather than straight to the display."""
    closed: bool = False
    commands: deque[tuple[Command, Answer]] = field(default_factory=deque)
    corrections: dict[int, dict[int, NDArray[np.bool_]]] = field(default_factory=dict)
    """Masks of a better model, (H, W) by frame and object."""
    spent_s: float = 0.0
    """Seconds it has had the device."""
    dropped: int = 0
    """Frames replaced before the tracker took them, which nobody saw."""
    skipped: int = 0
    """Frames replaced before the tracker took them, which were shown nevertheless."""
    newest_shown: bool = False
    """The display has newest already."""
    tracking: TrackingStreamLike | None = None
    names: dict[int, str] = field(default_factory=dict)
    alone: int = 0
    """How many of the next prompts get a step of their own, after a step refused several."""

    def offer(
        self, frame: StreamFrame, *, shown: bool = False, shown_behind: bool = False
    ) -> Offered:
        """Leave the newest frame.

        Args:
            frame: the newest.
            shown: the display gets it now, whatever is answered.
            shown_behind: the display gets it now when "behind" is answered.
        """
        with self.changed:
            if not self.engaged:
                self.newest, self.newest_shown = frame, True
                return "idle"
            behind = self.fresh
            self._count_replaced()
            self.newest, self.newest_shown = frame, shown or (behind and shown_behind)
            self.fresh = True
            self.changed.notify()
            return "behind" if behind else "taken"

    def correct(self, frame_id: int, masks: Mapping[int, NDArray[np.bool_]]) -> None:
        """Leave a better model's masks of a frame; newer ones of the same objects win."""
        with self.changed:
            if self.closed or not masks:
                return
            for known in self.corrections.values():
                for object_id in masks:
                    known.pop(object_id, None)
            kept = {key: one for key, one in self.corrections.items() if one}
            self.corrections = {**kept, frame_id: {**kept.get(frame_id, {}), **masks}}
            self.changed.notify()

    def idle(self) -> None:
        """Let frames go straight to the display; the condition is held."""
        self.engaged = False
        self._count_replaced()
        self.fresh = False

    def _count_replaced(self) -> None:
        """Count the frame that waits and will not be taken."""
        self.skipped += self.fresh and self.newest_shown
        self.dropped += self.fresh and not self.newest_shown

    def submit(self, command: Command) -> Answer:
        """Queue a command; its future ends with what was done or a StreamtrackError.

        Raises:
            Busy: the queue is full or the stream has ended.
        """
        answer: Answer = Future()
        with self.changed:
            if self.closed:
                raise Busy(f"The stream {self.stream_id} has ended; choose another.")
            if len(self.commands) >= COMMANDS_KEPT:
                raise Busy(f"{COMMANDS_KEPT} commands are waiting already; try again in a moment.")
            self.commands.append((command, answer))
            self.changed.notify()
        return answer
