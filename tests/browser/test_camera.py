"""The page publishes a camera and sees it with its overlay, or says why it cannot."""

import time

import pytest
from playwright.sync_api import expect

from tests.browser.looking import PATIENT, SECONDS, Viewer, near_colour

expect.set_options(timeout=PATIENT)


def use_camera(viewer: Viewer) -> None:
    """Publish the camera and wait until it is seen."""
    viewer.page.click("#camera-button")
    expect(viewer.page.locator("#source-name")).to_have_text("My camera")
    viewer.wait_live()
    expect(viewer.page.locator("#publishing-text")).to_have_text("Camera on")


def test_the_camera_is_published_and_comes_back_with_its_overlay(server, new_viewer):
    viewer = new_viewer(permissions=["camera"])
    viewer.open(f"{server.url}#demo")
    use_camera(viewer)
    height, width = viewer.picture().shape[:2]
    viewer.overlay(100, marks=False)
    colour = viewer.heard["hello"]["colours"][0]
    before = near_colour(viewer.picture(), colour)
    viewer.drag(0.1 * width, 0.45 * height, 0.9 * width, 0.98 * height)
    viewer.wait_rows(1)
    viewer.wait_settled()
    until = time.monotonic() + PATIENT / SECONDS
    while near_colour(viewer.picture(), colour) < before + 300:
        assert time.monotonic() < until, "no overlay came back on the camera's picture"
    viewer.page.click("#publishing-stop")
    expect(viewer.page.locator("#source-name")).to_have_text("demo")
    viewer.wait_live()


@pytest.mark.parametrize("frozen", [False, True])
def test_my_camera_can_be_mirrored_and_clicks_still_land(server, new_viewer, frozen):
    viewer = new_viewer(permissions=["camera"])
    viewer.open(server.url)
    use_camera(viewer)
    viewer.page.keyboard.press("m")
    expect(viewer.page.locator("#video")).to_have_attribute("data-mirror", "")
    width = viewer.picture().shape[1]
    if frozen:
        viewer.page.keyboard.press("f")
        expect(viewer.page.locator("#still[data-mirror]")).to_be_visible()
    viewer.drag(10, 200, 150, 340)
    viewer.wait_rows(1)
    viewer.wait_settled()
    box = viewer.heard["objects"]["objects"][0]["box"]
    assert box is None or (box[0] + box[2]) / 2 > width / 2


def refused_camera(viewer: Viewer, error: str) -> None:
    """Make the browser's camera fail as real ones do."""
    refusal = f"async () => {{ throw new DOMException('', '{error}'); }}"
    viewer.page.add_init_script(f"navigator.mediaDevices.getUserMedia = {refusal}")


def test_a_refused_camera_is_explained(server, new_viewer):
    viewer = new_viewer()
    refused_camera(viewer, "NotAllowedError")
    viewer.open(server.url)
    viewer.page.click("#camera-button")
    expect(viewer.page.locator("#banner")).to_contain_text("The camera was refused.")
    expect(viewer.page.locator("#stage")).to_have_attribute("data-view", "live")


def test_a_missing_camera_is_explained(server, new_viewer):
    viewer = new_viewer()
    refused_camera(viewer, "NotFoundError")
    viewer.open(server.url)
    viewer.page.click("#camera-button")
    expect(viewer.page.locator("#banner")).to_contain_text("No camera was found.")


def test_an_insecure_page_says_that_it_cannot_have_a_camera(server, new_viewer):
    viewer = new_viewer()
    viewer.page.add_init_script(
        "Object.defineProperty(navigator, 'mediaDevices', { value: undefined })"
    )
    viewer.open(server.url)
    viewer.page.click("#camera-button")
    expect(viewer.page.locator("#banner")).to_contain_text("only to secure pages")
