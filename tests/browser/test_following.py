"""A click on a drawn thing: the overlay's colour lies on it in the received video and follows."""

import time

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
REACTION_S = 0.3
"""From a look at the picture to the click on it."""


def fill_wholly(viewer: Viewer) -> None:
    """Set the overlay to plain colour, by the page's own slider."""
    viewer.page.keyboard.press("o")
    viewer.page.fill("#set-fill", "100")
    viewer.page.keyboard.press("Escape")


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


def follow(viewer: Viewer, server: Server, watcher: Watcher, colour: str) -> list[Sight]:
    """Look at the video for five seconds."""
    sights = []
    until = time.monotonic() + FOLLOW_S
    while time.monotonic() < until:
        sights.append(watcher.look(viewer.picture(), server.started))
        viewer.page.wait_for_timeout(1000 * SAMPLES_S)
    return sights


def test_overlay_lies_on_the_clicked_thing_and_follows_it(viewer: Viewer, server, watcher):
    fill_wholly(viewer)
    thing = click_steady_thing(viewer, server, watcher)
    viewer.wait_rows(1)
    viewer.wait_settled()
    listed = viewer.heard["objects"]["objects"][0]
    colours = viewer.heard["hello"]["colours"]
    colour = colours[(listed["id"] - 1) % len(colours)]

    sights = follow(viewer, server, watcher, colour)
    assert len(sights) >= 5
    overlaps = [overlap(painted(one.picture, colour), one.truth == thing) for one in sights]
    moved = np.hypot(
        *np.subtract(middle(sights[0].truth == thing), middle(sights[-1].truth == thing))
    )
    assert moved > 10, "the thing stood still, which proves nothing"
    assert np.median(overlaps) > 0.6, overlaps
    assert np.mean([value > 0.4 for value in overlaps]) >= 0.8, overlaps


def test_objects_message_has_the_box_of_what_is_seen(viewer: Viewer, server, watcher):
    thing = click_steady_thing(viewer, server, watcher)
    viewer.wait_rows(1)
    viewer.wait_settled()
    distances = []
    for _ in range(8):
        sight = watcher.look(viewer.picture(), server.started)
        x0, y0, x1, y1 = viewer.heard["objects"]["objects"][0]["box"]
        rows, columns = np.nonzero(sight.truth == thing)
        centre = (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2
        distances.append(np.hypot((x0 + x1) / 2 - centre[0], (y0 + y1) / 2 - centre[1]))
        viewer.page.wait_for_timeout(250)
    assert np.median(distances) < 30, distances


def test_a_click_shows_a_mark_at_once_which_settles(viewer: Viewer, server, watcher):
    click_steady_thing(viewer, server, watcher)
    viewer.page.wait_for_selector(".marker", state="attached", timeout=PATIENT)
    viewer.wait_settled()
    assert viewer.page.locator(".marker[data-state=refused]").count() == 0
    assert viewer.heard["prompt.ack"]["object"] == viewer.heard["objects"]["objects"][0]["id"]
