"""A capture delivers frames, brings live sources back, and lets recordings end."""

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from streamtrack.errors import ConfigError, SourceError, SourceUnavailable
from streamtrack.media.capture import Backoff, Capture, CaptureTimes
from streamtrack.media.frame import Frame
from streamtrack.media.slot import Slot
from streamtrack.media.sources import Source

LOST = SourceUnavailable("The camera is away.")
REFUSED = SourceError("The camera refused the credentials.")


def frame(height: int = 4, epoch: int = 0) -> Frame:
    return Frame(np.zeros((height, 6, 3), np.uint8), 0.0, epoch=epoch)


class Script:
    """A source that does what it is told: yields frames, raises errors, or blocks."""

    description = "the scripted camera"
    fps: float | None = None

    def __init__(self, *acts: Frame | Exception | str, live: bool = True) -> None:
        self.live = live
        self.acts = acts
        self.closed = threading.Event()

    def frames(self) -> Iterator[Frame]:
        for act in self.acts:
            if isinstance(act, Exception):
                raise act
            if act == "block":
                assert self.closed.wait(20)
            elif isinstance(act, Frame):
                yield act

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def close(self) -> None:
        self.closed.set()


class Steady(random.Random):
    """Chance that always falls in the middle."""

    def random(self) -> float:
        return 0.5


