"""Who may use the server: the token, the Host and the Origin of a request."""

import base64
import hashlib
import hmac
import ipaddress
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from streamtrack.config import IceServer, ServerConfig
from streamtrack.errors import ConfigError

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def check_exposure(server: ServerConfig) -> None:
    """Refuse to open the server to other machines without protection.

    Raises:
        ConfigError: the address is not this machine's own and a token or TLS is missing.
    """
    if server.loopback:
        return
    if server.token is None:
        raise ConfigError(
            f"Listening on {server.host} lets other machines in; give a token (--token) first."
        )
    if server.tls_cert is None and not server.insecure:
        raise ConfigError(
            f"Listening on {server.host} without TLS sends the token in the clear; give "
            "server.tls_cert and server.tls_key, or server.insecure: true."
        )


class Gate:
    """Judges requests by their headers."""

    def __init__(self, server: ServerConfig) -> None:
        """Judge by a server's configuration."""
        self._token = server.token.get_secret_value() if server.token else None
        self._origins = {origin.rstrip("/").lower() for origin in server.allowed_origins}
        own = socket.gethostname().lower()
        names = {"localhost", own, f"{own}.local", server.host.lower()}
        self._hosts = names | {host.lower() for host in server.allowed_hosts}

    @property
    def needs_token(self) -> bool:
        """Whether the server asks for a token at all."""
        return self._token is not None

    def host_allowed(self, host: str | None) -> bool:
        """Return whether a Host header may be served.

        A page that rebinds its own name to this address shows that name here; an address or a
        name of ours cannot be rebound.
        """
        name = _split(f"//{host or ''}").hostname or ""
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.lower() in self._hosts
        return True

    def origin_allowed(self, origin: str | None, host: str | None) -> bool:
        """Return whether a page of this Origin may change things or open a socket.

        No Origin means no browser page: command-line tools and media encoders.
        """
        if origin is None:
            return True
        if origin.rstrip("/").lower() in self._origins:
            return True
        parts = _split(origin)
        return parts.scheme in ("http", "https") and parts.netloc.lower() == (host or "").lower()

    def token_right(self, token: str) -> bool:
        """Return whether this is the server's token, in constant time."""
        wanted = hashlib.sha256((self._token or "").encode()).digest()
        return hmac.compare_digest(wanted, hashlib.sha256(token.encode()).digest())

    def authorized(self, authorization: str | None) -> bool:
        """Return whether an Authorization header carries the token.

        Bearer for programs; Basic, with the token as password, since browsers ask for it.
        """
        if self._token is None:
            return True
        scheme, _, value = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            return self.token_right(value.strip())
        if scheme.lower() == "basic":
            try:
                pair = base64.b64decode(value.strip(), validate=True).decode()
            except ValueError:
                return False
            return self.token_right(pair.partition(":")[2])
        return False


def _split(url: str) -> SplitResult:
    """Return the parts of a URL; those of an empty one when it is malformed."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def ice_credentials(server: IceServer, now: float | None = None) -> Mapping[str, Any]:
    """Return {urls, username, credential} of a STUN or TURN server for one viewer.

    With a shared secret they end with time, as coturn's use-auth-secret has it: the username is
    the moment of expiry and the credential its HMAC-SHA1.
    """
    if server.secret is None:
        credential = server.credential.get_secret_value() if server.credential else None
        return {"urls": list(server.urls), "username": server.username, "credential": credential}
    expiry = str(int((time.time() if now is None else now) + server.ttl_s))
    digest = hmac.new(server.secret.get_secret_value().encode(), expiry.encode(), hashlib.sha1)
    return {
        "urls": list(server.urls),
        "username": expiry,
        "credential": base64.b64encode(digest.digest()).decode(),
    }
