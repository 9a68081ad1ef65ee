"""The one thread that owns the tracker and serves every stream in turn.

It loads the model, warms it up, steps and frees there; no other thread touches the device.
Each stream has a lane: the newest frame (newest wins, the rest is counted) and a bounded
first-in-first-out queue of commands. Lanes with commands come sooner, otherwise those that have had
the device for the shortest time.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamtrack.commands import Busy
from streamtrack.errors import DeviceError, StreamtrackError
from streamtrack.lane import Answer, Lane, LaneOwner, TrackerLike, TrackingStreamLike
from streamtrack.tracking.prompts import Prompt
from streamtrack.turn import Turn, as_device_error

logger = logging.getLogger(__name__)

_NICE = 3
"""More helps the display little, and lets other programs starve the tracker (measured)."""


@dataclass(frozen=True, slots=True)
class TrackingLimits:
    """What each stream's tracking may hold and take."""

    max_objects: int = 32
    rewind_frames: int = 60
    """Stepped frames a late click may name."""
    feature_bytes: int = 64 * 2**20
    """Image features kept for them."""
    replay_budget_ms: float = 150.0
    """What carrying an object from a late click to now may take."""


class TrackingThread:
    """Loads a tracker on a thread of its own and serves lanes with it."""

    def __init__(
        self,
        load: Callable[[], TrackerLike],
        *,
        limits: TrackingLimits | None = None,
        on_state: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; start() begins to load.

        Args:
            load: gives the tracker; it runs on the tracking thread.
            limits: of each stream.
            on_state: called on the tracking thread when state changed.
            clock: monotonic seconds.
        """
        self.state: Literal["loading", "ready", "failed", "closed"] = "loading"
        self.error: StreamtrackError | None = None
        self.model = ""
        self.device = ""
        self._load = load
        self._limits = limits or TrackingLimits()
        self._on_state = on_state
        self._clock = clock
        self._changed = threading.Condition()
        self._lanes: list[Lane] = []
        self._now_s = 0.0
        """Device time of the lane served last, when its turn began."""
        self._served: Lane | None = None
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
        lane.idle()
        lane.corrections.clear()
        while lane.commands:
            refuse(lane.commands.popleft()[1], Busy(f"The stream {lane.stream_id} has ended."))

    def _run(self) -> None:
        """Load, serve until closed, and free everything on this thread."""
        _yield_to_the_camera_clock()
        tracker = self._loaded()
        while (lane := self._next_lane()) is not None:
            if tracker is None:
                self._refuse_all(lane)
                continue
            if lane.tracking is None:
                lane.tracking = self._opened(tracker, lane)
            begun = self._clock()
            try:
                budget_ms = self._limits.replay_budget_ms
                Turn(lane, lane.tracking, clock=self._clock, budget_ms=budget_ms).serve()
            except Exception as error:  # the session's boundary: one stream never ends the others
                self._fail(lane, error)
            lane.spent_s += self._clock() - begun
        self._lanes.clear()

    def _opened(self, tracker: TrackerLike, lane: Lane) -> TrackingStreamLike:
        """Begin to follow objects in a lane's stream."""

        def picture(frame_id: int) -> NDArray[np.uint8] | None:
            frame = lane.owner.frame(frame_id)
            return None if frame is None else frame.picture

        limits = self._limits
        return tracker.open(
            max_objects=limits.max_objects,
            rewind_frames=limits.rewind_frames,
            feature_bytes=limits.feature_bytes,
            replay_budget_ms=limits.replay_budget_ms,
            pictures=picture,
        )

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
                ready = [
                    lane for lane in self._lanes if lane.fresh or lane.commands or lane.corrections
                ]
                if ready:
                    break
                self._changed.wait()

            # Start-time fair queueing: who has had the device least goes first, and nobody saves
            # time up while idle. A lane with commands overtakes, but not twice in a row.
            def place(one: Lane) -> tuple[bool, float]:
                overtakes = bool(one.commands) and one is not self._served
                return not overtakes, max(one.spent_s, self._now_s)

            lane = min(ready, key=place)
            lane.spent_s = self._now_s = max(lane.spent_s, self._now_s)
            self._served = lane
            return lane

    def _refuse_all(self, lane: Lane) -> None:
        """Answer every command with the reason why there is no model."""
        with self._changed:
            lane.fresh = False
            lane.corrections.clear()
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
            lane.idle()
        lane.owner.on_device_failed(str(as_device_error(error)))


def _yield_to_the_camera_clock() -> None:
    """Let every other thread go first: a frame not shown in time is lost, a step only later.

    On Linux a thread has a priority of its own, which the threads that torch starts from it
    inherit; elsewhere nothing is done.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # some sandboxes forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def refuse(answer: Answer, error: StreamtrackError) -> None:
    """End a command that never ran."""
    if answer.set_running_or_notify_cancel():
        answer.set_exception(error)
