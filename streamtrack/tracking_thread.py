"""The one thread that owns the tracker and serves every stream in turn.

It loads the model, warms it up, steps and frees there; no other thread touches the device.
Each stream has a lane: the newest frame (newest wins, the rest is counted) and a bounded
first-in-first-out queue of commands. Lanes with commands come sooner, otherwise in turn.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Literal

import numpy as np

from streamtrack.commands import Applied, Busy, Change, Click, NoFrame, StreamFrame
from streamtrack.errors import DeviceError, PromptError, StreamtrackError, UnknownObject
from streamtrack.lane import (
    Answer,
    Command,
    Lane,
    LaneOwner,
    Outcome,
    TrackerLike,
    TrackingStreamLike,
)
from streamtrack.tracking.prompts import Prompt, Tracked

logger = logging.getLogger(__name__)


class TrackingThread:
    """Loads a tracker on a thread of its own and serves lanes with it."""

    def __init__(
        self,
        load: Callable[[], TrackerLike],
        *,
        max_objects: int = 32,
        on_state: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; start() begins to load.

        Args:
            load: gives the tracker; it runs on the tracking thread.
            max_objects: objects per stream.
            on_state: called on the tracking thread when state changed.
            clock: monotonic seconds.
        """
        self.state: Literal["loading", "ready", "failed", "closed"] = "loading"
        self.error: StreamtrackError | None = None
        self.model = ""
        self.device = ""
        self._load = load
        self._max_objects = max_objects
        self._on_state = on_state
        self._clock = clock
        self._changed = threading.Condition()
        self._lanes: list[Lane] = []
        self._turn = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)

    def start(self) -> None:
        """Begin to load the model."""
        self._thread.start()

    def close(self, timeout: float = 3.0) -> None:
        """End after the step in progress; waits at most timeout seconds; idempotent."""
        with self._changed:
            self._closing = True
            for lane in self._lanes:
                self._shut(lane)
            self._changed.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs, after close() because of a step that takes long."""
        return self._thread.is_alive()

    def open_lane(self, stream_id: str, owner: LaneOwner) -> Lane:
        """Return a new lane for a stream."""
        lane = Lane(stream_id, owner, self._changed)
        with self._changed:
            self._lanes.append(lane)
        return lane

    def close_lane(self, lane: Lane) -> None:
        """Forget a lane and all its objects; idempotent."""
        with self._changed:
            self._shut(lane)
            self._changed.notify()

    def _shut(self, lane: Lane) -> None:
        """Refuse what waits in a lane; the condition is held."""
        lane.closed = True
        lane.engaged = lane.fresh = False
        while lane.commands:
            refuse(lane.commands.popleft()[1], Busy(f"The stream {lane.stream_id} has ended."))

    def _run(self) -> None:
        """Load, serve until closed, and free everything on this thread."""
        tracker = self._loaded()
        while (lane := self._next_lane()) is not None:
            if tracker is None:
                self._refuse_all(lane)
                continue
            if lane.tracking is None:
                lane.tracking = tracker.open(max_objects=self._max_objects)
            try:
                self._serve(lane, lane.tracking)
            except Exception as error:  # the session's boundary: one stream never ends the others
                self._fail(lane, error)
        self._lanes.clear()

    def _loaded(self) -> TrackerLike | None:
        """Load the model and warm it up; note the state."""
        tracker: TrackerLike | None = None
        try:
            tracker = self._load()
            warm = np.zeros((64, 64, 3), np.uint8)
            tracker.open().step(warm, [Prompt(points=[[32.0, 32.0]], labels=[1])])
            self.model, self.device, self.state = tracker.model, tracker.device, "ready"
            logger.info("model %s is ready on %s", self.model, self.device)
        except StreamtrackError as error:
            tracker, self.error, self.state = None, error, "failed"
        except Exception as error:  # a fault of ours while loading must be told, not hang
            logger.exception("the model could not be loaded")
            tracker, self.state = None, "failed"
            self.error = DeviceError(f"The model could not be loaded: {error}.")
        self._on_state()
        return tracker

    def _next_lane(self) -> Lane | None:
        """Wait for work and return the lane whose turn it is; None when closing."""
        with self._changed:
            while True:
                for lane in self._lanes:
                    if lane.closed:
                        lane.tracking = None  # its tensors are freed here
                self._lanes = [lane for lane in self._lanes if not lane.closed]
                if self._closing:
                    return None
                ready = [lane for lane in self._lanes if lane.fresh or lane.commands]
                if ready:
                    break
                self._changed.wait()
            # A lane with commands overtakes the others, but none of them more than once a round.
            ahead = len(self._lanes)
            lane = min(ready, key=lambda one: one.served - ahead * bool(one.commands))
            self._turn += 1
            lane.served = self._turn
            return lane

    def _serve(self, lane: Lane, tracking: TrackingStreamLike) -> None:
        """Give a lane its turn: apply its commands and step one frame."""
        with self._changed:
            frame, fresh = lane.newest, lane.fresh
            lane.fresh = False
            commands, lane.commands = lane.commands, deque()
            if frame is not None:
                lane.engaged = not lane.closed
        had_commands = bool(commands)
        try:
            clicks = self._apply(lane, tracking, commands, frame)
        finally:
            with self._changed:
                lane.commands.extendleft(reversed(commands))
        if frame is not None and (fresh or had_commands):
            self._step(lane, tracking, frame, clicks, repeated=not fresh)
        with self._changed:
            lane.engaged = bool(tracking.object_ids) and not lane.closed

    def _apply(
        self,
        lane: Lane,
        tracking: TrackingStreamLike,
        commands: deque[tuple[Command, Answer]],
        frame: StreamFrame | None,
    ) -> list[tuple[Prompt, Click, Answer]]:
        """Apply changes and collect the prompts of one step, in order; leave the rest."""
        prompts: list[tuple[Prompt, Click, Answer]] = []
        refined: set[int] = set()
        while commands:
            command, answer = commands[0]
            if prompts and (isinstance(command, Change) or command.object_id in refined):
                break  # it must see the result of the step first
            commands.popleft()
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                if isinstance(command, Change):
                    self._change(lane, tracking, command)
                    answer.set_result(Applied(command.object_id, None, 0.0))
                    continue
                if frame is None:
                    raise NoFrame("No frame has come yet; click when the video shows.")
                self._check_known(tracking, command.object_id)
                prompt = command.prompt(frame.size)
                tracking.check(prompt, frame.size)
            except StreamtrackError as error:
                answer.set_exception(error)
                continue
            prompts.append((prompt, command, answer))
            if command.object_id is not None:
                refined.add(command.object_id)
            if lane.alone:
                lane.alone -= 1
                break
        return prompts

    def _change(self, lane: Lane, tracking: TrackingStreamLike, change: Change) -> None:
        """Apply one command that is not a prompt."""
        if change.kind == "reset":
            tracking.reset()
            lane.names.clear()
            return
        assert change.object_id is not None
        self._check_known(tracking, change.object_id)
        if change.kind == "remove":
            tracking.remove(change.object_id)
        elif change.kind == "undo":
            tracking.undo(change.object_id)
        else:
            lane.names[change.object_id] = change.name

    @staticmethod
    def _check_known(tracking: TrackingStreamLike, object_id: int | None) -> None:
        """Refuse an id that no object has: viewers do not choose the ids of new ones."""
        if object_id is not None and object_id not in tracking.object_ids:
            raise UnknownObject(f"No object has the id {object_id}; it may be gone.")

    def _step(
        self,
        lane: Lane,
        tracking: TrackingStreamLike,
        frame: StreamFrame,
        clicks: list[tuple[Prompt, Click, Answer]],
        *,
        repeated: bool,
    ) -> None:
        """Step one frame, answer its clicks and hand out the result."""
        try:
            tracked = tracking.step(frame.picture, [prompt for prompt, _, _ in clicks])
        except PromptError as error:
            tracked = self._refused(lane, tracking, frame, clicks, error)
            clicks = []
        except Exception as error:
            for _, _, answer in clicks:
                answer.set_exception(_as_device_error(error))
            raise
        lane.names = {key: name for key, name in lane.names.items() if key in tracked.objects}
        now = self._clock()
        for (_, click, answer), object_id in zip(clicks, tracked.prompted, strict=True):
            answer.set_result(Applied(object_id, frame.row, now - click.received))
        lane.owner.on_outcome(Outcome(frame, tracked, dict(lane.names), repeated))

    def _refused(
        self,
        lane: Lane,
        tracking: TrackingStreamLike,
        frame: StreamFrame,
        clicks: list[tuple[Prompt, Click, Answer]],
        error: PromptError,
    ) -> Tracked:
        """Answer the click that a step refused, or give each of several a step of its own."""
        if len(clicks) == 1:
            clicks[0][2].set_exception(error)
        else:
            with self._changed:
                lane.alone = len(clicks)
                for _, click, answer in reversed(clicks):
                    again: Answer = Future()
                    again.add_done_callback(_forward_to(answer))
                    lane.commands.appendleft((click, again))
        return tracking.step(frame.picture)

    def _refuse_all(self, lane: Lane) -> None:
        """Answer every command with the reason why there is no model."""
        with self._changed:
            lane.fresh = False
            while lane.commands:
                reason = self.error or DeviceError("No model is loaded.")
                refuse(lane.commands.popleft()[1], reason)

    def _fail(self, lane: Lane, error: Exception) -> None:
        """Go on without masks after the device failed; the next click tries again."""
        if isinstance(error, DeviceError):
            logger.warning("[stream %s] %s", lane.stream_id, error)
        else:
            logger.error("[stream %s] the tracker failed", lane.stream_id, exc_info=error)
        try:
            if lane.tracking is not None:
                lane.tracking.reset()
        except Exception:  # the device is gone; begin anew at the next click
            lane.tracking = None
        lane.names.clear()
        with self._changed:
            lane.engaged = lane.fresh = False
        lane.owner.on_device_failed(str(_as_device_error(error)))


def refuse(answer: Answer, error: StreamtrackError) -> None:
    """End a command that never ran."""
    if answer.set_running_or_notify_cancel():
        answer.set_exception(error)


def _forward_to(answer: Answer) -> Callable[[Answer], None]:
    """Return a callback that ends answer as the other future ended."""

    def forward(ended: Answer) -> None:
        error = ended.exception()
        if error is None:
            answer.set_result(ended.result())
        else:
            answer.set_exception(error)

    return forward


def _as_device_error(error: Exception) -> StreamtrackError:
    """Return the error as something that may be shown to a viewer."""
    if isinstance(error, StreamtrackError):
        return error
    return DeviceError(
        "The tracker failed on this frame; the video goes on without masks, click again to retry."
    )
