"""Starting and ending the server: addresses, signals, secrets."""

import asyncio
import datetime
import logging
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from streamtrack.client import Client
from streamtrack.config import load_config
from streamtrack.errors import ConfigError, SourceError
from streamtrack.serving.app import Server, announce, listening, redact, serve, url_of
from tests.fakes import FakeTracker

CANARY = "canary-7f3a"


def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Port {port} .* taken .* --port"):
            serve(load_config(None, {"server": {"port": port}}))


def test_an_address_of_another_machine_is_one_sentence() -> None:
    for host in ("192.0.2.77", "no-such-host.invalid"):
        with pytest.raises(ConfigError, match="of this machine"), listening(host, 0):
            pass


def test_a_bind_without_protection_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="token"):
        serve(load_config(None, {"server": {"host": "0.0.0.0"}}))


def test_a_source_that_does_not_exist_is_refused_before_anything_starts() -> None:
    with pytest.raises(SourceError):
        serve(load_config(None, {"sources": {"clip": "/no/such/clip.mp4"}}))


def test_the_url_is_one_that_a_browser_here_can_open(capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config(None, {"server": {"host": "0.0.0.0"}})
    with listening("0.0.0.0", 0) as sock:
        url = url_of(config, sock)
    assert url.startswith("http://localhost:")
    announce(url)
    assert capsys.readouterr().out == f"streamtrack is at {url}\n"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("rtsp://me:pa@ss@host/x lost", "rtsp://***@host/x lost"),
        ("rtsp://token@host", "rtsp://***@host"),
        ("http://host/x?mail=a@b", "http://host/x?mail=a@b"),
        ("nothing %s", "nothing here"),
    ],
)
def test_credentials_are_taken_out_of_log_lines(text: str, safe: str) -> None:
    args = ("here",) if "%s" in text else ()
    record = logging.LogRecord("test", logging.INFO, "", 0, text, args, None)
    assert redact(record) and record.getMessage() == safe


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Write a certificate and key for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_path, key_path


async def test_the_page_is_served_over_tls(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    config = load_config(None, {"server": {"tls_cert": str(cert), "tls_key": str(key)}})
    with listening("127.0.0.1", 0) as sock:
        ready = asyncio.Event()
        server = Server(config, ready.set, load=FakeTracker)
        running = asyncio.create_task(server.serve(sockets=[sock]))
        await asyncio.wait_for(ready.wait(), 10)
        url = url_of(config, sock)
        assert url.startswith("https://")
        trusting = ssl._create_unverified_context()

        def fetch() -> bytes:
            with urllib.request.urlopen(f"{url}healthz", context=trusting, timeout=5) as answer:
                return bytes(answer.read())

        assert b"alive" in await asyncio.to_thread(fetch)
        server.should_exit = True
        await asyncio.wait_for(running, 10)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of the embedded model with random weights."""
    from safetensors.torch import save_file

    from streamtrack.tracking.nano import build_nano

    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    state = build_nano().state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def running(
    weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """Give a real `streamtrack serve` in a process of its own, its URL and its log."""
    folder = tmp_path_factory.mktemp("serve")
    log, config = folder / "log.txt", folder / "config.yaml"
    config.write_text(
        f"sources:\n  demo: demo:size=320x240\n  cam: rtsp://me:{CANARY}@127.0.0.1:1/stream\n"
        f"tracker: {{model: nano, checkpoint: {weights}, device: cpu}}\n"
        "server: {port: 0}\n"
    )
    command = [sys.executable, "-m", "streamtrack", "serve", "--config", str(config)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield process, wait_ready(process, log), log
    finally:
        process.kill()
        process.wait(10)


def wait_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the server's URL once its model is loaded."""
    until = time.monotonic() + 90
    url = ""
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.2)
        lines = log.read_text().splitlines()
        url = next((line.rpartition(" ")[2] for line in lines if "is at http" in line), "")
        try:
            if url and urllib.request.urlopen(f"{url}readyz", timeout=5).status == 200:
                return url
        except (urllib.error.URLError, OSError):
            pass
    raise AssertionError(log.read_text())


async def test_no_credential_of_a_source_shows_anywhere(
    running: tuple[subprocess.Popen[bytes], str, Path],
) -> None:
    _, url, log = running
    client = Client(url)
    async with client.control("demo") as control, client.view("demo") as video:
        picture, _ = await video.frame()
        assert picture.shape == (240, 320, 3)
        ack = await control.click(0.5, 0.5)
        assert ack["object"] == 1
        hello = str(control.hello)
    streams = await client.streams()
    assert [stream["id"] for stream in streams] == ["demo", "cam"]
    async with asyncio.timeout(15):
        while "cam" not in log.read_text() and (await client.streams())[1]["state"] != "lost":
            await asyncio.sleep(0.2)
    metrics = (await client.request("GET", "metrics")).body.decode()
    async with client.control("cam") as control:
        told = str(control.hello) + str(await control.next("stats"))
    for text in (hello, str(streams), metrics, told, log.read_text()):
        assert CANARY not in text


def test_signals_end_the_server_within_five_seconds_and_without_complaint(
    running: tuple[subprocess.Popen[bytes], str, Path],
) -> None:
    process, _, log = running
    for impatient in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        process.send_signal(impatient)
    assert process.wait(5) == 0
    assert "Traceback" not in log.read_text() and "terminate" not in log.read_text()


ENDLESS = """
import threading
from streamtrack.config import load_config
from streamtrack.serving import app

app.load_tracker = lambda config, threads=None: threading.Event().wait()
app.serve(load_config(None, {"server": {"port": 0}}))
"""


def test_a_model_that_loads_for_ever_does_not_hold_up_the_end() -> None:
    process = subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None and b"is at http" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(6) == 0
