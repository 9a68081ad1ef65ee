"""Every private touch of aiortc and aioice, each with a contract test (aiortc 1.16).

Nothing else in streamtrack uses a name of theirs that begins with an underscore.
"""

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import aiortc.codecs.h264
import aiortc.codecs.vpx
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc.codecs.h264 import H264Encoder
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

UINT32 = 1 << 32


def raise_bitrates(start_bps: int, most_bps: int) -> None:
    """Let new encoders start at start_bps and rise to most_bps.

    aiortc reads these module globals at call time; its own limits (3 Mb/s for H.264, 1.5 Mb/s
    for VP8) blur a moving 720p picture.
    """
    codecs: tuple[Any, ...] = (aiortc.codecs.h264, aiortc.codecs.vpx)
    for codec in codecs:
        codec.DEFAULT_BITRATE = start_bps
        codec.MAX_BITRATE = max(start_bps, most_bps)
        codec.MIN_BITRATE = min(codec.MIN_BITRATE, start_bps)


def last_rtp_timestamp(sender: RTCRtpSender) -> int | None:
    """Return the RTP timestamp of the packet sent last; None before the first."""
    if not sender._RTCRtpSender__packet_count:  # type: ignore[attr-defined]
        return None
    return int(sender._RTCRtpSender__rtp_timestamp)  # type: ignore[attr-defined]


def received_rtp_timestamp(receiver: RTCRtpReceiver, pts: int) -> int:
    """Return the RTP timestamp of a received frame; aiortc counts its pts from the first one."""
    mapper = receiver._RTCRtpReceiver__timestamp_mapper  # type: ignore[attr-defined]
    return int(pts + mapper._origin) % UINT32


def codec_name(sender: RTCRtpSender) -> str | None:
    """Return the name of the encoder class in use, such as "H264Encoder"; None before it is."""
    encoder = sender._RTCRtpSender__encoder  # type: ignore[attr-defined]
    return None if encoder is None else type(encoder).__name__


class QuickH264Encoder(H264Encoder):
    """aiortc's H.264 encoder with a fast preset and the stream's own clock.

    aiortc leaves x264 at "medium", 26 ms of CPU for a 720p frame against 8 ms here, opens it
    anew (a key frame each time) whenever the target changes by 10 %, and tells it 30 frames a
    second whatever comes.
    """

    def _encode_frame(self, frame: VideoFrame, force_keyframe: bool) -> Iterator[bytes]:
        codec = self.codec
        if codec is None or not self._fits(codec, frame):
            codec = self.codec = self._opened(frame)
        frame.pict_type = PictureType.I if force_keyframe else PictureType.NONE
        data = b"".join(bytes(packet) for packet in codec.encode(frame))
        if data:
            yield from self._split_bitstream(data)

    def _fits(self, codec: VideoCodecContext, frame: VideoFrame) -> bool:
        """Return whether the open encoder suits the picture and the target bitrate."""
        assert codec.bit_rate is not None
        change = abs(self.target_bitrate - codec.bit_rate) / codec.bit_rate
        return (codec.width, codec.height) == (frame.width, frame.height) and change <= 0.3

    def _opened(self, frame: VideoFrame) -> VideoCodecContext:
        """Return an encoder for pictures of this size."""
        codec = VideoCodecContext.create("libx264", "w")
        codec.width, codec.height = frame.width, frame.height
        codec.bit_rate = self.target_bitrate
        codec.pix_fmt = "yuv420p"
        codec.framerate = Fraction(30, 1)
        codec.time_base = Fraction(1, 90_000)
        codec.thread_count = 1  # viewers are encoded side by side, beside the tracker
        codec.options = {"level": "31", "tune": "zerolatency", "preset": "superfast"}
        codec.profile = "Baseline"
        return codec


def encode_quickly(pc: RTCPeerConnection, sender: RTCRtpSender) -> bool:
    """Give a sender a QuickH264Encoder where H.264 was negotiated; call it before it sends."""
    for transceiver in pc.getTransceivers():
        codecs = transceiver._codecs
        if transceiver.sender is sender and codecs and codecs[0].mimeType == "video/H264":
            sender._RTCRtpSender__encoder = QuickH264Encoder()  # type: ignore[attr-defined]
            return True
    return False


class MarkerJitterBuffer(JitterBuffer):
    """Gives a video frame out with its last packet instead of with the next frame's first.

    aiortc completes a frame when the timestamp changes, one frame interval late; the marker bit
    says so at once (RFC 6184, 5.1). The timestamp stays the fallback for senders without marker.
    """

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        frame = super()._remove_frame(sequence_number)
        if frame is not None:
            return frame
        if self._origin is None:
            return None
        parts: list[bytes] = []
        for count in range(self._capacity):
            packet = self._packets[(self._origin + count) % self._capacity]
            if packet is None:
                return None
            parts.append(packet._data)  # type: ignore[attr-defined]
            if packet.marker:
                self.remove(count + 1)
                return JitterFrame(data=b"".join(parts), timestamp=packet.timestamp)
        return None


def complete_frames_by_marker(receiver: RTCRtpReceiver) -> None:
    """Give a video receiver a MarkerJitterBuffer; call it before the first packet."""
    old = receiver._RTCRtpReceiver__jitter_buffer  # type: ignore[attr-defined]
    new = MarkerJitterBuffer(capacity=old.capacity, is_video=True)
    receiver._RTCRtpReceiver__jitter_buffer = new  # type: ignore[attr-defined]


class Activity:
    """When anything was last heard from a peer: media, control packets or connectivity checks.

    aioice itself notices a vanished peer only after six missed checks, about thirty seconds.
    """

    def __init__(self, pc: RTCPeerConnection, clock: Callable[[], float] = time.monotonic) -> None:
        """Watch a connection whose remote description is set."""
        self._clock = clock
        self.last = clock()
        transceivers = pc.getTransceivers()
        for connection in {one.receiver.transport.transport._connection for one in transceivers}:
            self._watch(connection, "data_received")
            self._watch(connection, "request_received")

    @property
    def silent_s(self) -> float:
        """Seconds since the peer was last heard."""
        return self._clock() - self.last

    def _watch(self, connection: Any, name: str) -> None:
        """Note the time whenever the connection's method is called."""
        method = getattr(connection, name)

        def noted(*args: Any) -> Any:
            self.last = self._clock()
            return method(*args)

        setattr(connection, name, noted)
