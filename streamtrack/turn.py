"""A stream's turn before the tracker: which frames are stepped, and with which prompts.

A click names the frame its viewer saw. When the tracker has stepped past it, the click is applied
there and its object replayed to now. When the tracker has not come to it yet, it is stepped first,
and then frames between it and the newest, as many as the replay budget allows, so that the object
is carried to now rather than searched for there.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from streamtrack.commands import Applied, Change, Click, NoFrame, Parts, StreamFrame
from streamtrack.errors import (
    DeviceError,
    PromptError,
    PromptTooOld,
    StreamtrackError,
    UnknownObject,
)
from streamtrack.lane import Answer, Command, Lane, Outcome, TrackingStreamLike
from streamtrack.tracking.prompts import Prompt, ReplayMode, Tracked

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A click that was checked and waits for its result."""

    click: Click
    answer: Answer
    prompt: Prompt
    frame: StreamFrame
    """The frame it was made on."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of a click."""

    object_id: int
    mode: ReplayMode
    parts: Parts


class Turn:
    """Takes a lane's commands and newest frame through the tracker."""

    def __init__(
        self,
        lane: Lane,
        tracking: TrackingStreamLike,
        *,
        clock: Callable[[], float],
        budget_ms: float,
    ) -> None:
        """Prepare; serve() does it.

        Args:
            lane: whose turn it is.
            tracking: its objects.
            clock: monotonic seconds.
            budget_ms: what catching up with now may take after a click on an earlier frame.
        """
        self._lane = lane
        self._tracking = tracking
        self._clock = clock
        self._budget_ms = budget_ms
        self._undone = False
        self._shown = False

    def serve(self) -> None:
        """Apply the commands and step the newest frame."""
        lane = self._lane
        with lane.changed:
            newest, fresh, self._shown = lane.newest, lane.fresh, lane.newest_shown
            lane.fresh = False
            commands, lane.commands = lane.commands, deque()
            corrections, lane.corrections = lane.corrections, {}
            if newest is not None:
                lane.engaged = not lane.closed
        had_commands = bool(commands)
        try:
            waiting = self._take(commands, newest)
        finally:
            with lane.changed:
                lane.commands.extendleft(reversed(commands))
        if self._tracking.object_ids:
            for frame_id, masks in sorted(corrections.items()):
                self._tracking.correct(frame_id, masks, self._budget_ms)
        if newest is not None and (fresh or had_commands or corrections):
            self._advance(newest, waiting, fresh=fresh)
        with lane.changed:
            lane.engaged = bool(self._tracking.object_ids) and not lane.closed

    def _take(
        self, commands: deque[tuple[Command, Answer]], newest: StreamFrame | None
    ) -> list[_Waiting]:
        """Apply changes and collect the clicks of one turn, in order; leave the rest."""
        waiting: list[_Waiting] = []
        refined: set[int] = set()
        while commands:
            command, answer = commands[0]
            if waiting and (isinstance(command, Change) or command.object_id in refined):
                break  # it must see the result of the step first
            commands.popleft()
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                if isinstance(command, Change):
                    self._change(command)
                    answer.set_result(Applied(command.object_id, 0.0))
                    continue
                waiting.append(self._checked(command, answer, newest))
            except StreamtrackError as error:
                answer.set_exception(error)
                continue
            if command.object_id is not None:
                refined.add(command.object_id)
            if self._lane.alone:
                self._lane.alone -= 1
                break
        return waiting

    def _checked(self, click: Click, answer: Answer, newest: StreamFrame | None) -> _Waiting:
        """Find the frame a click was made on and check the prompt there."""
        if newest is None:
            raise NoFrame("No frame has come yet; click when the video shows.")
        frame = newest if click.frame_id is None else self._lane.owner.frame(click.frame_id)
        if frame is None:
            raise PromptTooOld(
                f"The frame {click.frame_id} under this click is not kept any more; click again."
            )
        if click.object_id is not None and not click.adopted:
            self._known(click.object_id)
        number = frame.row.frame_id
        passed = number <= self._tracking.last_frame
        prompt = click.prompt(frame.size, frame=number if passed else None)
        self._tracking.check(prompt, frame.size)
        return _Waiting(click, answer, prompt, frame)

    def _change(self, change: Change) -> None:
        """Apply one command that is not a prompt."""
        tracking, lane = self._tracking, self._lane
        if change.kind == "reset":
            tracking.reset()
            lane.names.clear()
        elif change.kind == "pin":
            tracking.pin(change.frame_id)
        elif change.kind == "unpin":
            tracking.unpin(change.frame_id)
        else:
            object_id = self._known(change.object_id)
            if change.kind == "remove":
                tracking.remove(object_id)
            elif change.kind == "undo":
                tracking.undo(object_id)
                self._undone = True
            else:
                lane.names[object_id] = change.name

    def _known(self, object_id: int | None) -> int:
        """Return the id of an object that is followed: viewers do not choose ids of new ones."""
        if object_id is None or object_id not in self._tracking.object_ids:
            raise UnknownObject(f"No object has the id {object_id}; it may be gone.")
        return object_id

    def _advance(self, newest: StreamFrame, waiting: list[_Waiting], *, fresh: bool) -> None:
        """Step what is to be stepped, answer the clicks and hand out the newest result."""
        repeated = not fresh
        try:
            done = self._step_ahead(newest, waiting)
            rest = [one for one in waiting if one not in done]
            if newest.row.frame_id > self._tracking.last_frame:
                tracked = self._guarded(newest, rest, done)
            elif self._undone and not rest and (again := self._lane.owner.again(newest)):
                newest, repeated, self._shown = again, False, False
                tracked = self._guarded(newest, rest, done)
            else:
                tracked = self._guarded(None, rest, done)
        except Exception as error:
            for one in waiting:
                if not one.answer.done():
                    one.answer.set_exception(as_device_error(error))
            raise
        self._answer(newest, done)
        self._tracking.forget_before(self._lane.owner.oldest_kept())
        lane = self._lane
        lane.names = {key: name for key, name in lane.names.items() if key in tracked.objects}
        lane.owner.on_outcome(Outcome(newest, tracked, dict(lane.names), repeated, self._shown))

    def _step_ahead(
        self, newest: StreamFrame, waiting: Sequence[_Waiting]
    ) -> dict[_Waiting, _Done]:
        """Step the frames clicks were made on that the tracker has not come to, then catch up."""
        done: dict[_Waiting, _Done] = {}
        while True:
            ahead = [
                one.frame.row.frame_id
                for one in waiting
                if one not in done
                and self._tracking.last_frame < one.frame.row.frame_id < newest.row.frame_id
            ]
            if not ahead:
                return done
            frame_id = min(ahead)
            group = [one for one in waiting if one.frame.row.frame_id == frame_id]
            tracked = self._guarded(group[0].frame, group, done)
            self._lane.owner.on_passed(group[0].frame, tracked)
            later = min((i for i in ahead if i > frame_id), default=newest.row.frame_id)
            begin = self._clock()
            mode: ReplayMode = "replayed" if self._catch_up(frame_id, later, tracked) else "jumped"
            took_ms = 1000 * (self._clock() - begin)
            for one in group:
                if one in done:
                    parts = replace(done[one].parts, replay_ms=took_ms)
                    done[one] = replace(done[one], mode=mode, parts=parts)

    def _catch_up(self, after: int, before: int, tracked: Tracked) -> bool:
        """Step some frames between two, evenly, as the budget allows; False when none fits."""
        between = self._lane.owner.frames_between(after, before)
        cost_ms = sum(float(ms) for ms in tracked.notes.values()) or 1.0
        affordable = min(len(between), int(self._budget_ms / cost_ms))
        for i in range(affordable):
            frame = self._lane.owner.frame(between[(i + 1) * len(between) // (affordable + 1)])
            if frame is not None and frame.row.frame_id > self._tracking.last_frame:
                self._tracking.step(frame.picture, frame=frame.row.frame_id)
        return affordable > 0 or not between

    def _guarded(
        self,
        frame: StreamFrame | None,
        group: Sequence[_Waiting],
        done: dict[_Waiting, _Done],
    ) -> Tracked:
        """Step a frame, or apply without one; a prompt that is refused harms no other."""
        prompts = [one.prompt for one in group]
        begin = self._clock()
        try:
            tracked = self._run(frame, prompts)
        except PromptError as error:
            self._refused(group, error)
            return self._run(frame, [])
        for one, applied in zip(group, tracked.applied, strict=True):
            parts = _parts(begin - one.click.received, tracked)
            done[one] = _Done(applied.object_id, applied.mode, parts)
        return tracked

    def _run(self, frame: StreamFrame | None, prompts: Sequence[Prompt]) -> Tracked:
        if frame is None:
            return self._tracking.apply(prompts)
        return self._tracking.step(frame.picture, prompts, frame=frame.row.frame_id)

    def _refused(self, group: Sequence[_Waiting], error: PromptError) -> None:
        """Answer the click that a step refused, or give each of several a turn of its own."""
        if len(group) == 1:
            group[0].answer.set_exception(error)
            return
        lane = self._lane
        with lane.changed:
            lane.alone = len(group)
            for one in reversed(group):
                again: Answer = Future()
                again.add_done_callback(_forward_to(one.answer))
                lane.commands.appendleft((one.click, again))

    def _answer(self, newest: StreamFrame, done: dict[_Waiting, _Done]) -> None:
        now = self._clock()
        for one, was in done.items():
            latency_s = now - one.click.received
            at, row = newest.row.frame_id, one.frame.row
            one.answer.set_result(Applied(was.object_id, latency_s, row, at, was.mode, was.parts))


def _parts(waited_s: float, tracked: Tracked) -> Parts:
    """Return where the time of a click went, from the notes of the step that applied it."""
    encode, prompt, replay = (tracked.notes.get(one, 0.0) for one in ("encode", "prompt", "replay"))
    return Parts(1000 * waited_s, encode, prompt, replay)


def _forward_to(answer: Answer) -> Callable[[Answer], None]:
    """Return a callback that ends answer as the other future ended."""

    def forward(ended: Answer) -> None:
        error = ended.exception()
        if error is None:
            answer.set_result(ended.result())
        else:
            answer.set_exception(error)

    return forward


def as_device_error(error: Exception) -> StreamtrackError:
    """Return the error as something that may be shown to a viewer."""
    if isinstance(error, StreamtrackError):
        return error
    return DeviceError(
        "The tracker failed on this frame; the video goes on without masks, click again to retry."
    )
