"""Tokens, hosts, origins and short-lived TURN credentials."""

import base64

import pytest

from streamtrack.config import IceServer, load_config
from streamtrack.errors import ConfigError
from streamtrack.serving.auth import Gate, check_exposure, ice_credentials


def gate(**server: object) -> Gate:
    return Gate(load_config(None, {"server": server}).server)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8080", True),
        ("localhost:8080", True),
        ("[::1]:8080", True),
        ("192.0.2.7", True),
        ("cameras.example:8080", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("[::1", False),
        ("127.0.0.1.evil.example:8080", False),
        ("", False),
        (None, False),
    ],
)
def test_only_own_names_and_addresses_are_served(host: str | None, allowed: bool) -> None:
    assert gate(allowed_hosts=["cameras.example"]).host_allowed(host) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://127.0.0.1:8080", True),
        ("https://127.0.0.1:8080", True),
        ("https://friend.example", True),
        ("http://127.0.0.1:9090", False),
        ("http://localhost:8080", False),
        ("https://evil.example", False),
        ("null", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_only_own_and_named_origins_may_change_things(origin: str | None, allowed: bool) -> None:
    assert (
        gate(allowed_origins=["https://friend.example/"]).origin_allowed(origin, "127.0.0.1:8080")
        is allowed
    )


def test_the_token_is_accepted_as_bearer_and_as_password() -> None:
    judge = gate(token="s3cret")
    basic = base64.b64encode(b"anyone:s3cret").decode()
    assert judge.authorized("Bearer s3cret") and judge.authorized(f"Basic {basic}")
    for wrong in (None, "", "Bearer", "Bearer no", "Basic !!", "Basic czNjcmV0", "s3cret"):
        assert not judge.authorized(wrong)
    assert gate().authorized(None), "without a token nobody is asked"


def test_a_server_without_token_takes_no_token_for_right() -> None:
    assert not gate(token="x").token_right("")


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"host": "0.0.0.0"}, "token"),
        ({"host": "0.0.0.0", "token": "x"}, "TLS"),
        ({"host": "::", "token": "x"}, "TLS"),
    ],
)
def test_other_machines_are_let_in_only_with_protection(
    server: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        check_exposure(load_config(None, {"server": server}).server)


def test_protected_and_local_servers_may_open() -> None:
    for server in (
        {},
        {"host": "0.0.0.0", "token": "x", "insecure": True},
        {"host": "0.0.0.0", "token": "x", "tls_cert": "c", "tls_key": "k"},
    ):
        check_exposure(load_config(None, {"server": server}).server)


def test_turn_credentials_end_with_time() -> None:
    server = IceServer(urls=("turn:turn.example:3478",), secret="north", ttl_s=600)
    facts = ice_credentials(server, now=1_000_000.0)
    assert facts["username"] == "1000600"
    assert facts["credential"] == "HpDldf0chzhAme2mgP9t+HkbPpc="  # openssl dgst -sha1 -hmac north


def test_fixed_credentials_are_given_as_they_are() -> None:
    server = IceServer(urls=("turn:a",), username="me", credential="pass")
    assert ice_credentials(server) == {
        "urls": ["turn:a"],
        "username": "me",
        "credential": "pass",
    }