class Harness:
    """Runs a capture over scripted attempts and notes what it does; pauses take no time."""

    def __init__(
        self,
        attempts: Sequence[Source | Exception],
        times: CaptureTimes | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.attempts = iter(attempts)
        self.delivered: list[Frame] = []
        self.states: list[tuple[str, str]] = []
        self.pauses: list[float] = []
        self.over = threading.Event()
        options = {"clock": clock} if clock else {}
        self.capture = Capture(
            self.open,
            self.delivered.append,
            on_state=self.note,
            rng=Steady(),
            wait=self.pause,
            times=times,
            **options,
        )

    def open(self) -> Source:
        attempt = next(self.attempts, None)
        if attempt is None:
            self.over.set()
            return Script("block")
        if isinstance(attempt, Exception):
            raise attempt
        return attempt

    def note(self, state: str, reason: str) -> None:
        self.states.append((state, reason))

    def pause(self, event: threading.Event, seconds: float) -> bool:
        self.pauses.append(seconds)
        return event.is_set()

    def run(self) -> "Harness":
        """Run until the script is over or the capture has ended by itself."""
        self.capture.start()
        while self.capture._thread.is_alive() and not self.over.wait(0.005):
            pass
        self.capture.close()
        assert not self.capture._thread.is_alive()
        return self


def test_frames_are_delivered_and_counted() -> None:
    ran = Harness([Script(frame(), frame(), live=False)]).run()
    assert len(ran.delivered) == ran.capture.captured == 2
    assert [state for state, _ in ran.states] == ["live", "ended"]
    assert ran.capture.state == "ended"


def test_a_capture_begins_as_connecting() -> None:
    assert Harness([]).capture.state == "connecting"


def test_a_recording_that_fails_is_not_tried_again() -> None:
    ran = Harness([Script(REFUSED, live=False)]).run()
    assert (ran.capture.state, ran.capture.reason) == ("failed", str(REFUSED))
    assert ran.pauses == []


def test_a_live_source_comes_back_after_it_was_lost() -> None:
    ran = Harness([Script(frame(), LOST), Script(frame(), LOST)]).run()
    assert [state for state, _ in ran.states] == ["live", "lost", "live", "lost"]
    assert ran.capture.reconnects == 1
    assert len(ran.delivered) == 2


def test_a_live_source_that_just_stops_comes_back_too() -> None:
    ran = Harness([Script(frame()), Script(frame())]).run()
    assert ran.capture.reconnects == 1


def test_a_reconnection_begins_a_new_epoch() -> None:
    ran = Harness([Script(frame(), frame(), LOST), Script(frame())]).run()
    assert [item.epoch for item in ran.delivered] == [0, 0, 1]


def test_a_new_size_begins_a_new_epoch() -> None:
    ran = Harness([Script(frame(4), frame(4), frame(8), frame(4), live=False)]).run()
    assert [item.epoch for item in ran.delivered] == [0, 0, 1, 2]


def test_an_epoch_of_the_source_begins_a_new_epoch() -> None:
    ran = Harness([Script(frame(), frame(epoch=1), live=False)]).run()
    assert [item.epoch for item in ran.delivered] == [0, 1]


def test_pauses_double_up_to_the_longest() -> None:
    ran = Harness([Script(LOST) for _ in range(9)]).run()
    assert ran.pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert ran.states == [("lost", str(LOST))]


def test_refused_credentials_are_tried_again_but_seldom() -> None:
    ran = Harness([Script(REFUSED), Script(REFUSED), Script(frame())]).run()
    assert ran.pauses[:2] == [30, 30]
    assert [state for state, _ in ran.states][:2] == ["failed", "live"]


def test_a_source_that_cannot_be_opened_now_is_tried_again() -> None:
    ran = Harness([LOST, Script(frame())]).run()
    assert ran.pauses[0] == 0.5
    assert len(ran.delivered) == 1


def test_a_wrong_configuration_is_not_tried_again() -> None:
    ran = Harness([ConfigError("No such thing.")]).run()
    assert ran.capture.state == "failed" and ran.pauses == []


def test_pauses_vary_by_a_fifth() -> None:
    backoff = Backoff(CaptureTimes(), random.Random(1))
    pauses = [backoff.pause_s(99.0) for _ in range(500)]
    assert 0.4 <= min(pauses) < 0.41 and 0.59 < max(pauses) <= 0.6


def test_a_healthy_connection_makes_the_pauses_short_again() -> None:
    backoff = Backoff(CaptureTimes(), Steady())
    pauses = [backoff.pause_s(healthy_s) for healthy_s in (0, 0, 9.9, 10, 0)]
    assert pauses == [0.5, 1, 2, 0.5, 1]


def test_a_silent_live_source_is_closed_and_opened_again() -> None:
    silent = Script(frame(), "block")
    times = CaptureTimes(silence_s=0.05)
    ran = Harness([silent, Script(frame())], times).run()
    assert silent.closed.is_set()
    assert ("lost", "No picture came from the scripted camera for 0.05 s; it is opened again.") in (
        ran.states
    )
    assert ran.capture.reconnects == 1


def test_frames_of_a_connection_that_was_given_up_are_not_delivered() -> None:
    late = Script(frame(4), "block", frame(8))
    ran = Harness([late, Script(frame(4))], CaptureTimes(silence_s=0.05)).run()
    assert [item.size[0] for item in ran.delivered] == [4, 4]


def test_a_source_that_never_gives_its_first_frame_is_given_up() -> None:
    ran = Harness([Script("block")], CaptureTimes(opening_s=0.05)).run()
    assert ran.states[0][0] == "lost"


def test_a_recording_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    still = Script(frame(), "block", frame(), live=False)
    ran = Harness([still], CaptureTimes(silence_s=0.0, opening_s=0.0))
    ran.capture.start()
    still.close()
    ran.capture._thread.join(10)
    assert ran.capture.state == "ended" and len(ran.delivered) == 2


def test_drivers_that_never_return_are_not_entered_without_end() -> None:
    class Stuck(Script):
        def close(self) -> None:
            """Ignore it, as a driver would."""

    stuck = [Stuck("block") for _ in range(5)]
    ran = Harness(stuck, CaptureTimes(opening_s=0.01, close_s=0.02))
    ran.capture.start()
    while len(ran.pauses) < 6:
        ran.over.wait(0.005)
    ran.capture.close()
    entered = [t for t in threading.enumerate() if t.name == "capture-reader"]
    assert len(entered) == 3
    assert ("lost", "The camera's driver does not return; unplug the camera.") in ran.states
    for source in stuck:
        source.closed.set()
    for thread in entered:
        thread.join(10)


def test_a_bug_while_reading_is_logged_and_does_not_end_a_live_source(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran = Harness([Script(frame(), ZeroDivisionError()), Script(frame())]).run()
    assert ran.capture.reconnects == 1
    assert "Reading the scripted camera failed" in caplog.text


def test_states_are_logged_once_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Harness([Script(LOST) for _ in range(5)]).run()
    assert caplog.text.count("The camera is away") == 1


def test_close_ends_a_blocked_capture_and_may_be_called_again() -> None:
    blocked = Script("block")
    ran = Harness([blocked])
    ran.capture.start()
    ran.capture.close()
    ran.capture.close()
    assert not ran.capture._thread.is_alive()
    assert ran.states == []


def test_a_capture_that_was_never_started_can_be_closed() -> None:
    Harness([]).capture.close()


def test_a_capture_can_be_closed_from_where_frames_are_delivered() -> None:
    capture: Capture

    def deliver(item: Frame) -> None:
        capture.close()

    capture = Capture(lambda: Script(frame(), frame()), deliver)
    capture.start()
    capture._thread.join(10)
    assert not capture._thread.is_alive() and capture.captured == 1


def test_a_slow_consumer_behind_a_slot_sees_the_newest_frame() -> None:
    slot: Slot[Frame] = Slot()
    heights = [frame(height) for height in range(1, 6)]
    capture = Capture(lambda: Script(*heights, live=False), slot.put)
    capture.start()
    capture._thread.join(10)
    newest = slot.get(0)
    assert newest is not None and newest.size[0] == 5
    assert (slot.accepted, slot.dropped) == (5, 4)
