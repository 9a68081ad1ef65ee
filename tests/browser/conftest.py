"""A real server, a real browser with a fake camera, and the scene that both look at."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from playwright.sync_api import Browser, sync_playwright

from streamtrack.media.demo import DemoScene
from streamtrack.resources import resource
from tests.browser.looking import Viewer, Watcher
from tests.browser.server import Server

ARTIFACTS = Path(__file__).resolve().parents[1] / "artifacts"
SIZE = (360, 640)
FPS = 15
SOURCE = f"demo=demo:seed=4,size={SIZE[1]}x{SIZE[0]},fps={FPS},objects=4"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-ui-for-media-stream "
    "--use-fake-device-for-media-stream --autoplay-policy=no-user-gesture-required"
).split()

NewViewer = Callable[..., Viewer]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in this folder."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="package")
def scene() -> DemoScene:
    """The scene that the server shows as stream `demo`."""
    return DemoScene(SIZE, FPS, 4, 4)


@pytest.fixture(scope="package")
def watcher(scene: DemoScene) -> Watcher:
    """Recognises frames of the scene."""
    return Watcher(scene)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the drawn scene and the embedded model."""
    try:
        resource("checkpoints/nano.safetensors")
    except FileNotFoundError:
        pytest.skip("checkpoints/nano.safetensors is not here; the embedded model is needed")
    one = Server(SOURCE, tmp_path_factory.mktemp("server") / "server.log")
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="package")
def clip(tmp_path_factory: pytest.TempPathFactory, scene: DemoScene) -> Path:
    """Four seconds of the scene as the film of the browser's fake camera."""
    path = tmp_path_factory.mktemp("camera") / "clip.mjpeg"
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=FPS)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuvj420p"
        for index in range(4 * FPS):
            frame = av.VideoFrame.from_ndarray(scene.draw(index)[0], format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="package")
def browser(clip: Path) -> Iterator[Browser]:
    """Chromium of the system."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed; the browser tests need it")
    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={clip}"]
        one = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield one
        one.close()


@pytest.fixture
def new_viewer(browser: Browser) -> Iterator[NewViewer]:
    """Makes viewers, each with a browser profile of its own, and looks after their problems."""
    contexts = []
    viewers: list[Viewer] = []

    def make(**options: Any) -> Viewer:
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 700}, **options})
        contexts.append(context)
        viewers.append(Viewer(context.new_page()))
        return viewers[-1]

    yield make
    for context in contexts:
        context.close()
    assert [problem for viewer in viewers for problem in viewer.problems] == []


@pytest.fixture
def viewer(server: Server, new_viewer: NewViewer) -> Viewer:
    """A viewer of the drawn scene, without objects."""
    one = new_viewer()
    one.open(f"{server.url}#demo")
    one.reset()
    return one


@pytest.fixture
def artifacts() -> Path:
    """Where screenshots are kept."""
    ARTIFACTS.mkdir(exist_ok=True)
    return ARTIFACTS
