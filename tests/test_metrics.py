"""Metrics can be parsed, count what they say, and forget streams that ended."""

from prometheus_client.parser import text_string_to_metric_families

from streamtrack.media.window import WindowState
from streamtrack.serving.metrics import Metrics, Reading, StreamReading

CAM = StreamReading(
    "cam", True, {"in": 30, "tracker": 10, "out": 28}, 2, 3, 1, 4, WindowState(9, 700, 0.3, 5, 6)
)


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Return the values by name and labels in the order of their names."""
    return {
        (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_counts_are_read_when_asked_for() -> None:
    found = samples(Metrics(lambda: Reading((CAM,), True, 0.002)))
    assert found["streamtrack_frames_total", "in", "cam"] == 30
    assert found["streamtrack_frames_dropped_total", "cam"] == 2
    assert found["streamtrack_viewers", "cam"] == 3
    assert found["streamtrack_source_up", "cam"] == 1
    assert found["streamtrack_source_reconnects_total", "cam"] == 4
    assert found["streamtrack_window_bytes", "cam"] == 700
    assert found["streamtrack_window_squeezed_total", "cam"] == 6
    assert found["streamtrack_event_loop_lag_seconds",] == 0.002


def test_latencies_are_collected_and_forgotten_with_their_stream() -> None:
    metrics = Metrics(lambda: Reading((), False, 0.0))
    metrics.latency_of("cam")("display", 0.02)
    metrics.clicked("cam", "estimated", 0.1)
    assert samples(metrics)["streamtrack_stage_latency_seconds_count", "display", "cam"] == 1
    assert samples(metrics)["streamtrack_click_latency_seconds_count", "estimated", "cam"] == 1
    metrics.forget("cam")
    assert not [key for key in samples(metrics) if "cam" in key]
