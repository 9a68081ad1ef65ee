"""What a person at the page does and sees: pictures of the video, clicks, the list of objects."""

import base64
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page

from streamtrack.media.demo import DemoScene

SECONDS = 1000.0
PATIENT = 40 * SECONDS
"""In ms: how long a slow machine may take for anything a person would wait for."""
_GRAB = """(selector) => {
  const video = document.querySelector(selector);
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth ?? video.width;
  canvas.height = video.videoHeight ?? video.height;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}"""


class Viewer:
    """A page and what its control socket heard."""

    def __init__(self, page: Page) -> None:
        """Listen to a page that has not been opened yet."""
        self.page = page
        self.heard: dict[str, dict[str, Any]] = {}
        """The newest message of each type."""
        self.problems: list[str] = []
        self._objects: list[list[dict[str, Any]]] = []
        page.on("websocket", lambda socket: socket.on("framereceived", self._hear))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._console)

    def _hear(self, payload: str | bytes) -> None:
        message = json.loads(payload)
        self.heard[message["type"]] = message
        if message["type"] == "objects":
            self._objects.append(message["objects"])

    def boxes(self, object_id: int) -> list[list[int]]:
        """Return the boxes that were told of an object, oldest first."""
        told = (one for objects in self._objects for one in objects)
        return [one["box"] for one in told if one["id"] == object_id and one["box"]]

    def _console(self, message: Any) -> None:
        network = ("Failed to load resource", "WebSocket connection to")
        if message.type == "error" and not message.text.startswith(network):
            self.problems.append(message.text)

    def open(self, url: str) -> None:
        """Go to an address and wait for live video."""
        self.page.goto(url)
        self.wait_live()

    def wait_live(self) -> None:
        """Wait until the video is on and the control socket is open."""
        self.page.wait_for_selector("#stage[data-view=live]", timeout=PATIENT)
        self.page.wait_for_selector("#link .dot[data-state=live]", timeout=PATIENT)
        shown = "() => document.querySelector('#video').videoWidth > 0"
        self.page.wait_for_function(shown, timeout=PATIENT)

    @property
    def rows(self) -> Locator:
        """The rows of the object list."""
        return self.page.locator("#objects > li")

    def wait_rows(self, count: int) -> None:
        """Wait until the list has so many objects."""
        script = "count => document.querySelectorAll('#objects > li').length === count"
        self.page.wait_for_function(script, arg=count, timeout=PATIENT)

    def wait_settled(self) -> None:
        """Wait until no prompt waits for its answer."""
        waiting = self.page.locator(".marker[data-state=waiting]")
        waiting.first.wait_for(state="detached", timeout=PATIENT)

    def reset(self) -> None:
        """Remove all objects, as a person does."""
        if self.rows.count():
            self.page.click("#reset-button")
            self.page.click("#confirm button[value=yes]")
            self.wait_rows(0)

    def overlay(self, fill_percent: int, *, marks: bool) -> None:
        """Set the fill and whether outline and labels are drawn, by the page's own settings."""
        self.page.keyboard.press("o")
        self.page.fill("#set-fill", str(fill_percent))
        self.page.set_checked("#set-outline", marks)
        self.page.set_checked("#set-labels", marks)
        self.page.keyboard.press("Escape")

    def picture(self, selector: str = "#video") -> NDArray[np.uint8]:
        """Return the frame on display, or a canvas, (H, W, 3) uint8 RGB."""
        data = base64.b64decode(self.page.evaluate(_GRAB, selector))
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)

    def on_page(self, x: float, y: float) -> tuple[float, float]:
        """Return where a pixel of the frame is on the page (object-fit contain), in CSS pixels."""
        script = """() => { const v = document.querySelector("#video");
          const b = v.getBoundingClientRect();
          return [b.left, b.top, b.width, b.height, v.videoWidth, v.videoHeight]; }"""
        left, top, width, height, across, down = self.page.evaluate(script)
        scale = min(width / across, height / down)
        return (
            left + (width - across * scale) / 2 + (x + 0.5) * scale,
            top + (height - down * scale) / 2 + (y + 0.5) * scale,
        )

    def click(self, x: float, y: float, **options: Any) -> None:
        """Click a pixel of the frame."""
        self.page.mouse.click(*self.on_page(x, y), **options)

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Draw a box between two pixels of the frame."""
        self.page.mouse.move(*self.on_page(x0, y0))
        self.page.mouse.down()
        self.page.mouse.move(*self.on_page((x0 + x1) / 2, (y0 + y1) / 2))
        self.page.mouse.move(*self.on_page(x1, y1))
        self.page.mouse.up()


@dataclass(frozen=True)
class Sight:
    """A received picture and which frame of the scene it is."""

    picture: NDArray[np.uint8]
    index: int
    drawn: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB, the frame as the scene has it, without overlay."""
    truth: NDArray[np.uint8]
    """(H, W) uint8, the ids of the scene's things."""


