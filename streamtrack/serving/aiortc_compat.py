"""Every private touch of aiortc and aioice, each with a contract test (aiortc 1.16).

Nothing else in streamtrack uses a name of theirs that begins with an underscore.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

import aiortc.codecs.h264
import aiortc.codecs.vpx
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.jitterbuffer import JitterBuffer, JitterFrame

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


def h264_payloads(data: bytes) -> list[bytes]:
    """Return the RTP payloads of one H.264 picture in Annex B (RFC 6184)."""
    return H264Encoder._packetize(H264Encoder._split_bitstream(data))


class PackedPicture(Protocol):
    """A picture that is encoded and cut up already."""

    @property
    def payloads(self) -> list[bytes]:
        """RTP payloads, in order."""

    @property
    def pts90(self) -> int:
        """Presentation timestamp in 1/90000 s."""


class Pacer(Encoder):
    """Stands where aiortc has an encoder: hands packed pictures on, hears what the line carries."""

    def __init__(self, sender: RTCRtpSender) -> None:
        """Hear of a sender's line."""
        self.remb_bps: int | None = None
        """What the receiver estimates (REMB); None before it said so."""
        self._sender = sender
        self._heard: object = None

    def encode(self, frame: object, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """Refuse: its track gives packed pictures only."""
        raise TypeError(f"a {type(frame).__name__} cannot be sent; the track gives packed pictures")

    def pack(self, packet: PackedPicture) -> tuple[list[bytes], int]:  # type: ignore[override]
        """Return the payloads and the timestamp of a picture."""
        return packet.payloads, packet.pts90

    @property
    def target_bitrate(self) -> int | None:
        """What the receiver estimates; aiortc sets it with each REMB message."""
        return self.remb_bps

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self.remb_bps = bitrate

    def take_loss(self) -> float | None:
        """Return the share of packets lost, by a receiver report not heard before; else None."""
        for report in self._sender._RTCRtpSender__stats.values():  # type: ignore[attr-defined]
            if report.type == "remote-inbound-rtp" and report is not self._heard:
                self._heard = report
                return float(report.fractionLost) / 256
        return None


def send_packed(
    pc: RTCPeerConnection, sender: RTCRtpSender, need_key: Callable[[], None]
) -> Pacer | None:
    """Let a sender's track give packed H.264 pictures; None where H.264 was not negotiated.

    Call it before the sender sends.

    Args:
        pc: the connection.
        sender: the sender.
        need_key: called when the receiver asks for a key frame (PLI or FIR).
    """
    for transceiver in pc.getTransceivers():
        codecs = transceiver._codecs
        if transceiver.sender is sender and codecs and codecs[0].mimeType == "video/H264":
            pacer = Pacer(sender)
            sender._RTCRtpSender__encoder = pacer  # type: ignore[attr-defined]
            sender._send_keyframe = need_key  # type: ignore[method-assign]
            return pacer
    return None


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
