"""The overlay shows each object where its mask is, in its colour, on pictures of any shape."""

import dataclasses

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamtrack.display.labels import font_for, render_label
from streamtrack.display.overlay import (
    COLOURS,
    OverlayObject,
    OverlaySettings,
    draw_overlay,
    object_colour,
)

ONLY_FILL = OverlaySettings(outline=False, labels=False)


def grey(height: int = 120, width: int = 160, level: int = 100) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, np.uint8)


def thing(
    size: tuple[int, int] = (120, 160),
    box: tuple[int, int, int, int] = (60, 50, 100, 90),
    object_id: int = 1,
    name: str = "",
    **changes: object,
) -> OverlayObject:
    mask = np.zeros(size, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    item = OverlayObject(object_id, name, "tracked", 0.9, mask, box)
    return dataclasses.replace(item, **changes)  # type: ignore[arg-type]


def test_the_fill_mixes_the_objects_colour_into_its_mask_only() -> None:
    item = thing(object_id=2)
    drawn = draw_overlay(grey(), [item], ONLY_FILL)
    expected = 100 * 0.55 + np.array(object_colour(2)) * 0.45
    assert np.abs(drawn[item.mask] - expected).max() <= 1
    assert (drawn[~item.mask] == 100).all()


def test_the_given_picture_stays_as_it_is() -> None:
    picture = grey()
    draw_overlay(picture, [thing()])
    assert (picture == 100).all()


def test_a_read_only_or_strided_picture_can_be_drawn_over() -> None:
    picture = grey(120, 320)[:, ::2]
    picture.flags.writeable = False
    assert draw_overlay(picture, [thing()]).shape == (120, 160, 3)


def test_a_lost_object_is_not_drawn() -> None:
    assert (draw_overlay(grey(), [thing(state="lost")]) == 100).all()


def test_an_object_without_pixels_is_not_drawn() -> None:
    empty = np.zeros((120, 160), bool)
    assert (draw_overlay(grey(), [dataclasses.replace(thing(), mask=empty, box=None)]) == 100).all()


def test_an_object_without_box_is_found_by_its_mask() -> None:
    item = thing()
    found = draw_overlay(grey(), [dataclasses.replace(item, box=None)])
    np.testing.assert_array_equal(found, draw_overlay(grey(), [item]))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_the_outline_stands_out_on_any_ground(level: int) -> None:
    settings = OverlaySettings(masks=False, labels=False)
    drawn = draw_overlay(grey(level=level), [thing()], settings).astype(int)
    edge = drawn[70, 50:66]
    assert np.abs(edge - object_colour(1)).sum(axis=1).min() < 60
    assert edge.sum(axis=1).max() - edge.sum(axis=1).min() > 150


def test_the_outline_follows_the_mask() -> None:
    settings = OverlaySettings(masks=False, labels=False)
    changed = (draw_overlay(grey(), [thing()], settings) != 100).any(axis=2)
    assert not changed[56:84, 66:94].any()
    assert not changed[:44].any() and not changed[:, :54].any()
    assert changed[50, 60:100].all() and changed[50:90, 60].all()


def test_nothing_is_drawn_when_all_is_switched_off() -> None:
    settings = OverlaySettings(masks=False, outline=False, labels=False)
    assert (draw_overlay(grey(), [thing()], settings) == 100).all()


@pytest.mark.parametrize("box", [(60, 50, 100, 90), (0, 0, 30, 30), (120, 0, 160, 120)])
def test_the_label_stays_inside_the_picture(box: tuple[int, int, int, int]) -> None:
    settings = OverlaySettings(masks=False, outline=False)
    changed = (draw_overlay(grey(), [thing(box=box, name="ball")], settings) != 100).any(axis=2)
    label = render_label(1, "ball", 90, object_colour(1), 11).opaque
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert np.ptp(rows) + 1 >= label.shape[0] - 2
    assert np.ptp(columns) + 1 >= label.shape[1] - 2


def test_stray_pixels_of_a_mask_move_no_label() -> None:
    """The label once stood over the whole mask's box, far from the object."""
    settings = OverlaySettings(masks=False, outline=False)
    item = thing(box=(90, 80, 150, 110))
    torn = item.mask.copy()
    torn[2:4, 2:4] = True
    stray = dataclasses.replace(item, mask=torn, box=(2, 2, 150, 110))
    expected = draw_overlay(grey(), [item], settings)
    assert (draw_overlay(grey(), [stray], settings) == expected).all()


def test_labels_do_not_cover_each_other() -> None:
    settings = OverlaySettings(masks=False, outline=False)
    one = draw_overlay(grey(), [thing(object_id=1)], settings) != 100
    two = draw_overlay(grey(), [thing(object_id=1), thing(object_id=2)], settings) != 100
    assert two.any(axis=2).sum() > 1.9 * one.any(axis=2).sum()


@pytest.mark.parametrize(
    "size", [(1, 1), (3, 2), (17, 13), (64, 48), (97, 33), (33, 97), (641, 361)]
)
def test_pictures_of_any_size_keep_their_size(size: tuple[int, int]) -> None:
    everything = thing(size, (0, 0, size[1], size[0]), name="a rather long name for it")
    drawn = draw_overlay(grey(*size), [everything])
    assert drawn.shape == (*size, 3)
    assert (drawn != 100).any()


def test_a_mask_of_another_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match=r"\(10, 10\).*\(120, 160\)"):
        draw_overlay(grey(), [thing((10, 10), (0, 0, 5, 5))])


def test_a_box_that_reaches_out_of_the_picture_is_cut() -> None:
    item = thing(box=(140, 100, 160, 120))
    beyond = dataclasses.replace(item, box=(140, 100, 170, 130))
    np.testing.assert_array_equal(draw_overlay(grey(), [beyond]), draw_overlay(grey(), [item]))


def test_a_torn_mask_is_still_outlined() -> None:
    mask = np.random.default_rng(0).random((240, 320)) > 0.5
    torn = OverlayObject(1, "", "tracked", 0.9, mask, (0, 0, 320, 240))
    drawn = draw_overlay(grey(240, 320), [torn], OverlaySettings(masks=False, labels=False))
    assert (drawn[mask] == object_colour(1)).all(axis=1).mean() > 0.9


def test_colours_differ_clearly_from_each_other() -> None:
    rgb = np.asarray([COLOURS], np.float32) / 255
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert len(COLOURS) >= 12
    assert apart.min() > 18


def test_every_id_has_a_colour() -> None:
    assert object_colour(1) == COLOURS[0]
    assert object_colour(len(COLOURS) + 1) == COLOURS[0]


@pytest.mark.parametrize("name", ["", "ball", "Ärger", "рыба", "猫", "x" * 99, "a\nb", "\u202eabc"])
def test_any_name_can_be_rendered(name: str) -> None:
    label = render_label(1, name, 97, (255, 0, 0), 16)
    assert label.opaque.shape == label.see_through.shape
    assert label.opaque.shape[1] < 600
    assert label.opaque.shape[0] < 40


def test_plain_letters_use_the_font_that_ships_with_pillow() -> None:
    assert font_for("ball", 16) is font_for("", 16)


def test_labels_are_kept_and_their_number_is_bounded() -> None:
    limit = render_label.cache_info().maxsize
    assert limit is not None
    first = render_label(1, "kept", 50, (1, 2, 3), 12)
    assert render_label(1, "kept", 50, (1, 2, 3), 12) is first
