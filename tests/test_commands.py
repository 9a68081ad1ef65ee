"""Clicks in normalised coordinates become prompts in pixels."""

import numpy as np

from streamtrack.commands import Click


def test_points_and_boxes_are_scaled_to_the_frame() -> None:
    click = Click(0.0, 3, ((0.5, 0.25), (1.0, 1.0)), (1, 0), (0.0, 0.0, 0.5, 1.0))
    prompt = click.prompt((100, 200))
    points = np.asarray(prompt.points)
    assert prompt.object_id == 3 and prompt.labels == (1, 0)
    assert points[0].tolist() == [100.0, 25.0]
    assert points[1, 0] < 200 and points[1, 1] < 100, "the edge belongs to the last pixel"
    assert np.asarray(prompt.box).tolist() == [0, 0, 100, 100]


def test_a_mask_of_another_size_is_stretched_to_the_frame() -> None:
    mask = np.zeros((10, 10), np.bool_)
    mask[:, 5:] = True
    stretched = np.asarray(Click(0.0, mask=mask).prompt((20, 40)).mask)
    assert stretched.shape == (20, 40) and stretched.dtype == np.bool_
    assert stretched[:, 20:].all() and not stretched[:, :20].any()
