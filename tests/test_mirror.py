"""First prompts of nano: the frame and its mirror image are asked, and the mean is the answer."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streamtrack.tracking.official import build_sam2
from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.segmentation import PointInput
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.tracker import Tracker
from tests.test_nano import disc_scene

SIDE = 256
CLICK: dict[str, Any] = {"points": [[70, 120]]}
CLICKS: dict[str, Any] = {"points": [[70, 120], [200, 40]], "labels": [1, 0]}
BOX: dict[str, Any] = {"box": [30, 80, 110, 160]}
BOTH: dict[str, Any] = {**BOX, **CLICK}


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    """The shipped model, in float32 so that both ways round off alike."""
    return Tracker.load("nano", dtype=torch.float32)


def turned(prompt: dict[str, Any]) -> dict[str, Any]:
    """The prompt on the mirror image of a picture as large as the model's input."""
    new = dict(prompt)
    if "points" in prompt:
        new["points"] = [[SIDE - 1 - x, y] for x, y in prompt["points"]]
    if "box" in prompt:
        x0, y0, x1, y1 = prompt["box"]
        new["box"] = [SIDE - 1 - x1, y0, SIDE - 1 - x0, y1]
    return new


def logits(
    tracker: Tracker, picture: NDArray[np.uint8], *prompts: dict[str, Any]
) -> NDArray[np.float32]:
    """The object's logits after prompts on one frame, one after another."""
    stream = tracker.open()
    found = stream.step(picture, [Prompt(1, **prompts[0])])
    for prompt in prompts[1:]:
        found = stream.apply([Prompt(1, **prompt)])
    return found.objects[1].logits


@pytest.mark.parametrize(
    "prompts", [[CLICK], [CLICKS], [BOX], [BOTH], [CLICK, CLICKS], [BOX, CLICK]]
)
def test_a_picture_and_its_mirror_image_get_the_same_answer(
    tracker: Tracker, prompts: list[dict[str, Any]]
) -> None:
    picture = disc_scene(1)[0][0]
    one = logits(tracker, picture, *prompts)
    other = logits(tracker, np.ascontiguousarray(picture[:, ::-1]), *map(turned, prompts))
    assert (one > 0).any()
    assert np.allclose(one, other[..., ::-1], atol=1e-3 * float(np.abs(one).max()))


def test_a_correction_of_a_later_frame_reads_memories_and_no_mirror(tracker: Tracker) -> None:
    scene = disc_scene(4)
    stream = tracker.open()
    stream.step(scene[0][0], [Prompt(1, **CLICK)])
    for picture, _ in scene[1:3]:
        stream.step(picture)
    picture, true = scene[3]
    y, x = np.argwhere(true).mean(0)
    found = stream.step(picture, [Prompt(1, points=[[x, y]])]).objects[1]
    assert (found.mask & true).sum() > 0.7 * (found.mask | true).sum()


def test_the_candidates_of_a_first_click_are_means_too(tracker: Tracker) -> None:
    picture = disc_scene(1)[0][0]
    found = tracker.open().step(picture, [Prompt(1, **CLICK)]).objects[1]
    assert found.candidates is not None and found.candidates.shape == (3, *picture.shape[:2])
    assert np.array_equal(found.candidates[0], found.mask)


def test_clicks_and_the_corners_of_a_box_change_sides() -> None:
    coords = torch.tensor([[[10.0, 20.0], [50.0, 60.0], [30.0, 40.0]]])
    labels = torch.tensor([[2, 3, 1]], dtype=torch.int32)
    both = PointInput(coords, labels).beside_mirrored(256)
    assert torch.equal(both.coords[0], coords[0])
    assert both.coords[1].tolist() == [[205.0, 20.0], [245.0, 60.0], [225.0, 40.0]]
    assert both.labels.tolist() == [[2, 3, 1], [2, 3, 1]]


def test_official_models_are_not_asked_twice() -> None:
    model = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", image_size=64)
    assert not Segmenter(model).looks_in_mirror
