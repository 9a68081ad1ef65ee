"""Freeze to aim: the picture stands still on one frame, and clicks on it are made on that frame."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewViewer
from tests.browser.exactness import NumberedServer
from tests.browser.looking import PATIENT, SECONDS, Viewer
from tests.patterns import BLOCK, block_left, number_of

expect.set_options(timeout=PATIENT)

PHONE = {"viewport": {"width": 390, "height": 700}, "has_touch": True, "is_mobile": True}
MIDDLE_Y = 120
"""Of the block that crosses the numbered frames, in pixels."""


@pytest.fixture(scope="module")
def numbered() -> Iterator[NumberedServer]:
    """A server that forgets a frame after half a second, unless it is pinned."""
    server = NumberedServer(window_s=0.5)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def fast(numbered: NumberedServer, new_viewer: NewViewer, request) -> Iterator[Viewer]:
    """A viewer of the numbered frames, on the device that the test asks for."""
    assert numbered.served is not None
    one = new_viewer(**getattr(request, "param", {}))
    one.open(f"{numbered.served.url}#cam")
    one.reset()
    yield one
    one.page.goto("about:blank")
    numbered.wait_no_viewer()


LATE = """
    const watch = HTMLVideoElement.prototype.requestVideoFrameCallback;
    HTMLVideoElement.prototype.requestVideoFrameCallback = function (next) {
      return watch.call(this, (...report) => {
        const end = performance.now() + 70;
        while (performance.now() < end);
        next(...report);
      });
    };
