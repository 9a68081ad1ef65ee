"""The rolling window is bounded by seconds and by bytes, and counts what it let go."""

import numpy as np

from streamtrack.media.window import Window

PICTURE = np.zeros((10, 10, 3), np.uint8)


def filled(frames: int, **options: float) -> Window:
    window = Window(**options)  # type: ignore[arg-type]
    for i in range(frames):
        window.add(i, i / 30, PICTURE)
    return window


def test_pictures_leave_after_the_seconds() -> None:
    window = filled(300, seconds=2.0)
    state = window.state()
    assert state.frames == 61 and state.aged_out == 239 and state.squeezed_out == 0
    assert abs(state.seconds - 2.0) < 1e-6
    assert window.picture(238) is None and window.picture(239) is PICTURE


def test_pictures_leave_early_when_the_bytes_do_not_suffice() -> None:
    window = filled(300, seconds=2.0, max_bytes=3000)
    state = window.state()
    assert (state.frames, state.bytes) == (10, 3000)
    assert state.squeezed_out == 290 and state.aged_out == 0


def test_one_picture_is_kept_however_large() -> None:
    window = filled(5, max_bytes=1)
    assert window.state().frames == 1 and window.picture(4) is PICTURE


def test_an_empty_window_describes_itself() -> None:
    assert Window().state().frames == 0 and Window().picture(1) is None
