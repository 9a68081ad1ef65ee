"""The flow of the newest frames and what it carries."""

import cv2
import numpy as np
import pytest

from streamtrack.display.flow import FlowWindow, grey_image, likeness, warp_grid
from tests.scenes import moved, texture

SIZE = (180, 320)


def window_of(motions: list[np.ndarray], **options: int) -> FlowWindow:
    """A window fed a texture that makes these motions from frame to frame."""
    window, picture = FlowWindow(**options), texture(SIZE)
    window.add(0, picture)
    for frame_id, motion in enumerate(motions, start=1):
        picture = moved(picture, motion)
        window.add(frame_id, picture)
    return window


def shift(dx: float, dy: float) -> np.ndarray:
    """A motion by so many pixels."""
    return np.array([[1, 0, dx], [0, 1, dy]], np.float32)


def middle(path: np.ndarray) -> np.ndarray:
    """The part of a flow whose origin was in the picture."""
    return path[50:-50, 50:-50]


def test_flow_says_where_a_shifted_texture_came_from():
    window = window_of([shift(5, -3)])
    path = window.path(0, 1)
    assert path is not None and path.shape == (*SIZE, 2)
    assert np.abs(np.median(middle(path), axis=(0, 1)) - (-5, 3)).max() < 0.2
    assert np.percentile(np.linalg.norm(middle(path) - (-5, 3), axis=2), 90) < 0.5


def test_flow_follows_a_turn():
    turn = cv2.getRotationMatrix2D((160, 90), 3, 1).astype(np.float32)
    path = window_of([turn]).path(0, 1)
    assert path is not None
    back = cv2.invertAffineTransform(turn)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    expected = np.stack([x, y], axis=2) @ back[:, :2].T + back[:, 2] - np.stack([x, y], axis=2)
    assert np.percentile(np.linalg.norm(middle(path - expected), axis=2), 90) < 0.7


def test_paths_add_up_over_many_frames():
    path = window_of([shift(3, 1)] * 8).path(0, 8)
    assert path is not None
    assert np.abs(np.median(middle(path), axis=(0, 1)) - (-24, -8)).max() < 0.5


def test_a_path_grown_frame_by_frame_equals_one_made_at_once():
    grown, at_once = window_of([shift(2, 1)] * 5), window_of([shift(2, 1)] * 5)
    for frame_id in range(1, 6):
        step_by_step = grown.path(0, frame_id)
    whole = at_once.path(0, 5)
    assert whole is not None and step_by_step is not None
    assert np.allclose(step_by_step, whole, atol=1e-3)


def test_a_frame_is_its_own_path():
    path = window_of([shift(4, 0)]).path(1, 1)
    assert path is not None and not path.any()


@pytest.mark.parametrize("grid", [(64, 64), (256, 256), SIZE])
def test_logits_of_any_grid_move_with_the_picture(grid: tuple[int, int]):
    logits = np.full(SIZE, -8, np.float32)
    logits[60:120, 100:200] = 8
    window = window_of([shift(10, 6)] * 3)
    low = cv2.resize(logits, grid[::-1], interpolation=cv2.INTER_AREA)
    carried = window.carry({7: low}, 0, 3)
    assert carried is not None and carried[7].shape == grid
    truth = np.zeros(SIZE, bool)
    truth[78:138, 130:230] = True
    found = cv2.resize(carried[7], SIZE[::-1]) > 0
    assert (found & truth).sum() / (found | truth).sum() > 0.9


def test_what_comes_into_view_is_not_of_the_object():
    path = np.full((60, 80, 2), (-30, 0), np.float32)
    moved_in = warp_grid(np.full((60, 80), 5, np.float32), path)
    assert (moved_in[:, :29] <= 0).all() and (moved_in[:, 31:] == 5).all()


def test_nothing_is_carried_over_a_cut():
    window = window_of([shift(2, 0)] * 3)
    other = texture(SIZE, seed=99)
    assert not window.add(4, other)
    assert window.add(5, moved(other, shift(2, 0)))
    assert window.path(3, 4) is None and window.path(0, 5) is None
    assert window.path(4, 5) is not None
    assert window.carry({1: np.ones((8, 8), np.float32)}, 0, 5) is None


def test_a_fast_pan_is_not_a_cut():
    window = window_of([shift(25, 8)])
    assert window.path(0, 1) is not None


def test_brightness_alone_is_not_a_cut():
    window, picture = FlowWindow(), texture(SIZE)
    window.add(0, picture)
    assert window.add(1, (picture * 0.7 + 20).astype(np.uint8))


def test_flat_pictures_go_on_and_a_change_of_light_between_them_is_a_cut():
    window, dark = FlowWindow(), np.full((*SIZE, 3), 10, np.uint8)
    window.add(0, dark)
    assert window.add(1, dark)
    assert not window.add(2, dark + 200)


def test_another_size_starts_anew():
    window = window_of([shift(1, 0)] * 2)
    assert not window.add(3, texture((240, 320)))
    assert len(window) == 1 and window.path(0, 3) is None


def test_the_window_is_bounded():
    window = window_of([shift(1, 0)] * 12, frames=5)
    assert len(window) == 5 and window.newest == 12
    assert window.path(7, 12) is None and window.path(8, 12) is not None
    for start in (8, 9, 10, 11, 12):
        window.path(start, 12)
    assert len(window._paths) <= 4


def test_a_path_survives_the_frame_it_starts_from_only_as_long_as_the_window():
    window = window_of([shift(1, 0)] * 3, frames=4)
    assert window.path(0, 3) is not None
    window.add(4, texture(SIZE))
    assert window.path(0, 4) is None


def test_frames_come_in_order():
    window = window_of([shift(1, 0)])
    with pytest.raises(ValueError, match="Frame 1 came after frame 1"):
        window.add(1, texture(SIZE))


def test_a_window_of_one_frame_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        FlowWindow(frames=1)


def test_grey_images_are_small_and_keep_the_shape():
    assert grey_image(texture((720, 1280))).shape == (180, 320)
    assert grey_image(texture((640, 360))).shape == (320, 180)
    assert grey_image(texture((40, 60))).shape == (40, 60)


def test_likeness_ranges_from_one_to_minus_one():
    grey = grey_image(texture(SIZE))
    assert likeness(grey, grey) == pytest.approx(1)
    assert likeness(grey, 255 - grey) == pytest.approx(-1)
