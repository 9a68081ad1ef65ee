"""Sizes and rates that a stream can carry."""

import numpy as np
import pytest

from streamtrack.fitting import FrameRateLimit, RateMeter, fit_picture, fit_size
from tests.fakes import FakeClock


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ((720, 1280), (720, 1280)),
        ((1080, 1920), (720, 1280)),
        ((1920, 1080), (1280, 720)),
        ((2160, 3840), (720, 1280)),
        ((481, 641), (480, 640)),
        ((1, 1), (2, 2)),
        ((100, 3000), (42, 1280)),
    ],
)
def test_large_and_odd_pictures_are_fitted(source: tuple[int, int], shown: tuple[int, int]) -> None:
    assert fit_size(source, 1280, 720) == shown
    picture = fit_picture(np.zeros((*source, 3), np.uint8), 1280, 720)
    assert picture.shape == (*shown, 3) and picture.flags.c_contiguous


def test_a_picture_that_fits_is_not_copied() -> None:
    picture = np.zeros((480, 640, 3), np.uint8)
    assert fit_picture(picture, 1280, 720) is picture


def test_a_fast_source_is_thinned_to_the_limit_and_a_slow_one_is_not() -> None:
    limit = FrameRateLimit(30.0)
    assert 29 <= sum(limit.admit(index / 60) for index in range(60)) <= 31
    limit = FrameRateLimit(30.0)
    jitter = [0.0, 0.006, -0.005, 0.0, 0.004]
    assert all(limit.admit(index / 30 + jitter[index % 5]) for index in range(60))


def test_a_rate_is_that_of_the_last_two_seconds() -> None:
    clock = FakeClock()
    meter = RateMeter(clock)
    for _ in range(50):
        clock.advance(0.1)
        meter.tick()
    assert meter.rate() == pytest.approx(10.0, rel=0.1)
    assert meter.count == 50
    clock.advance(3.0)
    assert meter.rate() == 0.0
