"""A Python client of a running server: watch, publish and control streams.

async with Client("http://127.0.0.1:8080") as client:
    async with client.view("demo") as video, client.control("demo") as control:
        picture, rtp = await video.frame()
        ack = await control.click(0.4, 0.6, rtp=rtp)
"""

import asyncio
import contextlib
import itertools
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError
from av import VideoFrame
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect

from streamtrack.errors import NegotiationError, ProtocolError, SourceUnavailable, StreamtrackError
from streamtrack.serving.aiortc_compat import received_rtp_timestamp

SUBPROTOCOL = "streamtrack.v1"
REQUEST_S = 10.0
CLOSE_S = 5.0


class ServerRefused(StreamtrackError):
    """The server answered a request with an error."""

    def __init__(self, status: int, detail: str, headers: dict[str, str]) -> None:
        """Keep the HTTP status, the problem's sentence and the headers."""
        super().__init__(detail)
        self.status = status
        self.headers = headers


class CommandRefused(StreamtrackError):
    """The server answered a command with an error; its code is error_code."""

    def __init__(self, error_code: str, message: str) -> None:
        """Keep the protocol's error code and sentence."""
        super().__init__(message)
        self.error_code = error_code


@dataclass(frozen=True, slots=True)
class Response:
    """What the server answered to a request."""

    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes


class Client:
    """Talks to one server."""

    def __init__(self, url: str, token: str | None = None, *, codecs: Sequence[str] = ()) -> None:
        """Prepare to talk to a server.

        Args:
            url: of the server.
            token: that it asks for.
            codecs: to view with, such as ("VP8",); all that are known by default.
        """
        self._codecs = tuple(codecs)
        self._url = url.rstrip("/") + "/"
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hold nothing that must be closed."""

    async def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Response:
        """Return the answer to a request.

        Args:
            method: such as "GET".
            path: below the server's URL.
            body: what to send.
            **headers: more headers, with "_" for "-".

        Raises:
            ServerRefused: the status is 400 or more.
            SourceUnavailable: the server cannot be reached.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            urljoin(self._url, path), body, {**self._headers, **named}, method=method
        )
        return await asyncio.to_thread(_fetched, request)

    async def streams(self) -> list[dict[str, Any]]:
        """Return the server's streams."""
        found: list[dict[str, Any]] = json.loads((await self.request("GET", "api/v1/streams")).body)
        return found

    async def snapshot(self, stream: str, overlay: bool = True) -> bytes:
        """Return a stream's newest picture as JPEG."""
        path = f"api/v1/streams/{stream}/snapshot.jpg?overlay={int(overlay)}"
        return (await self.request("GET", path)).body

    @contextlib.asynccontextmanager
    async def view(self, stream: str) -> AsyncIterator["Video"]:
        """View a stream.

        Raises:
            ServerRefused: the server does not show it.
        """
        async with self._peer() as pc:
            video = Video(pc, self._codecs)
            session = await self._negotiate(pc, f"api/v1/streams/{stream}/whep")
            try:
                yield video
            finally:
                video.close()
                await self._delete(session)

    @contextlib.asynccontextmanager
    async def publish(
        self, stream: str, picture: Callable[[], NDArray[np.uint8]], fps: float = 25.0
    ) -> AsyncIterator[RTCPeerConnection]:
        """Publish what picture() draws, (H, W, 3) uint8 RGB, as a stream.

        Raises:
            ServerRefused: the server does not take it.
        """
        async with self._peer() as pc:
            pc.addTrack(DrawnTrack(picture, fps))
            session = await self._negotiate(pc, f"api/v1/streams/{stream}/whip")
            try:
                yield pc
            finally:
                await self._delete(session)

    @contextlib.asynccontextmanager
    async def control(self, stream: str) -> AsyncIterator["Control"]:
        """Control a stream's objects."""
        url = urljoin(self._url, f"api/v1/streams/{stream}/control").replace("http", "ws", 1)
        async with connect(
            url,
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
            additional_headers=self._headers,
            compression=None,
            open_timeout=REQUEST_S,
        ) as socket:
            control = Control(socket)
            try:
                await control.begin()
                yield control
            finally:
                control.close()

    @contextlib.asynccontextmanager
    async def _peer(self) -> AsyncIterator[RTCPeerConnection]:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        try:
            yield pc
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(pc.close(), CLOSE_S)

    async def _negotiate(self, pc: RTCPeerConnection, path: str) -> str:
        """Offer, apply the answer and return the session's path."""
        await pc.setLocalDescription(await pc.createOffer())
        offer = pc.localDescription.sdp.encode()
        answer = await self.request("POST", path, offer, content_type="application/sdp")
        session = answer.headers.get("location")
        if session is None:
            raise NegotiationError("The server's answer names no session; is it a WHEP server?")
        await pc.setRemoteDescription(RTCSessionDescription(answer.body.decode(), "answer"))
        return session

    async def _delete(self, session: str) -> None:
        with contextlib.suppress(ServerRefused, SourceUnavailable):  # it may have ended already
            await self.request("DELETE", session)


