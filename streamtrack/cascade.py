"""A slow model corrects a fast one: the cascade of one stream.

The fast model follows every frame. The slow one gets the same prompts and the newest frame
whenever it is free; what it finds on frame k goes back to the fast one, which takes it there
and follows the objects again to now. So a large model neither makes the picture stutter nor
leaves its masks behind.
"""

import logging
import threading
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from streamtrack.commands import Applied, Busy, Change, Click, StreamFrame
from streamtrack.lane import Answer, Command, Lane, LaneOwner, Outcome
from streamtrack.tracking.prompts import Tracked
from streamtrack.tracking_thread import TrackingThread

logger = logging.getLogger(__name__)


class Cascade:
    """The slow model's side of a stream; the owner of its lane."""

    def __init__(self, stream: LaneOwner, stream_id: str, slow: TrackingThread, fast: Lane) -> None:
        """Begin.

        Args:
            stream: whose frames both models follow.
            stream_id: for the log.
            slow: the slow model's thread.
            fast: the fast model's lane, which takes the corrections.
        """
        self.steps = 0
        """Frames the slow model has stepped."""
        self._stream = stream
        self._fast = fast
        self._lock = threading.Lock()
        self._pending: dict[int, int] = {}
        self._lost: frozenset[int] = frozenset()
        self._slow_thread = slow
        self._slow = slow.open_lane(stream_id, self)

    def close(self) -> None:
        """End the slow model's part; idempotent."""
        self._slow_thread.close_lane(self._slow)

    def offer(self, frame: StreamFrame) -> None:
        """Leave the newest frame for the slow model."""
        self._slow.offer(frame, shown=True)

    def watch(self, command: Command, answer: Answer) -> None:
        """Give the slow model a command once the fast one has carried it out."""
        answer.add_done_callback(lambda done: self._forward(command, done))

    @property
    def lost(self) -> frozenset[int]:
        """Objects that the slow model did not find on the frame it stepped last."""
        return self._lost

    def _forward(self, command: Command, done: Answer) -> None:
        """Repeat a command for the slow model, with the object and frame it had."""
        if done.cancelled() or done.exception() is not None:
            return
        applied = done.result()
        again = self._repeated(command, applied)
        if again is None:
            return
        object_id = again.object_id
        with self._lock:
            if isinstance(command, Change) and command.kind == "reset":
                self._lost = frozenset()
            if object_id is not None:
                self._pending[object_id] = self._pending.get(object_id, 0) + 1
        try:
            answer = self._slow.submit(again)
        except Busy:
            self._settled(object_id)
            return
        answer.add_done_callback(lambda _: self._settled(object_id))

    @staticmethod
    def _repeated(command: Command, applied: Applied) -> Command | None:
        if isinstance(command, Change):
            return None if command.kind == "rename" else command
        row = applied.row
        return Click(
            command.received,
            applied.object_id,
            command.points_norm,
            command.labels,
            command.box_norm,
            command.mask,
            row.frame_id if row is not None else command.frame_id,
            adopted=True,
        )

    def _settled(self, object_id: int | None) -> None:
        """Note that the slow model has answered a command."""
        with self._lock:
            if object_id is None:
                return
            left = self._pending.pop(object_id, 1) - 1
            if left > 0:
                self._pending[object_id] = left

    def _correct(
        self, frame_id: int, masks: Mapping[int, NDArray[np.bool_]], seen: Sequence[int] = ()
    ) -> None:
        """Hand masks to the fast model, but for objects with prompts the slow one has not seen.

        Args:
            frame_id: the frame.
            masks: (H, W) by object.
            seen: the object of each prompt that is applied but not answered yet.
        """
        with self._lock:
            waiting = {key: count - seen.count(key) for key, count in self._pending.items()}
        known = {key: one for key, one in masks.items() if waiting.get(key, 0) <= 0}
        self._fast.correct(frame_id, known)

    # As the owner of the slow model's lane, on its thread

    def frame(self, frame_id: int) -> StreamFrame | None:
        """Return a frame of the stream's window, or None when it is gone."""
        return self._stream.frame(frame_id)

    def frames_between(self, after: int, before: int) -> list[int]:
        """Return the ids of the kept frames strictly between two, oldest first."""
        return self._stream.frames_between(after, before)

    def oldest_kept(self) -> int:
        """Return the id of the oldest frame in the window."""
        return self._stream.oldest_kept()

    def again(self, frame: StreamFrame) -> StreamFrame | None:
        """Return None: only the fast model's results are shown again."""
        return None

    def on_passed(self, frame: StreamFrame, tracked: Tracked) -> None:
        """Correct what was prompted, before the slow model goes on to the newest frame."""
        found = {key: tracked.objects[key] for key in tracked.prompted}
        masks = {key: one.mask for key, one in found.items() if one.area}
        self._correct(frame.row.frame_id, masks, tracked.prompted)

    def on_outcome(self, outcome: Outcome) -> None:
        """Correct the fast model by what the slow one found."""
        self.steps += 1
        found = outcome.tracked
        self._lost = frozenset(k for k, one in found.objects.items() if one.state == "lost")
        frame_id = outcome.frame.row.frame_id
        for applied in found.applied:
            if applied.frame != frame_id and applied.result.area:
                self._correct(applied.frame, {applied.object_id: applied.result.mask})
        masks = {key: one.mask for key, one in found.objects.items() if one.area}
        jumped = {one.object_id for one in found.applied if one.mode == "jumped"}
        self._correct(frame_id, {key: one for key, one in masks.items() if key not in jumped})

    def on_device_failed(self, reason: str) -> None:
        """Go on with the fast model alone."""
        self._lost = frozenset()
        logger.warning("[stream %s] goes on without corrections: %s", self._slow.stream_id, reason)
