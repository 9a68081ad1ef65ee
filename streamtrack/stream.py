"""One stream: joins a source, the tracker, the display and the viewers.

Frames enter on the capture thread. While no object is followed, or while the tracker is slower
than the camera, they go straight to the display, which carries the newest masks onto them;
otherwise through the tracking thread. A picture never carries masks of another moment.
Nothing here runs on the event loop but queries.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamtrack.aligning import Result
from streamtrack.cascade import Cascade
from streamtrack.commands import StreamFrame
from streamtrack.display.overlay import OverlaySettings
from streamtrack.fitting import FrameRateLimit, RateMeter, fit_picture
from streamtrack.lane import Answer, Command, Lane, Outcome
from streamtrack.media.frame import Frame
from streamtrack.media.ledger import Ledger, LedgerRow, MediaClock
from streamtrack.media.window import Window
from streamtrack.messages import (
    Event,
    Listener,
    Message,
    ObjectsNow,
    StatsNow,
    Viewer,
)
from streamtrack.showing import Align, Display
from streamtrack.telling import object_now, overlay_object, timings, without
from streamtrack.tracking.prompts import Tracked
from streamtrack.tracking_thread import TrackingThread

logger = logging.getLogger(__name__)

StreamKind = Literal["camera", "publisher"]
StreamState = Literal["connecting", "live", "lost", "ended", "failed"]


_STILL_S = 0.1
"""A frame that was shown before its result is shown again when no newer one came for so long."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a stream treats its pictures."""

    max_long_px: int = 1280
    max_short_px: int = 720
    max_fps: float = 30.0
    ledger_s: float = 10.0
    window_s: float = 2.0
    window_bytes: int = 192 * 2**20
    """Of pictures that late clicks may name."""
    align: Align = "auto"
    display_budget_ms: float = 15.0
    """What the display may take for a frame."""
    overlay: OverlaySettings = OverlaySettings()


