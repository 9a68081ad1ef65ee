"""Open network cameras by RTSP so that what arrives is fresh, and say why one fails."""

from av.error import (
    ConnectionRefusedError,
    FFmpegError,
    HTTPForbiddenError,
    HTTPNotFoundError,
    HTTPUnauthorizedError,
)

from streamtrack.errors import SourceError, SourceUnavailable
from streamtrack.media.address import Address
from streamtrack.media.container import ContainerSource, Opening

TIMEOUT_S = 5.0
_PROBES_US = (100_000, 5_000_000)
"""Longest looks at a stream before its first picture. FFmpeg's default makes the picture 1.7 s
stale from then on (measured, 15 fps); the second is for cameras that describe themselves late."""


def rtsp_camera(address: Address, timeout_s: float = TIMEOUT_S) -> ContainerSource:
    """Return the source of a network camera.

    Args:
        address: its URL; TCP is used whatever it says.
        timeout_s: longest wait for the connection and for each frame.
    """

    def explain(error: FFmpegError, elapsed_s: float) -> SourceError:
        return explain_camera(address, error, elapsed_s >= 0.9 * timeout_s)

    openings = [
        Opening(address.reveal(), "rtsp", _options(probe_us, timeout_s), (timeout_s, timeout_s))
        for probe_us in _PROBES_US
    ]
    return ContainerSource(f"the camera {address}", openings, explain, live=True)


def _options(probe_us: int, timeout_s: float) -> dict[str, str]:
    """Return FFmpeg's options for the freshest pictures over TCP."""
    return {
        "rtsp_transport": "tcp",
        "timeout": str(int(timeout_s * 1e6)),
        "analyzeduration": str(probe_us),
        "fpsprobesize": "0",
        "flags": "low_delay",
        "max_delay": "0",
        "reorder_queue_size": "0",
        "allowed_media_types": "video",
        "protocol_whitelist": "rtsp,rtp,udp,tcp,tls",
    }


def explain_camera(address: Address, error: FFmpegError, timed_out: bool) -> SourceError:
    """Say why a network camera could not be opened or was lost, without its credentials.

    Args:
        address: which camera.
        error: what FFmpeg said.
        timed_out: whether the error came when the time was up; FFmpeg's own names
            such an end "invalid data".
    """
    if isinstance(error, HTTPUnauthorizedError | HTTPForbiddenError):
        return SourceError(
            f"The camera {address} refused the credentials; "
            "check the user and password in its address."
        )
    if isinstance(error, HTTPNotFoundError):
        return SourceError(
            f"The camera {address} has no stream at this path; check the path in its manual."
        )
    if isinstance(error, ConnectionRefusedError):
        reason = "nothing listens there"
    elif timed_out:
        reason = "it does not answer in time"
    else:
        reason = (error.strerror or "the connection was lost").lower()
    return SourceUnavailable(
        f"The camera {address} cannot be reached ({reason}); "
        "check that it is switched on and its address is right."
    )
