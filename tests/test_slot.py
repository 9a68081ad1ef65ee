"""The slot keeps only the newest item and never makes its producer wait."""

import threading

from streamtrack.media.slot import Slot


def test_slot_gives_the_item_that_was_put() -> None:
    slot: Slot[str] = Slot()
    slot.put("a")
    assert slot.get(timeout=0) == "a"


def test_slot_keeps_only_the_newest_item() -> None:
    slot: Slot[int] = Slot()
    for item in range(5):
        slot.put(item)
    assert slot.get(timeout=0) == 4
    assert slot.get(timeout=0) is None


def test_put_says_whether_it_replaced_an_unread_item() -> None:
    slot: Slot[int] = Slot()
    assert slot.put(1) is False
    assert slot.put(2) is True
    slot.get(timeout=0)
    assert slot.put(3) is False


def test_slot_counts_what_it_accepted_and_what_it_dropped() -> None:
    slot: Slot[int] = Slot()
    for item in range(5):
        slot.put(item)
    assert (slot.accepted, slot.dropped) == (5, 4)


def test_an_item_that_is_read_does_not_count_as_dropped() -> None:
    slot: Slot[int] = Slot()
    for item in range(5):
        slot.put(item)
        slot.get(timeout=0)
    assert (slot.accepted, slot.dropped) == (5, 0)


def test_get_returns_none_when_nothing_comes_in_time() -> None:
    assert Slot[int]().get(timeout=0.001) is None


def test_a_falsy_item_is_still_an_item() -> None:
    slot: Slot[int] = Slot()
    slot.put(0)
    assert slot.get(timeout=0) == 0


def test_get_waits_for_an_item_from_another_thread() -> None:
    slot: Slot[str] = Slot()
    thread = threading.Thread(target=slot.put, args=("late",))
    thread.start()
    assert slot.get(timeout=5) == "late"
    thread.join()


def test_close_wakes_every_waiter() -> None:
    slot: Slot[int] = Slot()
    results: list[int | None] = []
    threads = [threading.Thread(target=lambda: results.append(slot.get())) for _ in range(3)]
    for thread in threads:
        thread.start()
    slot.close()
    for thread in threads:
        thread.join(timeout=5)
    assert results == [None, None, None]


def test_closing_twice_does_nothing_more() -> None:
    slot: Slot[int] = Slot()
    slot.close()
    slot.close()
    assert slot.closed


def test_a_closed_slot_ignores_what_is_put_and_counts_nothing() -> None:
    slot: Slot[int] = Slot()
    slot.close()
    assert slot.put(1) is False
    assert slot.get() is None
    assert (slot.accepted, slot.dropped) == (0, 0)
