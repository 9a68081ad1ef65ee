"""Everything one server holds: streams, captures, publishers, viewers; all on the event loop."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Protocol

from streamtrack.config import Config, SourceConfig
from streamtrack.display.overlay import OverlaySettings
from streamtrack.errors import NegotiationError
from streamtrack.media.capture import Capture
from streamtrack.media.encoder import EncoderSettings
from streamtrack.media.sources import Source, open_source
from streamtrack.messages import Event, StatsNow
from streamtrack.serving.aiortc_compat import raise_bitrates
from streamtrack.serving.auth import Gate
from streamtrack.serving.broadcast import Broadcast
from streamtrack.serving.metrics import Metrics, Reading, StreamReading
from streamtrack.serving.peers import PublisherSession, Session, ViewerSession, connection
from streamtrack.serving.problems import Problem
from streamtrack.stream import Stream, StreamKind, StreamOptions
from streamtrack.tracking_thread import TrackingThread

logger = logging.getLogger(__name__)

TICK_S = 1.0
CLOSE_S = 3.0


class CaptureLike(Protocol):
    """What feeds a camera's stream."""

    reconnects: int

    def start(self) -> None:
        """Begin to read."""

    def close(self) -> None:
        """End within a bounded time; idempotent."""


OpenSource = Callable[[str, SourceConfig], Source]


def open_configured(text: str, source: SourceConfig) -> Source:
    """Open a source as the server plays it: at its own speed."""
    return open_source(text, realtime=True, loop=source.loop)


