"""From a picture to the model's input."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamtrack.tracking.preprocess import to_image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


def scene(height: int, width: int) -> NDArray[np.uint8]:
    """A picture with soft and hard edges."""
    rng = np.random.default_rng(height)
    coarse = rng.integers(0, 256, (height // 16, width // 16, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.circle(picture, (width // 2, height // 2), height // 4, (250, 250, 20), -1)
    return np.asarray(picture, np.uint8)


def pixels(picture: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """The model's input in grey levels."""
    return (to_image(picture, size).numpy() * STD + MEAN) * 255


@pytest.mark.parametrize("shape", [(480, 854), (720, 1280), (1080, 1920), (300, 2000), (480, 640)])
@pytest.mark.parametrize("size", [256, 160])
def test_a_shrunk_picture_is_the_mean_of_what_each_pixel_covers(
    shape: tuple[int, int], size: int
) -> None:
    picture = scene(*shape)
    mean = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
    apart = np.abs(pixels(picture, size) - mean)
    assert apart.mean() < 1
    assert np.percentile(apart, 99.5) < 10


def test_stripes_finer_than_the_input_become_grey() -> None:
    picture = np.zeros((1080, 1920, 3), np.uint8)
    picture[:, ::2] = 255
    assert np.abs(pixels(picture, 256) - 127.5).max() < 15  # of 127.5


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    picture = scene(256, 256)
    assert np.allclose(pixels(picture, 256), picture.transpose(2, 0, 1), atol=1e-3)


@pytest.mark.parametrize("shape", [(90, 120), (256, 300), (200, 1000)])
def test_a_picture_that_is_not_larger_both_ways_is_interpolated(shape: tuple[int, int]) -> None:
    picture = scene(*shape)
    linear = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_LINEAR)
    assert np.allclose(pixels(picture, 256), linear.transpose(2, 0, 1), atol=1e-3)
