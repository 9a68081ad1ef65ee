"""What waits for a slow viewer stays bounded."""

import asyncio

from streamtrack.messages import ObjectsNow, StatsNow
from streamtrack.serving.outbox import ANSWERS_KEPT, Outbox, TokenBucket
from streamtrack.serving.wire import Pong


def test_a_second_may_hold_a_second_worth_of_messages() -> None:
    bucket = TokenBucket(20.0, 0.0)
    assert [bucket.take(0.0) for _ in range(21)] == [True] * 20 + [False]
    assert bucket.take(0.05) and not bucket.take(0.05)
    assert sum(bucket.take(100.0) for _ in range(40)) == 20


async def test_answers_come_in_order_and_before_the_newest_state() -> None:
    outbox = Outbox()
    for frame_id in range(100):
        outbox.state(ObjectsNow(frame_id, ()))
    outbox.state(StatsNow(1, 1, 1, 1, 1, 0, 1))
    for number in range(3):
        outbox.answer(Pong(t=number))
    taken = [await outbox.take() for _ in range(5)]
    assert [one.t for one in taken[:3] if isinstance(one, Pong)] == [0, 1, 2]
    assert taken[3] == ObjectsNow(99, ()) and isinstance(taken[4], StatsNow)


async def test_taking_waits_for_something() -> None:
    outbox = Outbox()
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    outbox.answer(Pong(t=1))
    assert await taking == Pong(t=1)


def test_too_many_answers_are_noted_and_dropped() -> None:
    outbox = Outbox()
    for number in range(ANSWERS_KEPT):
        outbox.answer(Pong(t=number))
    assert not outbox.overflowed
    outbox.answer(Pong(t=0))
    assert outbox.overflowed
