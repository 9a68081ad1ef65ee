"""Find the cameras of this computer and say how each system opens one."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import av
from av.error import FFmpegError

from streamtrack.errors import SourceError, SourceUnavailable
from streamtrack.media.container import ContainerSource, Opening

_RATES = (30, 25, 15)
"""Frame rates to ask for, in this order; a camera refuses those it lacks."""
_FORMATS = {"darwin": "avfoundation", "win32": "dshow"}
_SYSFS = Path("/sys/class/video4linux")


@dataclass(frozen=True, slots=True)
class Device:
    """A camera of this computer."""

    source: str
    """What to write as SOURCE."""
    name: str
    """What it calls itself."""


def list_devices(platform: str = sys.platform, sysfs: Path = _SYSFS) -> list[Device]:
    """Return the cameras of this computer.

    Args:
        platform: the system, as sys.platform names it.
        sysfs: where Linux lists its video devices.

    Raises:
        SourceError: the system does not say; the sentence tells what to try.
    """
    if platform not in _FORMATS:
        return _linux_devices(sysfs)
    name = _FORMATS[platform]
    try:
        found = av.enumerate_input_devices(name)
    except (FFmpegError, ValueError):
        raise SourceError(
            f"This build of PyAV cannot list the cameras of {name}; try the sources 0, 1, 2."
        ) from None
    cameras = [device for device in found if "video" in device.media_types]
    return [
        Device(str(number), device.description or device.name)
        for number, device in enumerate(cameras)
        if not device.description.lower().startswith("capture screen")
    ]


def _linux_devices(sysfs: Path) -> list[Device]:
    """Return the first device node of each camera that Linux knows."""
    nodes = sorted(sysfs.glob("video*"), key=lambda node: int(re.sub(r"\D", "", node.name) or 0))
    devices = []
    for node in nodes:
        index = _first_line(node / "index")
        if index in ("", "0"):  # the others carry the same camera's metadata
            devices.append(Device(f"/dev/{node.name}", _first_line(node / "name") or node.name))
    return devices


def _first_line(path: Path) -> str:
    """Return the first line of a small file, empty when it cannot be read."""
    try:
        return path.read_text(errors="replace").strip().split("\n")[0]
    except OSError:
        return ""


def webcam(text: str, platform: str = sys.platform) -> ContainerSource:
    """Return the source of a camera of this computer.

    Args:
        text: its number, its device node, or (macOS, Windows) its name.
        platform: the system, as sys.platform names it.

    Raises:
        SourceUnavailable: Windows lists no camera of this number.
    """
    description = f"the webcam {text}"
    name = _FORMATS.get(platform, "v4l2")
    address = text
    variants: list[dict[str, str]] = [{}]
    if name == "v4l2":
        address = f"/dev/video{text}" if text.isdecimal() else text
        description = f"the webcam {address}"
        variants = [{"input_format": "mjpeg"}, {}]
    elif name == "avfoundation":
        address = f"{text}:none"
    else:
        address = f"video={_dshow_name(text)}"
        variants = [{"rtbufsize": "64M"}]
    rates = [{"framerate": str(rate)} for rate in _RATES]
    settings = [{**variant, **rate} for variant in variants for rate in rates]
    if name == "v4l2":
        settings.append({})  # whatever the camera does by itself
    openings = [Opening(address, name, setting, (10.0, 5.0)) for setting in settings]

    def explain(error: FFmpegError, elapsed_s: float) -> SourceError:
        return explain_webcam(description, error)

    return ContainerSource(description, openings, explain, live=True)


def explain_webcam(description: str, error: FFmpegError) -> SourceError:
    """Say why a webcam could not be opened or read."""
    if isinstance(error, PermissionError):
        return SourceError(
            f"Reading {description} is not permitted; allow it in the system's settings "
            "(on Linux, add your user to the group video)."
        )
    if isinstance(error, FileNotFoundError):
        return SourceUnavailable(
            f"There is no {description.removeprefix('the ')}; "
            "plug it in, or list the cameras with: streamtrack devices."
        )
    reason = (error.strerror or "it does not answer").lower()
    return SourceUnavailable(
        f"Opening {description} failed ({reason}); close other programs that use it."
    )


def _dshow_name(text: str) -> str:
    """Return a Windows camera's name, which may be given by its number."""
    if not text.isdecimal():
        return text
    devices = list_devices("win32")
    if int(text) >= len(devices):
        raise SourceUnavailable(
            f"There is no webcam {text}; list the cameras with: streamtrack devices."
        )
    return devices[int(text)].name
