"""The control socket of one viewer: messages in, answers and the newest state out."""

import asyncio
import json
import logging
import secrets
import time
from collections import OrderedDict
from dataclasses import asdict, fields, replace
from typing import Any

from fastapi import WebSocket
from pydantic import BaseModel
from starlette.websockets import WebSocketDisconnect, WebSocketState

from streamtrack import __version__
from streamtrack.commands import Applied, Busy, Change, Click
from streamtrack.display.overlay import COLOURS
from streamtrack.errors import StreamtrackError
from streamtrack.lane import Command
from streamtrack.messages import Event, Message, ObjectNow, ObjectsNow, StatsNow
from streamtrack.serving import protocol, wire
from streamtrack.serving.binding import Bound, bind, glass_to_glass
from streamtrack.serving.hub import Hub
from streamtrack.serving.outbox import Outbox, TokenBucket
from streamtrack.serving.pinning import Pin
from streamtrack.serving.protocol import Refusal
from streamtrack.stream import Stream

logger = logging.getLogger(__name__)

REMEMBERED_IDS = 256
ANSWER_S = 30.0
"""A command that got no answer by then is given up."""
AUTH_S = 5.0
BAD_DATA, POLICY, TOO_BIG, INTERNAL, TRY_LATER = 1003, 1008, 1009, 1011, 1013


