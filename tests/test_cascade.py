"""A slow model corrects a fast one, on the frames it saw, and never against newer clicks."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streamtrack.commands import Change, Click
from streamtrack.media.frame import Frame
from streamtrack.messages import Message, ObjectsNow
from streamtrack.stream import Stream, StreamOptions
from streamtrack.tracking.following import TrackingStream
from streamtrack.tracking.nano import build_nano
from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.tracker import Tracker
from streamtrack.tracking_thread import TrackingThread
from tests.fakes import DEVICE_GONE, FakeTracker, FakeTrackingStream, scene

RED, BLUE = (0.15, 0.3), (0.85, 0.8)


class Pair:
    """A stream that a fast fake follows and a slow one corrects."""

    def __init__(self) -> None:
        self.fast_tracker, self.slow_tracker = FakeTracker(), FakeTracker()
        self.threads = [TrackingThread(lambda: self.fast_tracker)]
        self.threads.append(TrackingThread(lambda: self.slow_tracker))
        for thread in self.threads:
            thread.start()
        options = StreamOptions(max_fps=1e9)
        self.stream = Stream("cam", "camera", self.threads[0], options, corrector=self.threads[1])
        self.told: list[Message] = []
        self.wants_masks = False
        self.stream.add_listener(self)
        self.index = 0

    def tell(self, message: Message) -> None:
        self.told.append(message)

    def feed(self, count: int = 1, *, hidden: bool = False) -> None:
        for _ in range(count):
            self.stream.ingest(Frame(scene(self.index, hidden=hidden), time.monotonic()))
            self.index += 1
            time.sleep(0.02)

    def click(self, at: tuple[float, float], object_id: int | None = None) -> int:
        done = self.stream.submit(Click(time.monotonic(), object_id, (at,), (1,))).result(5)
        assert done.object_id is not None
        return done.object_id

    @property
    def fast(self) -> FakeTrackingStream:
        return self.fast_tracker.opened[-1]

    @property
    def slow(self) -> FakeTrackingStream:
        return self.slow_tracker.opened[-1]

    def close(self) -> None:
        self.stream.close()
        for thread in self.threads:
            thread.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    one = Pair()
    one.feed()
    yield one
    one.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_what_the_slow_model_finds_is_given_to_the_fast_one_on_the_same_frame(pair: Pair) -> None:
    assert pair.click(RED) == 1 and pair.click(BLUE) == 2
    until(lambda: pair.slow_tracker.opened and set(pair.slow.object_ids) == {1, 2})
    pair.slow_tracker.step_s = 0.1
    before = [one.steps.count(s) for one, s in _both(pair)]
    pair.feed(20)
    until(lambda: len(pair.fast.corrections) >= 2)
    frames = [frame for frame, objects in pair.fast.corrections if objects == {1, 2}]
    assert frames and frames == sorted(frames)
    after = [one.steps.count(s) for one, s in _both(pair)]
    assert after[0] - before[0] > after[1] - before[1] > 0, "the fast one steps more often"


def _both(pair: Pair) -> list[tuple[FakeTracker, FakeTrackingStream]]:
    return [(pair.fast_tracker, pair.fast), (pair.slow_tracker, pair.slow)]


def test_changes_reach_both_models(pair: Pair) -> None:
    one, two = pair.click(RED), pair.click(BLUE)
    until(lambda: pair.slow_tracker.opened and set(pair.slow.object_ids) == {one, two})
    pair.stream.submit(Change("remove", one)).result(5)
    until(lambda: pair.slow.object_ids == (two,))
    pair.stream.submit(Change("reset")).result(5)
    until(lambda: pair.slow.object_ids == ())
    assert pair.fast.object_ids == ()


def test_a_mask_made_before_a_click_was_known_does_not_overrule_it(pair: Pair) -> None:
    one = pair.click(RED)
    until(lambda: pair.fast.corrections)
    pair.slow_tracker.hold = threading.Event()
    pair.feed(2)
    time.sleep(0.05)  # the slow model is in its step now
    pair.click(RED, one)
    before = len(pair.fast.corrections)
    pair.slow_tracker.hold.set()
    pair.slow_tracker.hold = None
    until(lambda: pair.slow.clicks.get(one) == 2)
    pair.feed(3)
    until(lambda: len(pair.fast.corrections) > before)
    first = pair.fast.corrections[before][0]
    assert first >= pair.index - 4, "not the frame of the held step"


def test_what_the_slow_model_has_lost_is_not_shown(pair: Pair) -> None:
    one = pair.click(RED)
    until(lambda: pair.slow_tracker.opened and pair.slow.object_ids == (one,))
    pair.feed(3)
    pair.slow.colours[one] = np.array([1, 255, 1], np.uint8)  # found nowhere
    pair.feed(6)
    until(lambda: _state(pair) == "lost")
    pair.slow.colours[one] = pair.fast.colours[one]
    pair.feed(6)
    until(lambda: _state(pair) == "tracked")


def _state(pair: Pair) -> str:
    newest = [one for one in pair.told if isinstance(one, ObjectsNow)][-1]
    return newest.objects[0].state


def test_the_fast_model_goes_on_when_the_slow_one_fails(pair: Pair) -> None:
    one = pair.click(RED)
    until(lambda: pair.slow_tracker.opened and pair.slow.object_ids == (one,))
    pair.slow_tracker.fail = DEVICE_GONE
    pair.feed(3)
    before = pair.fast_tracker.steps.count(pair.fast)
    pair.feed(5)
    until(lambda: pair.fast_tracker.steps.count(pair.fast) > before)
    assert pair.fast.object_ids == (one,)


# The fast model's side, with the real one


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(build_nano(image_size=64))


@pytest.fixture
def tracking(segmenter: Segmenter) -> TrackingStream:
    return Tracker(segmenter, model="random").open(rewind_frames=32)


def pictures(count: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(count)]


def square(left: int = 10) -> NDArray[np.bool_]:
    mask = np.zeros((64, 64), np.bool_)
    mask[20:44, left : left + 24] = True
    return mask


def test_a_correction_equals_a_mask_prompt_that_began_there(
    tracking: TrackingStream, segmenter: Segmenter
) -> None:
    frames = pictures(9)
    other = Tracker(segmenter, model="random").open()
    tracking.step(frames[0], [Prompt(points=[[50, 50]]), Prompt(points=[[5, 5]])])
    for picture in frames[1:7]:
        tracking.step(picture)
    corrected = tracking.correct(3, {1: square()}).objects
    other.step(frames[3], [Prompt(mask=square())])
    for picture in frames[4:7]:
        begun = other.step(picture).objects
    assert np.allclose(corrected[1].logits, begun[1].logits, atol=1e-4)
    for picture in frames[7:]:
        corrected, begun = tracking.step(picture).objects, other.step(picture).objects
        assert np.allclose(corrected[1].logits, begun[1].logits, atol=1e-4)
    assert tracking.object_ids == (1, 2)


def test_a_correction_keeps_to_its_budget_and_to_the_newest_frame(
    tracking: TrackingStream,
) -> None:
    frames = pictures(12)
    tracking.step(frames[0], [Prompt(points=[[50, 50]])])
    for picture in frames[1:]:
        tracking.step(picture)
    assert tracking.correct(0, {1: square()}, budget_ms=1e-6).objects.keys() == {1}
    step = tracking.step(frames[0])
    assert step.objects.keys() == {1}
    size = tracking.state_bytes
    for index in range(40):
        tracking.step(frames[index % 12])
        if index % 5 == 4:
            tracking.correct(tracking.last_frame - 3, {1: square(index % 30)})
    assert tracking.state_bytes < 3 * size + 4 * 2**20


def test_undo_takes_back_the_prompt_and_the_corrections_with_it(tracking: TrackingStream) -> None:
    frames = pictures(4)
    tracking.step(frames[0], [Prompt(points=[[50, 50]])])
    tracking.step(frames[1], [Prompt(1, points=[[10, 10]])])
    tracking.step(frames[2])
    tracking.correct(2, {1: square()})
    assert tracking.undo(1) and tracking.object_ids == (1,)
    tracking.step(frames[3])
    assert not tracking.undo(1) and tracking.object_ids == ()


def test_corrections_that_come_too_late_are_passed_over(tracking: TrackingStream) -> None:
    frames = pictures(4)
    tracking.step(frames[0], [Prompt(points=[[50, 50]])])
    tracking.step(frames[1])
    tracking.step(frames[2], [Prompt(1, points=[[10, 10]])])
    before = tracking.step(frames[3]).objects[1].logits
    assert np.array_equal(tracking.correct(1, {1: square()}).objects[1].logits, before)
    assert np.array_equal(tracking.correct(99, {1: square()}).objects[1].logits, before)
    assert tracking.correct(3, {7: square()}).objects.keys() == {1}
