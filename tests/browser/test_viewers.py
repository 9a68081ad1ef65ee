"""Eight people at once: a bad line or a crash of one disturbs none of the others."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import NewViewer
from tests.browser.exactness import NumberedServer
from tests.browser.looking import Viewer
from tests.test_binding import drop_packets

PEOPLE = 8
PICTURES = "() => document.querySelector('#video').getVideoPlaybackQuality().totalVideoFrames"


@pytest.fixture(scope="module")
def numbered() -> Iterator[NumberedServer]:
    server = NumberedServer()
    server.start()
    yield server
    server.stop()


def pictures(page: Page) -> int:
    return int(page.evaluate(PICTURES))


def key_frames(numbered: NumberedServer) -> int:
    return int(numbered.call(lambda served: served.hub.broadcasts["cam"].now().key_frames))


def seen_within(page: Page, wanted: int, viewers: list[Viewer]) -> list[int]:
    """Return how many pictures each came to see while `page` saw so many."""
    before = [pictures(one.page) for one in viewers]
    page.wait_for_function(f"seen => ({PICTURES})() >= seen", arg=pictures(page) + wanted)
    after = [pictures(one.page) for one in viewers]
    return [now - then for then, now in zip(before, after, strict=True)]


@pytest.mark.slow
def test_eight_viewers_one_throttled_and_one_killed(
    numbered: NumberedServer, new_viewer: NewViewer
) -> None:
    assert numbered.served is not None
    viewers = []
    for _ in range(PEOPLE):
        one = new_viewer(viewport={"width": 480, "height": 360})
        one.open(f"{numbered.served.url}#cam")
        viewers.append(one)
    joined = key_frames(numbered)
    assert joined <= 2 * PEOPLE, "about one for each who joined"
    watch = viewers[0].page
    seen = seen_within(watch, 60, viewers)
    assert min(seen) >= 40, seen

    sessions = numbered.call(lambda served: list(served.hub.viewers.values()))
    numbered.call(lambda _: drop_packets(sessions[-1], 0.4))
    seen = seen_within(watch, 60, viewers)
    assert min(seen[:-1]) >= 40, seen
    assert seen[-1] < max(seen[:-1]), "its line is bad"
    assert key_frames(numbered) - joined <= 12, "its pleas are heard ever more rarely"

    crashed = viewers[-2]
    crashed.page.context.close()  # without goodbye: the page is gone
    rest = [*viewers[:-2], viewers[-1]]
    seen = seen_within(watch, 60, rest)
    assert min(seen[:-1]) >= 40, seen
    late = new_viewer(viewport={"width": 480, "height": 360})
    late.open(f"{numbered.served.url}#cam")
    assert pictures(late.page) > 0
