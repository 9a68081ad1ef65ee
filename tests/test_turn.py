"""Which frames a turn steps, and what it tells those who clicked."""

import threading
from collections.abc import Sequence

import pytest

from streamtrack.commands import Applied, Change, Click, StreamFrame
from streamtrack.errors import PromptTooOld
from streamtrack.lane import Answer, Lane, Outcome
from streamtrack.media.ledger import LedgerRow
from streamtrack.tracking.prompts import Tracked
from streamtrack.turn import Turn
from tests.fakes import FakeTracker, FakeTrackingStream, scene

SIZE = (240, 320)
BLUE = (0.85, 0.8)


class Owner:
    """A stream whose window holds frames 1 to the newest."""

    def __init__(self, newest: int) -> None:
        self.kept = {i: frame(i) for i in range(1, newest + 1)}
        self.outcomes: list[Outcome] = []
        self.next_id = newest + 1

    def frame(self, frame_id: int) -> StreamFrame | None:
        return self.kept.get(frame_id)

    def frames_between(self, after: int, before: int) -> list[int]:
        return [i for i in self.kept if after < i < before]

    def oldest_kept(self) -> int:
        return min(self.kept)

    def again(self, old: StreamFrame) -> StreamFrame | None:
        self.next_id += 1
        return frame(self.next_id - 1)

    def on_passed(self, frame: StreamFrame, tracked: Tracked) -> None:
        pass

    def on_outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def on_device_failed(self, reason: str) -> None:
        raise AssertionError(reason)


def frame(frame_id: int) -> StreamFrame:
    row = LedgerRow(frame_id, 0, 9000 * frame_id, float(frame_id), SIZE, SIZE)
    return StreamFrame(scene(frame_id, SIZE), row)


class Stepper(FakeTrackingStream):
    """Notes the frames it steps."""

    def __init__(self) -> None:
        super().__init__(FakeTracker(), 32)
        self.stepped: list[int] = []

    def step(self, picture, prompts=(), *, frame=None):  # type: ignore[no-untyped-def]
        tracked = super().step(picture, prompts, frame=frame)
        self.stepped.append(self.last_frame)
        return tracked


class Table:
    """A lane, its owner and its objects."""

    def __init__(self, newest: int = 10) -> None:
        self.owner = Owner(newest)
        self.lane = Lane("test", self.owner, threading.Condition())
        self.stepper = Stepper()
        self.stepper.shown = lambda i: self.owner.kept[i].picture if i in self.owner.kept else None
        self.offer(newest)

    def offer(self, frame_id: int) -> None:
        self.owner.kept.setdefault(frame_id, frame(frame_id))
        self.lane.newest, self.lane.fresh = self.owner.kept[frame_id], True

    def turn(self, *commands: Click | Change, budget_ms: float = 1000) -> Sequence[Answer]:
        answers = [self.lane.submit(command) for command in commands]
        Turn(self.lane, self.stepper, clock=lambda: 7.0, budget_ms=budget_ms).serve()
        return answers


def click(frame_id: int | None, object_id: int | None = None) -> Click:
    return Click(5.0, object_id, (BLUE,), (1,), frame_id=frame_id)


def told(answer: Answer) -> tuple[int, int, str]:
    applied: Applied = answer.result(0)
    assert applied.row is not None
    return applied.row.frame_id, applied.applied_at, applied.mode


def test_a_click_on_the_newest_frame_is_exact() -> None:
    table = Table()
    named, latest = table.turn(click(10), click(None))
    assert told(named) == told(latest) == (10, 10, "exact")
    assert table.stepper.stepped == [10] and named.result().latency_s == 2.0


def test_the_first_click_is_stepped_where_it_was_made_and_caught_up_with_now() -> None:
    table = Table()
    [answer] = table.turn(click(4))
    assert told(answer) == (4, 10, "replayed")
    assert table.stepper.stepped == [4, 5, 6, 7, 8, 9, 10]


def test_catching_up_keeps_to_its_budget_evenly() -> None:
    table = Table(newest=30)
    table.turn(click(9), budget_ms=4)  # a step of the fake takes 1 ms by its own account
    assert table.stepper.stepped == [9, 14, 18, 22, 26, 30]


def test_without_budget_the_object_jumps() -> None:
    table = Table()
    [answer] = table.turn(click(4), budget_ms=0)
    assert told(answer) == (4, 10, "jumped") and table.stepper.stepped == [4, 10]


def test_a_click_on_a_frame_that_was_stepped_is_replayed_by_the_tracker() -> None:
    table = Table()
    table.turn(click(10))
    table.offer(11)
    table.turn()
    [answer] = table.turn(click(10, object_id=1))
    assert told(answer) == (10, 11, "replayed")
    assert table.stepper.stepped == [10, 11]


def test_clicks_on_several_frames_are_stepped_in_order_of_time() -> None:
    table = Table()
    answers = table.turn(click(8), click(3), click(10))
    assert [told(one)[0] for one in answers] == [8, 3, 10]
    assert table.stepper.stepped == [3, 4, 5, 6, 7, 8, 9, 10]


def test_a_click_on_a_frame_that_is_gone_is_refused_and_spares_the_others() -> None:
    table = Table()
    gone, good = table.turn(click(99), click(10))
    assert isinstance(gone.exception(0), PromptTooOld)
    assert told(good) == (10, 10, "exact")


def test_frames_that_left_the_window_are_forgotten() -> None:
    table = Table()
    table.turn(click(9))
    del table.owner.kept[9]
    for i in list(table.owner.kept)[:-1]:
        del table.owner.kept[i]
    table.offer(11)
    table.turn()
    assert sorted(table.stepper.pictures) == [10, 11]


@pytest.mark.parametrize("kind", ["remove", "undo"])
def test_a_change_is_shown_although_no_new_frame_comes(kind: str) -> None:
    table = Table()
    table.turn(click(10), click(10))
    table.turn(Change(kind, 1))  # type: ignore[arg-type]
    assert list(table.owner.outcomes[-1].tracked.objects) == [2]


def test_pins_reach_the_tracker() -> None:
    table = Table()
    table.turn(click(10))
    table.turn(Change("pin", frame_id=10))
    assert table.stepper.pinned == {10}
    table.turn(Change("unpin", frame_id=10))
    assert table.stepper.pinned == set()
