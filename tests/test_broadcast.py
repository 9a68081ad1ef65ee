"""Encoded once for all: who falls behind skips to a key frame and disturbs nobody."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from streamtrack.media.encoder import EncoderSettings
from streamtrack.media.frame import Frame
from streamtrack.serving.broadcast import KEY_INTERVAL_S, Broadcast
from streamtrack.serving.tracks import QUEUED, Packed, PacketTrack
from streamtrack.stream import Stream, StreamOptions
from streamtrack.tracking_thread import TrackingThread
from tests.fakes import FakeClock, FakeTracker, scene


@asynccontextmanager
async def broadcasting(fps: float = 50.0) -> AsyncIterator[tuple[Stream, Broadcast]]:
    """Give a stream that is fed, and its broadcast."""
    thread = TrackingThread(FakeTracker)
    thread.start()
    stream = Stream("cam", "camera", thread, StreamOptions(max_fps=1e9))
    ended = threading.Event()

    def feed() -> None:
        index = 0
        while not ended.wait(1 / fps):
            stream.ingest(Frame(scene(index), time.monotonic()))
            index += 1

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield stream, Broadcast(stream, EncoderSettings(encoder="x264"))
    finally:
        ended.set()
        feeder.join()
        stream.close()
        thread.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_viewers_get_the_same_packets_and_the_last_one_ends_the_encoder() -> None:
    async with broadcasting() as (stream, broadcast):
        tracks = [PacketTrack(broadcast.need_key) for _ in range(3)]
        for track in tracks:
            broadcast.add(track)
        taken = await asyncio.gather(*(track.recv() for track in tracks))
        assert all(one.key for one in taken)
        assert stream.viewers == broadcast.people == 3
        more = [await track.recv() for track in tracks for _ in range(4)]
        by_pts: dict[int, set[int]] = {}
        for one in (*taken, *more):
            by_pts.setdefault(one.pts90, set()).add(id(one))
        assert all(len(same) == 1 for same in by_pts.values()), "encoded once"
        for track in tracks:
            broadcast.remove(track)
            broadcast.remove(track)
        assert stream.viewers == 0
        await until(lambda: not any(t.name == "encoder-cam" for t in threading.enumerate()))


async def test_who_joins_later_begins_with_a_key_frame_of_its_own() -> None:
    async with broadcasting() as (_, broadcast):
        first, second = PacketTrack(broadcast.need_key), PacketTrack(broadcast.need_key)
        broadcast.add(first)
        seen = [await first.recv() for _ in range(25)]
        assert [one.key for one in seen[1:]].count(True) == 0, "no key frame without need"
        broadcast.add(second)
        begun = time.monotonic()
        assert (await second.recv()).key
        assert time.monotonic() - begun < 1.0
        assert broadcast.now().key_frames == 2


async def test_a_viewer_on_a_source_that_stands_still_sees_it_soon() -> None:
    async with broadcasting(fps=0.2) as (stream, broadcast):
        stream.ingest(Frame(scene(0), time.monotonic()))
        first, second = PacketTrack(broadcast.need_key), PacketTrack(broadcast.need_key)
        broadcast.add(first)
        assert (await asyncio.wait_for(first.recv(), 0.9)).key
        await asyncio.sleep(KEY_INTERVAL_S)
        broadcast.add(second)
        assert (await asyncio.wait_for(second.recv(), 0.9)).key


def packed(pts90: int, key: bool = False) -> Packed:
    return Packed([b"x"], pts90, key, 1)


async def test_a_viewer_that_falls_behind_skips_to_the_next_key_frame() -> None:
    asked: list[float] = []
    clock = FakeClock()
    track = PacketTrack(lambda joining: asked.append(clock.now), clock)
    track.put(packed(0, key=True))
    waiting = asyncio.ensure_future(track.recv())
    await asyncio.sleep(0)
    assert asked == [100.0], "the first one is asked for once it can be sent"
    track.put(packed(9))
    track.put(packed(18, key=True))
    assert (await waiting).pts90 == 18, "nothing before a key frame can be shown"
    clock.advance(20)
    for pts90 in range(27, 27 + 9 * (QUEUED + 3), 9):
        track.put(packed(pts90))
    assert asked == [100.0, 120.0] and track.dropped >= 3
    assert [(await track.recv()).pts90 for _ in range(QUEUED)] == [27, 36]
    track.put(packed(90))
    track.put(packed(99, key=True))
    track.put(packed(108))
    assert [(await track.recv()).pts90 for _ in range(2)] == [99, 108]


async def test_one_viewer_asks_for_key_frames_ever_more_rarely() -> None:
    asked: list[float] = []
    clock = FakeClock()
    track = PacketTrack(lambda joining: asked.append(clock.now), clock)
    for _ in range(200):
        track.need_key()
        clock.advance(0.1)
    assert 5 <= len(asked) <= 9, asked
    clock.advance(30)
    track.need_key()
    assert asked[-1] == pytest.approx(clock.now), "after a calm time at once"


async def test_the_bitrate_follows_the_lines_but_not_the_weakest_of_many() -> None:
    stream = SimpleNamespace(add_viewer=lambda one: None, remove_viewer=lambda one: None)
    stream.meters = {"in": SimpleNamespace(rate=lambda: 30.0)}
    stream.id = "cam"
    settings = EncoderSettings(2_000_000, 300_000, 4_000_000, "x264")
    broadcast = Broadcast(stream, settings)  # type: ignore[arg-type]
    lines = [SimpleNamespace(remb_bps=None, lost=None) for _ in range(5)]
    for line in lines:
        line.take_loss = lambda line=line: line.lost
        track = PacketTrack(broadcast.need_key)
        track.pacer = line  # type: ignore[assignment]
        broadcast.add(track)

    def settled() -> int:
        for _ in range(30):
            broadcast.adapt()
        return broadcast.now().bitrate_bps

    assert settled() == 4_000_000, "nobody complains"
    lines[0].remb_bps = 100_000
    for line in lines[1:]:
        line.remb_bps = 3_000_000
    assert settled() == 2_700_000, "one weak line of five does not count"
    for line in lines:
        line.remb_bps = 1_000_000
    broadcast.adapt()
    assert broadcast.now().bitrate_bps == 900_000, "it falls at once"
    for line in lines:
        line.remb_bps, line.lost = 4_000_000, 0.3
    before = broadcast.now().bitrate_bps
    broadcast.adapt()
    assert broadcast.now().bitrate_bps == pytest.approx(0.85 * before, rel=0.01)
    for line in lines:
        line.lost = 0.05
    held = broadcast.now().bitrate_bps
    assert settled() == held, "some loss: no more, no less"
    for track in tuple(broadcast._tracks):
        broadcast.remove(track)
