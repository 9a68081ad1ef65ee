"""Encodes a stream once and hands the packets to all its viewers.

A thread encodes while somebody looks on: the newest picture wins when it is behind. Key frames
are made when a viewer needs one, for all together and not too often. The bitrate follows what
the viewers' networks carry.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from streamtrack.media.encoder import Encoded, Encoder, EncoderSettings
from streamtrack.media.slot import Slot
from streamtrack.messages import Shown
from streamtrack.serving.aiortc_compat import h264_payloads
from streamtrack.serving.tracks import Packed, PacketTrack
from streamtrack.stream import Stream

logger = logging.getLogger(__name__)

KEY_INTERVAL_S, JOIN_INTERVAL_S = 0.3, 0.1
"""Key frames on demand are at least so far apart, and those for a viewer that joins."""
PACE_S = 5.0
"""The encoder hears this often how many pictures come (guess)."""
STILL_S = 0.1
"""A source that gave no picture for so long is shown again when somebody needs a key frame."""
_RISE = 1.15
"""The bitrate rises at most by this factor a second, and falls at once."""
_LOSSY, _CLEAN = 0.10, 0.02
"""Share of lost packets above which less is sent, and below which more may be (as in GCC)."""


@dataclass(frozen=True, slots=True)
class BroadcastNow:
    """How the encoding of a stream does."""

    bitrate_bps: int = 0
    """What the encoder aims at; 0 while nobody looks on."""
    encode_ms: float = 0.0
    """What the newest picture took."""
    key_frames: int = 0
    """Since the stream began."""
    sent_bytes: int = 0
    """Encoded since the stream began, once for all viewers."""
    dropped: int = 0
    """Pictures not encoded because newer ones came, and packets viewers went without."""


class Broadcast:
    """The encoder of one stream and its viewers; all but show() and locate() on the loop."""

    def __init__(
        self,
        stream: Stream,
        settings: EncoderSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; the first viewer starts the encoder."""
        self._stream = stream
        self._settings = settings
        self._clock = clock
        self._tracks: tuple[PacketTrack, ...] = ()
        self._slot: Slot[Shown] = Slot()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._target_bps = float(settings.bitrate_bps)
        self._wants_key = threading.Event()
        self._joined = threading.Event()
        self._last_key = float("-inf")
        self._paced = clock()
        self._encode_s = 0.0
        self._key_frames = 0
        self._sent_bytes = 0
        self._lost_pictures = 0
        self._lost_packets = 0

    @property
    def people(self) -> int:
        """How many look on."""
        return len(self._tracks)

    def now(self) -> BroadcastNow:
        """Return how it does."""
        waiting = sum(track.dropped for track in self._tracks)
        return BroadcastNow(
            bitrate_bps=round(self._target_bps) if self._tracks else 0,
            encode_ms=round(1000 * self._encode_s, 1),
            key_frames=self._key_frames,
            sent_bytes=self._sent_bytes,
            dropped=self._lost_pictures + self._slot.dropped + self._lost_packets + waiting,
        )

    def add(self, track: PacketTrack) -> None:
        """Send to one more viewer."""
        self._tracks = (*self._tracks, track)
        if len(self._tracks) == 1:
            self._loop = asyncio.get_running_loop()
            self._lost_pictures += self._slot.dropped
            self._slot = Slot()
            threading.Thread(
                target=self._encode_all,
                args=(self._slot,),
                name=f"encoder-{self._stream.id}",
                daemon=True,
            ).start()
            self._stream.add_viewer(self)

    def remove(self, track: PacketTrack) -> None:
        """Send to one viewer less; the encoder ends with the last."""
        if track not in self._tracks:
            return
        self._tracks = tuple(one for one in self._tracks if one is not track)
        self._lost_packets += track.dropped
        if not self._tracks:
            self._stream.remove_viewer(self)
            self._slot.close()

    def need_key(self, joining: bool = False) -> None:
        """Make a key frame soon, for whoever needs one; sooner for one that joins."""
        if joining:
            self._joined.set()
        self._wants_key.set()

    def adapt(self) -> None:
        """Follow what the viewers' networks carry; once a second."""
        offers = [track.pacer for track in self._tracks if track.pacer is not None]
        carried = [one.remb_bps for one in offers if one.remb_bps is not None]
        lost = [share for one in offers if (share := one.take_loss()) is not None]
        wanted = self._target_bps * _RISE
        if lost and (worst := sorted(lost)[len(lost) // 2]) > _LOSSY:
            wanted = self._target_bps * (1 - 0.5 * worst)
        elif lost and max(lost) > _CLEAN:
            wanted = self._target_bps
        if carried:  # of several viewers the weakest quarter is not waited for
            wanted = min(wanted, 0.9 * sorted(carried)[len(carried) // 4])
        bounds = self._settings.min_bitrate_bps, self._settings.max_bitrate_bps
        self._target_bps = min(max(wanted, bounds[0]), bounds[1])

    # From other threads

    def show(self, shown: Shown) -> None:
        """Take the newest picture."""
        self._slot.put(shown)

    def locate(self, rtp: int) -> int | None:
        """Return the pts90 behind an RTP timestamp one of the viewers was sent, if known."""
        known = (track.locate(rtp) for track in self._tracks)
        stamps = [pts90 for pts90 in known if pts90 is not None]
        return next((one for one in stamps if self._stream.ledger.by_pts(one)), None)

    # On the encoder's thread

    def _encode_all(self, slot: Slot[Shown]) -> None:
        """Encode the newest pictures until the slot is closed."""
        encoder = Encoder(self._settings, self._stream.meters["in"].rate() or 30.0)
        encoder.retarget(self._target_bps)
        self._paced = self._clock()
        while not slot.closed:
            shown = slot.get(STILL_S)
            try:
                if shown is not None:
                    self._encode(encoder, shown)
                elif self._wants_key.is_set() and not slot.closed:
                    self._stream.refresh()
            except Exception:  # the thread's boundary: one bad picture does not end the video
                logger.exception("[stream %s] a picture could not be encoded", self._stream.id)

    def _encode(self, encoder: Encoder, shown: Shown) -> None:
        """Encode a picture and hand it on."""
        begun = self._clock()
        encoder.retarget(self._target_bps)
        if begun - self._paced > PACE_S:
            self._paced = begun
            encoder.repace(self._stream.meters["out"].rate())
        if not any(track.connected for track in self._tracks):
            return  # a key frame now would be gone before anybody could take it
        apart = JOIN_INTERVAL_S if self._joined.is_set() else KEY_INTERVAL_S
        key = self._wants_key.is_set() and begun - self._last_key >= apart
        if key:
            self._wants_key.clear()
            self._joined.clear()
        encoded = encoder.encode(shown.planes, shown.row.pts90, key=key)
        self._encode_s = self._clock() - begun
        if encoded is None:
            return
        if encoded.key:
            self._last_key = begun
            self._key_frames += 1
        self._sent_bytes += len(encoded.data)
        self._stream.on_latency("encode", self._clock() - shown.row.t_capture)
        packed = _packed(encoded)
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._deliver, packed)
        except RuntimeError:  # the loop has ended
            pass

    def _deliver(self, packed: Packed) -> None:
        """Give a picture to all viewers; on the event loop."""
        for track in self._tracks:
            track.put(packed)


def _packed(encoded: Encoded) -> Packed:
    """Return a picture cut up for RTP, once for all viewers."""
    payloads = h264_payloads(encoded.data)
    return Packed(payloads, encoded.pts90, encoded.key, sum(map(len, payloads)))
