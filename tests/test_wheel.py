"""The wheel, installed outside the repository, does the main job: nothing is left behind."""

import json
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PORT = 18173

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it alone; its dependencies are this environment's."""
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    [wheel] = place.glob("*.whl")
    venv.create(place / "venv", with_pip=True)
    python = place / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    [packages] = (place / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return place


def run(installed: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [installed / "venv" / "bin" / "streamtrack", *args]
    return subprocess.run(command, cwd=installed, capture_output=True, text=True)


def test_the_package_is_the_installed_one(installed: Path) -> None:
    code = "import streamtrack; print(streamtrack.__file__)"
    python = installed / "venv" / "bin" / "python"
    found = subprocess.run([python, "-c", code], cwd=installed, capture_output=True, text=True)
    assert found.stdout.startswith(str(installed)), found.stderr


def test_run_follows_a_thing_of_the_demo(installed: Path) -> None:
    done = run(
        installed, "run", "demo", "--frames", "5", "--box", "200,120,400,300", "--tracks", "t.jsonl"
    )
    assert done.returncode == 0, done.stderr
    lines = (installed / "t.jsonl").read_text().splitlines()
    assert len(lines) == 5
    assert json.loads(lines[0])["objects"][0]["area"] > 0


@pytest.fixture
def server(installed: Path) -> Iterator[str]:
    command = [installed / "venv" / "bin" / "streamtrack", "serve", "demo", "--port", str(PORT)]
    with (installed / "serve.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=installed, stdout=log, stderr=log)
    yield f"http://127.0.0.1:{PORT}"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, (installed / "serve.log").read_text()


def fetched(url: str, *, within_s: float = 90) -> bytes:
    """Return what the server answers once it does."""
    end = time.monotonic() + within_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                body: bytes = answer.read()
                return body
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def test_serve_has_the_page_the_model_and_the_scene(server: str) -> None:
    assert fetched(f"{server}/readyz")
    assert b"<html" in fetched(f"{server}/")
    [stream] = json.loads(fetched(f"{server}/api/v1/streams"))
    assert stream["id"] == "demo" and stream["model"] == "nano"
    assert fetched(f"{server}/api/v1/streams/demo/snapshot.jpg").startswith(b"\xff\xd8")
