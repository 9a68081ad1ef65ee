"""Every frame is shown on time, with masks that belong to it, however slow the tracker is."""

import threading
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamtrack.commands import Change, Click
from streamtrack.display.overlay import OverlaySettings, object_colour
from streamtrack.media.frame import Frame
from streamtrack.messages import Shown
from streamtrack.stream import Stream, StreamOptions
from streamtrack.tracking_thread import TrackingThread
from tests.fakes import DEVICE_GONE, FakeTracker, scene

RED = (0.15, 0.3)
BARE = OverlaySettings(masks=True, fill_alpha=1.0, outline=False, labels=False)
INTERVAL_S = 0.03

Maker = Callable[..., Stream]


class Keeper:
    """A viewer that keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []

    def show(self, shown: Shown) -> None:
        self.shown.append(shown)

    people = 1

    def locate(self, rtp: int) -> int | None:
        return None


@pytest.fixture
def tracker() -> FakeTracker:
    return FakeTracker()


@pytest.fixture
def make(tracker: FakeTracker) -> Iterator[Maker]:
    thread = TrackingThread(lambda: tracker)
    thread.start()
    streams: list[Stream] = []

    def make_stream(**options: object) -> Stream:
        settings = {"max_fps": 1e9, "overlay": BARE, **options}
        streams.append(Stream("test", "camera", thread, StreamOptions(**settings)))  # type: ignore[arg-type]
        return streams[-1]

    yield make_stream
    for stream in streams:
        stream.close()
    thread.close()


def feed(stream: Stream, index: int) -> None:
    stream.ingest(Frame(scene(index), time.monotonic()))


def play(stream: Stream, first: int, count: int) -> None:
    """Feed frames on a camera's clock."""
    pace = threading.Event()
    begun = time.monotonic()
    for index in range(first, first + count):
        feed(stream, index)
        pace.wait(max(0.0, begun + (index - first + 1) * INTERVAL_S - time.monotonic()))


def click(stream: Stream) -> None:
    stream.submit(Click(time.monotonic(), None, (RED,), (1,))).result(5)


def painted(shown: Shown, object_id: int = 1) -> NDArray[np.bool_]:
    picture = np.asarray(cv2.cvtColor(shown.planes, cv2.COLOR_YUV2RGB_I420), np.int16)
    return np.asarray(np.abs(picture - object_colour(object_id)).max(axis=2) < 25)


def truth(frame_id: int) -> NDArray[np.bool_]:
    picture = scene(frame_id - 1).astype(np.int16)
    return np.asarray(np.abs(picture - (220, 30, 40)).max(axis=2) < 5)


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def test_a_slow_tracker_neither_delays_frames_nor_leaves_masks_behind(
    make: Maker, tracker: FakeTracker
) -> None:
    stream, keeper = make(align="predict"), Keeper()
    stream.add_viewer(keeper)
    feed(stream, 0)
    click(stream)
    tracker.step_s = 0.25  # eight frames
    play(stream, 1, 30)
    frames = {one.row.frame_id: one for one in keeper.shown}
    # Frame ids follow the pictures but for the first one, shown again after the click.
    assert len([i for i in frames if i > 2]) >= 28, "shown at the camera's rate"
    known = [(i, one) for i, one in frames.items() if i > 3 and painted(one).sum() > 200]
    assert len(known) >= 26
    found = [max(overlap(painted(one), truth(i - k)) for k in (0, 1)) for i, one in known]
    assert np.median(found) > 0.85 and min(found) > 0.6, found
    stale = [overlap(truth(i), truth(i - 8)) for i in range(12, 20)]
    assert np.mean(stale) < 0.5, "the thing moves too little to tell"


def test_auto_becomes_exact_when_the_tracker_keeps_up_and_predicts_when_it_does_not(
    make: Maker, tracker: FakeTracker
) -> None:
    stream = make()
    stream.add_viewer(Keeper())
    assert stream.stats().align == "predict", "until a step was measured"
    feed(stream, 0)
    click(stream)
    tracker.step_ms = 2.0
    play(stream, 1, 20)
    assert stream.stats().align == "exact"
    tracker.step_ms, tracker.step_s = 80.0, 0.08
    play(stream, 21, 20)
    assert stream.stats().align == "predict"


def test_a_single_long_step_does_not_hold_the_video_up(make: Maker, tracker: FakeTracker) -> None:
    stream, keeper = make(), Keeper()
    stream.add_viewer(keeper)
    feed(stream, 0)
    click(stream)
    play(stream, 1, 15)
    assert stream.stats().align == "exact"
    tracker.step_s = 0.5
    before = len(keeper.shown)
    play(stream, 16, 13)
    assert len(keeper.shown) - before >= 9, "most frames came during the step"


def test_frames_in_are_shown_or_counted_as_dropped(make: Maker, tracker: FakeTracker) -> None:
    stream = make()
    stream.add_viewer(Keeper())
    feed(stream, 0)
    click(stream)
    for index, step_s in enumerate((0.0, 0.1, 0.01, 0.3)):
        tracker.step_s, tracker.step_ms = step_s, 1000 * step_s
        play(stream, 1 + 12 * index, 12)
    stream.submit(Change("reset")).result(5)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        meters = stream.meters
        came = meters["in"].count + meters["repeated"].count
        if came == meters["out"].count + stream.dropped:
            return
        time.sleep(0.02)
    raise AssertionError(f"{came} came, {meters['out'].count} shown, {stream.dropped} dropped")


def test_masks_vanish_with_their_object_and_with_the_device(
    make: Maker, tracker: FakeTracker
) -> None:
    stream, keeper = make(align="predict"), Keeper()
    stream.add_viewer(keeper)
    feed(stream, 0)
    click(stream)
    play(stream, 1, 5)
    assert painted(keeper.shown[-1]).sum() > 2000
    stream.submit(Change("remove", 1)).result(5)
    play(stream, 6, 3)
    assert painted(keeper.shown[-1]).sum() < 200, "but for an edge's colours"
    click(stream)
    play(stream, 9, 5)
    assert painted(keeper.shown[-1], 2).sum() > 2000
    tracker.fail = DEVICE_GONE
    play(stream, 14, 4)
    assert painted(keeper.shown[-1], 2).sum() < 200, "but for an edge's colours"


def test_without_viewers_a_snapshot_still_shows_masks_on_their_own_frame(
    make: Maker, tracker: FakeTracker
) -> None:
    stream = make(align="predict")
    feed(stream, 0)
    click(stream)
    play(stream, 1, 6)
    picture = cv2.imdecode(np.frombuffer(stream.snapshot(), np.uint8), cv2.IMREAD_COLOR)
    colours = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.int16)
    masked = np.abs(colours - object_colour(1)).max(axis=2) < 30
    assert max(overlap(np.asarray(masked), truth(i)) for i in range(1, 9)) > 0.9
