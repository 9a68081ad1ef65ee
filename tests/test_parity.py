"""The tracker against its oracle: logits equal SAM 2's video predictor, whatever is done.

Random weights at small image sizes: equality does not need trained ones. The object score
head is shifted so that objects are lost on about half of the frames.
"""

import math

import cv2
import numpy as np
import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor

from streamtrack.tracking.official import build_sam2
from streamtrack.tracking.preprocess import to_image
from streamtrack.tracking.prompts import Prompt, Tracked
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.tracker import Tracker, TrackingStream
from tests.oracle import Upstream, build_upstream

SIZE = (120, 160)
SIDE = 128
FRAMES = 62
CONFIGS = {
    "tiny": "configs/sam2.1/sam2.1_hiera_t.yaml",
    "base+": "configs/sam2.1/sam2.1_hiera_b+.yaml",
    "2.0-tiny": "configs/sam2/sam2_hiera_t.yaml",
}
Action = Prompt | int
"""A prompt, or the id of an object to remove."""
Script = dict[int, list[Action]]
Models = tuple[SAM2VideoPredictor, SAM2Base]


def click(object_id: int, x: float, y: float, label: int = 1) -> Prompt:
    return Prompt(object_id, points=[[x, y]], labels=[label])


def some_mask() -> np.ndarray:
    mask = np.zeros(SIZE, np.bool_)
    mask[30:70, 40:90] = True
    return mask


ONE_OBJECT: Script = {0: [click(1, 50.5, 40)]}
CORRECTED: Script = {
    0: [click(1, 50, 40)],
    3: [click(1, 60, 50, 0)],
    4: [click(1, 55, 45), click(1, 20, 20, 0)],
    9: [Prompt(1, box=[30, 20, 90, 80])],
    10: [click(1, 52, 42)],
    11: [click(1, 53, 42)],
    12: [click(1, 54, 43), click(1, 10, 10, 0)],
    13: [Prompt(1, points=[[50, 50], [60, 60], [5, 5]], labels=[1, 1, 0])],
    30: [Prompt(1, mask=some_mask())],
    45: [click(1, 70, 60)],
}
THREE_OBJECTS: Script = {
    0: [click(1, 50, 40)],
    2: [Prompt(2, box=[80, 30, 140, 100])],
    7: [click(3, 30, 90), click(3, 35, 95), click(1, 51, 41, 0)],
    21: [Prompt(2, box=[70, 30, 130, 100], points=[[75, 35]], labels=[0])],
    25: [click(4, 100, 60)],
    28: [2],
    40: [Prompt(5, mask=some_mask()), click(3, 30, 80)],
}
SCRIPTS = {"one": ONE_OBJECT, "corrected": CORRECTED, "three": THREE_OBJECTS}


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """A textured block that crosses a drifting texture."""
    rng = np.random.default_rng(5)
    height, width = SIZE
    texture = cv2.resize(rng.integers(0, 255, (16, 40, 3), np.uint8), (2 * width, height))
    block = cv2.resize(rng.integers(0, 255, (5, 5, 3), np.uint8), (40, 40))
    frames = []
    for i in range(FRAMES):
        picture = texture[:, i : i + width].copy()
        picture[20 + i // 2 : 60 + i // 2, 30 + i : 70 + i] = block
        frames.append(picture)
    return frames


@pytest.fixture(scope="module", params=CONFIGS)
def models(request: pytest.FixtureRequest, pictures: list[np.ndarray]) -> Models:
    torch.manual_seed(7)
    upstream = build_upstream(CONFIGS[request.param], SIDE)
    ours = build_sam2(CONFIGS[request.param], image_size=SIDE)
    ours.load_state_dict(upstream.state_dict())
    scores = [raw_score(t.objects[1].score) for t in play_ours(ours, pictures[:20], ONE_OBJECT)]
    for model in (upstream, ours):
        head = model.sam_mask_decoder.pred_obj_score_head
        last = head.layers[-1] if hasattr(head, "layers") else head
        with torch.no_grad():
            last.bias -= float(np.median(scores[1:]))
    return upstream, ours


def raw_score(probability: float) -> float:
    return math.log(probability / (1 - probability))


def play_ours(
    model: SAM2Base, pictures: list[np.ndarray], script: Script, *, batched: bool = False
) -> list[Tracked]:
    stream = Tracker(Segmenter(model, batched=batched), model="random").open()
    return [
        stream.step(picture, act(stream, script.get(index, [])))
        for index, picture in enumerate(pictures)
    ]


def play_upstream(
    predictor: SAM2VideoPredictor, pictures: list[np.ndarray], script: Script
) -> list[dict[int, np.ndarray]]:
    images = [to_image(picture, SIDE) for picture in pictures]
    stream = Upstream(predictor, images, SIZE)
    return [stream.step(act(stream, script.get(index, []))) for index in range(len(pictures))]


def act(stream: TrackingStream | Upstream, actions: list[Action]) -> list[Prompt]:
    """Do the script's removals and return its prompts."""
    for action in actions:
        if isinstance(action, int):
            stream.remove(action)
    return [action for action in actions if isinstance(action, Prompt)]


def largest_difference(ours: list[Tracked], theirs: list[dict[int, np.ndarray]]) -> float:
    worst = 0.0
    for tracked, expected in zip(ours, theirs, strict=True):
        assert set(tracked.objects) == set(expected)
        for object_id, logits in expected.items():
            difference = np.abs(tracked.objects[object_id].logits - logits).max()
            worst = max(worst, float(difference))
    return worst


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_logits_equal_upstream_bit_for_bit_when_stepped_one_by_one(
    models: Models, pictures: list[np.ndarray], script: str
) -> None:
    upstream, ours = models
    found = play_ours(ours, pictures, SCRIPTS[script])
    assert largest_difference(found, play_upstream(upstream, pictures, SCRIPTS[script])) == 0.0
    states = [one.state for tracked in found for one in tracked.objects.values()]
    assert states.count("lost") >= 5 and states.count("tracked") >= 5


@pytest.mark.slow
def test_batched_objects_equal_one_by_one_within_1e_4(
    models: Models, pictures: list[np.ndarray]
) -> None:
    _, ours = models
    alone = play_ours(ours, pictures, THREE_OBJECTS)
    together = play_ours(ours, pictures, THREE_OBJECTS, batched=True)
    expected = [{i: one.logits for i, one in t.objects.items()} for t in alone]
    assert largest_difference(together, expected) <= 1e-4


@pytest.mark.slow
def test_an_object_added_mid_stream_leaves_the_others_bit_identical(
    models: Models, pictures: list[np.ndarray]
) -> None:
    _, ours = models
    alone = play_ours(ours, pictures[:30], ONE_OBJECT)
    script = {**ONE_OBJECT, 8: [click(2, 100, 60)], 20: [2]}
    beside = play_ours(ours, pictures[:30], script)
    for one, other in zip(alone, beside, strict=True):
        assert np.array_equal(one.objects[1].logits, other.objects[1].logits)
