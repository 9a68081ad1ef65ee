"""Network cameras play, come back, and fail in time and in sentences without secrets."""

import io
import logging
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from streamtrack.errors import SourceError, SourceUnavailable
from streamtrack.media.address import Address
from streamtrack.media.capture import Capture, CaptureTimes
from streamtrack.media.frame import Frame
from streamtrack.media.rtsp import rtsp_camera

SYSTEM_PYTHON = "/usr/bin/python3"
CANARY = "hunter2secret"
NEEDED = "gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst; Gst.init(None)"
ELEMENTS = "assert all(map(Gst.ElementFactory.find, ('videotestsrc', 'x264enc', 'rtph264pay')))"

pytestmark = [pytest.mark.rtsp, pytest.mark.timeout(60)]


class Server:
    """The RTSP server of tests/rtsp_server.py, which can be killed and started again."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> None:
        script = Path(__file__).with_name("rtsp_server.py")
        self.process = subprocess.Popen(
            [SYSTEM_PYTHON, str(script), str(self.port), *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(10)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def url(self, login: str = "", path: str = "live") -> Address:
        return Address(f"rtsp://{login}127.0.0.1:{self.port}/{path}")


@pytest.fixture(scope="session")
def gstreamer() -> None:
    """Skip where GStreamer's RTSP server is missing."""
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"{SYSTEM_PYTHON} is missing")
    command = [SYSTEM_PYTHON, "-c", f"import gi; {NEEDED}; {ELEMENTS}"]
    probe = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if probe.returncode:
        pytest.skip("GStreamer's RTSP server is missing (see CONTRIBUTING.md)")


@pytest.fixture
def server(gstreamer: None) -> Iterator[Server]:
    running = Server()
    try:
        yield running
    finally:
        running.kill()


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def failure(address: Address, timeout_s: float = 1.0) -> SourceError:
    """Return the error with which reading a camera ends."""
    with pytest.raises(SourceError) as caught:
        list(rtsp_camera(address, timeout_s).frames())
    return caught.value


def test_a_camera_plays(server: Server) -> None:
    server.start()
    source = rtsp_camera(server.url())
    frames = list(islice(source.frames(), 10))
    assert [frame.size for frame in frames] == [(120, 160)] * 10
    assert source.live and source.fps == pytest.approx(25)
    arrivals = [frame.arrival for frame in frames]
    assert arrivals == sorted(arrivals)
    white, red, blue = (frames[-1].picture[20, x].astype(int) for x in (10, 126, 149))
    assert white.min() > 230
    assert red[0] > 150 > 60 > red[1:].max()
    assert blue[2] > 150 > 60 > blue[:2].max()


def test_a_camera_that_was_killed_comes_back_as_a_new_epoch(server: Server) -> None:
    server.start()
    frames: list[Frame] = []
    states: list[str] = []
    capture = Capture(
        lambda: rtsp_camera(server.url(), 2.0),
        frames.append,
        on_state=lambda state, reason: states.append(state),
        times=CaptureTimes(first_retry_s=0.1, longest_retry_s=0.3),
    )
    capture.start()
    try:
        wait_until(lambda: capture.captured >= 5)
        server.kill()
        wait_until(lambda: capture.state == "lost")
        server.start("--size", "176x144")
        before = len(frames)
        wait_until(lambda: len(frames) > before + 5)
        assert states == ["live", "lost", "live"] or set(states[1:-1]) == {"lost"}
        assert (frames[0].epoch, frames[0].size) == (0, (120, 160))
        assert (frames[-1].epoch, frames[-1].size) == (1, (144, 176))
        assert capture.reconnects == 1
    finally:
        capture.close()


def test_right_credentials_open_the_camera(server: Server) -> None:
    server.start("--user", "viewer", "--password", CANARY)
    frame = next(iter(rtsp_camera(server.url(f"viewer:{CANARY}@"))))
    assert frame.size == (120, 160)


def test_refused_credentials_are_said_and_never_shown(
    server: Server, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    server.start("--user", "viewer", "--password", "another")
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    caplog.set_level(logging.DEBUG)
    address = server.url(f"viewer:{CANARY}@")
    said: list[str] = []
    capture = Capture(
        lambda: rtsp_camera(address, 2.0),
        lambda frame: None,
        on_state=lambda state, reason: said.append(f"{state}: {reason}"),
    )
    capture.start()
    try:
        wait_until(lambda: bool(said))
        error = failure(address, 2.0)
    finally:
        capture.close()
        logging.getLogger().removeHandler(handler)
    assert capture.state == "failed"
    assert "refused the credentials" in said[0]
    assert not isinstance(error, SourceUnavailable)
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(error.__context__)
    told += log.getvalue() + caplog.text + "".join(said) + "".join(capfd.readouterr())
    assert "refused the credentials" in told
    assert CANARY not in told


def test_a_wrong_path_is_an_error_that_names_the_path(server: Server) -> None:
    server.start()
    error = failure(server.url(path="nothing"))
    assert "no stream at this path" in str(error) and "/nothing" in str(error)
    assert not isinstance(error, SourceUnavailable)


def test_a_camera_that_is_switched_off_may_be_tried_again(server: Server) -> None:
    error = failure(server.url(f"u:{CANARY}@"))
    assert isinstance(error, SourceUnavailable)
    assert "nothing listens there" in str(error)
    assert CANARY not in "".join(traceback.format_exception(error))


@pytest.fixture
def black_hole() -> Iterator[int]:
    """The port of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    taken.append(listener.accept()[0])
            except OSError:
                pass

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in taken:
            connection.close()


def test_a_camera_that_never_answers_is_given_up_within_its_timeout(black_hole: int) -> None:
    started = time.monotonic()
    error = failure(Address(f"rtsp://u:{CANARY}@127.0.0.1:{black_hole}/x"), 0.5)
    assert isinstance(error, SourceUnavailable)
    assert "does not answer in time" in str(error)
    assert time.monotonic() - started < 10  # the limit, not a speed: one attempt, not many
    assert CANARY not in "".join(traceback.format_exception(error))


def test_closing_a_capture_does_not_wait_for_a_silent_camera(black_hole: int) -> None:
    address = Address(f"rtsp://127.0.0.1:{black_hole}/x")
    capture = Capture(lambda: rtsp_camera(address, 3.0), lambda frame: None)
    capture.start()
    wait_until(lambda: capture._attempt is not None)
    capture.close()
    assert not capture._thread.is_alive()
    readers = [t for t in threading.enumerate() if t.name == "capture-reader"]
    for reader in readers:
        reader.join(10)
        assert not reader.is_alive()


def test_garbage_in_place_of_rtsp_may_be_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nnot a camera")
                connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        error = failure(Address(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/x"), 0.5)
    assert "cannot be reached" in str(error)
