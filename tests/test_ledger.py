"""The media clock and the ledger."""

import pytest

from streamtrack.media.ledger import Ledger, LedgerRow, MediaClock


def row(frame_id: int, pts90: int | None = None, moment: float | None = None) -> LedgerRow:
    when = frame_id * 0.1 if moment is None else moment
    pts = frame_id * 9000 if pts90 is None else pts90
    return LedgerRow(frame_id, 0, pts, when, (480, 640), (480, 640))


def test_timestamps_are_multiples_of_nine_that_never_repeat() -> None:
    clock = MediaClock(100.0)
    stamps = [clock.pts90(moment) for moment in (100.0, 100.03333, 100.03333, 100.01, 101.0)]
    assert all(pts % 9 == 0 for pts in stamps)
    assert stamps == sorted(set(stamps))
    assert stamps[0] == 0 and stamps[-1] == 90_000


def test_a_moment_before_the_stream_began_counts_as_its_beginning() -> None:
    assert MediaClock(5.0).pts90(4.0) == 0


def test_ledger_keeps_ten_seconds_and_no_more_than_its_rows() -> None:
    ledger = Ledger(seconds=10.0, max_rows=50)
    for frame_id in range(1, 200):
        ledger.add(row(frame_id))
    assert len(ledger) == 50
    slow = Ledger(seconds=10.0)
    for frame_id in range(1, 30):
        slow.add(row(frame_id, moment=float(frame_id)))
    assert len(slow) == 11


def test_rows_are_found_by_frame_timestamp_and_age() -> None:
    ledger = Ledger()
    for frame_id in range(1, 21):
        ledger.add(row(frame_id))
    found = ledger.by_frame(7)
    assert found is not None and found.frame_id == 7
    for pts in (7 * 9000 - 1, 7 * 9000, 7 * 9000 + 1):
        assert ledger.by_pts(pts) == found
    assert ledger.by_pts(7 * 9000 + 2) is None
    assert ledger.by_age(0.75) == found
    assert ledger.newest == ledger.by_frame(20)


def test_nothing_is_found_in_an_empty_ledger() -> None:
    ledger = Ledger()
    assert ledger.newest is None
    assert ledger.by_frame(1) is None and ledger.by_pts(0) is None and ledger.by_age(9.0) is None
    ledger.add(row(5))
    assert ledger.by_frame(4) is None and ledger.by_frame(6) is None and ledger.by_age(0.1) is None


def test_a_row_that_does_not_follow_is_refused() -> None:
    ledger = Ledger()
    ledger.add(row(1))
    with pytest.raises(ValueError, match="cannot follow"):
        ledger.add(row(3))
    with pytest.raises(ValueError, match="cannot follow"):
        ledger.add(row(2, pts90=9000))


def test_a_row_learns_when_its_frame_was_shown() -> None:
    ledger = Ledger()
    ledger.add(row(1))
    ledger.shown(1, 0.2)
    ledger.shown(99, 0.2)
    found = ledger.by_frame(1)
    assert found is not None and found.t_publish == 0.2