"""
"""A page so busy that it hears of a frame when the next one is on display already."""


def frozen_number(viewer: Viewer) -> int:
    """Wait until the picture is frozen and pinned, and return its number."""
    expect(viewer.page.locator("#still")).to_be_visible()
    expect(viewer.page.locator("#frozen")).to_be_visible()
    until_heard(viewer, "ack")
    return number_of(viewer.picture("#still"))


def until_heard(viewer: Viewer, kind: str) -> dict:
    """Wait for a message of a kind; it is forgotten then."""
    for _ in range(400):
        if kind in viewer.heard:
            return viewer.heard.pop(kind)
        viewer.page.wait_for_timeout(50)
    raise AssertionError(f"no {kind} was heard")


def click_block(viewer: Viewer, number: int) -> dict:
    """Click the block where it is on a numbered picture; return the answer."""
    viewer.click(block_left(number) + BLOCK / 2, MIDDLE_Y)
    return until_heard(viewer, "prompt.ack")


def test_a_click_on_the_frozen_picture_is_made_on_that_very_frame(
    fast: Viewer, numbered: NumberedServer
) -> None:
    fast.page.keyboard.press("f")
    number = frozen_number(fast)
    fast.page.wait_for_timeout(3 * SECONDS)
    assert number_of(fast.picture("#still")) == number, "the frozen picture went on"
    ack = click_block(fast, number)
    assert numbered.number_bound(ack["frame_id"]) == number
    fast.wait_rows(1)
    assert fast.rows.first.get_attribute("aria-current") == ""
    area = until_heard(fast, "objects")["objects"][0]["area"]
    assert 0 < area < 2 * BLOCK * 80, "the click missed the block"
    expect(fast.page.locator(".marker[data-state=taken]")).to_have_count(1)
    cut = fast.on_page(20, 200)
    fast.page.mouse.click(*cut, button="right")
    assert until_heard(fast, "prompt.ack")["frame_id"] == ack["frame_id"]
    expect(fast.page.locator(".marker[data-state=taken]")).to_have_count(2)
    fast.page.keyboard.press("Escape")
    expect(fast.page.locator("#still")).to_be_hidden()
    expect(fast.page.locator(".marker")).to_have_count(0)
    assert fast.rows.first.get_attribute("aria-current") == "", "Esc released and deselected"
    fast.page.wait_for_timeout(1 * SECONDS)
    stream = "cam"
    assert numbered.call(lambda served: served.hub.streams[stream].frame(ack["frame_id"])) is None


def test_a_busy_page_freezes_the_picture_that_the_server_pins(
    numbered: NumberedServer, new_viewer: NewViewer
) -> None:
    assert numbered.served is not None
    one = new_viewer()
    one.page.add_init_script(LATE)
    one.open(f"{numbered.served.url}#cam")
    one.reset()
    for _ in range(4):
        one.page.keyboard.press("f")
        number = frozen_number(one)
        assert numbered.number_bound(click_block(one, number)["frame_id"]) == number
        one.page.keyboard.press("Escape")
        expect(one.page.locator("#still")).to_be_hidden()
    one.page.goto("about:blank")
    numbered.wait_no_viewer()


def test_a_box_can_be_drawn_on_the_frozen_picture(fast: Viewer, numbered: NumberedServer) -> None:
    fast.page.click("#freeze-button")
    number = frozen_number(fast)
    left = block_left(number)
    fast.drag(left + 2, 82, left + BLOCK - 2, 158)
    ack = until_heard(fast, "prompt.ack")
    assert numbered.number_bound(ack["frame_id"]) == number
    fast.page.click("#frozen-release")
    expect(fast.page.locator("#frozen")).to_be_hidden()
    expect(fast.page.locator("#freeze-button")).to_have_attribute("aria-pressed", "false")


def test_a_frozen_picture_takes_clicks_to_its_end_and_then_says_that_it_is_live(
    fast: Viewer, numbered: NumberedServer
) -> None:
    fast.page.keyboard.press("f")
    number = frozen_number(fast)
    expect(fast.page.locator("#frozen-left")).to_have_text("1 s")
    ack = click_block(fast, number)
    assert ack["age_ms"] > 8 * SECONDS
    expect(fast.page.locator("#still")).to_be_hidden()
    expect(fast.page.locator("#banner")).to_contain_text("The picture is live again")
    assert numbered.served is not None


def test_a_refused_pin_says_so_and_the_picture_stays_live(
    fast: Viewer, numbered: NumberedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert numbered.served is not None
    monkeypatch.setattr(numbered.served.hub.streams["cam"], "pin", lambda row: False)
    fast.page.keyboard.press("f")
    expect(fast.page.locator("#banner")).to_contain_text("Not frozen: That frame is not kept")
    expect(fast.page.locator("#still")).to_be_hidden()


def test_a_browser_that_does_not_tell_timestamps_says_that_it_cannot_freeze(
    numbered: NumberedServer, new_viewer: NewViewer
) -> None:
    assert numbered.served is not None
    one = new_viewer()
    one.page.add_init_script("delete HTMLVideoElement.prototype.requestVideoFrameCallback")
    one.page.goto(f"{numbered.served.url}#cam")
    one.page.wait_for_function("() => document.querySelector('#video').videoWidth > 0")
    one.wait_live()
    one.page.keyboard.press("f")
    expect(one.page.locator("#banner")).to_contain_text("does not tell which frame it shows")
    one.click(160, 220)
    assert until_heard(one, "prompt.ack")["mode"] == "estimated"
    one.page.goto("about:blank")
    numbered.wait_no_viewer()


@pytest.mark.parametrize("fast", [PHONE], indirect=True)
def test_a_long_touch_freezes_and_taps_are_made_on_the_frozen_frame(
    fast: Viewer, numbered: NumberedServer
) -> None:
    x, y = fast.on_page(100, 200)
    touch = fast.page.context.new_cdp_session(fast.page)
    touch.send(
        "Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]}
    )
    number = frozen_number(fast)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    fast.page.wait_for_timeout(0.5 * SECONDS)
    assert fast.rows.count() == 0, "the long touch was a click as well"
    fast.page.touchscreen.tap(*fast.on_page(block_left(number) + BLOCK / 2, MIDDLE_Y))
    ack = until_heard(fast, "prompt.ack")
    assert numbered.number_bound(ack["frame_id"]) == number
    fast.page.get_by_role("button", name="Release").tap()
    expect(fast.page.locator("#still")).to_be_hidden()
