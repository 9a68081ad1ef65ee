"""A stream shows every frame with its own masks, and says what happens."""

import threading
import time
from collections.abc import Callable, Iterator
from queue import Queue

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamtrack.commands import Change, Click, NoFrame
from streamtrack.display.overlay import OverlaySettings, object_colour
from streamtrack.media.frame import Frame
from streamtrack.messages import Event, Message, ObjectsNow, Shown
from streamtrack.stream import Stream, StreamOptions
from streamtrack.tracking_thread import TrackingThread
from tests.fakes import DEVICE_GONE, FakeTracker, scene

RED = (0.15, 0.3)
BARE = OverlaySettings(masks=True, fill_alpha=1.0, outline=False, labels=False)


class Watcher:
    """A viewer and listener that keeps everything."""

    def __init__(self) -> None:
        self.wants_masks = False
        self.shown: Queue[Shown] = Queue()
        self.told: Queue[Message] = Queue()

    def show(self, shown: Shown) -> None:
        self.shown.put(shown)

    people = 1

    def locate(self, rtp: int) -> int | None:
        return rtp - 1000

    def tell(self, message: Message) -> None:
        self.told.put(message)

    def event(self, kind: str) -> Event:
        while True:
            message = self.told.get(timeout=5)
            if isinstance(message, Event) and message.kind == kind:
                return message

    def objects(self) -> ObjectsNow:
        while True:
            message = self.told.get(timeout=5)
            if isinstance(message, ObjectsNow):
                return message


@pytest.fixture
def tracker() -> FakeTracker:
    return FakeTracker()


Maker = Callable[..., tuple[Stream, Watcher]]


@pytest.fixture
def make(tracker: FakeTracker) -> Iterator[Maker]:
    thread = TrackingThread(lambda: tracker)
    thread.start()
    streams: list[Stream] = []

    def make_stream(**options: object) -> tuple[Stream, Watcher]:
        settings = {"max_fps": 1e9, "overlay": BARE, **options}
        stream = Stream("test", "camera", thread, StreamOptions(**settings))  # type: ignore[arg-type]
        watcher = Watcher()
        stream.add_viewer(watcher)
        stream.add_listener(watcher)
        streams.append(stream)
        return stream, watcher

    yield make_stream
    for stream in streams:
        stream.close()
    thread.close()


def feed(stream: Stream, index: int = 0, *, epoch: int = 0, **kwargs: object) -> None:
    picture = scene(index, **kwargs)  # type: ignore[arg-type]
    stream.ingest(Frame(picture, time.monotonic(), epoch=epoch))


def rgb(shown: Shown) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(shown.planes, cv2.COLOR_YUV2RGB_I420), np.uint8)


def near(colour: NDArray[np.uint8], expected: tuple[int, int, int]) -> bool:
    return bool(np.abs(colour.astype(int) - expected).max() < 40)


def test_without_objects_every_frame_is_shown_without_the_tracker(
    make: Maker, tracker: FakeTracker
) -> None:
    stream, watcher = make()
    for index in range(5):
        feed(stream, index)
        shown = watcher.shown.get(timeout=5)
        assert shown.row.frame_id == index + 1
        assert near(rgb(shown)[60, 50 + 3 * index], (220, 30, 40))
    assert len(tracker.steps) <= 1, "only the warm-up"


def test_shown_masks_belong_to_the_frame_under_them(make: Maker) -> None:
    stream, watcher = make(align="exact")
    feed(stream)
    stream.submit(Click(time.monotonic(), None, (RED,), (1,))).result(5)
    for index in range(1, 20):
        feed(stream, index)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        shown = watcher.shown.get(timeout=5)
        picture = rgb(shown)
        reds = np.abs(picture.astype(int) - (220, 30, 40)).max(axis=2) < 30
        painted = np.abs(picture.astype(int) - object_colour(1)).max(axis=2) < 30
        assert not (painted.any() and reds[40:100].sum() > 200), "no paint beside the thing"
        if near(picture[70, 20 + 3 * 19 + 30], object_colour(1)) and not near(
            picture[70, 20 + 3 * 18 + 1], object_colour(1)
        ):
            return
    raise AssertionError("the last frame was not shown with its mask")


def test_timestamps_rise_in_multiples_of_nine_and_frames_without_gap(make: Maker) -> None:
    stream, watcher = make()
    for index in range(10):
        feed(stream, index)
    rows = [stream.ledger.by_frame(frame_id) for frame_id in range(1, 11)]
    stamps = [row.pts90 for row in rows if row is not None]
    assert len(stamps) == 10 and stamps == sorted(set(stamps))
    assert all(pts % 9 == 0 for pts in stamps)


def test_a_click_on_a_source_that_stands_still_shows_its_mask(make: Maker) -> None:
    stream, watcher = make()
    feed(stream)
    assert watcher.shown.get(timeout=5).row.frame_id == 1
    applied = stream.submit(Click(time.monotonic(), None, (RED,), (1,))).result(5)
    assert applied.row is not None and applied.row.frame_id == 1
    shown = watcher.shown.get(timeout=5)
    assert shown.row.frame_id == 2 and near(rgb(shown)[70, 50], object_colour(1))
    stream.submit(Change("remove", 1)).result(5)
    while not near(rgb(watcher.shown.get(timeout=5))[70, 50], (220, 30, 40)):
        pass