class Watcher:
    """Recognises which frame of the drawn scene a received picture shows."""

    SMALL = (80, 45)
    STRIDE = 5
    """Frames between the places where a long search looks first: neighbours look alike."""
    UNLIKE = 5.0
    """Mean difference above which a picture is of another moment than was guessed (measured:
    1 to 3 for the right frame with an overlay on it)."""

    def __init__(self, scene: DemoScene) -> None:
        """Know the scene that the server shows."""
        self.scene = scene
        self._small: dict[int, NDArray[np.uint8]] = {}
        self._first = time.monotonic()

    def look(self, picture: NDArray[np.uint8], since: float) -> Sight:
        """Return the sight of a picture, (H, W, 3) uint8 RGB as received now.

        Args:
            picture: as it was received.
            since: time.monotonic() seconds when the server was started.
        """
        wanted = self._reduced(picture).astype(np.float32)
        self._first = max(self._first, since)
        due = int((time.monotonic() - self._first) * self.scene.fps)
        index = self._best(range(due - 30, due + 30), wanted)
        if self._distance(index, wanted) > self.UNLIKE:
            latest = int((time.monotonic() - since + 5) * self.scene.fps)
            rough = self._best(range(0, latest, self.STRIDE), wanted)
            index = self._best(range(rough - self.STRIDE, rough + self.STRIDE), wanted)
        self._first = time.monotonic() - index / self.scene.fps
        return Sight(picture, index, *self.scene.draw(index))

    def after(self, seconds: float, since: Sight) -> NDArray[np.uint8]:
        """Return the truth some seconds after a sight, (H, W) uint8."""
        return self.scene.draw(since.index + round(seconds * self.scene.fps))[1]

    def _best(self, candidates: Iterable[int], wanted: NDArray[np.float32]) -> int:
        real = (number for number in candidates if number >= 0)
        return min(real, key=lambda number: self._distance(number, wanted), default=0)

    def _distance(self, index: int, wanted: NDArray[np.float32]) -> float:
        """Return how unlike a frame is; differences are capped, for overlays cover things."""
        if index not in self._small:
            self._small[index] = self._reduced(self.scene.draw(index)[0])
        return float(np.minimum(np.abs(self._small[index] - wanted), 40).mean())

    def _reduced(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        small = cv2.resize(picture, self.SMALL, interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)


def steady_thing(watcher: Watcher, sight: Sight, seconds: float) -> int | None:
    """Return the thing that stays wholly in view for some seconds; None when there is none."""
    moments = [watcher.after(second, sight) for second in np.arange(0, seconds, 0.5)]
    best, share = None, 0.9
    for thing in np.unique(sight.truth[sight.truth > 0]):
        areas = [int((truth == thing).sum()) for truth in moments]
        if min(areas) / max(areas) > share:
            best, share = int(thing), min(areas) / max(areas)
    return best


def middle(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the pixel (x, y) farthest from the mask's edge."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the intersection over union of two masks."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0


def painted(sight: Sight, colour: str) -> NDArray[np.bool_]:
    """Return the pixels that the overlay gave its colour "#rrggbb", as (H, W) bool.

    The overlay must be plain fill; what the scene itself has of that colour does not count.
    """
    rgb = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)], np.int16)
    picture = sight.picture.astype(np.int16)
    near = np.abs(picture - rgb).max(axis=2) < 48
    changed = np.abs(picture - sight.drawn).max(axis=2) > 24
    mask = (near & changed).astype(np.uint8)
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(bool)


def near_colour(picture: NDArray[np.uint8], colour: str) -> int:
    """Return how many pixels of a picture are near a colour "#rrggbb"."""
    rgb = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)], np.int16)
    return int((np.abs(picture.astype(np.int16) - rgb).max(axis=2) < 48).sum())
