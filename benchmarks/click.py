"""Time clicks in a real browser: from the press to the first displayed frame with the mask.

    python benchmarks/click.py --clicks 60

Chromium shows the drawn scene of a real server with the embedded model; each click makes a new
object on one of the scene's things. The parts are those of the acknowledgement (bind, queue,
encode, prompt, replay) and of the page: "page" is the wait for the browser's proof of which frame
was seen, "round trip" from sending to the acknowledgement, "display" from there to the frame.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from streamtrack.display.overlay import COLOURS
from streamtrack.media.demo import DemoScene
from tests.browser.conftest import FLAGS
from tests.browser.looking import Viewer, Watcher
from tests.browser.server import Server

SCRIPT = Path(__file__).with_suffix(".js").read_text()
SHOWN = "count => times.clicks.filter((one) => one.shown || one.code).length >= count"
AHEAD_S = 0.25
"""From a look at the picture to the click on what it showed."""


def measure(page: Page, viewer: Viewer, watcher: Watcher, server: Server, clicks: int) -> Any:
    """Click on things of the scene and return the page's times."""
    rng = random.Random(1)
    viewer.overlay(100, marks=False)
    for count in range(clicks):
        page.wait_for_timeout(rng.uniform(100, 600))
        sight = watcher.look(viewer.picture(), server.started)
        index = sight.index + round(AHEAD_S * watcher.scene.fps)
        thing = rng.choice([one for one in watcher.scene.things(index) if one.area > 2000])
        page.keyboard.press("n")
        viewer.click(*thing.point)
        try:
            page.wait_for_function(SHOWN, arg=count + 1, timeout=4000)
        except Exception:  # the model may find nothing there: counted, not hidden
            page.evaluate("times.clicks.at(-1).code ??= 'no mask seen'")
        viewer.reset()
    return page.evaluate("times.clicks")


def parts(click: dict[str, Any]) -> dict[str, float]:
    """Return where one click's time went, in ms."""
    server = {name.removesuffix("_ms"): ms for name, ms in click["parts"].items()}
    return {
        "press to mask": click["shown"] - click["pressed"],
        "page": click["sent"] - click["pressed"],
        "round trip": click["acked"] - click["sent"],
        **server,
        "display": max(0.0, click["shown"] - click["acked"]),
    }


def report(clicks: list[dict[str, Any]], as_json: bool) -> None:
    """Print the medians and 95th percentiles."""
    good = [parts(one) for one in clicks if one.get("shown") and one.get("parts")]
    rows = {
        name: [float(np.percentile([one[name] for one in good], p)) for p in (50, 95)]
        for name in good[0]
    }
    modes = {
        mode: sum(one.get("mode") == mode for one in clicks)
        for mode in sorted({str(one["mode"]) for one in clicks if "mode" in one})
    }
    if as_json:
        facts = {"clicks": len(clicks), "shown": len(good), "modes": modes, "p50_p95_ms": rows}
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    table = Table(title=f"{len(good)} of {len(clicks)} clicks shown; modes: {modes}")
    for column in ("part", "p50 ms", "p95 ms"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, (median, late) in rows.items():
        table.add_row(name, f"{median:.1f}", f"{late:.1f}")
    Console().print(table)


def main() -> None:
    """Serve, look, click, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clicks", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "Chromium is not installed."
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server("demo", Path(folder) / "server.log")
        server.start()
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1100, "height": 700})
            page.add_init_script(f"window.colours = {json.dumps(COLOURS)};{SCRIPT}")
            viewer = Viewer(page)
            viewer.open(f"{server.url}#demo")
            watcher = Watcher(DemoScene())
            report(measure(page, viewer, watcher, server, args.clicks), args.json)
        finally:
            browser.close()
            server.stop()


if __name__ == "__main__":
    main()
