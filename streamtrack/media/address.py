"""Addresses of network cameras, which may carry credentials and never show them."""

import re
from urllib.parse import unquote, urlsplit

from streamtrack.errors import ConfigError

CAMERA_SCHEMES = ("rtsp", "rtsps")


class Address:
    """The URL of a camera; its text forms hide user, password and parameters."""

    __slots__ = ("_shown", "_url", "path")

    def __init__(self, url: str) -> None:
        """Take a camera's URL.

        Raises:
            ConfigError: the scheme is not a camera's, or there is no host or no valid port.
        """
        scheme = url.split(":", 1)[0].lower()
        if scheme not in CAMERA_SCHEMES:
            raise ConfigError(
                f"A source of scheme {scheme}:// was given, but only rtsp:// and rtsps:// "
                "cameras can be read."
            )
        parsed = _split(url)
        if parsed is None:
            raise ConfigError(
                f"The {scheme}:// address is not understood; "
                f"write {scheme}://[USER:PASSWORD@]HOST[:PORT]/PATH, "
                "with special characters of the password as %XX."
            )
        host, port, self.path = parsed
        self._url = url
        self._shown = f"{scheme}://{host}{f':{port}' if port else ''}{_without_secrets(self.path)}"

    @property
    def host(self) -> str:
        """The host's name or number."""
        return urlsplit(self._url).hostname or ""

    def reveal(self) -> str:
        """Return the whole URL, credentials included, to open it and for nothing else."""
        return self._url

    def __str__(self) -> str:
        """Return the URL without user, password and parameters."""
        return self._shown

    def __repr__(self) -> str:
        """Return the same, marked as an address."""
        return f"Address({self._shown!r})"

    def __eq__(self, other: object) -> bool:
        """Compare whole URLs."""
        return isinstance(other, Address) and self._url == other._url

    def __hash__(self) -> int:
        """Hash the whole URL."""
        return hash(self._url)


def _split(url: str) -> tuple[str, int | None, str] | None:
    """Return host, port and path; None when the URL has no host or a wrong port.

    A password with a bare "/", "?" or "#" in it looks like a wrong port or like an "@"
    behind the host, so that no part of it is taken for something that may be shown.
    """
    try:
        parts = urlsplit(url)
        astray = ":" in parts.netloc and "@" not in parts.netloc and "@" in url
        if not parts.hostname or astray:
            return None
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return host, parts.port, unquote(parts.path)
    except ValueError:
        return None


def _without_secrets(path: str) -> str:
    """Hide the parts of a path in which cameras carry parameters, often a password."""
    return "/".join("***" if re.search("[=&@]", part) else part for part in path.split("/"))
