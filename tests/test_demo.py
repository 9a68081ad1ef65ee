"""The drawn scene is deterministic, knows its masks, and its things cross, leave and return."""

import numpy as np
import pytest

from streamtrack.media.demo import MAX_THINGS, DemoScene

SMALL = (180, 320)


@pytest.fixture(scope="module")
def scene() -> DemoScene:
    return DemoScene(SMALL)


def test_a_frame_has_the_size_that_was_asked_for(scene: DemoScene) -> None:
    picture, truth = scene.draw(0)
    assert picture.shape == (180, 320, 3) and picture.dtype == np.uint8
    assert truth.shape == (180, 320) and truth.dtype == np.uint8
    assert picture.flags["C_CONTIGUOUS"]


def test_a_frame_depends_only_on_seed_and_number(scene: DemoScene) -> None:
    other = DemoScene(SMALL)
    other.draw(3)
    for number in (0, 977, 12):
        for ours, theirs in zip(scene.draw(number), other.draw(number), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_another_seed_draws_another_scene(scene: DemoScene) -> None:
    assert not np.array_equal(scene.draw(0)[0], DemoScene(SMALL, seed=1).draw(0)[0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(180, 320), (320, 180), (240, 240), (120, 480)])
def test_at_first_all_things_are_whole_and_apart(seed: int, size: tuple[int, int]) -> None:
    scene = DemoScene(size, seed=seed, things=MAX_THINGS)
    _, truth = scene.draw(0)
    assert set(np.unique(truth)) == set(range(MAX_THINGS + 1))
    border = np.concatenate([truth[0], truth[-1], truth[:, 0], truth[:, -1]])
    assert not border.any()
    for first, second in ((truth[1:], truth[:-1]), (truth[:, 1:], truth[:, :-1])):
        touching = (first != second) & (first > 0) & (second > 0)
        assert not touching.any()


@pytest.mark.parametrize("seed", range(4))
def test_all_things_stay_in_view_for_three_seconds(seed: int) -> None:
    scene = DemoScene(SMALL, seed=seed, things=MAX_THINGS)
    whole = {thing.object_id: thing.area for thing in scene.things(0)}
    for number in range(0, 91, 10):
        seen = {thing.object_id: thing.area for thing in scene.things(number)}
        assert all(seen.get(object_id, 0) > area * 0.15 for object_id, area in whole.items())


def test_things_hide_each_other_and_leave_and_come_back(scene: DemoScene) -> None:
    areas = np.array(
        [
            np.bincount(scene.draw(number)[1].ravel(), minlength=6)[1:6]
            for number in range(0, 30 * 60, 15)
        ]
    )
    gone = areas == 0
    assert gone.any(axis=0).sum() >= 2
    assert not gone.all(axis=0).any()
    for thing in np.flatnonzero(gone.any(axis=0)):
        last_gone = np.flatnonzero(gone[:, thing])[0]
        assert areas[last_gone:, thing].any()
    assert ((areas > 0) & (areas < areas[0] * 0.85)).any(axis=0).all()


def test_the_point_of_a_thing_lies_inside_its_visible_mask(scene: DemoScene) -> None:
    for number in (0, 200, 700):
        truth = scene.draw(number)[1]
        things = scene.things(number)
        assert things
        for thing in things:
            x, y = thing.point
            assert truth[y, x] == thing.object_id
            assert thing.area == np.count_nonzero(truth == thing.object_id)


def test_things_and_backdrop_move_between_frames(scene: DemoScene) -> None:
    early, late = scene.draw(60), scene.draw(90)
    assert not np.array_equal(early[1], late[1])
    both_backdrop = (early[1] == 0) & (late[1] == 0)
    assert np.abs(early[0].astype(int) - late[0])[both_backdrop].mean() > 0.5


def test_truth_edges_lie_where_the_picture_changes(scene: DemoScene) -> None:
    picture, truth = scene.draw(0)
    bare = scene._backdrop.draw(0)
    difference = np.abs(picture.astype(int) - bare).sum(axis=2)
    assert (difference[truth > 0] > 20).mean() > 0.9


@pytest.mark.parametrize("things", [1, 2, MAX_THINGS])
def test_a_scene_has_as_many_things_as_asked(things: int) -> None:
    scene = DemoScene((64, 96), things=things)
    assert len(scene.names) == len(scene.things(0)) == things


@pytest.mark.parametrize(
    "options", [{"size": (16, 320)}, {"things": 0}, {"things": MAX_THINGS + 1}, {"fps": 0}]
)
def test_a_scene_that_cannot_be_drawn_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="No scene"):
        DemoScene(**options)  # type: ignore[arg-type]
