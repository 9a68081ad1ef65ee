"""A hundred clicks in Chromium: the server binds each to the frame the page showed."""

import random
from collections.abc import Iterator

import pytest

from tests.browser.conftest import NewViewer
from tests.browser.exactness import NumberedServer, spy
from tests.test_binding import drop_packets, viewer

CLICKS = 100
BATCH = 20
ANSWERED = "count => spy.clicks.filter((one) => one.mode || one.code).length === count"


@pytest.fixture(scope="module")
def numbered() -> Iterator[NumberedServer]:
    server = NumberedServer()
    server.start()
    yield server
    server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["video/H264", "video/VP8"])
@pytest.mark.parametrize("loss", [0.0, 0.02, 0.05])
def test_a_hundred_clicks_are_bound_to_the_frames_the_page_showed(
    numbered: NumberedServer, new_viewer: NewViewer, codec: str, loss: float
) -> None:
    rng = random.Random(loss)
    assert numbered.served is not None
    one = new_viewer()
    one.page.add_init_script(spy(codec))
    one.open(f"{numbered.served.url}#cam")
    one.reset()
    numbered.call(lambda served: drop_packets(viewer(served.hub), loss))
    x, y = one.on_page(160, 220)
    right, gone, clicks = 0, 0, []
    for count in range(BATCH, CLICKS + 1, BATCH):  # before the frames leave the window
        for _ in range(BATCH):
            one.page.wait_for_timeout(rng.uniform(55, 140))
            one.page.mouse.click(x + rng.uniform(-90, 90), y)
        one.page.wait_for_function(ANSWERED, arg=count)
        clicks = one.page.evaluate("spy.told()")
        assert [click["code"] for click in clicks if "code" in click] == []
        read = [click for click in clicks[-BATCH:] if click["seen"] is not None]
        gone += BATCH - len(read)  # the browser was past them before the spy could look
        right += sum(numbered.number_bound(click["frame_id"]) == click["seen"] for click in read)
    assert right + gone == CLICKS
    assert gone <= 0.05 * CLICKS
    # What a canvas shows at the click is the frame on display, give or take the screen's refresh.
    read = [click for click in clicks if click["seen"] is not None]
    apart = [abs(click["canvas"] - click["seen"]) for click in read]
    assert sum(one <= 2 for one in apart) >= 0.9 * len(read), apart
    assert one.page.evaluate("spy.frames") >= CLICKS
    one.page.goto("about:blank")
    numbered.wait_no_viewer()
