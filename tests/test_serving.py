"""The server end to end: view, click, control and publish with the Python client."""

import asyncio
import gc
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamtrack.client import SUBPROTOCOL, Client, CommandRefused, Control, ServerRefused
from streamtrack.display.overlay import object_colour
from streamtrack.errors import SourceUnavailable
from streamtrack.serving import protocol
from streamtrack.serving.aiortc_compat import last_rtp_timestamp
from streamtrack.serving.broadcast import KEY_INTERVAL_S
from tests.fakes import DEVICE_GONE, FakeTracker, scene
from tests.servers import Served, served

BLUE = (0.85, 0.8)


def near(colour: NDArray[np.uint8], expected: tuple[int, int, int], within: int = 60) -> bool:
    return bool(np.abs(colour.astype(int) - expected).max() < within)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_viewer_clicks_and_sees_the_mask_until_it_is_removed() -> None:
    async with served() as server, server.client as client:
        async with client.view("cam") as video, client.control("cam") as control:
            assert control.hello["stream"] == "cam" and control.hello["objects"] == []
            assert control.hello["model"] == "fake" and control.hello["colours"][0] == "#ff4854"
            picture, _ = await video.frame()
            assert picture.shape == (240, 320, 3) and near(picture[200, 270], (30, 60, 220))
            ack = await control.click(*BLUE)
            assert (ack["object"], ack["mode"]) == (1, "exact")
            assert ack["frame_id"] == ack["applied_at"] and ack["latency_ms"] >= 0
            objects = (await control.next("objects"))["objects"]
            assert objects[0]["id"] == 1 and objects[0]["box"] == [240, 170, 300, 220]
            await painted(video, True)
            assert (await control.command("object.rename", object=1, name="box"))["type"] == "ack"
            await until(lambda: bool(control.objects) and control.objects[0]["name"] == "box")
            stats = await control.next("stats")
            assert stats["viewers"] == 1 and stats["fps_tracker"] > 0
            await control.command("object.remove", object=1)
            await painted(video, False)
            await until(lambda: control.objects == [])


async def painted(video: Any, wanted: bool) -> None:
    """Wait until the blue square is (or is not) covered with the colour of object 1."""
    async with asyncio.timeout(10):
        while True:
            picture, _ = await video.frame()
            mixed = tuple(
                int(0.55 * one + 0.45 * other)
                for one, other in zip((30, 60, 220), object_colour(1), strict=True)
            )
            if near(picture[185, 250], mixed if wanted else (30, 60, 220), 40):
                return


async def test_a_click_names_its_frame_by_the_timestamp_the_viewer_saw() -> None:
    async with served() as server, server.client as client:
        async with client.view("cam") as video, client.control("cam") as control:
            for _ in range(3):
                await video.frame()
            (session,) = server.hub.viewers.values()
            assert session.track.sender is not None
            seen = last_rtp_timestamp(session.track.sender)
            assert seen is not None
            row = server.hub.streams["cam"].row_by_rtp(seen)
            assert row is not None and row.t_publish is not None
            facts = {"points": [list(BLUE)], "labels": [1]}
            ack = await control.command("prompt.add", **facts, at={"rtp": seen})
            assert ack["age_ms"] is not None and ack["frame_id"] == row.frame_id
            never = (seen - 10**9) % 2**32
            with pytest.raises(CommandRefused, match="not known any more"):
                await control.command("prompt.add", **facts, at={"rtp": never})
            ack = await control.command("prompt.add", **facts, at={"age_ms": 80})
            assert ack["age_ms"] >= 80 and ack["mode"] == "estimated"


async def test_objects_survive_a_reconnection_and_undo_takes_back() -> None:
    async with served() as server, server.client as client:
        async with client.control("cam") as control:
            await first_frame(server)
            await control.click(*BLUE)
            await control.click(*BLUE, object=1)
        async with client.control("cam") as control:
            assert [one["id"] for one in control.hello["objects"]] == [1]
            await control.command("prompt.undo", object=1)
            await control.command("prompt.undo", object=1)
            await until(lambda: control.objects == [])
            await control.click(*BLUE)
            await control.command("objects.reset")
            await until(lambda: control.objects == [])


async def first_frame(server: Served) -> None:
    await until(lambda: server.hub.streams["cam"].size is not None)


async def refusal(control: Control, message_type: str, **facts: object) -> str:
    with pytest.raises(CommandRefused) as caught:
        await control.command(message_type, **facts)
    assert str(caught.value).endswith(".")
    return caught.value.error_code


