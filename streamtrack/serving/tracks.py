"""The video tracks that viewers are sent: encoded once for all, or pictures for a codec of theirs.

A track tells which of the stream's frames an RTP timestamp means.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiortc import MediaStreamTrack, RTCRtpSender
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError
from av import VideoFrame

from streamtrack.messages import Shown
from streamtrack.serving.aiortc_compat import UINT32, Pacer, last_rtp_timestamp

QUEUED = 2
"""Encoded pictures that may wait for a viewer; then it goes on from the next key frame."""
_ASKING_S, _ASKING_MOST_S, _CALM_S = 0.3, 4.8, 10.0
"""One viewer may ask for key frames this often; each time twice as rarely, until it was calm
(guess): a bad line of one costs the others their quality."""


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """An encoded picture, cut up for RTP."""

    payloads: list[bytes]
    pts90: int
    key: bool
    size: int
    """Bytes of the payloads."""


class SentTrack(MediaStreamTrack):
    """A video track that knows what was sent last."""

    kind = "video"
    people = 1

    def __init__(self) -> None:
        """Begin empty; made on the event loop."""
        super().__init__()
        self.sender: RTCRtpSender | None = None
        self.dropped = 0
        self._home = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._sent_pts: int | None = None
        self._origin: int | None = None

    def stop(self) -> None:
        """End the track and wake whoever waits for it."""
        super().stop()
        self._arrived.set()

    async def _wait(self, ready: Callable[[], object]) -> None:
        """Wait until there is something to send.

        Raises:
            MediaStreamError: the track has ended.
        """
        self._note_origin()
        while not ready():
            if self.readyState != "live":
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()

    def _note_origin(self) -> None:
        """Learn the sender's RTP offset: when it asks again, the last frame has been sent."""
        if self.sender is None or self._sent_pts is None:
            return
        rtp = last_rtp_timestamp(self.sender)
        if rtp is not None:
            self._origin = (rtp - self._sent_pts) % UINT32

    def locate(self, rtp: int) -> int | None:
        """Return the pts90 behind an RTP timestamp, near the one sent last."""
        if self._origin is None or self._sent_pts is None:
            return None
        behind = (self._sent_pts + self._origin - rtp) % UINT32
        ahead = UINT32 - behind
        return self._sent_pts - behind if behind < ahead else self._sent_pts + ahead


class PictureTrack(SentTrack):
    """The stream's newest picture, each at most once, for a viewer with an encoder of its own."""

    def __init__(self) -> None:
        """Begin empty; made on the event loop."""
        super().__init__()
        self._newest: Shown | None = None

    def show(self, shown: Shown) -> None:
        """Take the newest picture; from any thread."""
        try:
            self._home.call_soon_threadsafe(self._put, shown)
        except RuntimeError:  # the loop has ended
            pass

    def _put(self, shown: Shown) -> None:
        self.dropped += self._newest is not None
        self._newest = shown
        self._arrived.set()

    async def recv(self) -> VideoFrame:
        """Return the next picture, waiting for it; its pts is the stream's media clock."""
        await self._wait(lambda: self._newest)
        shown, self._newest = self._newest, None
        assert shown is not None
        frame = VideoFrame.from_numpy_buffer(shown.planes, format="yuv420p")
        frame.pts = shown.row.pts90
        frame.time_base = VIDEO_TIME_BASE
        self._sent_pts = shown.row.pts90
        return frame


class PacketTrack(SentTrack):
    """What is encoded once for all viewers; who falls behind goes on from the next key frame."""

    def __init__(
        self, ask_key: Callable[[bool], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin empty; made on the event loop.

        Args:
            ask_key: asks for a key frame; True when this viewer has none yet.
            clock: monotonic seconds.
        """
        super().__init__()
        self.pacer: Pacer | None = None
        self._ask_key = ask_key
        self._clock = clock
        self._queue: deque[Packed] = deque()
        self.connected = False
        self._needs_key = True
        self._asked = float("-inf")
        self._patience_s = _ASKING_S

    def put(self, packed: Packed) -> None:
        """Take the next encoded picture; on the event loop."""
        if not self.connected:
            return
        if packed.key:
            self.dropped += len(self._queue)
            self._queue.clear()
            self._needs_key = False
        elif self._needs_key or len(self._queue) >= QUEUED:
            self.dropped += 1
            self._needs_key = True
            self.need_key()
            return
        self._queue.append(packed)
        self._arrived.set()

    def need_key(self) -> None:
        """Ask for a key frame, not too often; on the event loop."""
        now = self._clock()
        if now - self._asked > _CALM_S:
            self._patience_s = _ASKING_S
        elif now - self._asked < self._patience_s:
            return
        else:
            self._patience_s = min(2 * self._patience_s, _ASKING_MOST_S)
        self._asked = now
        self._ask_key(self._sent_pts is None)

    async def recv(self) -> Packed:  # type: ignore[override]
        """Return the next encoded picture, waiting for it.

        aiortc asks for the first one once the connection is up: until then nothing is kept.
        """
        if not self.connected:
            self.connected = True
            self.need_key()
        await self._wait(lambda: self._queue)
        packed = self._queue.popleft()
        self._sent_pts = packed.pts90
        return packed
