"""One H.264 encoder for everyone who looks on: fast, without delay, key frames on demand."""

import functools
import logging
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from streamtrack.media.ledger import CLOCK_RATE_HZ

logger = logging.getLogger(__name__)

EncoderName = Literal["auto", "x264", "nvenc"]

GOP_S = 10
"""Seconds between key frames that nobody asked for."""
KEY_FRAME_BITS = 100 * 1200 * 8
"""A key frame of more than a hundred packets outruns what a lost packet can be sent again from."""
_BURST_FRAMES = 6
"""A frame may take the bits of so many (guess)."""
_LEVEL_31 = (1280, 720)
_RETARGET = 0.1
"""Change of the bitrate below which the encoder is left alone."""
_REPACE = 1.5
"""Change of the frame rate by this factor opens the encoder anew: it shares bits out by frames."""


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How pictures are encoded."""

    bitrate_bps: int = 3_000_000
    """At the start."""
    min_bitrate_bps: int = 300_000
    max_bitrate_bps: int = 6_000_000
    encoder: EncoderName = "auto"
    """auto: nvenc where it opens, else x264."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """One encoded picture."""

    data: bytes
    """Annex B; a key frame carries its parameter sets."""
    pts90: int
    key: bool
    """A decoder can begin here."""


class Encoder:
    """Encodes the pictures of one stream; one thread owns it."""

    def __init__(self, settings: EncoderSettings, fps: float) -> None:
        """Prepare; the codec opens with the first picture.

        Args:
            settings: bitrates and the encoder to use.
            fps: pictures per second to expect.
        """
        self.bitrate_bps = settings.bitrate_bps
        self._settings = settings
        self._fps = fps
        self._codec: VideoCodecContext | None = None

    @property
    def codec(self) -> str | None:
        """Name of FFmpeg's codec in use; None before the first picture."""
        return None if self._codec is None else self._codec.name

    def retarget(self, bitrate_bps: float) -> bool:
        """Aim at another bitrate, within the settings' bounds; False when it is near enough.

        x264 takes it on without a key frame.
        """
        bounds = self._settings.min_bitrate_bps, self._settings.max_bitrate_bps
        wanted = round(min(max(bitrate_bps, bounds[0]), bounds[1]))
        if abs(wanted - self.bitrate_bps) <= _RETARGET * self.bitrate_bps:
            return False
        self.bitrate_bps = wanted
        if self._codec is not None:
            self._codec.bit_rate = wanted
        return True

    def repace(self, fps: float) -> bool:
        """Expect another frame rate; True when the encoder will open anew for it."""
        if fps <= 0 or 1 / _REPACE < fps / self._fps < _REPACE:
            return False
        self._fps, self._codec = fps, None
        return True

    def encode(self, planes: NDArray[np.uint8], pts90: int, *, key: bool = False) -> Encoded | None:
        """Encode a picture; None when the encoder keeps it back.

        Args:
            planes: (H * 3 / 2, W) uint8 yuv420p, H and W even; another size than before begins
                anew with a key frame.
            pts90: presentation timestamp in 1/90000 s, larger than before.
            key: whether decoders must be able to begin here.
        """
        width, height = planes.shape[1], planes.shape[0] * 2 // 3
        codec = self._codec
        if codec is None or (codec.width, codec.height) != (width, height):
            codec = self._codec = self._opened(width, height)
        frame = VideoFrame.from_numpy_buffer(planes, format="yuv420p")
        frame.pts, frame.time_base = pts90, Fraction(1, CLOCK_RATE_HZ)
        frame.pict_type = PictureType.I if key else PictureType.NONE
        packets = codec.encode(frame)
        if not packets:
            return None
        data = b"".join(bytes(packet) for packet in packets)
        return Encoded(data, packets[-1].pts or pts90, any(one.is_keyframe for one in packets))

    def _opened(self, width: int, height: int) -> VideoCodecContext:
        """Return an open codec for pictures of this size."""
        wanted = self._settings.encoder
        if wanted == "nvenc" or (wanted == "auto" and nvenc_opens()):
            return self._made("h264_nvenc", width, height, _NVENC)
        return self._made("libx264", width, height, _X264)

    def _made(
        self,
        name: Literal["h264_nvenc", "libx264"],
        width: int,
        height: int,
        options: dict[str, str],
    ) -> VideoCodecContext:
        codec = VideoCodecContext.create(name, "w")
        codec.width, codec.height = width, height
        codec.pix_fmt = "yuv420p"
        codec.bit_rate = self.bitrate_bps
        codec.framerate = Fraction(max(1, round(self._fps)), 1)
        codec.time_base = Fraction(1, CLOCK_RATE_HZ)
        codec.thread_count = 1  # the tracker needs the other cores
        most = self._settings.max_bitrate_bps
        burst = min(KEY_FRAME_BITS, math.ceil(_BURST_FRAMES * most / self._fps))
        codec.gop_size = math.ceil(GOP_S * self._fps)
        limits = {"maxrate": str(most), "bufsize": str(burst)}
        if width <= _LEVEL_31[0] and height <= _LEVEL_31[1]:
            limits["level"] = "3.1"
        codec.options = {**options, **limits}
        codec.profile = "Baseline"
        codec.open()
        return codec


_X264 = {
    "preset": "ultrafast",
    "tune": "zerolatency",
    "bf": "0",
    "sc_threshold": "0",
    "forced-idr": "1",
    "slices": "1",
}
_NVENC = {
    "preset": "p1",
    "tune": "ull",
    "rc": "cbr",
    "bf": "0",
    "delay": "0",
    "zerolatency": "1",
    "forced-idr": "1",
}


@functools.cache
def nvenc_opens() -> bool:
    """Tell whether this machine encodes H.264 on an NVIDIA GPU."""
    try:
        codec = VideoCodecContext.create("h264_nvenc", "w")
        codec.width, codec.height, codec.pix_fmt = 640, 360, "yuv420p"
        codec.time_base, codec.framerate = Fraction(1, CLOCK_RATE_HZ), Fraction(30, 1)
        codec.open()
    except (av.FFmpegError, ValueError, OSError) as error:
        logger.debug("no NVENC: %s", error)
        return False
    return True
