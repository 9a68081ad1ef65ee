"""`streamtrack run`: one source through the tracker, without a server."""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamtrack.errors import ConfigError, SourceError
from streamtrack.exports import Export, MaskExport, TrackExport, VideoExport
from streamtrack.media.capture import Capture, CaptureState
from streamtrack.media.frame import Frame
from streamtrack.media.slot import Slot
from streamtrack.media.sources import Source
from streamtrack.prompt_plan import PlannedPrompt, check_plan, named
from streamtrack.tracking.prompts import Prompt, Tracked

_POLL_S = 0.5  # how long a wait for a live frame lasts before the end is looked for


class Stepper(Protocol):
    """The part of a tracking stream that a run uses."""

    def check(self, prompt: Prompt, size: tuple[int, int]) -> None:
        """Raise the PromptError that `step` would raise."""
        ...

    def step(self, picture: NDArray[np.uint8], prompts: Sequence[Prompt] = ()) -> Tracked:
        """Follow all objects onto one frame."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What a run does and leaves behind."""

    prompts: Sequence[PlannedPrompt] = ()
    """In the order of their frames."""
    frames: int | None = None
    """End after this many frames; None: at the source's end."""
    output: Path | None = None
    """Overlay video."""
    masks: Path | None = None
    """Folder of mask pictures."""
    tracks: Path | None = None
    """File of JSON lines."""
    realtime: bool = False
    """Take the newest frame instead of every frame."""

    def __post_init__(self) -> None:
        """Raise a ConfigError when a prompt lies behind the last frame."""
        late = [one for one in self.prompts if self.frames is not None and one.frame >= self.frames]
        if late:
            raise ConfigError(
                f"{late[0].origin} names frame {late[0].frame}, but only the frames 0 to "
                f"{self.frames - 1 if self.frames else 0} are taken; raise --frames."
            )


class OfflineRun:
    """One run: frames in, exports out, counts while it goes on."""

    def __init__(
        self,
        settings: RunSettings,
        stream: Stepper,
        open_source: Callable[[], Source],
    ) -> None:
        """Prepare a run; nothing is opened.

        Args:
            settings: what to do.
            stream: follows the objects.
            open_source: opens the source.
        """
        self.frames = 0
        """Frames done."""
        self.objects: set[int] = set()
        """Ids of all objects followed so far."""
        self.seconds = 0.0
        """From the first frame's arrival to the last one's end."""
        self._settings = settings
        self._stream = stream
        self._open_source = open_source
        self._fps: float | None = None

    @property
    def fps(self) -> float:
        """Frames done per second."""
        return self.frames / self.seconds if self.seconds else 0.0

    def go(
        self,
        on_frame: Callable[[], None] = lambda: None,
        on_lost: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Run to the end; what was exported is whole even when this raises.

        Args:
            on_frame: called after every frame.
            on_lost: told why a live source fell silent; it is opened again meanwhile.

        Raises:
            SourceError: the source failed or has no frames.
            ConfigError: an export cannot be written.
            PromptError: a prompt cannot be applied.
            DeviceError: the device failed.
        """
        settings = self._settings
        with contextlib.ExitStack() as stack:
            frames = stack.enter_context(contextlib.closing(self._source_frames(on_lost)))
            exports: list[Export] = []
            for frame in frames:
                if not self.frames:
                    started = time.monotonic()
                    check_plan(settings.prompts, frame.size)
                    exports = self._open_exports(stack)
                self._do(frame, exports)
                self.seconds = time.monotonic() - started
                on_frame()
                if self.frames == settings.frames:
                    break
        self._finish()

    def _do(self, frame: Frame, exports: Sequence[Export]) -> None:
        """Step one frame with the prompts that wait for it, and export the outcome."""
        due = [one for one in self._settings.prompts if one.frame == self.frames]
        for one in due:
            with named(one):
                self._stream.check(one.prompt, frame.size)
        tracked = self._stream.step(frame.picture, [one.prompt for one in due])
        self.objects |= tracked.objects.keys()
        for export in exports:
            export.write(self.frames, frame, tracked)
        self.frames += 1

    def _finish(self) -> None:
        """Say what never happened."""
        if not self.frames:
            raise SourceError("The source has no frames; give a video that plays elsewhere.")
        late = [one for one in self._settings.prompts if one.frame >= self.frames]
        if late:
            raise ConfigError(
                f"{', '.join(one.origin for one in late)} never came to be applied: the source "
                f"ended after {self.frames} frames; name an earlier frame."
            )

    def _open_exports(self, stack: contextlib.ExitStack) -> list[Export]:
        """Begin what the settings name; all of it is closed with the stack."""
        settings = self._settings
        exports: list[Export] = []
        if settings.output:
            exports.append(VideoExport(settings.output, self._fps, timed=settings.realtime))
        if settings.masks:
            exports.append(MaskExport(settings.masks))
        if settings.tracks:
            exports.append(TrackExport(settings.tracks))
        for export in exports:
            stack.callback(export.close)
        return exports

    def _source_frames(self, on_lost: Callable[[str], None]) -> Generator[Frame, None, None]:
        """Yield every frame, or the newest one each time when it runs in real time."""
        return self._newest_frames(on_lost) if self._settings.realtime else self._all_frames()

    def _all_frames(self) -> Generator[Frame, None, None]:
        with contextlib.closing(self._open_source()) as source:
            for frame in source.frames():
                self._fps = source.fps
                yield frame

    def _newest_frames(self, on_lost: Callable[[str], None]) -> Generator[Frame, None, None]:
        slot: Slot[Frame] = Slot()
        over = threading.Event()
        failure: list[str] = []
        opened: list[Source] = []

        def open_source() -> Source:
            opened[:] = [self._open_source()]
            return opened[0]

        def deliver(frame: Frame) -> None:
            slot.put(frame)

        def on_state(state: CaptureState, reason: str) -> None:
            if state == "failed" or (state == "lost" and not slot.accepted):
                failure.append(reason)
            elif state == "lost":
                on_lost(reason)
            if failure or state == "ended":
                over.set()

        capture = Capture(open_source, deliver, on_state=on_state)
        capture.start()
        with contextlib.closing(capture):
            while True:
                last = over.is_set()
                frame = slot.get(0 if last else _POLL_S)
                if frame is not None:
                    self._fps = opened[0].fps
                    yield frame
                elif last:
                    break
        if failure:
            raise SourceError(failure[0])
