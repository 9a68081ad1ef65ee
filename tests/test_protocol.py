"""Every message is validated, and the schema and examples say the same as the models."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtrack.resources import resource
from streamtrack.serving import protocol, wire
from streamtrack.serving.protocol import NotJson, Refusal, TooLarge, parse_client, parse_server

EXAMPLES: dict[str, list[Any]] = json.loads(
    (Path(__file__).parent / "examples" / "protocol.json").read_text()
)


def prompt(**changes: object) -> str:
    message = {"v": 1, "type": "prompt.add", "id": "a", "points": [[0.5, 0.5]], "labels": [1]}
    return json.dumps({**message, **changes})


def refused(text: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse_client(text)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    return caught.value


@pytest.mark.parametrize("message", EXAMPLES["client"], ids=lambda one: one["type"])
def test_examples_of_client_messages_are_valid(message: dict[str, Any]) -> None:
    assert parse_client(json.dumps(message)).type == message["type"]


@pytest.mark.parametrize("message", EXAMPLES["server"], ids=lambda one: one["type"])
def test_examples_of_server_messages_are_valid(message: dict[str, Any]) -> None:
    assert parse_server(json.dumps(message)).type == message["type"]


@pytest.mark.parametrize("case", EXAMPLES["refused"], ids=lambda one: one["why"])
def test_examples_of_wrong_messages_are_refused(case: dict[str, Any]) -> None:
    error = refused(json.dumps(case["message"]))
    assert error.error_code == case["code"]
    assert error.message_id == case["message"].get("id")


def test_every_type_has_an_example() -> None:
    text = json.dumps(protocol.schema())
    for side in ("client", "server"):
        for message in EXAMPLES[side]:
            assert f'"const": "{message["type"]}"' in text
    named = {message["type"] for side in ("client", "server") for message in EXAMPLES[side]}
    known = {
        model.model_fields["type"].default
        for model in vars(wire).values()
        if isinstance(model, type) and "type" in getattr(model, "model_fields", {})
    }
    assert named == known


def test_the_published_schema_is_that_of_the_models() -> None:
    published = json.loads(resource("docs/protocol.schema.json").read_text())
    assert published == protocol.schema(), "run python -m streamtrack.serving.protocol"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_lacks_are_refused(number: str) -> None:
    text = prompt(points="POINTS").replace('"POINTS"', f"[[{number}, 0.5]]")
    assert refused(text).error_code == "bad_prompt"
    ping = '{"v":1,"type":"ping","t":NUMBER}'.replace("NUMBER", number)
    assert refused(ping).error_code == "bad_message"


def test_seventeen_points_are_too_many_and_sixteen_are_not() -> None:
    points = [[0.5, 0.5]] * 17
    assert refused(prompt(points=points, labels=[1] * 17)).error_code == "too_many_points"
    parse_client(prompt(points=points[:16], labels=[1] * 16))


@pytest.mark.parametrize("text", ["", "x", "[]", "1", '"a"', "null", b"\x00\x01", "[" * 10_000])
def test_what_is_no_json_object_in_text_closes_the_socket(text: str | bytes) -> None:
    with pytest.raises(NotJson):
        parse_client(text)


def test_more_than_64_kib_close_the_socket() -> None:
    fits = prompt(id="a")
    parse_client(fits + " " * (64 * 1024 - len(fits)))
    with pytest.raises(TooLarge):
        parse_client(fits + " " * (64 * 1024 - len(fits) + 1))


def test_a_mask_is_decoded_and_an_empty_or_broken_one_refused() -> None:
    mask = protocol.decoded_mask(wire.Rle(size=[2, 3], counts="24"))
    assert mask.shape == (2, 3) and mask.sum() == 4
    for counts in ("6", "99", "", "\x01", "0" * 1000):
        with pytest.raises(Refusal) as caught:
            protocol.decoded_mask(wire.Rle(size=[2, 3], counts=counts))
        assert caught.value.error_code == "bad_prompt"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
KEYS = ["id", "object", "points", "labels", "box", "mask", "at", "name", "overlay", "masks", "t"]
TYPES = [message["type"] for message in EXAMPLES["client"]]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5))
def test_nothing_a_client_may_send_breaks_the_parser(kind: str, facts: dict[str, Any]) -> None:
    try:
        parse_client(json.dumps({"v": 1, "type": kind, **facts}))
    except (Refusal, NotJson) as error:
        assert str(error)
