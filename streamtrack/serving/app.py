"""Runs the application: `serve(config)` returns when the server has ended."""

import asyncio
import contextlib
import errno
import logging
import math
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from rich.console import Console

from streamtrack.config import Config, TrackerConfig
from streamtrack.errors import ConfigError
from streamtrack.lane import TrackerLike
from streamtrack.media.sources import parse_source
from streamtrack.serving.auth import check_exposure
from streamtrack.serving.hub import Hub, OpenSource, open_configured
from streamtrack.serving.protocol import MAX_MESSAGE_BYTES
from streamtrack.serving.routes import create_app
from streamtrack.tracking.devices import use_threads
from streamtrack.tracking.loading import cascades
from streamtrack.tracking.savings import Savings
from streamtrack.tracking.tracker import Tracker
from streamtrack.tracking_thread import TrackingLimits, TrackingThread

logger = logging.getLogger(__name__)

GRACE_S = 2
CREDENTIALS = re.compile(r"//[^/\s@]*(?:@[^/\s@]*)*@")


def serve(config: Config, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until interrupted (SIGINT or SIGTERM), then end within five seconds.

    Args:
        config: what to serve and where.
        on_ready: called with the URL once the page can be opened; by default it is printed.

    Raises:
        ConfigError: the address cannot be listened on, or is not protected.
        SourceError: a configured file does not exist.
        CheckpointError: the model cannot be loaded.
        DeviceError: the device cannot be used.
    """
    check_exposure(config.server)
    for handler in logging.getLogger().handlers:
        handler.addFilter(redact)
    for chatty in ("aioice", "aiortc"):  # every candidate pair is news to them
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for source in config.sources.values():
        parse_source(source.source.get_secret_value())
    with listening(config.server.host, config.server.port) as sock:
        url = url_of(config, sock)
        server = Server(config, lambda: (on_ready or announce)(url))
        server.run(sockets=[sock])
    tracking = server.hub.tracking
    if tracking.error is not None:
        raise tracking.error
    companion = server.hub.companion
    if tracking.alive or (companion is not None and companion.alive):
        # A model that loads or steps cannot be interrupted, and the interpreter's own end would
        # pull the ground from under it: abort with a core dump instead of status 0.
        logging.shutdown()
        os._exit(0)


def announce(url: str) -> None:
    """Print where the server is."""
    Console(soft_wrap=True, highlight=False).print(f"streamtrack is at {url}")


def tracking_limits(config: Config) -> TrackingLimits:
    """Return what each stream's tracking may hold and take."""
    return TrackingLimits(
        max_objects=config.tracker.max_objects,
        rewind_frames=math.ceil(config.window.seconds * config.video.max_fps),
        feature_bytes=config.window.max_bytes // 4,
        replay_budget_ms=config.tracker.replay_budget_ms,
    )


def redact(record: logging.LogRecord) -> bool:
    """Take user names and passwords out of URLs in a log line; a second net."""
    text = record.getMessage()
    if "://" in text and "@" in text:
        record.msg, record.args = CREDENTIALS.sub("//***@", text), ()
    return True


class Server(uvicorn.Server):
    """A uvicorn server that ends quietly by signals and when the model cannot be loaded."""

    def __init__(
        self,
        config: Config,
        on_ready: Callable[[], None] = lambda: None,
        *,
        load: Callable[[], TrackerLike] | None = None,
        load_fast: Callable[[], TrackerLike] | None = None,
        open_with: OpenSource = open_configured,
    ) -> None:
        """Prepare to serve.

        Args:
            config: what to serve.
            on_ready: called once the page can be opened.
            load: gives the tracker; the configured one by default.
            load_fast: gives the one that it corrects; by default nano where the configured one
                is slow.
            open_with: opens a configured source.
        """
        self.loop: asyncio.AbstractEventLoop | None = None
        limits = tracking_limits(config)
        fast = load_fast or _fast_loader(config.tracker) if load is None or load_fast else None
        cores = os.cpu_count() or 1
        tracking = TrackingThread(
            load or (lambda: load_tracker(config.tracker, cores - 1 if fast else None)),
            limits=limits,
            on_state=self._model_changed,
        )
        companion = TrackingThread(fast, limits=limits) if fast else None
        self.hub = Hub(config, tracking, companion=companion, open_with=open_with)
        self._on_ready = on_ready
        super().__init__(
            uvicorn.Config(
                create_app(self.hub),
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                ws="websockets-sansio",
                ws_max_size=4 * MAX_MESSAGE_BYTES,  # beyond 64 KiB an error is still answered
                ws_ping_interval=10.0,
                ws_ping_timeout=10.0,
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=GRACE_S,
                ssl_certfile=config.server.tls_cert,
                ssl_keyfile=config.server.tls_key,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen and tell that the page can be opened."""
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if not self.should_exit:
            self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End by SIGINT and SIGTERM as by wish: unlike uvicorn's, do not raise them again."""
        try:
            before = {
                one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)
            }
        except ValueError:  # not the main thread, which alone hears signals
            yield
            return
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End; impatience (a second Ctrl-C) changes nothing, as every wait is bounded."""
        self.should_exit = True

    def _model_changed(self) -> None:
        """Tell the sockets about the model, or end without one; on the tracking thread."""
        if self.hub.tracking.state == "failed":
            self.should_exit = True
        elif self.loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self.loop.call_soon_threadsafe(self.hub.model_changed)


def _fast_loader(config: TrackerConfig) -> Callable[[], TrackerLike] | None:
    """Return what loads the model that follows every frame in a cascade; None without one."""
    slow = config.cascade == "on"
    if config.cascade == "auto":
        slow = cascades(config.model, config.checkpoint, config.image_size, config.device)
    if not slow:
        return None
    return lambda: load_tracker(TrackerConfig(model="nano", device=config.device), 1)


def load_tracker(config: TrackerConfig, threads: int | None = None) -> TrackerLike:
    """Load the configured tracker (on the tracking thread).

    Args:
        config: which one.
        threads: cores of the processor it may use; None = all.
    """
    if threads is not None:
        use_threads(threads)
    return Tracker.load(
        config.model,
        checkpoint=config.checkpoint,
        image_size=config.image_size,
        device=config.device,
        dtype=config.dtype,
        savings=Savings(
            memory_pooling=config.memory_pooling,
            mask_memories=config.mask_memories,
            memory_every=config.memory_every,
        ),
    )


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Give a socket that listens there.

    Raises:
        ConfigError: the address is taken or not this machine's.
    """
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise ConfigError(
            f"The host {host} is not an address of this machine; try 127.0.0.1."
        ) from None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
            sock.listen(128)
        except OSError as error:
            reasons = {
                errno.EADDRINUSE: "is taken by another program; choose another with --port",
                errno.EACCES: "needs more rights; choose one above 1023 with --port",
                errno.EADDRNOTAVAIL: "is not at an address of this machine; choose another --host",
            }
            reason = reasons.get(error.errno or 0, f"cannot be opened ({error.strerror})")
            raise ConfigError(f"Port {port} of {host} {reason}.") from None
        yield sock


def url_of(config: Config, sock: socket.socket) -> str:
    """Return where a browser on this machine finds the page."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    scheme = "https" if config.server.tls_cert else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
