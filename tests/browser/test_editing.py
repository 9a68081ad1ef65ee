"""Objects are made, refined, renamed, undone and removed by the page's own controls."""

import json

from playwright.sync_api import expect

from tests.browser.conftest import SIZE
from tests.browser.looking import PATIENT, Viewer, middle

expect.set_options(timeout=PATIENT)


def thing_point(viewer: Viewer, server, watcher, thing: int = 3) -> tuple[int, int]:
    """Return a pixel on a thing of the scene, now."""
    return middle(watcher.look(viewer.picture(), server.started).truth == thing)


def sent(viewer: Viewer) -> list[dict]:
    """Return the list that every message the page sends from now on is put in."""
    messages: list[dict] = []
    viewer.page.on(
        "websocket",
        lambda socket: socket.on("framesent", lambda text: messages.append(json.loads(text))),
    )
    return messages


def make_object(viewer: Viewer, server, watcher, thing: int = 3) -> None:
    """Click a thing with nothing selected, and wait for its row."""
    before = viewer.rows.count()
    viewer.page.keyboard.press("n")
    viewer.click(*thing_point(viewer, server, watcher, thing))
    viewer.wait_rows(before + 1)
    viewer.wait_settled()


def test_a_second_click_refines_and_a_cut_takes_away(server, new_viewer, watcher):
    viewer = new_viewer()
    messages = sent(viewer)
    viewer.open(f"{server.url}#demo")
    viewer.reset()
    make_object(viewer, server, watcher)
    x, y = thing_point(viewer, server, watcher)
    viewer.click(x, y)
    viewer.wait_settled()
    viewer.page.keyboard.down("Shift")
    viewer.click(x, y - 90)
    viewer.page.keyboard.up("Shift")
    viewer.wait_settled()
    viewer.click(x, y - 90, button="right")
    viewer.wait_settled()
    assert viewer.rows.count() == 1
    prompts = [message for message in messages if message["type"] == "prompt.add"]
    assert [prompt["labels"] for prompt in prompts] == [[1], [1], [0], [0]]
    assert [prompt["object"] is None for prompt in prompts] == [True, False, False, False]
    assert all("rtp" in prompt["at"] for prompt in prompts)
    height, width = SIZE
    assert prompts[1]["points"] == [[(x + 0.5) / width, (y + 0.5) / height]]


def test_a_drawn_box_makes_an_object(viewer: Viewer, server, watcher):
    x, y = thing_point(viewer, server, watcher)
    viewer.drag(x - 45, y - 45, x + 45, y + 45)
    viewer.wait_rows(1)
    viewer.wait_settled()
    x0, y0, x1, y1 = viewer.heard["objects"]["objects"][0]["box"]
    assert x0 < x < x1 and y0 < y < y1


def test_a_name_is_edited_in_place_and_told_to_other_viewers(
    viewer: Viewer, server, watcher, new_viewer
):
    make_object(viewer, server, watcher)
    field = viewer.rows.first.locator(".object-name")
    field.fill("<b>Tea & box</b>")
    field.press("Enter")
    other = new_viewer()
    other.open(f"{server.url}#demo")
    expect(other.rows.first.locator(".object-name")).to_have_value("<b>Tea & box</b>")
    expect(field).to_have_value("<b>Tea & box</b>")


def test_undo_of_the_only_prompt_takes_the_object_away(viewer: Viewer, server, watcher):
    make_object(viewer, server, watcher)
    viewer.page.keyboard.press("z")
    viewer.wait_rows(0)


def test_keys_select_and_the_row_s_button_removes(viewer: Viewer, server, watcher):
    make_object(viewer, server, watcher, 3)
    make_object(viewer, server, watcher, 4)
    viewer.page.keyboard.press("1")
    expect(viewer.rows.nth(0)).to_have_attribute("aria-current", "")
    viewer.page.keyboard.press("Escape")
    expect(viewer.page.locator("#objects > li[aria-current]")).to_have_count(0)
    viewer.rows.nth(1).locator(".object-remove").click()
    viewer.wait_rows(1)
    viewer.page.keyboard.press("1")
    viewer.page.keyboard.press("Delete")
    viewer.wait_rows(0)


def test_a_click_can_be_made_by_keyboard(viewer: Viewer):
    viewer.page.focus("#glass")
    viewer.page.keyboard.press("ArrowLeft")
    viewer.page.keyboard.press("ArrowDown")
    viewer.page.keyboard.press("Enter")
    viewer.wait_rows(1)
    viewer.wait_settled()


def test_reset_asks_first(viewer: Viewer, server, watcher):
    make_object(viewer, server, watcher)
    viewer.page.keyboard.press("r")
    viewer.page.click("#confirm button[value=no]")
    assert viewer.rows.count() == 1
    viewer.page.keyboard.press("r")
    viewer.page.click("#confirm button[value=yes]")
    viewer.wait_rows(0)


def test_a_cut_without_a_selected_object_says_so_at_the_pointer(viewer: Viewer):
    viewer.page.click("#mode-cut")
    viewer.click(100, 100)
    expect(viewer.page.locator(".marker-text")).to_have_text(
        "Select an object first: a cut takes away from it."
    )


def test_the_status_line_tells_model_and_rates(viewer: Viewer):
    expect(viewer.page.locator("[data-stat=model] dd")).to_have_text("nano")
    expect(viewer.page.locator("[data-stat=fps_in] dd")).to_contain_text("fps")
    expect(viewer.page.locator("[data-stat=viewers] dd")).not_to_have_text("–")
    expect(viewer.page.locator("[data-stat=glass_ms] dd")).to_contain_text("ms", timeout=10_000)