class ControlSession:
    """One open control socket; run() serves it until it ends."""

    def __init__(self, hub: Hub, stream: Stream, socket: WebSocket, *, authorized: bool) -> None:
        """Prepare to serve an accepted socket."""
        self.id = secrets.token_hex(4)
        self.wants_masks = False
        self._hub = hub
        self._stream = stream
        self._socket = socket
        self._authorized = authorized
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        self._bucket = TokenBucket(hub.config.limits.messages_per_s, time.monotonic())
        self._tasks: set[asyncio.Task[None]] = set()
        self._pinned = Pin(stream, self._loop)
        self._answered: OrderedDict[str, BaseModel | None] = OrderedDict()

    def tell(self, message: Message) -> None:
        """Take a message of the stream; from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._told, message)
        except RuntimeError:  # the loop has ended
            pass

    def _told(self, message: Message) -> None:
        if isinstance(message, Event):
            event = {"kind": message.kind, **message.facts}
            self._outbox.answer(wire.EventMessage(**event))
            if message.kind == "stream_ended":
                self._spawn(self._end(TRY_LATER, "The stream has ended."))
        else:
            self._outbox.state(message)

    async def run(self) -> None:
        """Serve the socket until either side ends it."""
        writer: asyncio.Task[None] | None = None
        try:
            if not self._authorized and not await self._authenticate():
                return
            self._outbox.answer(self._hello())
            self._stream.add_listener(self)
            writer = asyncio.create_task(self._write(), name=f"control-{self.id}")
            logger.info("[socket %s] controls stream %s", self.id, self._stream.id)
            await self._read()
        except WebSocketDisconnect:
            pass
        finally:
            self._stream.remove_listener(self)
            self._pinned.let_go()
            for task in (*self._tasks, *([writer] if writer else [])):
                task.cancel()
            logger.info("[socket %s] ends", self.id)

    async def _authenticate(self) -> bool:
        """Wait for the token; close the socket without it."""
        try:
            message = await asyncio.wait_for(self._received(), AUTH_S)
            parsed = protocol.parse_client(message)
            if isinstance(parsed, wire.Auth) and self._hub.gate.token_right(parsed.token):
                return True
        except (TimeoutError, StreamtrackError):
            pass
        refusal = wire.Error(
            code="forbidden", message='Send {"v": 1, "type": "auth", "token": ...} first.'
        )
        await self._send(refusal)
        await self._end(POLICY, "The token is missing or wrong.")
        return False

    async def _received(self) -> str | bytes:
        """Return the next message's text or bytes."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
        text = message.get("text")
        data: str | bytes = text if text is not None else message.get("bytes") or b""
        return data

    # In

    async def _read(self) -> None:
        """Handle messages until the socket ends."""
        while True:
            data = await self._received()
            try:
                if not self._bucket.take(time.monotonic()):
                    rate = self._hub.config.limits.messages_per_s
                    raise Refusal(
                        "rate_limited",
                        f"More than {rate:g} messages a second came; send fewer.",
                        _peeked_id(data),
                    )
                self._handle(protocol.parse_client(data))
            except (protocol.NotJson, protocol.TooLarge) as error:
                code = TOO_BIG if isinstance(error, protocol.TooLarge) else BAD_DATA
                await self._refuse_and_end(error, code)
                return
            except Refusal as error:
                self._refuse(error.error_code, str(error), error.message_id)

    async def _refuse_and_end(self, error: StreamtrackError, code: int) -> None:
        """Say what was wrong and close."""
        for task in self._tasks:
            task.cancel()
        await self._send(wire.Error(code="bad_message", message=str(error)))
        await self._end(code, str(error)[:100])

    def _handle(self, message: Any) -> None:
        """Do what one valid message asks."""
        if isinstance(message, wire.Ping):
            glass_s = glass_to_glass(self._stream, message.seen, time.monotonic())
            if glass_s is not None:
                self._hub.metrics.seen(self._stream.id, glass_s)
            glass_ms = None if glass_s is None else round(1000 * glass_s, 1)
            self._outbox.answer(wire.Pong(id=message.id, t=message.t, glass_ms=glass_ms))
        elif isinstance(message, wire.SettingsSet):
            self._set(message)
        elif isinstance(message, wire.PromptAdd):
            self._prompt(message)
        elif isinstance(message, wire.FramePin | wire.FrameUnpin):
            self._pin(message)
        elif not isinstance(message, wire.Auth):
            self._change(message)

    def _set(self, message: wire.SettingsSet) -> None:
        """Change the stream's overlay and this socket's masks."""
        if message.masks is not None:
            self.wants_masks = message.masks == "rle"
        if message.overlay is not None:
            changes = message.overlay.model_dump(exclude_none=True)
            self._stream.overlay = replace(self._stream.overlay, **changes)
            self._stream.announce(Event("settings_changed"))
        self._outbox.answer(wire.Settings(overlay=self._overlay(), masks=self._masks()))
        self._acknowledge(message)

    def _acknowledge(self, message: Any, object_id: int | None = None) -> None:
        """Confirm a command that carries an id."""
        if message.id is not None:
            self._outbox.answer(wire.Ack(id=message.id, object=object_id))

    def _change(self, message: Any) -> None:
        """Queue an undo, removal, reset or new name."""
        kinds: dict[type, Any] = {
            wire.PromptUndo: "undo",
            wire.ObjectRemove: "remove",
            wire.ObjectRename: "rename",
            wire.ObjectsReset: "reset",
        }
        change = Change(
            kinds[type(message)], getattr(message, "object", None), getattr(message, "name", "")
        )
        self._spawn(self._changed(message, change))

    async def _changed(self, message: Any, change: Change) -> None:
        """Await a change and confirm it."""
        if await self._applied(message.id, change) is not None:
            self._acknowledge(message, change.object_id)

    def _prompt(self, message: wire.PromptAdd) -> None:
        """Queue a prompt; one that was sent before gets the answer it got then."""
        if message.id in self._answered:
            if (known := self._answered[message.id]) is not None:
                self._outbox.answer(known)
            return
        now = time.monotonic()
        try:
            bound = bind(self._stream, message.at, now)
        except StreamtrackError as error:
            self._refuse(error.code, str(error), message.id)
            return
        bind_ms = 1000 * (time.monotonic() - now)
        click = Click(
            received=now,
            object_id=message.object,
            points_norm=tuple(message.points) if message.points else None,
            labels=self._labels(message),
            box_norm=message.box,
            frame_id=bound.row.frame_id if bound.row else None,
        )
        self._remember(message.id, None)
        self._spawn(self._clicked(message, click, bound, bind_ms))

    @staticmethod
    def _labels(message: wire.PromptAdd) -> tuple[int, ...] | None:
        """Return a label for each point."""
        if not message.points:
            return None
        return tuple(message.labels) if message.labels else (1,) * len(message.points)

    async def _clicked(
        self, message: wire.PromptAdd, click: Click, bound: Bound, bind_ms: float
    ) -> None:
        """Await a prompt and acknowledge it."""
        age_s = bound.age_s(click.received)
        if message.mask is not None:
            try:
                mask = await asyncio.to_thread(protocol.decoded_mask, message.mask)
            except Refusal as error:
                self._answered.pop(message.id, None)
                self._refuse(error.error_code, str(error), message.id)
                return
            click = replace(click, mask=mask)
        applied = await self._applied(message.id, click)
        if applied is None or applied.row is None or applied.object_id is None:
            self._answered.pop(message.id, None)  # nothing has changed: it may be sent again
            return
        parts = {"bind_ms": bind_ms, **asdict(applied.parts)}
        ack = wire.PromptAck(
            id=message.id,
            object=applied.object_id,
            frame_id=applied.row.frame_id,
            applied_at=applied.applied_at,
            mode="estimated" if bound.estimated else applied.mode,
            age_ms=None if age_s is None else round(1000 * age_s, 1),
            latency_ms=round(1000 * applied.latency_s, 1),
            parts=wire.PromptParts(**{name: round(ms, 2) for name, ms in parts.items()}),
        )
        self._hub.metrics.clicked(self._stream.id, ack.mode, applied.latency_s)
        self._remember(message.id, ack)
        self._outbox.answer(ack)

    def _pin(self, message: wire.FramePin | wire.FrameUnpin) -> None:
        """Keep one frame for this socket's prompts, or let it go."""
        if isinstance(message, wire.FrameUnpin):
            self._pinned.let_go()
            self._acknowledge(message)
            return
        try:
            frame_id = self._pinned.keep(bind(self._stream, message.at, time.monotonic()).row)
        except StreamtrackError as error:
            self._refuse(error.code, str(error), message.id)
            return
        if message.id is not None:
            self._outbox.answer(wire.Ack(id=message.id, frame_id=frame_id))

    async def _applied(self, message_id: str | None, command: Command) -> Applied | None:
        """Await what the tracker makes of a command; None when it was refused and said so."""
        try:
            answer = self._stream.submit(command)
            return await asyncio.wait_for(asyncio.wrap_future(answer), ANSWER_S)
        except TimeoutError:
            error: StreamtrackError = Busy("The tracker did not answer in time; try again.")
        except StreamtrackError as refused:
            error = refused
        self._refuse(error.code, str(error), message_id)
        return None

    def _refuse(self, code: str, message: str, message_id: str | None) -> None:
        """Answer with an error."""
        facts = {"code": code, "message": message, "id": message_id}
        self._outbox.answer(wire.Error.model_validate(facts))

    def _remember(self, message_id: str, answer: BaseModel | None) -> None:
        """Keep the answer to an id; None while it is being made."""
        self._answered[message_id] = answer
        while len(self._answered) > REMEMBERED_IDS:
            self._answered.popitem(last=False)

    def _spawn(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Out

    async def _write(self) -> None:
        """Send what waits; only this task waits for a slow viewer."""
        try:
            while not self._outbox.overflowed:
                await self._send(self._wire(await self._outbox.take()))
            await self._end(TRY_LATER, "This viewer reads too slowly.")
        except (WebSocketDisconnect, RuntimeError):
            pass  # the reader notices the end as well and cleans up

    def _wire(self, message: BaseModel | Message) -> BaseModel:
        """Return the model of a stream's message."""
        if isinstance(message, ObjectsNow):
            objects = [self._object(one) for one in message.objects]
            return wire.Objects(frame_id=message.frame_id, objects=objects)
        if isinstance(message, StatsNow):
            values = {field.name: getattr(message, field.name) for field in fields(message)}
            return wire.Stats(**values)
        assert isinstance(message, BaseModel)
        if isinstance(message, wire.EventMessage) and message.kind == "settings_changed":
            return wire.Settings(overlay=self._overlay(), masks=self._masks())
        return message

    def _object(self, one: ObjectNow) -> wire.ObjectInfo:
        """Return an object as this socket wants it."""
        rle = wire.Rle.model_validate(one.rle) if one.rle and self.wants_masks else None
        return wire.ObjectInfo(
            id=one.object_id,
            name=one.name,
            state=one.state,
            score=one.score,
            predicted_iou=one.predicted_iou,
            box=one.box,
            area=one.area,
            rle=rle,
        )

    def _hello(self) -> wire.Hello:
        """Return the first message."""
        stream, config, tracking = self._stream, self._hub.config, self._hub.tracking
        return wire.Hello(
            stream=stream.id,
            kind=stream.kind,
            state=stream.state,
            size=stream.size,
            model=tracking.model,
            device=tracking.device,
            limits=wire.Limits(
                objects=config.tracker.max_objects,
                points=protocol.MAX_POINTS,
                messages_per_s=config.limits.messages_per_s,
                message_bytes=protocol.MAX_MESSAGE_BYTES,
            ),
            objects=[self._object(one) for one in stream.objects.objects],
            colours=[f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in COLOURS],
            settings=wire.SettingsNow(overlay=self._overlay(), masks=self._masks()),
            version=__version__,
        )

    def _overlay(self) -> wire.Overlay:
        return wire.Overlay.model_validate(self._stream.overlay, from_attributes=True)

    def _masks(self) -> Any:
        return "rle" if self.wants_masks else "none"

    async def _send(self, message: BaseModel) -> None:
        data = message.model_dump(mode="json")
        if not self.wants_masks:
            for one in data.get("objects", ()):
                del one["rle"]
        await self._socket.send_text(json.dumps(data, separators=(",", ":")))

    async def _end(self, code: int, reason: str) -> None:
        """Close the socket if it is still open."""
        if self._socket.application_state == WebSocketState.CONNECTED:
            try:
                await self._socket.close(code, reason)
            except RuntimeError:
                pass  # the other side was quicker


def _peeked_id(data: str | bytes) -> str | None:
    """Return the id of a message that is refused unread, when that is cheap to find."""
    if len(data) > 4096:
        return None
    try:
        value = json.loads(data).get("id")
    except (ValueError, AttributeError, RecursionError):
        return None
    return value if isinstance(value, str) and 0 < len(value) <= 64 else None
