"""Peer connections of viewers (WHEP) and publishers (WHIP): negotiation, media, and their end."""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from streamtrack.config import IceServer
from streamtrack.errors import NegotiationError
from streamtrack.media.frame import Frame
from streamtrack.media.slot import Slot
from streamtrack.serving.aiortc_compat import Activity, complete_frames_by_marker, send_packed
from streamtrack.serving.auth import ice_credentials
from streamtrack.serving.broadcast import Broadcast
from streamtrack.serving.tracks import PacketTrack, PictureTrack
from streamtrack.stream import Stream

logger = logging.getLogger(__name__)

MAX_SECTIONS = 8
"""Media sections of an offer; each makes aiortc hold a transceiver (guess)."""
CLOSE_S = 5.0
"""A connection's end is waited for this long: aiortc's can hang when a task of it died."""


class Session:
    """One peer connection and everything held for it; close() ends it."""

    def __init__(self, stream_id: str, pc: RTCPeerConnection, on_end: Callable[["Session"], None]):
        """Hold a connection; on_end is called once, on the event loop."""
        self.id = secrets.token_urlsafe(16)
        self.stream_id = stream_id
        self.pc = pc
        self.activity: Activity | None = None
        self._on_end = on_end
        self._ended = False
        pc.on("connectionstatechange", self._state_changed)

    @property
    def silent_s(self) -> float:
        """Seconds since the peer was last heard."""
        return self.activity.silent_s if self.activity else 0.0

    async def close(self, reason: str = "closed") -> None:
        """End the connection within five seconds; idempotent."""
        if self._ended:
            return
        self._ended = True
        self._on_end(self)
        logger.info("[session %s] on stream %s ends: %s", self.id[:4], self.stream_id, reason)
        await self._release()
        try:
            await asyncio.wait_for(self.pc.close(), CLOSE_S)
        except TimeoutError:
            logger.warning("[session %s] its connection did not close in time", self.id[:4])

    async def _release(self) -> None:
        """Give back what the kind of session holds."""

    async def _state_changed(self) -> None:
        if self.pc.connectionState in ("failed", "closed"):
            await self.close(f"the connection {self.pc.connectionState}")


class ViewerSession(Session):
    """A viewer of a stream."""

    def __init__(
        self,
        stream: Stream,
        broadcast: Broadcast,
        pc: RTCPeerConnection,
        on_end: Callable[[Session], None],
    ) -> None:
        """Prepare to show a stream; what is encoded once comes from its broadcast."""
        super().__init__(stream.id, pc, on_end)
        self._stream = stream
        self._broadcast = broadcast
        self.track: PacketTrack | PictureTrack = PacketTrack(broadcast.need_key)

    async def answer(self, offer: str) -> str:
        """Return the SDP answer to a viewer's offer and begin to show.

        Raises:
            NegotiationError: the offer cannot be used.
        """
        packets, pictures = self.track, PictureTrack()
        assert isinstance(packets, PacketTrack)
        sender = self.pc.addTrack(packets)
        transceiver = self.pc.getTransceivers()[0]
        transceiver.direction = "sendonly"
        self._prefer(transceiver)
        sdp = await negotiated(self.pc, offer, wants=("recvonly", "sendrecv"))
        packets.pacer = send_packed(self.pc, sender, packets.need_key)
        self.activity = Activity(self.pc)
        if packets.pacer is not None:
            packets.sender = sender
            self._broadcast.add(packets)
        else:
            sender.replaceTrack(pictures)
            self.track, pictures.sender = pictures, sender
            self._stream.add_viewer(pictures)
        logger.info("[session %s] views stream %s", self.id[:4], self.stream_id)
        return sdp

    def _prefer(self, transceiver: RTCRtpTransceiver) -> None:
        """Prefer H.264; it must be said before the offer is applied."""
        codecs = RTCRtpSender.getCapabilities("video").codecs
        h264_first = sorted(codecs, key=lambda codec: codec.mimeType.lower() != "video/h264")
        transceiver.setCodecPreferences(h264_first)

    async def _release(self) -> None:
        if isinstance(self.track, PacketTrack):
            self._broadcast.remove(self.track)
        else:
            self._stream.remove_viewer(self.track)
        self.track.stop()


