"""A click on a drawn thing: the overlay's colour lies on it in the received video and follows."""

import time
from dataclasses import dataclass

import numpy as np

from tests.browser.looking import (
    PATIENT,
    Sight,
    Viewer,
    Watcher,
    middle,
    overlap,
    painted,
    steady_thing,
)
from tests.browser.server import Server

FOLLOW_S = 5.0
SAMPLES_S = 0.25
FRAMES = 6
REACTION_S = 0.3
"""From a look at the picture to the click on it."""


def click_steady_thing(viewer: Viewer, server: Server, watcher: Watcher) -> int:
    """Click a thing that stays in view for a while; return which it is."""
    until = time.monotonic() + 30
    while True:
        sight = watcher.look(viewer.picture(), server.started)
        thing = steady_thing(watcher, sight, FOLLOW_S + 4)
        if thing is not None:
            break
        assert time.monotonic() < until, "no thing of the scene stays in view"
    now = watcher.look(viewer.picture(), server.started)
    viewer.click(*middle(watcher.after(REACTION_S, now) == thing))
    return thing


@dataclass(frozen=True)
class Sample:
    """What was seen and heard at one moment."""

    sight: Sight
    boxes: list[list[int]]
    """The object's box in the newest messages, x0, y0, x1, y1 in pixels of the frame."""


def follow(viewer: Viewer, server: Server, watcher: Watcher, object_id: int) -> list[Sample]:
    """Look at different frames of the video for five seconds, longer where frames are rare."""
    samples: list[Sample] = []
    begun = time.monotonic()
    while time.monotonic() < begun + FOLLOW_S or len(samples) < FRAMES:
        assert time.monotonic() < begun + 6 * FOLLOW_S, "the video does not go on"
        sight = watcher.look(viewer.picture(), server.started)
        if not samples or sight.index != samples[-1].sight.index:
            samples.append(Sample(sight, viewer.boxes(object_id)[-3:]))
        viewer.page.wait_for_timeout(1000 * SAMPLES_S)
    return samples


def inside(point: tuple[int, int], boxes: list[list[int]]) -> bool:
    """Return whether a point is inside any of the boxes."""
    x, y = point
    return any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)


def test_overlay_lies_on_the_clicked_thing_and_follows_it(viewer: Viewer, server, watcher):
    viewer.overlay(100, marks=False)
    thing = click_steady_thing(viewer, server, watcher)
    viewer.wait_rows(1)
    viewer.wait_settled()
    object_id = viewer.heard["objects"]["objects"][0]["id"]
    colours = viewer.heard["hello"]["colours"]
    colour = colours[(object_id - 1) % len(colours)]

    def on_it(sight: Sight) -> float:
        return round(overlap(painted(sight, colour), sight.truth == thing), 2)

    until = time.monotonic() + 20
    while on_it(watcher.look(viewer.picture(), server.started)) < 0.3:
        assert time.monotonic() < until, "the overlay did not appear on the clicked thing"
    samples = follow(viewer, server, watcher, object_id)
    true = [one.sight.truth == thing for one in samples]
    moved = np.hypot(*np.subtract(middle(true[0]), middle(true[-1])))
    assert moved > 10, "the thing stood still, which proves nothing"

    overlaps = [on_it(one.sight) for one in samples]
    assert np.median(overlaps) > 0.4, overlaps
    assert np.mean([value > 0.25 for value in overlaps]) >= 0.7, overlaps

    seen = [painted(one.sight, colour) for one in samples]
    on_box = [inside(middle(mask), one.boxes) for mask, one in zip(seen, samples, strict=True)]
    assert np.mean(on_box) >= 0.7, "the boxes that were told are not where the overlay is"


def test_a_click_shows_a_mark_at_once_which_settles(viewer: Viewer, server, watcher):
    click_steady_thing(viewer, server, watcher)
    viewer.page.wait_for_selector(".marker", state="attached", timeout=PATIENT)
    viewer.wait_settled()
    assert viewer.page.locator(".marker[data-state=refused]").count() == 0
    assert viewer.heard["prompt.ack"]["object"] == viewer.heard["objects"]["objects"][0]["id"]
