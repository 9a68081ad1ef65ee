"""A click is bound to the frame its viewer saw, and to no other."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamtrack.client import CommandRefused, Control, Video
from streamtrack.serving.hub import Hub
from streamtrack.serving.peers import ViewerSession
from tests.patterns import BLOCK, NumberedSource, ResizingSource, block_left, number_of
from tests.servers import Served, served

CLICKS = 100


@asynccontextmanager
async def watched(
    loss: float = 0.0,
    codec: str = "H264",
    source: Callable[[], NumberedSource] = NumberedSource,
    **sections: Any,
) -> AsyncIterator[tuple[Served, Video, Control]]:
    """Give a server of numbered frames, a viewer behind a lossy link, and its control socket."""
    async with served(source=source, codecs=(codec,), **sections) as server:
        async with server.client.view("cam") as video, server.client.control("cam") as control:
            await video.frame()
            drop_packets(viewer(server.hub), loss)
            yield server, video, control


def viewer(hub: Hub) -> ViewerSession:
    [session] = hub.viewers.values()
    return session


def drop_packets(session: ViewerSession, share: float) -> None:
    """Lose a share of the RTP packets (not RTCP) on their way to the viewer."""
    transport = session.track.sender.transport  # type: ignore[union-attr]
    send: Callable[[bytes], Any] = transport._send_rtp
    rng = random.Random(1)

    async def lossy(data: bytes) -> None:
        if 192 <= data[1] <= 223 or rng.random() >= share:
            await send(data)

    transport._send_rtp = lossy


def bound_number(server: Served, frame_id: int) -> int:
    """Return the number that the picture of a frame carries, as the server has it."""
    frame = server.hub.streams["cam"].frame(frame_id)
    assert frame is not None
    return number_of(frame.picture)


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["H264", "VP8"])
@pytest.mark.parametrize("loss", [0.0, 0.02, 0.05])
async def test_a_hundred_clicks_are_bound_to_the_frames_that_were_seen(
    codec: str, loss: float
) -> None:
    rng = random.Random(2)
    right = 0
    async with watched(loss, codec) as (server, video, control):
        for _ in range(CLICKS):
            for _ in range(rng.randrange(1, 6)):
                picture, rtp = await video.frame()
            await asyncio.sleep(rng.uniform(0, 0.03))
            ack = await control.click(0.5, 0.9, object=1 if control.objects else None, rtp=rtp)
            right += bound_number(server, ack["frame_id"]) == number_of(picture)
            assert ack["mode"] in ("exact", "replayed") and ack["age_ms"] > 0
    assert right == CLICKS


@pytest.mark.parametrize("bound", [True, False])
async def test_a_click_on_a_fast_thing_selects_it_however_late_it_comes(bound: bool) -> None:
    """The thing crosses in less than a second, the click is 300 ms late; unbound it must miss."""
    hits = 0
    async with watched() as (_, video, control):
        for _ in range(10):
            picture, rtp = await video.frame()
            x = (block_left(number_of(picture)) + BLOCK / 2) / 320
            await asyncio.sleep(0.3)
            ack = await control.click(x, 0.5, rtp=rtp if bound else None)
            while not control.objects or control.objects[-1]["id"] != ack["object"]:
                await control.next("objects")
            hits += control.objects[-1]["area"] < 2 * BLOCK * 80
            await control.command("objects.reset")
    assert hits == 10 if bound else hits <= 5


async def test_a_late_click_is_replayed_and_says_so() -> None:
    async with watched() as (server, video, control):
        picture, rtp = await video.frame()
        await control.click(0.5, 0.9)
        await asyncio.sleep(0.3)
        ack = await control.click(0.5, 0.9, object=1, rtp=rtp)
        assert bound_number(server, ack["frame_id"]) == number_of(picture)
        assert ack["applied_at"] > ack["frame_id"] and ack["mode"] == "replayed"
        assert ack["age_ms"] >= 250


async def test_a_click_on_a_frame_out_of_the_window_is_stale() -> None:
    async with watched(window={"seconds": 0.2}) as (_, video, control):
        _, rtp = await video.frame()
        await asyncio.sleep(0.6)
        await refused(control, "stale_frame", at={"rtp": rtp})
        await refused(control, "stale_frame", at={"rtp": (rtp + 12345) % 2**32})
        await refused(control, "stale_frame", at={"frame_id": 10**6})
        assert control.objects == []


async def test_a_click_on_a_picture_of_another_size_is_stale() -> None:
    async with watched() as (_, video, control):
        _, rtp = await video.frame()
        await refused(control, "stale_frame", at={"rtp": rtp, "w": 640, "h": 480})
        await control.command(
            "prompt.add", points=[[0.5, 0.9]], at={"rtp": rtp, "w": 320, "h": 240}
        )


async def test_a_click_on_a_picture_from_before_a_change_of_size_is_stale() -> None:
    async with watched(source=ResizingSource) as (server, video, control):
        small, old = await video.frame()
        assert small.shape == (240, 320, 3)
        async with asyncio.timeout(20):
            while small.shape != (480, 640, 3):
                small, rtp = await video.frame()
        await refused(control, "stale_frame", at={"rtp": old})
        ack = await control.click(0.5, 0.9, rtp=rtp)
        assert bound_number(server, ack["frame_id"]) == number_of(small)


async def test_an_age_is_an_estimate_and_says_so() -> None:
    async with watched() as (server, video, control):
        await asyncio.sleep(0.5)
        ack = await control.command("prompt.add", points=[[0.5, 0.9]], at={"age_ms": 200})
        assert ack["mode"] == "estimated" and 200 <= ack["age_ms"] <= 400


async def test_a_pinned_frame_outlives_the_window() -> None:
    async with watched(window={"seconds": 0.2}) as (server, video, control):
        picture, rtp = await video.frame()
        pinned = await control.command("frame.pin", at={"rtp": rtp})
        await asyncio.sleep(0.6)
        ack = await control.click(0.5, 0.9, rtp=rtp)
        assert ack["frame_id"] == pinned["frame_id"]
        assert bound_number(server, ack["frame_id"]) == number_of(picture)
        await control.command("frame.unpin")
        await refused(control, "stale_frame", at={"rtp": rtp})


async def test_a_pin_is_let_go_with_its_socket() -> None:
    async with watched(window={"seconds": 0.2}) as (server, video, control):
        async with server.client.control("cam") as other:
            frame_id = (await other.command("frame.pin"))["frame_id"]
        stream = server.hub.streams["cam"]
        async with asyncio.timeout(5):
            while stream.frame(frame_id) is not None:
                await asyncio.sleep(0.05)


async def refused(control: Control, code: str, **facts: Any) -> None:
    with pytest.raises(CommandRefused) as caught:
        await control.command("prompt.add", points=[[0.5, 0.9]], **facts)
    assert caught.value.error_code == code
