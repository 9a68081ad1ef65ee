"""Pseudo-labels: things of videos that nano follows between boxes drawn by hand."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamtrack.tracking.tracker import Tracker
from tests.test_training import library as library  # the fixture
from training import clips
from training.clips import make_clip
from training.cutouts import moments
from training.data import HELD_OUT_VIDEOS, Library, Track, read_tracks, save_track
from training.pseudo_labels import BOXES, FURTHEST, agreed, label

SIZE = (144, 256)
RED, BLUE = (220, 40, 40), (40, 60, 220)


def centre(t: int) -> tuple[int, int]:
    """Return (x, y) of the red disc on frame t."""
    return 60 + 6 * t, 60 + 2 * t


def picture(t: int) -> NDArray[np.uint8]:
    """A red disc that goes to the right over grey hills, and a blue one that stands still."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    ground = 120 + 25 * np.sin(x / 17) * np.cos(y / 11)
    drawn = np.repeat(ground[..., None], 3, 2).astype(np.uint8)
    cv2.circle(drawn, (200, 30), 18, BLUE, -1)
    cv2.circle(drawn, centre(t), 22, RED, -1)
    return drawn


def box(t: int) -> list[float]:
    """The red disc's box, as shares of the picture."""
    x, y = centre(t)
    return [(x - 22) / SIZE[1], (y - 22) / SIZE[0], (x + 23) / SIZE[1], (y + 23) / SIZE[0]]


BLUE_BOX = [182 / SIZE[1], 12 / SIZE[0], 219 / SIZE[1], 49 / SIZE[0]]


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    """nano, as small as it is good for discs."""
    return Tracker.load("nano", image_size=256)


def test_what_both_directions_agree_on_is_the_thing(tracker: Tracker) -> None:
    found = list(agreed(tracker, [picture(t) for t in range(9)], box(0), box(8)))
    for t, mask in enumerate(found):
        assert mask is not None
        true = (picture(t) == RED).all(-1)
        both, either = ((mask > 0) & true).sum(), ((mask > 0) | true).sum()
        assert both > 0.85 * either, t


def test_frames_on_which_the_directions_differ_are_left_out(tracker: Tracker) -> None:
    pictures = [picture(t) for t in range(7)]
    assert list(agreed(tracker, pictures, box(0), BLUE_BOX)) == [None] * 7
    assert label(tracker, pictures, {0: box(0), 6: BLUE_BOX}) is None


def test_boxes_too_far_apart_are_not_joined(tracker: Tracker) -> None:
    pictures = [picture(0)] * (FURTHEST + 8)
    track = label(tracker, pictures, {0: box(0), 4: box(0), FURTHEST + 6: box(0)})
    assert track is not None and len(track.masks) == 3  # every second frame of the first five


def red_track(count: int = 12) -> Track:
    """The red disc with its true masks."""
    pictures = [picture(t) for t in range(count)]
    return Track.of(pictures, [255 * (p == RED).all(-1).astype(np.uint8) for p in pictures])


def test_a_track_is_kept_in_a_file(tmp_path: Path) -> None:
    track = red_track()
    save_track(tmp_path / "disc.npz", track)
    (again,) = read_tracks(tmp_path)
    assert np.array_equal(again.pictures, track.pictures)
    assert np.array_equal(again.masks, track.masks)


def test_a_folder_without_tracks_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"training\.pseudo_labels"):
        read_tracks(tmp_path)


@pytest.mark.parametrize("leapt", [False, True])
@pytest.mark.parametrize("length", [1, 2, 9, 60])
def test_moments_are_evenly_apart_but_for_a_leap(length: int, leapt: bool) -> None:
    seen = set()
    for seed in range(50):
        shown = moments(np.random.default_rng(seed), length, 5, leapt)
        assert len(shown) == 5 and all(0 <= t < length for t in shown)
        seen.update(shown)
        if length >= 9:
            assert len(set(np.diff(shown[1:] if leapt else shown))) == 1
    assert len(seen) > 0.8 * length


def test_clips_show_tracked_things_under_their_masks(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "TRACK_SHARE", 1.0)
    tracked = Library(library.pictures, library.sets, library.videos, tracks=(red_track(),))
    found = 0
    for seed in range(40):
        clip = make_clip(tracked, (seed,), 64, 4, leaps=True)
        for masks in clip.masks.transpose(1, 0, 2, 3):
            colours = [f[m > 0].mean(0) for f, m in zip(clip.frames, masks, strict=True) if m.any()]
            found += all(red > 1.6 * max(green, blue) for red, green, blue in colours)
    assert found > 8


def test_the_boxes_lie_in_videos_that_are_not_held_out() -> None:
    everything = json.loads(BOXES.read_text())
    assert not set(everything) & set(HELD_OUT_VIDEOS)
    boxes = [b for things in everything.values() for one in things.values() for b in one.values()]
    assert len(boxes) > 50
    for x0, y0, x1, y1 in boxes:
        assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
