"""Takes the README's picture of the page: three things of the drawn scene, tracked.

    python -m tests.browser.screenshot docs/screenshot.png

Draws boxes around things by hand of a browser, then keeps the best of several moments: the one
whose boxes fit the scene's truth best. The colours are reduced to 256, which keeps the file small.
"""

import argparse
import itertools
import shutil
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import sync_playwright

from streamtrack.media.demo import DemoScene
from tests.browser.conftest import FLAGS
from tests.browser.looking import Sight, Viewer, Watcher
from tests.browser.server import Server

WINDOW = {"width": 1280, "height": 760}
MOMENTS = 8
PATIENCE_S = 60
THINGS = 3
AHEAD_S = 0.3
"""From a look at the picture to the box around what it showed."""


def bounds(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return x0, y0, x1, y1 of a mask."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def fit(viewer: Viewer, sight: Sight, names: dict[int, str]) -> float:
    """Return how far the told boxes are from the truth, in pixels; infinite when one is missing."""
    told = {one["name"]: one["box"] for one in viewer.heard["objects"]["objects"]}
    far = 0.0
    for thing, name in names.items():
        mask = sight.truth == thing
        if not mask.any() or not told.get(name):
            return float("inf")
        far = max(far, float(np.abs(bounds(mask) - told[name]).max()))
    return far


def box_things(viewer: Viewer, watcher: Watcher, server: Server, names: dict[int, str]) -> None:
    """Draw a box around each thing and name it."""
    for count, (thing, name) in enumerate(names.items()):
        viewer.page.keyboard.press("n")
        sight = watcher.look(viewer.picture(), server.started)
        x0, y0, x1, y1 = bounds(watcher.after(AHEAD_S, sight) == thing)
        viewer.drag(x0 - 4, y0 - 4, x1 + 4, y1 + 4)
        viewer.wait_rows(count + 1)
        viewer.wait_settled()
        field = viewer.rows.nth(count).locator(".object-name")
        field.fill(name)
        field.press("Enter")
    viewer.page.keyboard.press("1")


def best_moment(
    viewer: Viewer, watcher: Watcher, server: Server, names: dict[int, str]
) -> tuple[float, bytes]:
    """Return the best of several screenshots, with how far its boxes are from the truth."""
    shots = []
    for _ in range(MOMENTS):
        viewer.page.wait_for_timeout(300)
        shot = viewer.page.screenshot()
        sight = watcher.look(viewer.picture(), server.started)
        shots.append((fit(viewer, sight, names), shot))
    return min(shots, key=lambda pair: pair[0])


def lonely(watcher: Watcher, sight: Sight) -> list[int]:
    """Return the things that are wholly in view and touch no other for a while."""
    alone = set(watcher.scene.names)
    for second in (0.5, 2.0, 3.5):
        truth = watcher.after(second, sight)
        boxes = {int(thing): bounds(truth == thing) for thing in np.unique(truth[truth > 0])}
        edge = truth.shape[1]
        alone &= {thing for thing, box in boxes.items() if box[0] > 2 and box[2] < edge - 2}
        for one, other in itertools.combinations(boxes, 2):
            a, b = boxes[one], boxes[other]
            if (a[:2] < b[2:]).all() and (b[:2] < a[2:]).all():
                alone -= {one, other}
    return sorted(alone)


def best_picture(viewer: Viewer, watcher: Watcher, server: Server) -> bytes:
    """Return the best screenshot of several tries, each begun while three things are apart."""
    shots = []
    until = time.monotonic() + PATIENCE_S
    while not shots or time.monotonic() < until:
        things = lonely(watcher, watcher.look(viewer.picture(), server.started))[:THINGS]
        if len(things) == THINGS:
            viewer.reset()
            names = {thing: watcher.scene.names[thing].capitalize() for thing in things}
            box_things(viewer, watcher, server, names)
            shots.append(best_moment(viewer, watcher, server, names))
    return min(shots, key=lambda pair: pair[0])[1]


def reduced(png: bytes, colours: int = 256) -> bytes:
    """Return a PNG with fewer colours (k-means of a sample), which compresses better."""
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    pixels = picture.reshape(-1, 3).astype(np.float32)
    rng = np.random.default_rng(0)
    sample = rng.choice(pixels, 20_000)
    rule = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 12, 1.0)
    cv2.setRNGSeed(0)
    _, _, palette = cv2.kmeans(sample, colours, None, rule, 1, cv2.KMEANS_PP_CENTERS)
    nearest = [
        np.linalg.norm(part[:, None] - palette[None], axis=2).argmin(axis=1)
        for part in np.array_split(pixels, 64)
    ]
    flat = palette[np.concatenate(nearest)].round().astype(np.uint8).reshape(picture.shape)
    done, data = cv2.imencode(".png", flat, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    return data.tobytes()


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description="Take the README's picture of the page.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    watcher = Watcher(DemoScene())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server("demo", Path(folder) / "server.log")
        server.start()
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            context = browser.new_context(viewport=WINDOW, color_scheme=options.theme)
            viewer = Viewer(context.new_page())
            viewer.open(server.url)
            options.path.write_bytes(reduced(best_picture(viewer, watcher, server)))
            browser.close()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
