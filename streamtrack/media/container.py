"""Read a camera or a video file through PyAV, FFmpeg's binding."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import BlockingIOError as NothingYet
from av.error import FFmpegError, InvalidDataError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streamtrack.errors import SourceError, SourceUnavailable
from streamtrack.media.frame import Frame
from streamtrack.media.pacing import Pacer

_RESYNC_S = 3.0
"""After a decoding error a live source waits this long for a whole picture (guess)."""
_MAX_FPS = 240.0
"""Cameras that announce more than this announce their clock, not their frames."""
_ROTATIONS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    -180: cv2.ROTATE_180,
    -90: cv2.ROTATE_90_CLOCKWISE,
}
_JPEG_FORMATS = ("yuvj420p", "yuvj422p", "yuvj444p", "yuvj440p")


@dataclass(frozen=True, slots=True)
class Opening:
    """One way to open a container."""

    address: str = field(repr=False)
    """What FFmpeg is given; may hold credentials."""
    format: str | None = None
    """FFmpeg's name of the format; None to find out."""
    options: dict[str, str] = field(default_factory=dict, repr=False)
    """FFmpeg's options."""
    timeout_s: tuple[float, float] | None = None
    """Longest waits for opening and for the next data; None where nothing can block."""


Explain = Callable[[FFmpegError, float], SourceError]
"""Turns FFmpeg's error, and the seconds until it came, into a sentence without secrets."""