async def test_every_refusal_has_its_code_and_leaves_the_socket_open() -> None:
    async with served() as server:
        async with server.client.control("cam") as control:
            await first_frame(server)
            points = [[0.5, 0.5]]
            assert await refusal(control, "nonsense") == "bad_message"
            assert await refusal(control, "prompt.add", points=[[2, 0]]) == "bad_prompt"
            assert await refusal(control, "prompt.add", points=points * 17) == "too_many_points"
            assert await refusal(control, "prompt.add", points=points, object=9) == "unknown_object"
            assert await refusal(control, "object.remove", object=9) == "unknown_object"
            mask = {"size": [2, 3], "counts": "6"}
            assert await refusal(control, "prompt.add", mask=mask) == "bad_prompt"
            server.tracker.fail = DEVICE_GONE
            assert await refusal(control, "prompt.add", points=points) == "internal"
            server.tracker.fail = None
            assert (await control.click(*BLUE))["object"] >= 1
            assert (await control.command("ping", t=1.5))["t"] == 1.5


async def test_the_objects_of_a_stream_are_limited() -> None:
    async with served(max_objects=1) as server, server.client.control("cam") as control:
        await first_frame(server)
        await control.click(*BLUE)
        points = [list(BLUE)]
        assert await refusal(control, "prompt.add", points=points) == "too_many_objects"


async def test_a_repeated_id_gets_the_same_answer_and_no_second_object() -> None:
    async with served() as server, server.client.control("cam") as control:
        await first_frame(server)
        facts = {"id": "k1", "points": [list(BLUE)], "labels": [1]}
        first = await control.command("prompt.add", **facts)
        assert await control.command("prompt.add", **facts) == first
        await until(lambda: len(control.objects) == 1)


async def test_too_many_messages_are_refused_and_the_socket_stays_open() -> None:
    async with served() as server, server.client.control("cam") as control:
        for number in range(40):
            await control.send("ping", t=number)
        assert (await control.next("error"))["code"] == "rate_limited"
        await asyncio.sleep(0.2)
        await control.send("ping", t=99)
        await control.next("pong")


@pytest.mark.parametrize(
    ("data", "code"),
    [("nonsense", 1003), (b"\x00", 1003), ("[]", 1003), (" " * 70_000, 1009)],
)
async def test_what_is_no_message_closes_the_socket_after_an_error(
    data: str | bytes, code: int
) -> None:
    async with served() as server:
        url = f"{server.url}api/v1/streams/cam/control".replace("http", "ws")
        async with connect(url, subprotocols=[SUBPROTOCOL], compression=None) as socket:
            assert json.loads(await socket.recv())["type"] == "hello"
            await socket.send(data)
            with pytest.raises(ConnectionClosed) as caught:
                messages = []
                while True:
                    messages.append(json.loads(await socket.recv()))
            assert messages[-1]["code"] == "bad_message"
            assert caught.value.rcvd is not None and caught.value.rcvd.code == code


@pytest.mark.parametrize(
    ("host", "stream", "origin", "protocols"),
    [
        ("127.0.0.1", "none", None, [SUBPROTOCOL]),
        ("127.0.0.1", "cam", "https://evil.example", [SUBPROTOCOL]),
        ("evil.example", "cam", None, [SUBPROTOCOL]),
        ("127.0.0.1", "cam", None, None),
    ],
)
async def test_sockets_of_strangers_are_refused(
    host: str, stream: str, origin: Any, protocols: Any
) -> None:
    async with served() as server:
        port = int(server.url.rstrip("/").rpartition(":")[2])
        url = f"ws://{host}:{port}/api/v1/streams/{stream}/control"
        with pytest.raises(InvalidStatus) as caught:
            async with connect(
                url, host="127.0.0.1", port=port, origin=origin, subprotocols=protocols
            ):
                pass
        assert caught.value.response.status_code == 403


async def test_overlay_and_mask_settings_reach_everyone_they_concern() -> None:
    async with served() as server, server.client as client:
        async with client.control("cam") as one, client.control("cam") as other:
            await first_frame(server)
            await one.command("settings.set", masks="rle", overlay={"outline": False})
            assert (await other.next("settings"))["overlay"]["outline"] is False
            await one.click(*BLUE)
            async with asyncio.timeout(10):
                while "rle" not in (objects := (await one.next("objects"))["objects"])[0]:
                    pass
            mask = protocol.decode_rle(objects[0]["rle"])
            assert mask.shape == (240, 320) and mask.sum() == objects[0]["area"]
            assert "rle" not in (await other.next("objects"))["objects"][0]


