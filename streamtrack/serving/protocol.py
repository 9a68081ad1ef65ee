"""Reads the control socket's messages, without any input or output.

The models are in wire.py; docs/protocol.schema.json is made from them by schema().
"""

import json
import math
from typing import Any

from pydantic import TypeAdapter, ValidationError

from streamtrack.errors import ProtocolError, StreamtrackError, TooManyPoints
from streamtrack.masks import decode_rle
from streamtrack.resources import resource
from streamtrack.serving.wire import VERSION, ClientMessage, ErrorCode, Rle, ServerMessage

SUBPROTOCOL = "streamtrack.v1"
MAX_MESSAGE_BYTES = 64 * 1024
MAX_POINTS = 16
STREAM_ID = r"^[a-z0-9][a-z0-9_-]{0,63}$"


class NotJson(ProtocolError):
    """The message is not a JSON object; the socket is closed."""


class TooLarge(ProtocolError):
    """The message is larger than 64 KiB; the socket is closed."""


_CLIENT: TypeAdapter[Any] = TypeAdapter(ClientMessage)
_SERVER: TypeAdapter[Any] = TypeAdapter(ServerMessage)


class Refusal(StreamtrackError):
    """A message cannot be accepted: its code, its id where readable, and one sentence."""

    def __init__(self, code: ErrorCode, message: str, message_id: str | None = None) -> None:
        """Keep the facts."""
        super().__init__(message)
        self.error_code: ErrorCode = code
        self.message_id = message_id


def parse_client(text: str | bytes) -> Any:
    """Return the validated message of a client.

    Raises:
        NotJson: it is not a JSON object in text.
        TooLarge: it has more than 64 KiB.
        Refusal: it is not one of the protocol's messages.
    """
    size = len(text.encode() if isinstance(text, str) else text)
    if size > MAX_MESSAGE_BYTES:
        raise TooLarge(f"The message has {size} bytes; at most {MAX_MESSAGE_BYTES} are accepted.")
    if isinstance(text, bytes):
        raise NotJson("The message is binary; send one JSON object as text.")
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise NotJson("The message is not JSON; send one JSON object.") from None
    if not isinstance(raw, dict):
        raise NotJson("The message is not a JSON object; send one object per message.")
    return _validated(raw)


def _validated(raw: dict[str, Any]) -> Any:
    """Return the model of a JSON object."""
    message_id = raw.get("id")
    if not isinstance(message_id, str) or not 0 < len(message_id) <= 64:
        message_id = None
    if raw.get("v") != VERSION or isinstance(raw.get("v"), bool):
        given = "no version" if "v" not in raw else "another version"
        raise Refusal("bad_message", f'The message has {given}; it must say "v": 1.', message_id)
    points = raw.get("points")
    if raw.get("type") == "prompt.add" and isinstance(points, list) and len(points) > MAX_POINTS:
        raise Refusal(
            TooManyPoints.code,  # type: ignore[arg-type]
            f"The prompt has {len(points)} points; give at most {MAX_POINTS}.",
            message_id,
        )
    try:
        return _CLIENT.validate_python(_plain(raw))
    except ValidationError as error:
        code: ErrorCode = "bad_prompt" if _about_prompt(raw, error) else "bad_message"
        raise Refusal(code, sentence(error), message_id) from None


def _plain(value: Any) -> Any:
    """Refuse numbers that JSON does not have before any model sees them as something else."""
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number"
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _about_prompt(raw: dict[str, Any], error: ValidationError) -> bool:
    """Return whether only what the prompt says is wrong, not the message's form."""
    if raw.get("type") != "prompt.add":
        return False
    about = {"points", "labels", "box", "mask"}
    places = [problem["loc"][1:2] for problem in error.errors(include_url=False)]
    return all(not place or place[0] in about for place in places)


def sentence(error: ValidationError) -> str:
    """Return one sentence on the first thing that is wrong, without the value given."""
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    text = problem["msg"].removeprefix("Value error, ").rstrip(".")[:300]
    return f"{where}: {text}." if where else f"{text[:1].upper()}{text[1:]}."


def decoded_mask(rle: Rle) -> Any:
    """Return the (h, w) bool mask.

    Raises:
        Refusal: the run lengths are not a mask, or the mask is empty.
    """
    try:
        mask = decode_rle({"size": rle.size, "counts": rle.counts})
    except ValueError as error:
        raise Refusal("bad_prompt", str(error)) from None
    if not mask.any():
        raise Refusal("bad_prompt", "The mask is empty; it must mark at least one pixel.")
    return mask


def parse_server(text: str) -> Any:
    """Return the model of a server's message (for clients).

    Raises:
        ProtocolError: it is not one.
    """
    try:
        return _SERVER.validate_json(text)
    except ValidationError as error:
        raise ProtocolError(f"The server sent {sentence(error)}") from None


def schema() -> dict[str, Any]:
    """Return the JSON Schema of all messages."""
    own, shared = TypeAdapter.json_schemas(
        [("client", "validation", _CLIENT), ("server", "validation", _SERVER)]
    )
    client, server = own["client", "validation"], own["server", "validation"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "streamtrack control messages",
        "$defs": {**shared["$defs"], "ClientMessage": client, "ServerMessage": server},
        "anyOf": [{"$ref": "#/$defs/ClientMessage"}, {"$ref": "#/$defs/ServerMessage"}],
    }


if __name__ == "__main__":  # writes the schema anew: python -m streamtrack.serving.protocol
    _PLACE = resource("docs") / "protocol.schema.json"
    _PLACE.write_text(json.dumps(schema(), indent=1) + "\n", encoding="utf-8")
