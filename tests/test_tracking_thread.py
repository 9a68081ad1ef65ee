"""One thread serves every stream fairly, applies commands in order, and survives failures."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from queue import Queue
from typing import Any

import numpy as np
import pytest

from streamtrack.commands import Busy, Change, Click, NoFrame, StreamFrame
from streamtrack.errors import (
    CheckpointError,
    DeviceError,
    PromptError,
    TooManyObjects,
    UnknownObject,
)
from streamtrack.lane import COMMANDS_KEPT, Lane, Outcome
from streamtrack.media.ledger import LedgerRow
from streamtrack.tracking.prompts import Tracked
from streamtrack.tracking_thread import TrackingLimits, TrackingThread
from tests.fakes import DEVICE_GONE, FakeTracker, FakeTrackingStream, scene

SIZE = (240, 320)
RED = (0.15, 0.3)
BLUE = (0.85, 0.8)


class Owner:
    """Collects what a lane gives, and keeps the frames it was given."""

    def __init__(self) -> None:
        self.kept: dict[int, StreamFrame] = {}
        self.outcomes: Queue[Outcome] = Queue()
        self.failures: Queue[str] = Queue()

    def frame(self, frame_id: int) -> StreamFrame | None:
        return self.kept.get(frame_id)

    def frames_between(self, after: int, before: int) -> list[int]:
        return sorted(i for i in self.kept if after < i < before)

    def oldest_kept(self) -> int:
        return min(self.kept, default=0)

    def again(self, frame: StreamFrame) -> StreamFrame | None:
        return None

    def on_passed(self, frame: StreamFrame, tracked: Tracked) -> None:
        pass

    def on_outcome(self, outcome: Outcome) -> None:
        self.outcomes.put(outcome)

    def on_device_failed(self, reason: str) -> None:
        self.failures.put(reason)


def frame(frame_id: int) -> StreamFrame:
    row = LedgerRow(frame_id, 0, 9000 * frame_id, float(frame_id), SIZE, SIZE)
    return StreamFrame(scene(0, SIZE), row)


def click(at: tuple[float, float] = RED, object_id: int | None = None) -> Click:
    return Click(0.0, object_id, (at,), (1,))


@pytest.fixture
def tracker() -> FakeTracker:
    return FakeTracker()


Opener = Callable[[], tuple[Lane, Owner]]


@pytest.fixture
def opener(tracker: FakeTracker) -> Iterator[Opener]:
    thread = TrackingThread(lambda: tracker, limits=TrackingLimits(max_objects=3))
    thread.start()

    def open_lane() -> tuple[Lane, Owner]:
        owner = Owner()
        return thread.open_lane("test", owner), owner

    yield open_lane
    thread.close()


def test_frames_pass_by_the_tracker_until_something_is_followed(opener: Opener) -> None:
    lane, owner = opener()
    assert lane.offer(frame(1)) == "idle"
    applied = lane.submit(click()).result(5)
    assert applied.object_id == 1 and applied.row is not None and applied.row.frame_id == 1
    outcome = owner.outcomes.get(timeout=5)
    assert outcome.repeated and list(outcome.tracked.objects) == [1]
    while lane.offer(frame(2)) == "idle":  # engaged when the thread has finished its turn
        pass
    assert owner.outcomes.get(timeout=5).frame.row.frame_id == 2
    lane.submit(Change("remove", 1)).result(5)
    while lane.offer(frame(3)) != "idle":
        pass


def test_every_step_runs_on_the_tracking_thread(opener: Opener, tracker: FakeTracker) -> None:
    lane, _ = opener()
    lane.offer(frame(1))
    lane.submit(click()).result(5)
    assert tracker.threads == {"tracking"}


def test_the_newest_frame_wins_and_the_rest_is_counted(
    opener: Opener, tracker: FakeTracker
) -> None:
    lane, owner = opener()
    lane.offer(frame(1))
    tracker.hold = threading.Event()
    answer = lane.submit(click())
    while not lane.engaged:
        pass
    for frame_id in range(2, 12):
        lane.offer(frame(frame_id))
    tracker.hold.set()
    answer.result(5)
    assert owner.outcomes.get(timeout=5).frame.row.frame_id == 1
    assert owner.outcomes.get(timeout=5).frame.row.frame_id == 11
    assert lane.dropped == 9


def test_commands_are_applied_in_order(opener: Opener, tracker: FakeTracker) -> None:
    lane, owner = opener()
    lane.offer(frame(1))
    tracker.hold = threading.Event()
    first = lane.submit(click())
    answers = [
        lane.submit(click(BLUE)),
        lane.submit(click(RED, 1)),
        lane.submit(click(RED, 1)),
        lane.submit(Change("rename", 2, "boat")),
        lane.submit(Change("undo", 1)),
        lane.submit(Change("undo", 1)),
        lane.submit(Change("undo", 1)),
        lane.submit(Change("undo", 1)),
    ]
    tracker.hold.set()
    assert first.result(5).object_id == 1
    wait(answers, 5)
    assert answers[0].result(0).object_id == 2
    assert isinstance(answers[-1].exception(0), UnknownObject), "the object went with its clicks"
    while (last := owner.outcomes.get(timeout=5)).names != {2: "boat"}:
        pass
    while list(last.tracked.objects) != [2]:
        last = owner.outcomes.get(timeout=5)


def test_a_bad_prompt_harms_no_other(opener: Opener) -> None:
    lane, _ = opener()
    lane.offer(frame(1))
    good, bad = lane.submit(click()), lane.submit(click(RED, 77))
    assert good.result(5).object_id == 1
    with pytest.raises(UnknownObject):
        bad.result(5)


def test_too_many_objects_in_one_step_spare_those_that_fit(
    opener: Opener, tracker: FakeTracker
) -> None:
    lane, _ = opener()
    lane.offer(frame(1))
    tracker.hold = threading.Event()
    answers = [lane.submit(click()) for _ in range(5)]
    tracker.hold.set()
    assert [answer.result(5).object_id for answer in answers[:3]] == [1, 2, 3]
    for answer in answers[3:]:
        assert isinstance(answer.exception(5), TooManyObjects)


def test_a_prompt_that_the_step_refuses_is_answered_and_the_rest_goes_on(
    opener: Opener, tracker: FakeTracker
) -> None:
    lane, owner = opener()
    lane.offer(frame(1))
    lane.submit(click()).result(5)
    tracker.refuse_in_step = lambda prompts: any(prompt.object_id == 1 for prompt in prompts)
    assert isinstance(lane.submit(click(RED, 1)).exception(5), PromptError)
    assert lane.submit(click(BLUE)).result(5).object_id == 2


def test_a_prompt_before_the_first_frame_says_so(opener: Opener) -> None:
    lane, _ = opener()
    assert isinstance(lane.submit(click()).exception(5), NoFrame)


def test_the_queue_of_commands_is_bounded(opener: Opener, tracker: FakeTracker) -> None:
    lane, _ = opener()
    lane.offer(frame(1))
    tracker.hold = threading.Event()
    lane.submit(click())
    while not lane.engaged:
        pass
    for _ in range(COMMANDS_KEPT):
        lane.submit(Change("reset"))
    with pytest.raises(Busy, match="64"):
        lane.submit(Change("reset"))
    tracker.hold.set()


@pytest.mark.parametrize("failure", [DEVICE_GONE, RuntimeError("CUDA error: secret")])
def test_a_failing_device_is_told_and_the_next_click_tries_again(
    opener: Opener, tracker: FakeTracker, failure: Exception
) -> None:
    lane, owner = opener()
    lane.offer(frame(1))
    lane.submit(click()).result(5)
    tracker.fail = failure
    assert isinstance(lane.submit(click(BLUE)).exception(5), DeviceError)
    assert "secret" not in owner.failures.get(timeout=5)
    assert lane.offer(frame(2)) == "idle", "frames go on without masks"
    tracker.fail = None
    applied = lane.submit(click()).result(5)
    assert applied.object_id == 2, "ids are not used again"


def test_a_stream_full_of_commands_starves_nobody(opener: Opener, tracker: FakeTracker) -> None:
    lanes = [opener()[0] for _ in range(3)]
    for lane in lanes:
        lane.offer(frame(1))
        lane.submit(click()).result(5)
    mine = tracker.opened[1]
    tracker.hold = threading.Event()
    answers = [lanes[0].submit(click(RED, 1)) for _ in range(30)]  # one step each
    for lane in lanes[1:]:
        while lane.offer(frame(2)) == "idle":
            pass
    tracker.steps.clear()
    tracker.hold.set()
    wait(answers, 5)
    others = [index for index, one in enumerate(tracker.steps[:12]) if one is not mine]
    assert len(others) == 2, "both other streams had their turn within a few steps"


def test_streams_share_the_devices_time_and_not_its_turns(
    opener: Opener, tracker: FakeTracker
) -> None:
    heavy, light = (opener()[0] for _ in range(2))
    for lane in (heavy, light):
        lane.offer(frame(1))
        lane.submit(click()).result(5)
    slow, quick = tracker.opened[1:3]
    stepped = tracker.stepped

    def taking(stream: FakeTrackingStream, *rest: Any) -> None:
        time.sleep(0.02 if stream is slow else 0.004)
        stepped(stream, *rest)

    tracker.stepped = taking  # type: ignore[method-assign]
    tracker.steps.clear()
    number, until = 2, time.monotonic() + 0.8
    while time.monotonic() < until:
        for lane in (heavy, light):
            lane.offer(frame(number))
        number += 1
        time.sleep(0.001)
    assert tracker.steps.count(quick) > 2 * tracker.steps.count(slow) > 0


def test_a_model_that_cannot_be_loaded_answers_every_command() -> None:
    def load() -> FakeTracker:
        raise CheckpointError("The checkpoint is truncated.")

    told = threading.Event()
    thread = TrackingThread(load, on_state=told.set)
    lane = thread.open_lane("test", Owner())
    answer = lane.submit(click())
    thread.start()
    assert told.wait(5) and thread.state == "failed"
    assert isinstance(answer.exception(5), CheckpointError)
    thread.close()


def test_closing_answers_what_waits_and_ends_the_thread(tracker: FakeTracker) -> None:
    thread = TrackingThread(lambda: tracker)
    lane = thread.open_lane("test", Owner())
    answer = lane.submit(click())
    thread.close()
    thread.close()
    assert isinstance(answer.exception(5), Busy)
    with pytest.raises(Busy):
        lane.submit(click())
    thread.start()
    thread.close()
    assert "tracking" not in {one.name for one in threading.enumerate()}


def test_a_cancelled_command_is_passed_over(opener: Opener, tracker: FakeTracker) -> None:
    lane, _ = opener()
    lane.offer(frame(1))
    tracker.hold = threading.Event()
    lane.submit(click())
    while not lane.engaged:
        pass
    cancelled = lane.submit(click(BLUE))
    assert cancelled.cancel()
    tracker.hold.set()
    assert lane.submit(click(BLUE)).result(5).object_id == 2


def test_masks_lie_on_what_was_clicked(opener: Opener) -> None:
    lane, owner = opener()
    lane.offer(frame(1))
    lane.submit(click()).result(5)
    mask = owner.outcomes.get(timeout=5).tracked.objects[1].mask
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (40, 100, 20, 80)