async def test_http_answers_of_a_healthy_server() -> None:
    async with served() as server, server.client as client:
        await first_frame(server)
        await until(lambda: server.hub.tracking.state == "ready")
        assert (await client.request("GET", "healthz")).status == 200
        assert (await client.request("HEAD", "")).status == 200
        assert (await client.request("GET", "readyz")).status == 200
        (stream,) = await client.streams()
        assert set(stream) == {
            "id",
            "kind",
            "state",
            "size",
            "fps",
            "model",
            "device",
            "viewers",
            "objects",
        }
        assert stream["size"] == [240, 320] and stream["state"] == "live"
        data = np.frombuffer(await client.snapshot("cam", overlay=False), np.uint8)
        assert np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)).shape == (240, 320, 3)
        page = await client.request("GET", "")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'self'" in page.headers["content-security-policy"]
        script = await client.request("GET", "app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        metrics = (await client.request("GET", "metrics")).body.decode()
        families = {family.name for family in text_string_to_metric_families(metrics)}
        assert {
            "streamtrack_frames",
            "streamtrack_viewers",
            "streamtrack_source_up",
            "streamtrack_event_loop_lag_seconds",
        } <= families


async def test_a_stream_without_a_frame_says_so() -> None:
    async with served() as server, server.client as client:
        server.hub._new_stream("dark", "camera")
        with pytest.raises(ServerRefused) as caught:
            await client.snapshot("dark")
        assert caught.value.status == 503
        async with client.control("dark") as control:
            assert control.hello["size"] is None
            assert await refusal(control, "prompt.add", points=[[0.5, 0.5]]) == "no_frame"


async def test_the_server_is_not_ready_before_its_model_and_tells_when_it_is() -> None:
    gate = threading.Event()
    async with served(gate=gate) as server, server.client as client:
        with pytest.raises(ServerRefused) as caught:
            await client.request("GET", "readyz")
        assert caught.value.status == 503 and "loading" in str(caught.value)
        async with client.view("cam") as video, client.control("cam") as control:
            await video.frame()
            assert control.hello["model"] == ""
            click = asyncio.create_task(control.click(*BLUE))
            await video.frame()  # the video goes on meanwhile
            gate.set()
            changed = await control.next("event")
            assert (changed["kind"], changed["model"]) == ("model_changed", "fake")
            assert (await click)["object"] == 1
        assert (await client.request("GET", "readyz")).status == 200


async def test_a_server_whose_sources_are_all_gone_is_not_ready() -> None:
    async with served() as server, server.client as client:
        await first_frame(server)
        server.hub.streams["cam"].source_changed("lost", "the camera is away")
        with pytest.raises(ServerRefused) as caught:
            await client.request("GET", "readyz")
        assert caught.value.status == 503


OFFER = {"content_type": "application/sdp"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "api/v1/streams/none/whep", b"v=0", OFFER, 404),
        ("POST", "api/v1/streams/cam/whep", b"v=0\r\nnonsense", OFFER, 400),
        ("POST", "api/v1/streams/cam/whep", b"nonsense", OFFER, 400),
        ("POST", "api/v1/streams/cam/whep", b"\xff\xfe", OFFER, 400),
        ("POST", "api/v1/streams/cam/whep", b"", OFFER, 400),
        ("POST", "api/v1/streams/cam/whep", b"v=0" + b" " * 70_000, OFFER, 413),
        ("POST", "api/v1/streams/cam/whep", b"{}", {"content_type": "application/json"}, 415),
        ("POST", "api/v1/streams/cam/whep", b"v=0", {**OFFER, "accept": "text/html"}, 406),
        ("POST", "api/v1/streams/cam/whep", b"v=0", {**OFFER, "origin": "http://evil"}, 403),
        ("POST", "api/v1/streams/cam/whep", b"v=0", {**OFFER, "host": "evil.example"}, 421),
        ("PATCH", "api/v1/streams/cam/whep", b"", OFFER, 405),
        ("DELETE", "api/v1/streams/cam/whep/none", None, {}, 404),
        ("POST", "api/v1/streams/cam/whip", b"v=0", OFFER, 409),
        ("POST", "api/v1/streams/new/whip", b"v=0", OFFER, 400),
        ("POST", "api/v1/streams/No%20Good/whip", b"v=0", OFFER, 400),
        ("GET", "api/v1/streams/none/snapshot.jpg", None, {}, 404),
        ("GET", "api/v1/streams/cam/snapshot.jpg?overlay=perhaps", None, {}, 422),
        ("GET", "api/v1/nothing", None, {}, 404),
        ("GET", "../pyproject.toml", None, {}, 404),
        ("GET", "%2e%2e/pyproject.toml", None, {}, 404),
    ],
)
async def test_http_refusals_are_problem_documents(
    method: str, path: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    async with served() as server:
        with pytest.raises(ServerRefused) as caught:
            await server.client.request(method, path, body, **headers)
        assert caught.value.status == status
        assert caught.value.headers["content-type"] == "application/problem+json"
        assert str(caught.value).endswith(".")
        assert list(server.hub.streams) == ["cam"] and not server.hub.viewers


async def test_ice_servers_are_told_before_and_with_the_answer() -> None:
    turn = {"urls": ["turn:127.0.0.1:9"], "secret": "north"}
    async with served(server={"ice_servers": [turn]}) as server, server.client as client:
        answer = await client.request("OPTIONS", "api/v1/streams/cam/whep")
        assert answer.status == 204 and answer.headers["accept-post"] == "application/sdp"
        link = answer.headers["link"]
        assert link.startswith('<turn:127.0.0.1:9>; rel="ice-server"; username="')
        assert "north" not in link


async def test_viewers_are_limited_and_a_place_is_free_again_afterwards() -> None:
    async with served(limits={"viewers": 1}) as server, server.client as client:
        async with client.view("cam"):
            with pytest.raises(ServerRefused) as caught:
                async with client.view("cam"):
                    pass
            assert caught.value.status == 503 and caught.value.headers["retry-after"]
        async with client.view("cam") as video:
            await video.frame()


WATCH = """
import asyncio, sys
from streamtrack.client import Client
async def watch():
    async with Client(sys.argv[1]).view("cam") as video:
        while True:
            await video.frame()
            print("frame", flush=True)
asyncio.run(watch())
"""


async def test_a_viewer_who_vanishes_is_let_go_and_one_who_stays_is_not() -> None:
    async with served(limits={"viewer_timeout_s": 2.0}) as server, server.client as client:
        watcher = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WATCH, server.url, stdout=asyncio.subprocess.PIPE
        )
        assert watcher.stdout is not None
        async with client.view("cam") as video:
            await asyncio.wait_for(watcher.stdout.readline(), 20)
            assert server.hub.streams["cam"].viewers == 2
            watcher.kill()
            await watcher.communicate()
            await until(lambda: server.hub.streams["cam"].viewers == 1)
            await asyncio.sleep(1.0)
            await video.frame()
            assert len(server.hub.viewers) == 1


