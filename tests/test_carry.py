"""Masks of the tracker on the newest frame."""

import numpy as np
import pytest

from streamtrack.display.carry import Carrier
from streamtrack.display.guided import guided_filter
from streamtrack.display.refine import Known, refit
from tests.scenes import Scene, logits_of, overlap, texture

START, STEP = (90.0, 110.0), (5.0, 2.0)


def centre(frame_id: int) -> tuple[float, float]:
    """Where the disc is."""
    return START[0] + frame_id * STEP[0], START[1] + frame_id * STEP[1]


def play(carrier: Carrier, scene: Scene, frames: range) -> None:
    """Show the carrier some frames."""
    for frame_id in frames:
        carrier.add(frame_id, scene.picture(centre(frame_id)))


@pytest.mark.parametrize("grid", [None, (64, 64), (256, 256)])
@pytest.mark.parametrize("delay", [0, 1, 6])
def test_a_mask_moves_with_its_object(grid: tuple[int, int] | None, delay: int):
    carrier, scene = Carrier(), Scene()
    play(carrier, scene, range(8))
    known = 7 - delay
    assert carrier.anchor(known, {3: logits_of(scene.mask(centre(known)), grid)})
    ((object_id, found),) = carrier.carried().items()
    assert object_id == 3 and found.mask.shape == scene.size
    assert overlap(found.mask, scene.mask(centre(7))) > 0.93
    assert found.support > 0.6


def test_fitting_is_nearer_than_flow_alone():
    scene, scores = Scene(), {}
    for fitted in (False, True):
        carrier = Carrier(refine=fitted)
        play(carrier, scene, range(9))
        carrier.anchor(0, {1: logits_of(scene.mask(centre(0)))})
        scores[fitted] = overlap(carrier.carried()[1].mask, scene.mask(centre(8)))
    assert scores[True] > scores[False]


def test_a_smaller_working_size_still_follows():
    scene, carrier = Scene(), Carrier(work_px=48)
    play(carrier, scene, range(5))
    carrier.anchor(0, {1: logits_of(scene.mask(centre(0)))})
    assert overlap(carrier.carried()[1].mask, scene.mask(centre(4))) > 0.9


def test_later_frames_need_no_new_result():
    carrier, scene = Carrier(), Scene()
    play(carrier, scene, range(3))
    carrier.anchor(1, {1: logits_of(scene.mask(centre(1)))})
    for frame_id in range(3, 10):
        play(carrier, scene, range(frame_id, frame_id + 1))
        assert overlap(carrier.carried()[1].mask, scene.mask(centre(frame_id))) > 0.9


def test_the_box_holds_the_mask():
    carrier, scene = Carrier(), Scene()
    play(carrier, scene, range(4))
    carrier.anchor(0, {1: logits_of(scene.mask(centre(0)))})
    found = carrier.carried()[1]
    x0, y0, x1, y1 = found.box
    outside = found.mask.copy()
    outside[y0:y1, x0:x1] = False
    assert found.mask.any() and not outside.any()


def test_a_covered_object_is_no_longer_shown():
    carrier, scene = Carrier(), Scene()
    play(carrier, scene, range(3))
    carrier.anchor(2, {1: logits_of(scene.mask(centre(2)))})
    assert carrier.carried()
    covered = scene.picture(centre(2))
    covered[50:180, 40:190] = (250, 250, 250)
    carrier.add(3, covered)
    assert not carrier.carried()


def test_an_object_that_left_the_picture_is_no_longer_shown():
    carrier, scene = Carrier(), Scene()
    places = [(260.0 + 14 * i, 120.0) for i in range(9)]
    for frame_id, place in enumerate(places):
        carrier.add(frame_id, scene.picture(place))
    carrier.anchor(0, {1: logits_of(scene.mask(places[0]))})
    found = carrier.carried()
    assert not found or found[1].mask.mean() < 0.005


