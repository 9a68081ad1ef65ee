"""Contracts with aiortc's and aioice's private parts: an upgrade that breaks one fails here."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import aiortc.codecs.h264
import aiortc.codecs.vpx
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender
from aiortc.codecs import get_encoder
from aiortc.jitterbuffer import JitterBuffer
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket
from av import VideoFrame

from streamtrack.media.encoder import Encoder, EncoderSettings
from streamtrack.serving.aiortc_compat import (
    UINT32,
    Activity,
    MarkerJitterBuffer,
    Pacer,
    codec_name,
    complete_frames_by_marker,
    h264_payloads,
    last_rtp_timestamp,
    raise_bitrates,
    send_packed,
)


class Ticking(MediaStreamTrack):
    """Sends grey pictures whose pts are multiples of nine."""

    kind = "video"

    def __init__(self, fps: float = 50.0) -> None:
        super().__init__()
        self.sent: list[int] = []
        self.times: list[float] = []
        self.origins: set[int] = set()
        self.sender = None
        self._fps = fps

    async def recv(self) -> VideoFrame:
        if self.sender is not None and self.sent:
            stamp = last_rtp_timestamp(self.sender)
            if stamp is not None:
                self.origins.add((stamp - self.sent[-1]) % UINT32)
        await asyncio.sleep(1 / self._fps)
        frame = VideoFrame.from_ndarray(np.full((120, 160, 3), 90, np.uint8), format="rgb24")
        frame.pts = 9 * int(10_000 * time.monotonic())
        frame.time_base = VIDEO_TIME_BASE
        self.sent.append(frame.pts)
        self.times.append(time.monotonic())
        return frame


@asynccontextmanager
async def connected(
    *, marker: bool = False, fps: float = 50.0, prefer: Any = None, make: type[Ticking] = Ticking
) -> AsyncIterator[tuple[Ticking, MediaStreamTrack, RTCPeerConnection, RTCPeerConnection]]:
    """Give a sent track, the received one, and both connections."""
    sender = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    track = make(fps)
    track.sender = sender.addTrack(track)
    if prefer is not None:
        sender.getTransceivers()[0].setCodecPreferences(prefer)
    try:
        await sender.setLocalDescription(await sender.createOffer())
        await receiver.setRemoteDescription(sender.localDescription)
        if marker:
            complete_frames_by_marker(receiver.getTransceivers()[0].receiver)
        await receiver.setLocalDescription(await receiver.createAnswer())
        await sender.setRemoteDescription(receiver.localDescription)
        yield track, receiver.getTransceivers()[0].receiver.track, sender, receiver
    finally:
        await asyncio.gather(sender.close(), receiver.close())


def test_the_private_parts_are_those_of_the_pinned_version() -> None:
    assert version("aiortc").startswith("1.16.")


async def test_the_rtp_offset_of_a_sender_is_constant() -> None:
    async with connected() as (track, received, _, _):
        assert last_rtp_timestamp(track.sender) is None or track.sent
        for _ in range(8):
            await asyncio.wait_for(received.recv(), 5)
        assert len(track.origins) == 1
        assert codec_name(track.sender) in ("Vp8Encoder", "H264Encoder")


async def latency(*, marker: bool) -> float:
    """Return the median seconds from sending to receiving at 10 frames a second."""
    async with connected(marker=marker, fps=10.0) as (track, received, _, _):
        first = await asyncio.wait_for(received.recv(), 5)
        delays = []
        for _ in range(6):
            frame = await asyncio.wait_for(received.recv(), 5)
            index = track.sent.index(track.sent[0] + frame.pts - first.pts)
            delays.append(time.monotonic() - track.times[index])
        return float(np.median(delays))


async def test_the_marker_bit_saves_one_frame_interval() -> None:
    by_marker, by_timestamp = await latency(marker=True), await latency(marker=False)
    assert by_timestamp - by_marker > 0.05, "half a frame interval at 10 frames a second"


def packet(sequence: int, timestamp: int, data: bytes, marker: int = 0) -> RtpPacket:
    made = RtpPacket(sequence_number=sequence, timestamp=timestamp, marker=marker)
    made._data = data
    return made


def test_a_frame_is_complete_with_its_marked_packet() -> None:
    buffer = MarkerJitterBuffer(capacity=16, is_video=True)
    assert buffer.add(packet(1, 90, b"a"))[1] is None
    frame = buffer.add(packet(2, 90, b"b", marker=1))[1]
    assert frame is not None and (frame.data, frame.timestamp) == (b"ab", 90)
    frame = buffer.add(packet(3, 180, b"c", marker=1))[1]
    assert frame is not None and frame.data == b"c"


def test_a_gap_before_the_marker_holds_the_frame_back() -> None:
    buffer = MarkerJitterBuffer(capacity=16, is_video=True)
    assert buffer.add(packet(1, 90, b"a"))[1] is None
    assert buffer.add(packet(3, 90, b"c", marker=1))[1] is None
    frame = buffer.add(packet(2, 90, b"b"))[1]
    assert frame is not None and frame.data == b"abc"


def test_frames_without_marker_are_complete_with_the_next_timestamp() -> None:
    ours, theirs = MarkerJitterBuffer(16, is_video=True), JitterBuffer(16, is_video=True)
    for sequence in range(8):
        one, other = (
            buffer.add(packet(sequence, 90 * (sequence // 2), bytes([sequence])))[1]
            for buffer in (ours, theirs)
        )
        assert (one is None) == (other is None)
        assert one is None or other is None or one.data == other.data


async def test_hearing_a_peer_is_noted_and_silence_too() -> None:
    async with connected() as (_, received, sender, receiver):
        heard_by_sender = Activity(sender)
        heard_by_sender.last -= 100
        await asyncio.wait_for(received.recv(), 5)
        async with asyncio.timeout(5):
            while heard_by_sender.silent_s > 50:  # receiver reports come about once a second
                await asyncio.sleep(0.05)


@dataclass
class Picture:
    """An encoded picture of the project's own kind: neither aiortc's nor PyAV's."""

    payloads: list[bytes]
    pts90: int