def still() -> NDArray[np.uint8]:
    return scene(0)


async def test_a_published_camera_becomes_a_stream_that_can_be_clicked() -> None:
    async with served() as server, server.client as client:
        async with client.publish("phone", still):
            async with client.view("phone") as video, client.control("phone") as control:
                picture, _ = await video.frame()
                assert picture.shape == (240, 320, 3)
                assert control.hello["kind"] == "publisher"
                assert (await control.click(*BLUE))["object"] == 1
                await painted(video, True)
            with pytest.raises(ServerRefused) as caught:
                async with client.publish("phone", still):
                    pass
            assert caught.value.status == 409


async def test_a_publisher_may_return_and_finds_its_objects() -> None:
    async with served() as server, server.client as client:
        async with client.publish("phone", still):
            async with client.control("phone") as control:
                await until(lambda: server.hub.streams["phone"].size is not None)
                await control.click(*BLUE)
        stream = server.hub.streams["phone"]
        assert stream.state == "lost"
        async with client.publish("phone", lambda: scene(0, (480, 640))):
            await until(lambda: stream.size == (480, 640))
            assert server.hub.streams["phone"] is stream and stream.state == "live"
            assert [one.object_id for one in stream.objects.objects] == [1]


async def test_the_stream_of_a_publisher_who_stays_away_ends() -> None:
    async with served(limits={"publisher_grace_s": 0.2}) as server, server.client as client:
        async with client.publish("phone", still):
            await until(lambda: server.hub.streams["phone"].state == "live")
            async with client.view("phone") as video:
                await video.frame()
        await until(lambda: "phone" not in server.hub.streams)
        await until(lambda: not server.hub.viewers)


async def test_the_size_of_a_published_camera_may_change() -> None:
    size = [(240, 320)]
    async with served() as server, server.client as client:
        async with client.publish("phone", lambda: scene(0, size[0])):
            await until(lambda: "phone" in server.hub.streams)
            stream = server.hub.streams["phone"]
            await until(lambda: stream.size == (240, 320))
            async with client.control("phone") as control:
                await control.click(*BLUE)
                size[0] = (480, 640)
                await until(lambda: stream.size == (480, 640))
                row = stream.ledger.newest
                assert row is not None and row.epoch >= 1
                await until(lambda: bool(control.objects) and control.objects[0]["area"] > 0)