class PublisherSession(Session):
    """A camera that a browser or an encoder publishes."""

    def __init__(
        self, stream: Stream, pc: RTCPeerConnection, on_end: Callable[[Session], None]
    ) -> None:
        """Prepare to feed a stream."""
        super().__init__(stream.id, pc, on_end)
        self._stream = stream
        self._epoch = secrets.randbits(31)
        self._slot: Slot[tuple[VideoFrame, float]] = Slot()
        self._drain: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._thread = threading.Thread(
            target=self._convert, name=f"capture-{stream.id}", daemon=True
        )
        self._tracks: list[MediaStreamTrack] = []
        pc.on("track", self._tracks.append)

    async def answer(self, offer: str) -> str:
        """Return the SDP answer to a publisher's offer and begin to receive.

        Raises:
            NegotiationError: the offer cannot be used.
        """
        sdp = await negotiated(self.pc, offer, wants=("sendonly", "sendrecv"), prepare=self._quick)
        video = next(track for track in self._tracks if track.kind == "video")
        self.activity = Activity(self.pc)
        self._thread.start()
        self._drain = asyncio.create_task(self._receive(video), name=f"drain-{self.stream_id}")
        logger.info("[session %s] publishes stream %s", self.id[:4], self.stream_id)
        return sdp

    def _quick(self) -> None:
        video = next(one for one in self.pc.getTransceivers() if one.kind == "video")
        complete_frames_by_marker(video.receiver)

    async def _receive(self, track: MediaStreamTrack) -> None:
        """Take every frame at once: the queues before this are not bounded."""
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame):
                    self._slot.put((frame, time.monotonic()))
        except MediaStreamError:
            self._ending = asyncio.create_task(self.close("the publisher stopped"))

    def _convert(self) -> None:
        """Give the newest frames to the stream as RGB pictures, on the capture thread."""
        while (item := self._slot.get()) is not None:
            frame, arrival = item
            try:
                picture = np.ascontiguousarray(frame.to_ndarray(format="rgb24"), np.uint8)
            except (ValueError, OSError) as error:
                logger.debug("[session %s] a frame was not usable: %s", self.id[:4], error)
                continue
            if self._stream.state != "live" and not self._slot.closed:
                self._stream.source_changed("live", "")
            self._stream.ingest(
                Frame(picture, arrival, frame.pts, frame.time_base, epoch=self._epoch)
            )

    async def _release(self) -> None:
        self._slot.close()
        if self._drain is not None and self._drain is not asyncio.current_task():
            self._drain.cancel()
            await asyncio.gather(self._drain, return_exceptions=True)


def connection(ice_servers: Sequence[IceServer]) -> RTCPeerConnection:
    """Return a peer connection that contacts only the configured ICE servers."""
    servers = [RTCIceServer(**ice_credentials(server)) for server in ice_servers]
    return RTCPeerConnection(RTCConfiguration(iceServers=servers))


async def negotiated(
    pc: RTCPeerConnection,
    offer: str,
    *,
    wants: tuple[str, ...],
    prepare: Callable[[], None] = lambda: None,
) -> str:
    """Apply an SDP offer and return the answer.

    Args:
        pc: the connection.
        offer: the remote SDP.
        wants: the directions one video section of the offer must have.
        prepare: called when the offer is applied and before packets can come.

    Raises:
        NegotiationError: the offer is not SDP, has no such video or no common codec.
    """
    sections = _sections(offer)
    if len(sections) > MAX_SECTIONS:
        raise NegotiationError(
            f"The offer has {len(sections)} media sections; send at most {MAX_SECTIONS}."
        )
    try:
        await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    except Exception as error:  # aiortc has no error type of its own for what an SDP can do wrong
        logger.debug("an offer was refused: %r", error)
        raise NegotiationError(
            "The offer cannot be used; send an SDP offer with H.264 or VP8 video, ICE and DTLS."
        ) from None
    videos = [section for section in sections if section[0].startswith("m=video")]
    if not videos or _direction(videos[0]) not in wants:
        raise NegotiationError(f"The offer has no video that is {' or '.join(wants)}.")
    _silence_others(pc)
    prepare()
    try:
        await pc.setLocalDescription(await pc.createAnswer())
    except Exception as error:  # as above: half-broken offers fail only here
        logger.debug("an offer could not be answered: %r", error)
        raise NegotiationError("The offer cannot be answered; it lacks ICE or DTLS.") from None
    return str(pc.localDescription.sdp)


def _silence_others(pc: RTCPeerConnection) -> None:
    """Receive nothing but the first video: what nobody takes would pile up without bound."""
    first = next(one for one in pc.getTransceivers() if one.kind == "video")
    for transceiver in pc.getTransceivers():
        if transceiver is not first:
            transceiver.direction = "inactive"


def _sections(sdp: str) -> list[list[str]]:
    """Return the media sections of an SDP, line by line."""
    sections: list[list[str]] = []
    for line in sdp.splitlines():
        if line.startswith("m="):
            sections.append([])
        if sections:
            sections[-1].append(line.strip())
    return sections


def _direction(section: list[str]) -> str:
    """Return the direction of a media section; SDP's default is sendrecv."""
    known = ("sendrecv", "sendonly", "recvonly", "inactive")
    return next((line[2:] for line in section if line[2:] in known), "sendrecv")