class Stream:
    """One stream from its source to its viewers; close() ends it."""

    def __init__(
        self,
        stream_id: str,
        kind: StreamKind,
        tracking: TrackingThread,
        options: StreamOptions | None = None,
        *,
        corrector: TrackingThread | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to serve; frames come by ingest().

        Args:
            stream_id: names it.
            kind: whether it is opened here or published.
            tracking: follows the objects.
            options: how pictures are treated.
            corrector: a better, slower model that corrects them.
            clock: monotonic seconds.
        """
        self.id = stream_id
        self.kind = kind
        self.state: StreamState = "connecting"
        self.reason = ""
        self.options = options or StreamOptions()
        self.ledger = Ledger(self.options.ledger_s)
        self.window = Window(seconds=self.options.window_s, max_bytes=self.options.window_bytes)
        self.on_latency: Callable[[str, float], None] = lambda stage, seconds: None
        self._clock = clock
        self._media_clock = MediaClock(clock())
        self._entry = threading.RLock()
        self._rate_limit = FrameRateLimit(self.options.max_fps)
        self._frame_id = 0
        self._epoch = 0
        self._source: tuple[int, tuple[int, int]] | None = None
        self._latest: NDArray[np.uint8] | None = None
        self._pinned: dict[int, StreamFrame] = {}
        self._display = Display(
            stream_id,
            align=self.options.align,
            budget_ms=self.options.display_budget_ms,
            overlay=self.options.overlay,
            window=self.window,
            again=self.again,
            on_shown=self._was_shown,
            clock=clock,
        )
        self._listeners: tuple[Listener, ...] = ()
        self._objects = ObjectsNow(0, ())
        self._was_lost = False
        self.meters = {name: RateMeter(clock) for name in ("in", "repeated", "out", "tracker")}
        self._step_ms = 0.0
        self._age_s = 0.0
        self._mask_age_s = 0.0
        self._tracking = tracking
        self._lane: Lane = tracking.open_lane(stream_id, self)
        self._cascade = Cascade(self, stream_id, corrector, self._lane) if corrector else None
        self._closed = False

    def close(self, timeout: float = 2.0) -> None:
        """End the stream; waits at most timeout seconds; idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._cascade is not None:
            self._cascade.close()
        self._tracking.close_lane(self._lane)
        self._tell(Event("stream_ended", {"stream": self.id}))
        self._display.close(timeout)

    # Frames, on the capture thread

    def ingest(self, frame: Frame) -> None:
        """Take a frame of the source; frames above the stream's rate limit are passed over."""
        if self._closed or not self._rate_limit.admit(frame.arrival):
            return
        self.meters["in"].tick()
        picture = fit_picture(frame.picture, self.options.max_long_px, self.options.max_short_px)
        stream_frame = self._identified(picture, frame.arrival, frame.size, frame.epoch)
        if self._cascade is not None:
            self._cascade.offer(stream_frame)
        display = self._display
        predicted = display.predicting
        offered = self._lane.offer(stream_frame, shown=predicted, shown_behind=display.may_predict)
        if offered == "idle":
            display.show(stream_frame)
        elif predicted or (offered == "behind" and display.may_predict):
            display.show(stream_frame, None)

    def _identified(
        self,
        picture: NDArray[np.uint8],
        moment: float,
        source_size: tuple[int, int],
        source_epoch: int,
    ) -> StreamFrame:
        """Give a picture its place in the stream's ledger."""
        with self._entry:
            source = (source_epoch, source_size)
            if self._source is not None and source != self._source:
                self._epoch += 1
            self._source = source
            self._latest = picture
            self._frame_id += 1
            height, width = picture.shape[:2]
            pts90 = self._media_clock.pts90(moment)
            row = LedgerRow(
                self._frame_id, self._epoch, pts90, moment, source_size, (height, width)
            )
            self.ledger.add(row)
            self.window.add(self._frame_id, moment, picture)
        return StreamFrame(picture, row)

    def again(self, frame: StreamFrame) -> StreamFrame | None:
        """Return the same picture as a new frame of the present; None when a newer one came."""
        with self._entry:
            if self._latest is not frame.picture or self._source is None:
                return None
            epoch, size = self._source
            self.meters["repeated"].tick()
            return self._identified(frame.picture, self._clock(), size, epoch)

    def source_changed(self, state: StreamState, reason: str) -> None:
        """Note the state of the source; a lost source keeps the objects."""
        before, self.state, self.reason = self.state, state, reason
        if state in ("lost", "ended", "failed") and before == "live":
            self._was_lost = True
            self._tell(Event("source_lost", {"state": state, "reason": reason}))
        elif state == "live" and self._was_lost:
            self._was_lost = False
            self._tell(Event("source_back"))

    # The frames that late clicks name

    def frame(self, frame_id: int) -> StreamFrame | None:
        """Return a frame of the window or a pinned one, or None when it is gone."""
        picture, row = self.window.picture(frame_id), self.ledger.by_frame(frame_id)
        if picture is None or row is None:
            return self._pinned.get(frame_id)
        return StreamFrame(picture, row)

    def frames_between(self, after: int, before: int) -> list[int]:
        """Return the ids of the kept frames strictly between two, oldest first."""
        return [i for i in self.window.frame_ids() if after < i < before]

    def oldest_kept(self) -> int:
        """Return the id of the oldest frame in the window."""
        return min(self.window.frame_ids(), default=0)

    def pin(self, row: LedgerRow) -> bool:
        """Keep a frame beyond the window until it is unpinned; False when it is gone."""
        frame = self.frame(row.frame_id)
        if frame is not None:
            self._pinned[row.frame_id] = frame
        return frame is not None

    def unpin(self, frame_id: int) -> None:
        """Let a pinned frame go."""
        self._pinned.pop(frame_id, None)

    # Results, on the tracking thread

    def on_passed(self, frame: StreamFrame, tracked: Tracked) -> None:
        """Nothing: the newest frame's result follows."""

    def on_outcome(self, outcome: Outcome) -> None:
        """Show a stepped frame with its objects and tell the listeners about them."""
        self.meters["tracker"].tick()
        self._step_ms = sum(timings(outcome.tracked.notes))
        found = outcome.tracked.objects
        if self._cascade is not None:
            found = without(found, self._cascade.lost)
        objects = tuple(
            overlay_object(one, outcome.names.get(one.object_id, "")) for one in found.values()
        )
        logits = {key: one.logits for key, one in found.items() if one.state == "tracked"}
        self._display.pace(self._step_ms, 1000 / max(self.meters["in"].rate(), 1.0))
        self._display.found(Result(outcome.frame, objects, logits))
        age_s = self._clock() - outcome.frame.row.t_capture
        self.on_latency("tracker", age_s)
        if outcome.repeated or (outcome.shown and age_s > _STILL_S):
            frame = self.again(outcome.frame)
        else:
            frame = None if outcome.shown else outcome.frame
        if frame is not None:  # else a newer frame is shown with these objects
            self._display.show(frame, objects)
        masks = any(listener.wants_masks for listener in self._listeners)
        told = tuple(
            object_now(one, outcome.names.get(one.object_id, ""), masks) for one in found.values()
        )
        before = {one.object_id: one.state for one in self._objects.objects}
        self._objects = ObjectsNow(outcome.frame.row.frame_id, told)
        self._tell(self._objects)
        for one in told:
            if before.get(one.object_id, "tracked") != one.state:
                kind: Literal["object_lost", "object_found"] = (
                    "object_lost" if one.state == "lost" else "object_found"
                )
                self._tell(
                    Event(kind, {"object": one.object_id, "frame_id": self._objects.frame_id})
                )

    def on_device_failed(self, reason: str) -> None:
        """Tell that the objects are gone; frames go on without masks."""
        row = self.ledger.newest
        self._objects = ObjectsNow(row.frame_id if row else 0, ())
        newest = self.frame(row.frame_id) if row else None
        if newest is not None:
            self._display.found(Result(newest, (), {}))
        self._tell(Event("device_failed", {"message": reason}))
        self._tell(self._objects)
        self._tell(Event("objects_reset"))

    # On the display thread

    def _was_shown(self, frame: StreamFrame) -> None:
        """Note that a frame was handed to the viewers."""
        now = self._clock()
        self.ledger.shown(frame.row.frame_id, now)
        self.meters["out"].tick()
        self._age_s = now - frame.row.t_capture
        masks_from = self._display.masks_from
        self._mask_age_s = 0.0 if masks_from is None else now - masks_from
        self.on_latency("display", self._age_s)

    # Queries and people, on the event loop

    def snapshot(self, overlay: bool = True) -> bytes:
        """Return the newest frame as JPEG (see Display.snapshot)."""
        return self._display.snapshot(overlay)

    @property
    def overlay(self) -> OverlaySettings:
        """How masks are drawn."""
        return self._display.overlay

    @overlay.setter
    def overlay(self, settings: OverlaySettings) -> None:
        self._display.overlay = settings

    @property
    def viewers(self) -> int:
        """How many viewers look on."""
        return sum(viewer.people for viewer in self._display.viewers)

    @property
    def objects(self) -> ObjectsNow:
        """The objects of the frame stepped last."""
        return self._objects

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the newest frame; None before the first."""
        row = self.ledger.newest
        return row.out_size if row else None

    def submit(self, command: Command) -> Answer:
        """Queue a command for the tracker (see Lane.submit)."""
        answer = self._lane.submit(command)
        if self._cascade is not None:
            self._cascade.watch(command, answer)
        return answer

    def add_viewer(self, viewer: Viewer) -> None:
        """Show every next picture to a viewer, and the newest one as soon as can be."""
        self._display.add_viewer(viewer)

    def refresh(self) -> None:
        """Show the newest picture once more, unless a newer one comes anyway."""
        self._display.refresh()

    def remove_viewer(self, viewer: Viewer) -> None:
        """Show a viewer nothing more."""
        self._display.remove_viewer(viewer)

    def add_listener(self, listener: Listener) -> None:
        """Tell a listener everything from now on."""
        self._listeners = (*self._listeners, listener)

    def remove_listener(self, listener: Listener) -> None:
        """Tell a listener nothing more."""
        self._listeners = tuple(one for one in self._listeners if one is not listener)

    def announce(self, message: Message) -> None:
        """Tell every listener of this stream something."""
        self._tell(message)

    def row_by_rtp(self, rtp: int) -> LedgerRow | None:
        """Return the ledger row of a frame some viewer was sent with this RTP timestamp."""
        for viewer in self._display.viewers:
            pts90 = viewer.locate(rtp)
            if pts90 is not None and (row := self.ledger.by_pts(pts90)) is not None:
                return row
        return None

    @property
    def dropped(self) -> int:
        """Frames nobody saw because newer ones took their place."""
        return self._lane.dropped + self._display.dropped

    def stats(self) -> StatsNow:
        """Return how the stream does now."""
        rates = {name: meter.rate() for name, meter in self.meters.items()}
        return StatsNow(
            fps_in=round(rates["in"], 1),
            fps_out=round(rates["out"], 1),
            fps_tracker=round(rates["tracker"], 1),
            step_ms=round(self._step_ms, 1),
            age_ms=round(1000 * self._age_s, 1),
            dropped=self.dropped,
            viewers=self.viewers,
            align="predict" if self._display.predicting else "exact",
            display_ms=round(1000 * self._display.took_s, 1),
            mask_age_ms=round(1000 * self._mask_age_s, 1),
        )

    def _tell(self, message: Message) -> None:
        """Tell every listener."""
        for listener in self._listeners:
            listener.tell(message)