class Packing(Ticking):
    """Sends pictures that were encoded and cut up already, all of them key frames."""

    async def recv(self) -> Any:
        frame = await super().recv()
        encoder = Encoder(EncoderSettings(encoder="x264"), 30.0)
        encoded = encoder.encode(frame.to_ndarray(format="yuv420p"), frame.pts)
        assert encoded is not None
        return Picture(h264_payloads(encoded.data), encoded.pts90)


async def test_packed_pictures_are_sent_as_they_are_and_key_frames_asked_for() -> None:
    codecs = RTCRtpSender.getCapabilities("video").codecs
    for name, packed in (("video/H264", True), ("video/VP8", False)):
        prefer = [one for one in codecs if one.mimeType == name]
        make: type[Ticking] = Packing if packed else Ticking
        async with connected(prefer=prefer, make=make) as (track, received, sender, receiver):
            asked = asyncio.Event()
            pacer = send_packed(sender, track.sender, asked.set)
            assert (pacer is not None) is packed
            frame = await asyncio.wait_for(received.recv(), 5)
            assert (frame.width, frame.height) == (160, 120)
            if pacer is None:
                continue
            assert len(track.origins) <= 1 and codec_name(track.sender) == "Pacer"
            receiving = receiver.getTransceivers()[0].receiver
            await receiving._send_rtcp_pli(track.sender._ssrc)
            await asyncio.wait_for(asked.wait(), 5)
            async with asyncio.timeout(10):
                while (lost := pacer.take_loss()) is None:
                    await asyncio.sleep(0.05)
            assert lost == 0 and pacer.take_loss() is None, "each report counts once"


def test_an_estimate_of_the_line_reaches_the_pacer() -> None:
    pacer = Pacer(None)  # type: ignore[arg-type]
    pacer.target_bitrate = 700_000
    assert pacer.remb_bps == pacer.target_bitrate == 700_000
    with pytest.raises(TypeError):
        pacer.encode(object())


@pytest.mark.parametrize(("codec", "module"), [("H264", "h264"), ("VP8", "vpx")])
def test_encoders_begin_at_the_raised_bitrate(codec: str, module: str) -> None:
    home = getattr(aiortc.codecs, module)
    before = home.DEFAULT_BITRATE, home.MIN_BITRATE, home.MAX_BITRATE
    try:
        raise_bitrates(4_000_000, 8_000_000)
        parameters = RTCRtpCodecParameters(f"video/{codec}", 90_000, payloadType=100)
        encoder = get_encoder(parameters)
        assert encoder.target_bitrate == 4_000_000
        encoder.target_bitrate = 99_000_000
        assert encoder.target_bitrate == 8_000_000
    finally:
        home.DEFAULT_BITRATE, home.MIN_BITRATE, home.MAX_BITRATE = before
