"""Screenshots for people, and the looks that can be measured: room, names, sizes."""

import pytest
from playwright.sync_api import expect

from tests.browser.looking import PATIENT, Viewer, middle

expect.set_options(timeout=PATIENT)

DESKTOP = {"viewport": {"width": 1440, "height": 900}}
PHONE = {
    "viewport": {"width": 360, "height": 640},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
_SMALL = """() => [...document.querySelectorAll("button, input, select")]
  .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 40)
  .filter((one) => !one.matches(".object-name, .switch, [type=range], .segments button"))
  .map((one) => one.outerHTML.slice(0, 80))"""
_CUT_OFF = """() => [...document.querySelectorAll(".tools, .frozen")]
  .filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.className)"""
_UNNAMED = """() => [...document.querySelectorAll("button, input, video")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.length))
  .map((one) => one.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "device"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_the_page_fits_its_window(server, new_viewer, watcher, artifacts, name, device, theme):
    viewer: Viewer = new_viewer(**device, color_scheme=theme)
    viewer.open(f"{server.url}#demo")
    viewer.reset()
    viewer.overlay(45, marks=True)
    truth = watcher.look(viewer.picture(), server.started).truth
    viewer.click(*middle(truth == 3))
    viewer.wait_rows(1)
    viewer.wait_settled()
    viewer.page.screenshot(path=artifacts / f"{name}-{theme}.png")
    wide, high = viewer.page.evaluate(
        "() => [document.documentElement.scrollWidth - innerWidth, "
        "document.documentElement.scrollHeight - innerHeight]"
    )
    assert (wide, high) == (0, 0)
    assert viewer.page.evaluate(_UNNAMED) == []
    assert viewer.page.evaluate(_CUT_OFF) == []
    if name == "phone":
        assert viewer.page.evaluate(_SMALL) == []


@pytest.mark.parametrize(("name", "device"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_a_frozen_picture_says_so_and_offers_its_release(
    server, new_viewer, watcher, artifacts, name, device
):
    viewer: Viewer = new_viewer(**device)
    viewer.open(f"{server.url}#demo")
    viewer.reset()
    viewer.page.click("#freeze-button")
    expect(viewer.page.locator("#frozen")).to_be_visible()
    frozen = watcher.look(viewer.picture("#still"), server.started)
    viewer.click(*middle(frozen.truth == 3))
    expect(viewer.page.locator(".marker[data-state=taken]")).to_have_count(1)
    viewer.page.screenshot(path=artifacts / f"frozen-{name}.png")
    release = viewer.page.get_by_role("button", name="Release")
    assert release.bounding_box()["height"] >= (44 if name == "phone" else 36)
    assert viewer.page.evaluate(_UNNAMED) == []
    assert viewer.page.evaluate(_CUT_OFF) == []
    release.click()
    expect(viewer.page.locator("#still")).to_be_hidden()


@pytest.mark.parametrize("size", [(320, 568), (640, 360), (700, 600), (1100, 700)])
def test_the_tools_fit_every_window(server, new_viewer, size):
    viewer: Viewer = new_viewer(viewport={"width": size[0], "height": size[1]})
    viewer.page.goto(f"{server.url}#demo")
    expect(viewer.page.locator("#reset-button")).to_be_visible()
    assert viewer.page.evaluate(_CUT_OFF) == []


def test_help_and_settings_open_and_close_by_keys(server, new_viewer, artifacts):
    viewer: Viewer = new_viewer(**DESKTOP)
    viewer.open(f"{server.url}#demo")
    viewer.page.keyboard.press("?")
    expect(viewer.page.locator("#help")).to_be_visible()
    viewer.page.screenshot(path=artifacts / "help.png")
    viewer.page.keyboard.press("Escape")
    expect(viewer.page.locator("#help")).to_be_hidden()
    viewer.page.keyboard.press("o")
    expect(viewer.page.locator("#settings")).to_be_visible()
    viewer.page.screenshot(path=artifacts / "settings.png")
    viewer.page.keyboard.press("o")
    expect(viewer.page.locator("#settings")).to_be_hidden()


def test_a_chosen_theme_outlives_a_reload(server, new_viewer):
    viewer: Viewer = new_viewer(color_scheme="light")
    viewer.open(f"{server.url}#demo")
    viewer.page.keyboard.press("o")
    viewer.page.click("#settings [data-theme=dark]")
    viewer.page.reload()
    expect(viewer.page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_stream_menu_tells_size_and_state(server, new_viewer, artifacts):
    viewer: Viewer = new_viewer(**DESKTOP)
    viewer.open(f"{server.url}#demo")
    viewer.page.click("#source-button")
    entry = viewer.page.locator("#source-list .menu-button").first
    expect(entry.locator(".menu-title")).to_have_text("demo")
    expect(entry.locator(".menu-text")).to_contain_text("640×360")
    viewer.page.screenshot(path=artifacts / "menu.png")


def test_an_unknown_stream_is_said_to_be_unknown(server, new_viewer):
    viewer: Viewer = new_viewer()
    viewer.page.goto(f"{server.url}#nothing-here")
    expect(viewer.page.locator("#card-title")).to_have_text("nothing-here is not there now")
