"""Where frames come from: parse what a person wrote, and open it."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from av.error import FFmpegError

from streamtrack.errors import ConfigError, SourceError
from streamtrack.media.address import Address
from streamtrack.media.container import ContainerSource, Opening
from streamtrack.media.demo_source import DemoSource, parse_demo
from streamtrack.media.devices import webcam
from streamtrack.media.folder import FolderSource
from streamtrack.media.frame import Frame
from streamtrack.media.rtsp import rtsp_camera

SourceKind = Literal["webcam", "rtsp", "file", "folder", "demo"]

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_NAMED = re.compile(r"([^=:/\\?.]*)=(.*)", re.DOTALL)  # "ID=", which no URL or path begins with

_FILE_TIMEOUT_S = (30.0, 30.0)
"""Longest waits for a file, which may lie on a slow network drive (guess)."""


class Source(Protocol):
    """Frames of one camera, file, folder or drawn scene."""

    live: bool
    """Whether it is camera-like: the newest frame wins, and what is lost comes back."""
    description: str
    """What people read; never a credential."""
    fps: float | None
    """Nominal frames per second, once known."""

    def frames(self) -> Iterator[Frame]:
        """Open the source and yield frames until it ends; waits for each.

        Raises:
            SourceUnavailable: it cannot be reached now; trying again may help.
            SourceError: trying again will not help.
        """
        ...

    def close(self) -> None:
        """Let frames() end soon; from any thread, as often as one likes."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames()."""
        ...


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source that a person named, understood but not opened."""

    id: str
    """The stream's id."""
    text: str = field(repr=False)
    """The source as it was written, without "ID="; may hold credentials."""
    kind: SourceKind

    @property
    def description(self) -> str:
        """The source for people to read, without credentials."""
        return str(Address(self.text)) if self.kind == "rtsp" else self.text

    def __str__(self) -> str:
        """Return "ID=SOURCE" without credentials."""
        return f"{self.id}={self.description}"


def parse_source(text: str) -> SourceSpec:
    """Understand "[ID=]SOURCE".

    SOURCE is a webcam's number, device node or "webcam:NAME", an rtsp:// URL, a video
    file, a folder of pictures, or "demo" with options as in "demo:seed=3,size=640x480".

    Raises:
        ConfigError: the text is no source, or the id is not allowed.
        SourceError: there is no such file or folder.
    """
    given_id, text = _split_id(text.strip())
    kind = _kind(text)
    stream_id = given_id or _own_id(text, kind)
    if kind == "rtsp":
        Address(text)
    elif kind == "demo":
        parse_demo(text)
    return SourceSpec(stream_id, text, kind)


def open_source(source: str | SourceSpec, *, realtime: bool = False, loop: bool = False) -> Source:
    """Return the source that a text or a parsed text names; frames() opens it.

    Args:
        source: as for parse_source.
        realtime: pace recordings and the drawn scene as they would be seen;
            otherwise every frame comes as fast as it is asked for.
        loop: begin files and folders again at their end.

    Raises:
        ConfigError: the text is no source.
        SourceError: there is no such file or folder.
    """
    spec = parse_source(source) if isinstance(source, str) else source
    if spec.kind == "demo":
        return DemoSource(parse_demo(spec.text), realtime=realtime)
    if spec.kind == "webcam":
        return webcam(spec.text.removeprefix("webcam:"))
    if spec.kind == "rtsp":
        return rtsp_camera(Address(spec.text))
    path = Path(spec.text).expanduser()
    if spec.kind == "folder":
        return FolderSource(path, realtime=realtime, loop=loop)
    return video_file(path, realtime=realtime, loop=loop)


def video_file(path: Path, *, realtime: bool = False, loop: bool = False) -> ContainerSource:
    """Return the source of a video file; what it refers to elsewhere is not opened.

    Raises:
        SourceError: the file is a playlist.
    """
    if _is_playlist(path):
        raise SourceError(f"{path} is a playlist, not a video; give one of the videos it names.")

    def explain(error: FFmpegError, elapsed_s: float) -> SourceError:
        if isinstance(error, FileNotFoundError):
            return SourceError(f"There is no file {path}; check its name.")
        if isinstance(error, PermissionError):
            return SourceError(f"Reading {path} is not permitted; change the file's rights.")
        return SourceError(f"{path} is damaged or no video; give a video that plays elsewhere.")

    address = f"file:{path}"  # a name such as "concat:x" must not be taken for a protocol
    opening = Opening(address, options={"protocol_whitelist": "file"}, timeout_s=_FILE_TIMEOUT_S)
    return ContainerSource(str(path), [opening], explain, live=False, realtime=realtime, loop=loop)


def _is_playlist(path: Path) -> bool:
    """Whether a file only names others; FFmpeg retries those it cannot open without end."""
    try:
        with path.open("rb") as file:
            start = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError:
        return False  # opening it says why
    return start.startswith((b"#EXTM3U", b"ffconcat")) or b"<MPD" in start


def _split_id(text: str) -> tuple[str, str]:
    """Return the id that is given ("" for none) and the source's own text."""
    named = _NAMED.fullmatch(text)
    if not named or Path(text).expanduser().exists():
        return "", text
    stream_id, rest = named.groups()
    if not _ID.fullmatch(stream_id):
        raise ConfigError(
            f"The id {stream_id!r} was given to a source, but an id has 1 to 64 of "
            "a-z, 0-9, _ and -, and begins with a letter or digit."
        )
    return stream_id, rest.strip()


def _kind(text: str) -> SourceKind:
    """Return what sort of source a text names."""
    if not text or "\0" in text:
        raise ConfigError(
            "An empty source was given; name a webcam, an rtsp:// URL, a video file, "
            "a folder of pictures, or demo."
        )
    if text == "demo" or text.startswith("demo:"):
        return "demo"
    if re.fullmatch(r"\d{1,3}|/dev/video\d{1,3}|webcam:.+", text):
        return "webcam"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        Address(text)
        return "rtsp"
    path = Path(text).expanduser()
    if path.is_dir():
        return "folder"
    if path.is_file():
        return "file"
    raise SourceError(
        f"There is no file or folder {text}; name a webcam by its number, an rtsp:// URL, "
        "a video file, a folder of pictures, or demo."
    )


def _own_id(text: str, kind: SourceKind) -> str:
    """Return the id of a source that was given none."""
    if kind == "demo":
        return "demo"
    if kind == "webcam":
        number = re.fullmatch(r"(?:/dev/video)?(\d+)", text)
        return f"cam{int(number[1])}" if number else slug(text.removeprefix("webcam:"))
    if kind == "rtsp":
        address = Address(text)
        last = address.path.rstrip("/").rsplit("/", 1)[-1]
        hidden = re.search("[=&@]", last)  # cameras carry passwords there
        return slug(address.host if hidden or not last else last)
    path = Path(text).expanduser().resolve()
    return slug(path.stem if kind == "file" else path.name)


def slug(name: str) -> str:
    """Return an id made of a name: "Front Door" gives "front-door"."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")[:64].rstrip("-_") or "source"
