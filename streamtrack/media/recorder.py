"""Write pictures as an MP4 file that any player opens."""

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streamtrack.errors import ConfigError, SourceError, StreamtrackError

_TICKS = 90_000
"""Units of the file's clock in a second, as usual for video."""
_BT709 = 1
"""Code of BT.709 for primaries, transfer and matrix alike (ITU-T H.273)."""
_OPTIONS = {"preset": "veryfast", "crf": "20"}
_ENDINGS = (".mp4", ".m4v")


class Recorder:
    """Writes pictures as H.264 in MP4, under another name until it is whole.

    A picture whose size differs from the first is fitted with bars; odd sizes grow by
    one row or column that repeats the edge. Nothing is ever stretched.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float = 30.0) -> None:
        """Begin a file.

        Args:
            path: where it goes; a file that is there is replaced at the end.
            size: (height, width) of the pictures in pixels.
            fps: pictures in a second, unless write() is told times.

        Raises:
            ConfigError: the name does not end in .mp4 or .m4v, or cannot be written to.
        """
        self.path = Path(path).expanduser()
        self.written = 0
        """Pictures written."""
        self._size = size
        self._rate = Fraction(fps if fps > 0 else 30.0).limit_denominator(1001)
        self._last_pts = -1
        self._part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._closed = False
        if self.path.suffix.lower() not in _ENDINGS:
            raise ConfigError(f"The recording {self.path} must end in {' or '.join(_ENDINGS)}.")
        if self.path.is_dir():
            raise ConfigError(f"The recording {self.path} is a folder; give a file's name.")
        try:
            self._part.open("wb").close()
        except OSError as exc:
            raise ConfigError(
                f"The recording {self.path} cannot be written ({exc.strerror}); "
                "choose a folder that exists and is yours."
            ) from None
        self._container, self._stream = self._begin()

    def __enter__(self) -> Self:
        """Return the recorder."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file; after an error, what was recorded is kept."""
        if error is None or self.written:
            self.close()
        else:
            self.discard()

    def write(self, picture: NDArray[np.uint8], time_s: float | None = None) -> None:
        """Add a picture.

        Args:
            picture: (H, W, 3) uint8 RGB.
            time_s: when it is shown, in seconds from the first; None for the next
                regular time. Times that do not rise are moved on a little.

        Raises:
            StreamtrackError: the file cannot be written any more, as when the disk is full.
        """
        frame = VideoFrame.from_ndarray(_fitted(picture, self._size), format="rgb24")
        regular = round(self.written * _TICKS / self._rate)
        pts = regular if time_s is None else round(time_s * _TICKS)
        converted = frame.reformat(
            format="yuv420p",
            src_colorspace=Colorspace.ITU709,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )
        converted.pts = self._last_pts = max(pts, self._last_pts + 1)
        converted.time_base = Fraction(1, _TICKS)
        self._mux(converted)
        self.written += 1

    def close(self) -> None:
        """Finish the file and give it its name; closing again does nothing.

        Raises:
            SourceError: no picture was written, so there is no file.
            StreamtrackError: the file cannot be finished.
        """
        if self._closed:
            return
        if not self.written:
            self.discard()
            raise SourceError(f"There was no picture to record, so {self.path} was not written.")
        self._mux(None)
        self._closed = True
        try:
            self._container.close()
            self._part.replace(self.path)
        except OSError as exc:
            self._part.unlink(missing_ok=True)
            raise self._failure(exc) from None

    def discard(self) -> None:
        """Stop without leaving a file; does nothing after close."""
        if not self._closed:
            self._closed = True
            try:
                self._container.close()
            except FFmpegError:
                pass  # there is nothing to keep
            self._part.unlink(missing_ok=True)

    def _begin(self) -> tuple[OutputContainer, VideoStream]:
        """Open the file under its temporary name."""
        options = {"movflags": "+faststart"}
        container = av.open(str(self._part), "w", format="mp4", options=options)
        stream = container.add_stream("libx264", rate=self._rate, options=dict(_OPTIONS))
        height, width = self._size
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, _TICKS)
        context.color_range = ColorRange.MPEG
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        return container, stream

    def _mux(self, frame: VideoFrame | None) -> None:
        """Encode a picture, or what is left at the end, and write it."""
        error: OSError | FFmpegError | None = None
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (OSError, FFmpegError) as exc:
            error = exc
        if error is not None:
            self.discard()
            raise self._failure(error)

    def _failure(self, error: OSError | FFmpegError) -> StreamtrackError:
        """Return the error for a file that can no longer be written."""
        return StreamtrackError(
            f"Writing {self.path} failed ({error.strerror}); make room or choose another place."
        )


def _fitted(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the picture at the recording's size, made even, without stretching it."""
    height, width = size
    if picture.shape[:2] != size:
        scale = min(height / picture.shape[0], width / picture.shape[1])
        inner_height = max(1, round(picture.shape[0] * scale))
        inner_width = max(1, round(picture.shape[1] * scale))
        small = cv2.resize(picture, (inner_width, inner_height), interpolation=cv2.INTER_AREA)
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
        bars = np.zeros((height, width, 3), np.uint8)
        bars[top : top + inner_height, left : left + inner_width] = small
        picture = bars
    if height % 2 or width % 2:
        edge = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        picture = np.asarray(edge, np.uint8)
    return np.ascontiguousarray(picture)