def test_masks_do_not_cross_a_cut():
    carrier, scene = Carrier(), Scene()
    play(carrier, scene, range(3))
    carrier.anchor(2, {1: logits_of(scene.mask(centre(2)))})
    assert not carrier.add(3, texture(scene.size, seed=77))
    assert carrier.carried() == {}
    assert carrier.anchor(3, {1: logits_of(scene.mask(centre(3)))})
    assert 1 in carrier.carried()


def test_results_that_come_too_late_are_refused():
    carrier, scene = Carrier(frames=4), Scene()
    play(carrier, scene, range(8))
    logits = {1: logits_of(scene.mask(centre(3)))}
    assert not carrier.anchor(3, logits)
    assert carrier.anchor(5, logits)
    assert not carrier.anchor(4, logits)


def test_masks_older_than_the_window_are_no_longer_shown():
    carrier, scene = Carrier(frames=4), Scene()
    play(carrier, scene, range(3))
    carrier.anchor(2, {1: logits_of(scene.mask(centre(2)))})
    play(carrier, scene, range(3, 7))
    assert carrier.carried() == {}


def test_memory_is_bounded():
    carrier, scene = Carrier(frames=4), Scene()
    play(carrier, scene, range(12))
    assert len(carrier._pictures) == 4 and len(carrier._flow) == 4


def test_objects_not_named_again_are_no_longer_carried():
    carrier, scene = Carrier(), Scene()
    play(carrier, scene, range(3))
    logits = logits_of(scene.mask(centre(1)))
    carrier.anchor(1, {1: logits, 2: logits})
    assert set(carrier.carried()) == {1, 2}
    carrier.anchor(2, {2: logits_of(scene.mask(centre(2)))})
    assert set(carrier.carried()) == {2}


def test_an_empty_mask_is_no_object():
    carrier, scene = Carrier(), Scene()
    play(carrier, scene, range(2))
    assert carrier.anchor(1, {1: np.full((64, 64), -3, np.float32)})
    assert carrier.carried() == {}


def test_a_mask_over_everything_stays_so():
    carrier, scene = Carrier(), Scene()
    play(carrier, scene, range(2))
    carrier.anchor(0, {1: np.full((64, 64), 9, np.float32)})
    assert carrier.carried()[1].mask.mean() > 0.95


def test_a_speck_is_carried():
    carrier, scene = Carrier(), Scene(radius=7)
    play(carrier, scene, range(2))
    carrier.anchor(0, {1: logits_of(scene.mask(centre(0)))})
    found = carrier.carried()
    assert found and found[1].mask.any()


def test_a_carrier_without_frames_has_no_objects():
    carrier = Carrier()
    assert carrier.carried() == {}
    assert not carrier.anchor(0, {})


def test_clearing_forgets_everything():
    carrier, scene = Carrier(), Scene()
    play(carrier, scene, range(3))
    carrier.anchor(2, {1: logits_of(scene.mask(centre(2)))})
    carrier.clear()
    assert carrier.carried() == {} and not carrier.anchor(2, {})
    play(carrier, scene, range(1))


def test_fitting_uncovers_the_ground_that_flow_drags_along():
    scene = Scene((120, 160), radius=24)
    before, now = (60.0, 60.0), (75.0, 60.0)
    known = Known(scene.picture(before), scene.mask(before).astype(np.float32))
    y, x = np.mgrid[:120, :160].astype(np.float32)
    x[:, 30:115] -= 15  # the ground beside the disc moves with it, as flow would have it
    found = refit(known, scene.picture(now), (x, y)).mask > 0.5
    assert overlap(found, scene.mask(now)) > 0.93


def test_the_guided_filter_moves_an_edge_to_that_of_the_picture():
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 30:] = (200, 120, 40)
    mask = np.zeros((40, 60), np.float32)
    mask[:, 32:] = 1
    found = guided_filter(picture, mask, radius=8) > 0.5
    assert (found == (picture[..., 0] > 0)).mean() > 0.98