async def test_a_token_is_asked_for_everywhere_but_for_health() -> None:
    async with served(token="right") as server:
        stranger = Client(server.url)
        for method, path in [
            ("GET", ""),
            ("GET", "api/v1/streams"),
            ("GET", "metrics"),
            ("POST", "api/v1/streams/cam/whep"),
            ("DELETE", "api/v1/streams/cam/whep/x"),
            ("GET", "api/v1/streams/cam/snapshot.jpg"),
        ]:
            with pytest.raises(ServerRefused) as caught:
                await stranger.request(method, path, **OFFER)
            assert caught.value.status == 401
        assert (await stranger.request("GET", "healthz")).status == 200
        assert await server.client.streams()
        async with server.client.control("cam") as control:
            assert control.hello["stream"] == "cam"


@pytest.mark.parametrize(("token", "kind"), [("right", "hello"), ("wrong", "error")])
async def test_a_socket_may_give_the_token_as_its_first_message(token: str, kind: str) -> None:
    async with served(token="right") as server:
        url = f"{server.url}api/v1/streams/cam/control".replace("http", "ws")
        async with connect(url, subprotocols=[SUBPROTOCOL], compression=None) as socket:
            await socket.send(json.dumps({"v": 1, "type": "auth", "token": token}))
            message = json.loads(await socket.recv())
            assert message["type"] == kind
            if kind == "error":
                assert message["code"] == "forbidden"
                with pytest.raises(ConnectionClosed):
                    await socket.recv()


async def test_a_viewer_who_does_not_read_holds_nobody_up() -> None:
    async with served() as server, server.client as client:
        url = f"{server.url}api/v1/streams/cam/control".replace("http", "ws")
        async with (
            connect(
                url, subprotocols=[SUBPROTOCOL], compression=None, max_queue=1, close_timeout=0.1
            ) as sleeper,
            client.control("cam") as control,
        ):
            await first_frame(server)
            await sleeper.send(json.dumps({"v": 1, "type": "settings.set", "masks": "rle"}))
            await control.click(*BLUE)
            for _ in range(20):
                await control.next("objects")


async def test_a_server_ends_with_all_its_threads_and_tasks() -> None:
    before = {thread.name for thread in threading.enumerate()}
    tasks = len(asyncio.all_tasks())
    async with served() as server, server.client as client:
        async with client.view("cam") as video, client.control("cam") as control:
            await video.frame()
            await control.click(*BLUE)
        async with client.publish("phone", still):
            await until(lambda: server.hub.streams["phone"].state == "live")
    gc.collect()
    ours = {"tracking", "display-", "capture-", "source", "video-decoder"}

    def left() -> set[str]:
        names = {thread.name for thread in threading.enumerate()} - before
        return {name for name in names if any(name.startswith(one) for one in ours)}

    await until(lambda: not left())
    await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_a_server_that_is_gone_is_said_so() -> None:
    async with served() as server:
        url = server.url
    with pytest.raises(SourceUnavailable):
        await Client(url).streams()


def test_the_client_speaks_the_same_protocol() -> None:
    assert SUBPROTOCOL == protocol.SUBPROTOCOL
    assert FakeTracker().model == "fake"


async def test_a_viewer_learns_how_long_a_frame_took_from_camera_to_display() -> None:
    async with served() as server, server.client as client:
        async with client.view("cam") as video, client.control("cam") as control:
            for _ in range(3):
                _, rtp = await video.frame()
            await control.send("ping", t=1, seen={"rtp": rtp, "ago_ms": 0, "rtt_ms": 0})
            pong = await control.next("pong")
            assert 0 < pong["glass_ms"] < 5000
            await control.send("ping", t=2)
            assert (await control.next("pong"))["glass_ms"] is None
            text = server.hub.metrics.text().decode()
            assert 'streamtrack_glass_to_glass_seconds_count{stream="cam"} 1.0' in text


async def test_a_viewer_that_lost_too_much_gets_a_key_frame() -> None:
    async with served() as server, server.client as client:
        async with client.view("cam") as video:
            for _ in range(5):
                await video.frame()
            broadcast = server.hub.broadcasts["cam"]
            before = broadcast.now().key_frames
            await asyncio.sleep(KEY_INTERVAL_S)
            (session,) = server.hub.viewers.values()
            assert session.track.sender is not None
            await video._receiver._send_rtcp_pli(session.track.sender._ssrc)
            await until(lambda: broadcast.now().key_frames == before + 1)
            await video.frame()
            assert broadcast.now().bitrate_bps > 0 and broadcast.now().sent_bytes > 0
