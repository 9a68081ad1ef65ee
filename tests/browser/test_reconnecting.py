"""The page comes back by itself when its server does."""

from playwright.sync_api import expect

from tests.browser.looking import PATIENT

expect.set_options(timeout=PATIENT)


def test_video_and_control_come_back_after_the_server_was_killed(server, new_viewer):
    viewer = new_viewer()
    viewer.open(f"{server.url}#demo")
    server.kill()
    expect(viewer.page.locator("#card-title")).to_have_text("The connection was lost")
    expect(viewer.page.locator("#card-action")).to_have_text("Try now")
    server.start()
    viewer.wait_live()
    before = viewer.heard["hello"]
    assert before["objects"] == []
    frames = "() => document.querySelector('#video').getVideoPlaybackQuality().totalVideoFrames"
    seen = viewer.page.evaluate(frames)
    viewer.page.wait_for_function(f"seen => ({frames})() > seen + 10", arg=seen, timeout=PATIENT)


def test_a_published_camera_comes_back_after_the_server_was_killed(server, new_viewer):
    viewer = new_viewer(permissions=["camera"])
    viewer.open(server.url)
    viewer.page.click("#camera-button")
    expect(viewer.page.locator("#source-name")).to_have_text("My camera")
    viewer.wait_live()
    server.kill()
    expect(viewer.page.locator("#card-title")).to_be_visible()
    server.start()
    viewer.wait_live()
    expect(viewer.page.locator("#publishing-text")).to_have_text("Camera on")