class Hub:
    """The streams of a server and the people on them."""

    def __init__(
        self,
        config: Config,
        tracking: TrackingThread,
        *,
        companion: TrackingThread | None = None,
        open_with: OpenSource = open_configured,
    ) -> None:
        """Prepare; start() opens the sources.

        Args:
            config: what is served.
            tracking: the model.
            companion: a faster one that follows every frame and is corrected by it.
            open_with: opens a configured source.
        """
        self.config = config
        self.tracking = tracking
        self.companion = companion
        self.gate = Gate(config.server)
        self.metrics = Metrics(self.reading)
        self.loop_lag_s = 0.0
        self.streams: dict[str, Stream] = {}
        self.captures: dict[str, CaptureLike] = {}
        self.broadcasts: dict[str, Broadcast] = {}
        self.viewers: dict[str, ViewerSession] = {}
        self.publishers: dict[str, PublisherSession] = {}
        self.sockets = 0
        self.closing = False
        self._open_with = open_with
        self._graces: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._encoding = EncoderSettings(
            bitrate_bps=config.video.bitrate_bps,
            min_bitrate_bps=min(config.video.min_bitrate_bps, config.video.bitrate_bps),
            max_bitrate_bps=max(config.video.max_bitrate_bps, config.video.bitrate_bps),
            encoder=config.video.encoder,
        )
        self._options = StreamOptions(
            max_long_px=config.video.max_long_px,
            max_short_px=config.video.max_short_px,
            max_fps=config.video.max_fps,
            ledger_s=config.window.ledger_s,
            window_s=config.window.seconds,
            window_bytes=config.window.max_bytes * 3 // 4,
            align=config.display.align,
            display_budget_ms=config.display.budget_ms,
            overlay=OverlaySettings(**config.display.overlay.model_dump()),
        )

    def start(self) -> None:
        """Load the model and open the configured sources; returns at once."""
        raise_bitrates(self.config.video.bitrate_bps, self.config.video.max_bitrate_bps)
        self.tracking.start()
        if self.companion is not None:
            self.companion.start()
        for stream_id, source in self.config.sources.items():
            self._open(stream_id, source)
        self._spawn(self._tick(), "tick")

    def _open(self, stream_id: str, source: SourceConfig) -> None:
        """Begin a camera's stream."""
        stream = self._new_stream(stream_id, "camera")
        text = source.source.get_secret_value()
        capture = Capture(
            lambda: self._open_with(text, source), stream.ingest, on_state=stream.source_changed
        )
        self.captures[stream_id] = capture
        capture.start()

    def _new_stream(self, stream_id: str, kind: StreamKind) -> Stream:
        """Make a stream and count it in."""
        followed_by, corrector = self.companion or self.tracking, None
        if self.companion is not None:
            corrector = self.tracking
        stream = Stream(stream_id, kind, followed_by, self._options, corrector=corrector)
        stream.on_latency = self.metrics.latency_of(stream_id)
        self.streams[stream_id] = stream
        self.broadcasts[stream_id] = Broadcast(stream, self._encoding)
        return stream

    async def close(self) -> None:
        """End everything within a few seconds; idempotent."""
        if self.closing:
            return
        self.closing = True
        for handle in self._graces.values():
            handle.cancel()
        for task in self._tasks:
            task.cancel()
        sessions = [*self.viewers.values(), *self.publishers.values()]
        ends: list[Coroutine[Any, Any, None]] = []
        ends += [session.close("the server ends") for session in sessions]
        ends += [asyncio.to_thread(capture.close) for capture in self.captures.values()]
        await self._bounded(ends)
        await self._bounded([asyncio.to_thread(one.close) for one in self.streams.values()])
        threads = [one for one in (self.tracking, self.companion) if one is not None]
        await self._bounded([asyncio.to_thread(one.close) for one in threads])
        self.streams.clear()

    async def _bounded(self, ends: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Run the ends together and leave what does not end in time."""
        if not ends:
            return
        tasks = [asyncio.ensure_future(end) for end in ends]
        done, late = await asyncio.wait(tasks, timeout=CLOSE_S)
        for task in late:
            task.cancel()
        for task in done:
            if (error := task.exception()) is not None:
                logger.warning("something did not close: %s", error)

    # Viewers and publishers

    def stream(self, stream_id: str) -> Stream:
        """Return a stream.

        Raises:
            Problem: there is none of this id.
        """
        stream = self.streams.get(stream_id)
        if stream is None:
            raise Problem(404, f"There is no stream {stream_id[:64]!r}; choose one of the list.")
        return stream

    async def view(self, stream_id: str, offer: str) -> tuple[ViewerSession, str]:
        """Begin a viewer's session; return it and the SDP answer.

        Raises:
            Problem: unknown stream, too many viewers, or an unusable offer.
        """
        stream = self.stream(stream_id)
        if len(self.viewers) >= self.config.limits.viewers:
            raise Problem(
                503,
                f"All {self.config.limits.viewers} places for viewers are taken; try again later.",
                {"Retry-After": "10"},
            )
        pc = connection(self.config.server.ice_servers)
        broadcast = self.broadcasts[stream_id]
        session = ViewerSession(stream, broadcast, pc, lambda ended: self._forget_viewer(ended.id))
        self.viewers[session.id] = session
        return session, await self._answered(session, offer)

    async def publish(self, stream_id: str, offer: str) -> tuple[PublisherSession, str]:
        """Begin a publisher's session; return it and the SDP answer.

        Raises:
            Problem: the id is taken, too many publishers, or an unusable offer.
        """
        if stream_id in self.publishers or stream_id in self.captures:
            raise Problem(409, f"The stream {stream_id} is taken; publish under another id.")
        if len(self.publishers) >= self.config.limits.publishers:
            raise Problem(
                503,
                f"All {self.config.limits.publishers} places for publishers are taken; "
                "try again later.",
                {"Retry-After": "10"},
            )
        known = self.streams.get(stream_id)
        stream = known or self._new_stream(stream_id, "publisher")
        pc = connection(self.config.server.ice_servers)
        session = PublisherSession(stream, pc, self._publisher_ended)
        self.publishers[stream_id] = session
        try:
            answer = await self._answered(session, offer)
        except Problem:
            if known is None:
                self._end_stream(stream_id)
            raise
        if (grace := self._graces.pop(stream_id, None)) is not None:
            grace.cancel()
        return session, answer

    async def _answered(self, session: ViewerSession | PublisherSession, offer: str) -> str:
        """Return the answer, or end the session with the reason."""
        try:
            return await session.answer(offer)
        except NegotiationError as error:
            await session.close("its offer was refused")
            raise Problem(400, str(error)) from None
        except BaseException:
            await session.close("its request was given up")
            raise

    def _forget_viewer(self, session_id: str) -> None:
        self.viewers.pop(session_id, None)

    def _publisher_ended(self, session: Session) -> None:
        """Keep the stream and its objects for a while: the publisher may come back."""
        self.publishers.pop(session.stream_id, None)
        stream = self.streams.get(session.stream_id)
        if stream is None or self.closing:
            return
        stream.source_changed("lost", "the publisher left")
        if (grace := self._graces.pop(session.stream_id, None)) is not None:
            grace.cancel()
        self._graces[session.stream_id] = asyncio.get_running_loop().call_later(
            self.config.limits.publisher_grace_s, self._end_stream, session.stream_id
        )

    def _end_stream(self, stream_id: str) -> None:
        """End a publisher's stream for good, with its viewers."""
        if (grace := self._graces.pop(stream_id, None)) is not None:
            grace.cancel()
        stream = self.streams.pop(stream_id, None)
        self.broadcasts.pop(stream_id, None)
        if stream is None:
            return
        logger.info("[stream %s] ends", stream_id)
        for viewer in [one for one in self.viewers.values() if one.stream_id == stream_id]:
            self._spawn(viewer.close("the stream ended"), f"close-{viewer.id[:4]}")
        self.metrics.forget(stream_id)
        self._spawn(asyncio.to_thread(stream.close), f"close-{stream_id}")

    # What happens once a second

    async def _tick(self) -> None:
        """Tell statistics and let vanished peers go, once a second; measure the loop's lag."""
        while True:
            begun = time.monotonic()
            await asyncio.sleep(TICK_S)
            self.loop_lag_s = max(0.0, time.monotonic() - begun - TICK_S)
            for stream_id, stream in self.streams.items():
                self.broadcasts[stream_id].adapt()
                stream.announce(self.stats(stream))
            limit = self.config.limits.viewer_timeout_s
            for session in [*self.viewers.values(), *self.publishers.values()]:
                if session.silent_s > limit:
                    self._spawn(session.close(f"silent for {limit:.0f} s"), "reap")

    def stats(self, stream: Stream) -> StatsNow:
        """Return how a stream and its encoder do."""
        encoding = self.broadcasts[stream.id].now()
        return replace(
            stream.stats(), encode_ms=encoding.encode_ms, bitrate_bps=encoding.bitrate_bps
        )

    def model_changed(self) -> None:
        """Tell every socket which model there is now; on the event loop."""
        facts = {"model": self.tracking.model, "device": self.tracking.device}
        for stream in self.streams.values():
            stream.announce(Event("model_changed", facts))

    def reading(self) -> Reading:
        """Return what is counted, for the metrics."""
        streams = tuple(
            StreamReading(
                stream_id=stream.id,
                up=stream.state == "live",
                frames={stage: meter.count for stage, meter in stream.meters.items()},
                dropped=stream.dropped,
                viewers=stream.viewers,
                objects=len(stream.objects.objects),
                reconnects=capture.reconnects
                if (capture := self.captures.get(stream.id)) is not None
                else 0,
                window=stream.window.state(),
                encoding=self.broadcasts[stream.id].now(),
            )
            for stream in list(self.streams.values())
        )
        return Reading(streams, self.tracking.state == "ready", self.loop_lag_s)

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Run a coroutine and keep hold of it until it ends."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