def test_a_still_picture_is_sent_again_for_viewers_who_lost_it(make: Maker) -> None:
    stream, watcher = make()
    feed(stream)
    first, again = watcher.shown.get(timeout=5), watcher.shown.get(timeout=5)
    assert again.row.frame_id > first.row.frame_id and again.row.pts90 > first.row.pts90
    assert np.array_equal(first.planes, again.planes)


def test_a_viewer_who_joins_sees_the_newest_picture_at_once(make: Maker) -> None:
    stream, watcher = make()
    feed(stream)
    watcher.shown.get(timeout=5)
    second = Watcher()
    stream.add_viewer(second)
    assert second.shown.get(timeout=0.5).row.frame_id >= 1
    stream.remove_viewer(watcher)
    stream.remove_viewer(second)
    assert stream.viewers == 0


def test_lost_and_found_objects_are_told(make: Maker) -> None:
    stream, watcher = make()
    feed(stream)
    stream.submit(Click(time.monotonic(), None, (RED,), (1,))).result(5)
    while (told := watcher.objects()).objects[0].state != "tracked":
        pass
    assert told.objects[0].box == (20, 40, 80, 100) and told.objects[0].area == 3600
    feed(stream, 1, hidden=True)
    assert watcher.event("object_lost").facts["object"] == 1
    feed(stream, 2)
    assert watcher.event("object_found").facts["object"] == 1


def test_masks_are_told_only_to_those_who_ask(make: Maker) -> None:
    stream, watcher = make()
    feed(stream)
    stream.submit(Click(time.monotonic(), None, (RED,), (1,))).result(5)
    assert watcher.objects().objects[0].rle is None
    watcher.wants_masks = True
    feed(stream, 1)
    while (rle := watcher.objects().objects[0].rle) is None:
        feed(stream, 2)
    assert rle["size"] == [240, 320]


def test_a_lost_source_keeps_its_objects_and_begins_a_new_epoch(make: Maker) -> None:
    stream, watcher = make()
    stream.source_changed("live", "")
    feed(stream)
    stream.submit(Click(time.monotonic(), None, (RED,), (1,))).result(5)
    stream.source_changed("lost", "no frame for 5 s")
    assert watcher.event("source_lost").facts["reason"] == "no frame for 5 s"
    stream.source_changed("live", "")
    watcher.event("source_back")
    feed(stream, 1, epoch=1, size=(480, 640))
    while (row := watcher.shown.get(timeout=5).row).out_size != (480, 640):
        pass
    assert row.epoch == 1 and [one.object_id for one in stream.objects.objects] == [1]


def test_large_pictures_are_scaled_and_clicks_still_hit(make: Maker) -> None:
    stream, watcher = make(max_long_px=320, max_short_px=240)
    feed(stream, size=(481, 641))
    row = watcher.shown.get(timeout=5).row
    assert row.source_size == (481, 641) and row.out_size == (240, 320)
    stream.submit(Click(time.monotonic(), None, ((50 / 641, 70 / 481),), (1,))).result(5)
    assert watcher.objects().objects[0].area > 500


def test_a_failing_device_shows_the_video_without_masks(make: Maker, tracker: FakeTracker) -> None:
    stream, watcher = make()
    feed(stream)
    stream.submit(Click(time.monotonic(), None, (RED,), (1,))).result(5)
    tracker.fail = DEVICE_GONE
    feed(stream, 1)
    assert "memory" in watcher.event("device_failed").facts["message"]
    watcher.event("objects_reset")
    feed(stream, 10)
    while not near(rgb(watcher.shown.get(timeout=5))[70, 80], (220, 30, 40)):
        feed(stream, 10)
    assert stream.objects.objects == ()


def test_a_snapshot_is_a_jpeg_with_or_without_masks(make: Maker) -> None:
    stream, watcher = make()
    with pytest.raises(NoFrame):
        stream.snapshot()
    feed(stream)
    stream.submit(Click(time.monotonic(), None, (RED,), (1,))).result(5)
    watcher.objects()
    while watcher.shown.get(timeout=5).row.frame_id < 2:
        pass
    colours = []
    for overlay in (True, False):
        data = np.frombuffer(stream.snapshot(overlay), np.uint8)
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        colours.append(np.asarray(decoded)[70, 50, ::-1])
    assert near(colours[0], object_colour(1)) and near(colours[1], (220, 30, 40))


def test_statistics_count_what_happens(make: Maker) -> None:
    stream, watcher = make()
    for index in range(10):
        feed(stream, index)
        watcher.shown.get(timeout=5)
    stats = stream.stats()
    assert stats.viewers == 1 and stats.dropped == 0 and stats.fps_in > 0 and stats.age_ms >= 0


def test_a_timestamp_sent_to_a_viewer_leads_back_to_its_frame(make: Maker) -> None:
    stream, watcher = make()
    feed(stream)
    row = watcher.shown.get(timeout=5).row
    assert stream.row_by_rtp(row.pts90 + 1000) == stream.ledger.by_frame(1)
    assert stream.row_by_rtp(12345) is None


def test_a_fast_source_is_thinned(make: Maker) -> None:
    stream, _ = make(max_fps=10.0)
    for index in range(30):
        stream.ingest(Frame(scene(index), 100 + index / 30))
    assert stream.meters["in"].count == 10


def test_a_closed_stream_ends_its_thread_and_takes_nothing_more(make: Maker) -> None:
    stream, watcher = make()
    stream.close()
    stream.close()
    feed(stream)
    assert watcher.event("stream_ended").facts == {"stream": "test"}
    assert "display-test" not in {one.name for one in threading.enumerate()}
