"""The display of one stream: shows frames with the masks that belong to them, to all viewers.

exact: a frame is shown once its own masks are computed, at the tracker's rate.
predict: every frame is shown at once, with the newest masks carried onto it by optical flow.
auto: exact while the tracker keeps up with the camera, else predict.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from streamtrack.aligning import Aligner, Result
from streamtrack.commands import NoFrame, StreamFrame
from streamtrack.display.overlay import OverlayObject, OverlaySettings, draw_overlay
from streamtrack.media.slot import Slot
from streamtrack.media.window import Window
from streamtrack.messages import Shown, Viewer

logger = logging.getLogger(__name__)

Align = Literal["auto", "predict", "exact"]

REPEAT_S = 1.0
"""A still source's last picture is sent again this often: a lost picture heals (guess)."""
JPEG_QUALITY = 88
_SLOW, _FAST = 0.95, 0.75
"""auto predicts once a step takes more than the first share of a frame interval, and is exact
again below the second (guess)."""
_SMOOTHING = 0.2
"""Weight of the newest step in the mean that auto goes by (guess)."""


@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    """A frame and the objects on exactly that frame; None: they are to be carried onto it."""

    frame: StreamFrame
    objects: tuple[OverlayObject, ...] | None = ()


class Display:
    """Owns the display thread; show() and found() from any thread, the rest from the loop."""

    def __init__(
        self,
        stream_id: str,
        *,
        align: Align,
        budget_ms: float,
        overlay: OverlaySettings,
        window: Window,
        again: Callable[[StreamFrame], StreamFrame | None],
        on_shown: Callable[[StreamFrame], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to show.

        Args:
            stream_id: for the thread's name and the log.
            align: how frames and masks come together.
            budget_ms: what a frame may take here; carried masks are fitted as well as it allows.
            overlay: how they are drawn; may be replaced at any time.
            window: the pictures of the last seconds.
            again: gives the newest picture as a new frame, or None when a newer one came.
            on_shown: told of every frame that was handed to the viewers.
            clock: monotonic seconds.
        """
        self.align = align
        self.overlay = overlay
        self.late = 0
        """Frames that came when a newer one had been shown."""
        self.took_s = 0.0
        """What the frame shown last took here."""
        self.masks_from: float | None = None
        """When the frame was captured whose masks were shown last; None when there were none."""
        self._stream_id = stream_id
        self._again = again
        self._on_shown = on_shown
        self._clock = clock
        self._slow = align != "exact"
        self._step_ms = 0.0
        self._slot: Slot[Composition] = Slot()
        self._aligner = Aligner(window, budget_ms)
        self._shown_id = 0
        self._newest: Composition | None = None
        self._exact: Composition | None = None
        self._shown: Shown | None = None
        self._viewers: tuple[Viewer, ...] = ()
        self._closed = False
        self._thread = threading.Thread(
            target=self._show_all, name=f"display-{stream_id}", daemon=True
        )
        self._thread.start()

    def close(self, timeout: float) -> None:
        """End the thread; waits at most timeout seconds; idempotent."""
        self._closed = True
        self._slot.close()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)

    # From the capture and tracking threads

    @property
    def predicting(self) -> bool:
        """Whether every frame is shown at once, its masks carried onto it."""
        return self._slow

    @property
    def may_predict(self) -> bool:
        """Whether a frame may be shown before its own masks are computed."""
        return self.align != "exact"

    def pace(self, step_ms: float, interval_ms: float) -> None:
        """Hear how long a step took and how far frames are apart; decides what auto does."""
        known = self._step_ms
        self._step_ms = known + _SMOOTHING * (step_ms - known) if known else step_ms
        if self.align == "auto" and step_ms > 0 and interval_ms > 0:
            limit = _FAST if self._slow else _SLOW
            self._slow = self._step_ms > limit * interval_ms

    def show(self, frame: StreamFrame, objects: tuple[OverlayObject, ...] | None = ()) -> None:
        """Show a frame with these objects; None: with the newest masks carried onto it."""
        self._slot.put(Composition(frame, objects))

    def found(self, result: Result) -> None:
        """Take the newest masks, to be carried onto the frames that follow."""
        self._exact = Composition(result.frame, result.objects)
        self._aligner.found(result)

    # On the display thread

    def _show_all(self) -> None:
        """Show every composition until closed."""
        while not self._closed:
            composition = self._slot.get(REPEAT_S)
            try:
                if composition is not None:
                    self._show(composition)
                elif self._viewers and not self._closed:
                    self._repeat()
            except Exception:  # the thread's boundary: one bad picture does not end the video
                logger.exception("[stream %s] a frame could not be shown", self._stream_id)

    def _repeat(self) -> None:
        """Show the newest picture again."""
        newest = self._newest
        if newest is not None and (frame := self._again(newest.frame)) is not None:
            self._show(Composition(frame, newest.objects))

    def _show(self, composition: Composition) -> None:
        """Draw one composition and hand it to the viewers."""
        begun, frame = self._clock(), composition.frame
        if frame.row.frame_id <= self._shown_id:
            self.late += 1
            return
        self._shown_id = frame.row.frame_id
        objects, captured = composition.objects, frame.row.t_capture
        if objects is None and self._viewers:
            objects, captured = self._aligner.onto(frame)
        if objects is not None:
            self._newest = composition = replace(composition, objects=objects)
            self.masks_from = captured if objects else None
        if self._viewers:
            self._shown = self._drawn(composition)
            for viewer in self._viewers:
                viewer.show(self._shown)
        self.took_s = self._clock() - begun
        self._aligner.took(self.took_s)
        self._on_shown(frame)

    def _drawn(self, composition: Composition) -> Shown:
        """Draw the overlay and convert for the encoders."""
        picture = draw_overlay(composition.frame.picture, composition.objects or (), self.overlay)
        planes = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), np.uint8)
        return Shown(composition.frame.row, planes, composition.objects or ())

    # Viewers and queries

    def snapshot(self, overlay: bool = True) -> bytes:
        """Return the newest frame as JPEG; slow, keep it off the event loop.

        Raises:
            NoFrame: nothing has been shown yet.
        """
        known = [one for one in (self._newest, self._exact) if one is not None]
        if not known:
            raise NoFrame(f"The stream {self._stream_id} has not shown a frame yet; try again.")
        newest = max(known, key=lambda one: one.frame.row.frame_id)
        picture = newest.frame.picture
        if overlay:
            picture = draw_overlay(picture, newest.objects or (), self.overlay)
        flags = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
        assert done
        return data.tobytes()

    @property
    def viewers(self) -> tuple[Viewer, ...]:
        """Those who look on."""
        return self._viewers

    @property
    def dropped(self) -> int:
        """Frames replaced by newer ones before they were drawn, or shown too late."""
        return self._slot.dropped + self.late

    def add_viewer(self, viewer: Viewer) -> None:
        """Show every next picture to a viewer, and the newest one as soon as can be."""
        self._viewers = (*self._viewers, viewer)
        if len(self._viewers) == 1:
            self.refresh()
        elif self._shown is not None:
            viewer.show(self._shown)

    def refresh(self) -> None:
        """Show the newest picture once more, as a new frame, unless a newer one has come."""
        newest = self._newest
        if newest is not None and (frame := self._again(newest.frame)) is not None:
            self.show(frame, newest.objects)

    def remove_viewer(self, viewer: Viewer) -> None:
        """Show a viewer nothing more."""
        self._viewers = tuple(one for one in self._viewers if one is not viewer)