class Video:
    """The newest frame of a viewed stream."""

    def __init__(self, pc: RTCPeerConnection, codecs: Sequence[str] = ()) -> None:
        """Begin to receive on a connection that is not negotiated yet."""
        self._newest: VideoFrame | None = None
        self._arrived = asyncio.Event()
        self._ended = False
        self._task: asyncio.Task[None] | None = None
        transceiver = pc.addTransceiver("video", direction="recvonly")
        self._receiver = transceiver.receiver
        wanted = {f"video/{name}".lower() for name in codecs}
        known = RTCRtpReceiver.getCapabilities("video")
        chosen = [one for one in known.codecs if one.mimeType.lower() in wanted] if known else []
        if chosen:
            transceiver.setCodecPreferences(chosen)
        pc.on("track", self._start)

    def _start(self, track: MediaStreamTrack) -> None:
        self._task = asyncio.create_task(self._receive(track))

    async def _receive(self, track: MediaStreamTrack) -> None:
        """Keep only the newest frame."""
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame):
                    self._newest = frame
                    self._arrived.set()
        except MediaStreamError:
            self._ended = True
            self._arrived.set()

    async def frame(self, timeout: float = REQUEST_S) -> tuple[NDArray[np.uint8], int]:
        """Return the next frame, (H, W, 3) uint8 RGB, and its RTP timestamp.

        Raises:
            SourceUnavailable: the stream ended.
            TimeoutError: none came in time.
        """
        async with asyncio.timeout(timeout):
            while self._newest is None:
                if self._ended:
                    raise SourceUnavailable("The stream has ended.")
                self._arrived.clear()
                await self._arrived.wait()
        frame, self._newest = self._newest, None
        picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        return picture, received_rtp_timestamp(self._receiver, frame.pts or 0)

    def close(self) -> None:
        """Stop to receive."""
        if self._task is not None:
            self._task.cancel()


class DrawnTrack(MediaStreamTrack):
    """A video track of drawn pictures."""

    kind = "video"

    def __init__(self, picture: Callable[[], NDArray[np.uint8]], fps: float) -> None:
        """Draw at a steady rate."""
        super().__init__()
        self._picture = picture
        self._fps = fps
        self._count = 0
        self._begun = 0.0

    async def recv(self) -> VideoFrame:
        """Return the next picture when it is due."""
        events = asyncio.get_running_loop()
        if not self._count:
            self._begun = events.time()
        await asyncio.sleep(max(0.0, self._begun + self._count / self._fps - events.time()))
        frame = VideoFrame.from_ndarray(self._picture(), format="rgb24")
        frame.pts = int(self._count * 90_000 / self._fps)
        frame.time_base = VIDEO_TIME_BASE
        self._count += 1
        return frame


class Control:
    """An open control socket."""

    def __init__(self, socket: ClientConnection) -> None:
        """Use a connected socket."""
        self.hello: dict[str, Any] = {}
        self.objects: list[dict[str, Any]] = []
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue(1000)
        """Everything but answers to commands; the oldest is lost when nobody takes them."""
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Await the hello and begin to read.

        Raises:
            ProtocolError: something else came first.
        """
        hello = json.loads(await asyncio.wait_for(self._socket.recv(), REQUEST_S))
        if hello.get("type") != "hello":
            raise ProtocolError(f"The server said {hello.get('message', 'no hello')}.")
        self.hello, self.objects = hello, hello["objects"]
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if message["type"] == "objects":
                self.objects = message["objects"]
            waiting = self._waiting.pop(message.get("id") or "", None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
                continue
            if self.messages.full():
                self.messages.get_nowait()
            self.messages.put_nowait(message)

    async def send(self, message_type: str, **facts: Any) -> None:
        """Send a message that is not answered."""
        await self._socket.send(json.dumps({"v": 1, "type": message_type, **facts}))

    async def command(self, message_type: str, **facts: Any) -> dict[str, Any]:
        """Send a message and return its answer.

        Raises:
            CommandRefused: the answer is an error.
            TimeoutError: no answer came.
        """
        message_id = facts.pop("id", None) or f"c{next(self._ids)}"
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[message_id] = waiting
        await self.send(message_type, id=message_id, **facts)
        answer: dict[str, Any] = await asyncio.wait_for(waiting, REQUEST_S)
        if answer["type"] == "error":
            raise CommandRefused(answer["code"], answer["message"])
        return answer

    async def click(
        self,
        x: float,
        y: float,
        *,
        object: int | None = None,
        label: int = 1,
        rtp: int | None = None,
    ) -> dict[str, Any]:
        """Click at (x, y) in [0, 1] of a frame and return the acknowledgement.

        rtp names the frame that was seen, as Video.frame() returns it; None = the newest.
        """
        at = "latest" if rtp is None else {"rtp": rtp}
        return await self.command(
            "prompt.add", object=object, points=[[x, y]], labels=[label], at=at
        )

    async def next(self, message_type: str, timeout: float = REQUEST_S) -> dict[str, Any]:
        """Return the next message of a type, passing over others."""
        async with asyncio.timeout(timeout):
            while True:
                message = await self.messages.get()
                if message["type"] == message_type:
                    return message

    def close(self) -> None:
        """Stop to read."""
        if self._task is not None:
            self._task.cancel()


def _fetched(request: urllib.request.Request) -> Response:
    """Return the answer to a request, waiting for it."""
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_S) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Response(answer.status, headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            headers = {name.lower(): value for name, value in error.headers.items()}
            raise ServerRefused(error.code, _detail(error.read()), headers) from None
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        raise SourceUnavailable(f"The server at {request.host} cannot be reached.") from None


def _detail(body: bytes) -> str:
    """Return the sentence of a problem document."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return "The server refused the request without a reason."
