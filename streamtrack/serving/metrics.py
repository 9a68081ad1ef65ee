"""Prometheus metrics of a server, in a registry of its own.

Counts and states are read when asked for; only latencies are collected as they happen.
Labels are stream ids, never viewers or addresses.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamtrack.media.window import WindowState
from streamtrack.serving.broadcast import BroadcastNow

BUCKETS_S = (
    *(0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.035, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.5, 1.0, 2.5),
)


@dataclass(frozen=True, slots=True)
class StreamReading:
    """What is counted of one stream."""

    stream_id: str
    up: bool
    frames: Mapping[str, int]
    """Frames since the stream began, by stage: in, tracker, out."""
    dropped: int
    viewers: int
    objects: int
    reconnects: int
    window: WindowState = WindowState(0, 0, 0.0, 0, 0)
    """Of the pictures that late clicks may name."""
    encoding: BroadcastNow = BroadcastNow()


@dataclass(frozen=True, slots=True)
class Reading:
    """What is counted of a server."""

    streams: tuple[StreamReading, ...]
    model_ready: bool
    loop_lag_s: float


class Metrics(Collector):
    """Collects what a server counts; text() gives it to Prometheus."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        """Ask read() for the counts whenever they are wanted."""
        self._read = read
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        self._latency = Histogram(
            "streamtrack_stage_latency_seconds",
            "From a frame's arrival to the end of a stage.",
            ("stream", "stage"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._glass = Histogram(
            "streamtrack_glass_to_glass_seconds",
            "From a frame's arrival to its display at a viewer.",
            ("stream",),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._clicks = Histogram(
            "streamtrack_click_latency_seconds",
            "From a click's coming to its mask.",
            ("stream", "mode"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )

    def seen(self, stream_id: str, seconds: float) -> None:
        """Note how long a frame took from its arrival here to a viewer's display."""
        self._glass.labels(stream_id).observe(seconds)

    def latency_of(self, stream_id: str) -> Callable[[str, float], None]:
        """Return a function that notes (stage, seconds) of a stream."""

        def note(stage: str, seconds: float) -> None:
            self._latency.labels(stream_id, stage).observe(seconds)

        return note

    def clicked(self, stream_id: str, mode: str, seconds: float) -> None:
        """Note how long a click took to its mask."""
        self._clicks.labels(stream_id, mode).observe(seconds)

    def forget(self, stream_id: str) -> None:
        """Drop the latencies of a stream that has ended: labels stay bounded."""
        self._latency.remove_by_labels({"stream": stream_id})
        self._clicks.remove_by_labels({"stream": stream_id})
        self._glass.remove_by_labels({"stream": stream_id})

    def text(self) -> bytes:
        """Return the Prometheus exposition."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Give the counts that are read from the server."""
        reading = self._read()
        frames = CounterMetricFamily(
            "streamtrack_frames", "Frames by stage.", labels=("stream", "stage")
        )
        for one in reading.streams:
            for stage, count in one.frames.items():
                frames.add_metric((one.stream_id, stage), count)
        yield frames
        for kind, name, meaning, value in _COUNTS:
            family = kind(f"streamtrack_{name}", meaning, labels=("stream",))
            for one in reading.streams:
                family.add_metric((one.stream_id,), value(one))
            yield family
        yield GaugeMetricFamily(
            "streamtrack_model_ready", "1 when a model is loaded.", value=int(reading.model_ready)
        )
        yield GaugeMetricFamily(
            "streamtrack_event_loop_lag_seconds",
            "How late the event loop woke in the last second.",
            value=reading.loop_lag_s,
        )


_COUNTS: tuple[
    tuple[
        type[CounterMetricFamily] | type[GaugeMetricFamily],
        str,
        str,
        Callable[[StreamReading], float],
    ],
    ...,
] = (
    (
        CounterMetricFamily,
        "frames_dropped",
        "Frames nobody saw because newer ones took their place.",
        lambda one: one.dropped,
    ),
    (
        CounterMetricFamily,
        "source_reconnects",
        "Times a source came back.",
        lambda one: one.reconnects,
    ),
    (GaugeMetricFamily, "source_up", "1 while it is live.", lambda one: int(one.up)),
    (GaugeMetricFamily, "viewers", "Viewers now.", lambda one: one.viewers),
    (GaugeMetricFamily, "objects", "Objects now.", lambda one: one.objects),
    (
        GaugeMetricFamily,
        "window_bytes",
        "Pictures kept for late clicks.",
        lambda one: one.window.bytes,
    ),
    (
        CounterMetricFamily,
        "window_squeezed",
        "Pictures that left the window early, for want of bytes.",
        lambda one: one.window.squeezed_out,
    ),
    (
        GaugeMetricFamily,
        "encoder_bitrate_bps",
        "What the encoder aims at; 0 while nobody looks on.",
        lambda one: one.encoding.bitrate_bps,
    ),
    (
        CounterMetricFamily,
        "key_frames",
        "Key frames encoded.",
        lambda one: one.encoding.key_frames,
    ),
    (
        CounterMetricFamily,
        "encoded_bytes",
        "Encoded once for all viewers.",
        lambda one: one.encoding.sent_bytes,
    ),
    (
        CounterMetricFamily,
        "viewer_frames_dropped",
        "Pictures not encoded, or not sent to a viewer that was behind.",
        lambda one: one.encoding.dropped,
    ),
)
"""What is told of every stream: kind, name, meaning and where it is read."""