class ContainerSource:
    """Yields the pictures of a camera or video file.

    FFmpeg's calls cannot be interrupted, only time out, so after close a camera's
    frames() may need until its timeout to end; a file's ends at once.
    """

    def __init__(
        self,
        description: str,
        openings: Sequence[Opening],
        explain: Explain,
        *,
        live: bool,
        realtime: bool = False,
        loop: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe the source; nothing is opened yet.

        Args:
            description: what people read, without credentials.
            openings: ways to open it, tried in this order.
            explain: makes the error when all of them fail.
            live: whether it is a camera.
            realtime: pace pictures by their pts, for files.
            loop: begin again at the end, for files.
            clock: monotonic seconds.
        """
        self.live = live
        self.description = description
        self.fps: float | None = None
        self._openings = tuple(openings)
        self._explain = explain
        self._loop = loop
        self._clock = clock
        self._closed = threading.Event()
        self._pacer = Pacer(self._closed, clock) if realtime and not live else None
        self._epoch = 0
        self._size: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames()."""
        return self.frames()

    def close(self) -> None:
        """End frames() soon; from any thread, as often as one likes."""
        self._closed.set()

    def frames(self) -> Iterator[Frame]:
        """Open the source and yield its frames until it ends or is closed.

        Raises:
            SourceUnavailable: it cannot be reached now, or was lost.
            SourceError: it will never work: no video inside, refused credentials.
        """
        while not self._closed.is_set():
            decoded = 0
            for frame in self._one_pass():
                decoded += 1
                yield frame
            if self._closed.is_set():
                return
            if self.live:
                raise SourceUnavailable(f"No more pictures come from {self.description}.")
            if not decoded:
                raise SourceError(
                    f"{self.description} holds no picture that can be decoded; "
                    "give a video that plays elsewhere."
                )
            if not self._loop:
                return

    def _one_pass(self) -> Iterator[Frame]:
        """Open the container, yield its frames once and close it."""
        container = self._open()
        if container is None:
            return
        error: SourceError | None = None
        try:
            stream = _video_stream(container)
            if stream is None:
                raise SourceError(
                    f"There is no video in {self.description}; give a file or camera with pictures."
                )
            self.fps = _nominal_fps(stream)
            if self._pacer:
                self._pacer.restart(self.fps)
            for decoded in self._decode(container, stream):
                frame = self._frame(decoded)
                if self._pacer and not self._pacer.wait(frame.pts, frame.time_base):
                    return
                yield frame
        except FFmpegError as exc:
            error = self._explain(exc, 0.0)
        finally:
            container.close()
        if error is not None:
            raise error

    def _open(self) -> InputContainer | None:
        """Open the container in the first way that works; None when closed meanwhile."""
        error: SourceError | None = None
        for opening in self._openings:
            if self._closed.is_set():
                return None
            started = self._clock()
            limit_s = opening.timeout_s[0] if opening.timeout_s else float("inf")
            try:
                return av.open(
                    opening.address,
                    format=opening.format,
                    options=opening.options,
                    timeout=opening.timeout_s,
                    metadata_errors="replace",
                )
            except FFmpegError as exc:
                error = self._explain(exc, self._clock() - started)
            silent = self._clock() - started >= 0.9 * limit_s
            if silent or not isinstance(error, SourceUnavailable):
                break
        assert error is not None, "a source has at least one opening"
        raise error  # outside of the handler: FFmpeg's error, which names the address, is gone

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """Yield decoded pictures; damaged ones are left out."""
        packets = container.demux(stream)
        whole_after = 0.0  # until then only a key frame is taken
        while not self._closed.is_set():
            started = self._clock()
            error: SourceError | None = None
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                decoded = packet.decode()
            except InvalidDataError as exc:
                if self._timed_out(started):
                    error = self._explain(exc, self._clock() - started)
                else:
                    whole_after = self._clock() + _RESYNC_S if self.live else 0.0
                    decoded = []
            except NothingYet:  # the camera has nothing yet
                self._closed.wait(0.005)
                continue
            except (EOFError, StopIteration):
                return
            except FFmpegError as exc:
                error = self._explain(exc, self._clock() - started)
            if error is not None:
                raise error
            for picture in decoded:
                if picture.key_frame or self._clock() >= whole_after:
                    whole_after = 0.0
                    yield picture

    def _timed_out(self, started: float) -> bool:
        """Whether an error came from the reading timeout, which FFmpeg reports as bad data."""
        limits = self._openings[0].timeout_s
        return limits is not None and self._clock() - started >= limits[1] * 0.9

    def _frame(self, decoded: VideoFrame) -> Frame:
        """Return the decoded picture as a frame."""
        picture = to_rgb(decoded)
        arrival = self._clock()
        size = picture.shape[:2]
        if self._size not in (None, size):
            self._epoch += 1
        self._size = size
        time_base = Fraction(decoded.time_base) if decoded.time_base else None
        return Frame(picture, arrival, decoded.pts, time_base, self._epoch)


def to_rgb(frame: VideoFrame) -> NDArray[np.uint8]:
    """Return a decoded picture as (H, W, 3) uint8 RGB, upright and in its true colours.

    Pictures that do not say how their colours are coded are taken as BT.709 from
    720 lines on and as BT.601 below, as players do; JPEG is always BT.601.
    """
    matrix = frame.colorspace
    full = frame.color_range == ColorRange.JPEG or frame.format.name in _JPEG_FORMATS
    if matrix in (0, 2, 3):  # RGB or not said
        large = max(frame.width, frame.height) >= 1280 or min(frame.width, frame.height) >= 720
        matrix = Colorspace.ITU709 if large and not full else Colorspace.ITU601
    rgb = frame.reformat(
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation="BILINEAR",
        threads=1,
    ).to_ndarray()
    if turn := round(frame.rotation / 90) * 90:
        return np.asarray(cv2.rotate(rgb, _ROTATIONS[turn]), np.uint8)
    return np.ascontiguousarray(rgb, np.uint8)


def _video_stream(container: InputContainer) -> VideoStream | None:
    """Return the first stream of moving pictures, which a cover picture is not."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    return None


def _nominal_fps(stream: VideoStream) -> float | None:
    """Return the frames in a second that the container announces, if it is believable."""
    with suppress(AttributeError, ZeroDivisionError, ValueError):
        for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
            if rate and 0 < rate <= _MAX_FPS:
                return float(rate)
    return None
