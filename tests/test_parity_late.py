"""Late prompts against their oracle: `add_new_points_or_box(c)` and `propagate_in_video(c)`."""

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

SIDE = 64
SIZE = (60, 80)
CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
Models = tuple[SAM2VideoPredictor, SAM2Base]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    height, width = SIZE
    texture = cv2.resize(rng.integers(0, 255, (16, 40, 3), np.uint8), (2 * width, height))
    return [np.ascontiguousarray(texture[:, i : i + width]) for i in range(60)]


@pytest.fixture(scope="module")
def models() -> Models:
    torch.manual_seed(7)
    upstream = build_upstream(CONFIG, SIDE)
    ours = build_sam2(CONFIG, image_size=SIDE)
    ours.load_state_dict(upstream.state_dict())
    return upstream, ours


class Pair:
    """Ours and upstream on the same frames."""

    def __init__(self, models: Models, pictures: list[np.ndarray], **options: object) -> None:
        upstream, ours = models
        segmenter = Segmenter(ours, batched=False)
        self.ours = TrackingStream(segmenter, rewind_frames=30, **options)  # type: ignore[arg-type]
        self.theirs = Upstream(upstream, [to_image(p, SIDE) for p in pictures], SIZE)
        self._pictures = pictures

    def step(self, count: int = 1, *prompts: Prompt) -> None:
        for i in range(count):
            now = prompts if i == 0 else ()
            tracked = self.ours.step(self._pictures[self.ours.index], now)
            assert_equal(tracked, self.theirs.step(now))

    def late(self, prompt: Prompt, *, refine: bool = False) -> Tracked:
        assert prompt.frame is not None
        tracked = self.ours.apply([prompt])
        assert_equal(tracked, self.theirs.late(prompt.frame, prompt, refine=refine))
        return tracked


def assert_equal(tracked: Tracked, expected: dict[int, np.ndarray]) -> None:
    assert set(tracked.objects) == set(expected)
    for object_id, logits in expected.items():
        assert np.abs(tracked.objects[object_id].logits - logits).max() == 0.0


def click(
    object_id: int, frame: int | None, x: float = 30, y: float = 30, label: int = 1
) -> Prompt:
    return Prompt(object_id, points=[[x, y]], labels=[label], frame=frame)


def test_a_late_new_object_equals_upstream(models: Models, pictures: list[np.ndarray]) -> None:
    pair = Pair(models, pictures)
    pair.step(6, click(1, None))
    tracked = pair.late(click(2, 3, 50, 20))
    assert [(a.frame, a.mode, a.replayed_frames) for a in tracked.applied] == [(3, "replayed", 2)]
    pair.step(6)


def test_a_late_refinement_equals_upstream(models: Models, pictures: list[np.ndarray]) -> None:
    pair = Pair(models, pictures)
    pair.step(20, click(1, None), click(2, None, 60, 40))
    pair.late(click(1, 12, 40, 20, 0))
    pair.step(4)
    pair.late(Prompt(2, box=[5, 5, 50, 40], frame=15))
    pair.step(10)


def test_late_prompts_out_of_order_equal_upstream(
    models: Models, pictures: list[np.ndarray]
) -> None:
    pair = Pair(models, pictures)
    pair.step(10, click(1, None))
    for frame in (8, 4, 6, 5, 2, 7):
        pair.late(click(1, frame, 20 + frame, 30))
    pair.step(25)


def test_a_second_late_prompt_on_one_frame_refines_the_first(
    models: Models, pictures: list[np.ndarray]
) -> None:
    pair = Pair(models, pictures)
    pair.step(8, click(1, None))
    pair.late(click(1, 5))
    pair.late(click(1, 5, 10, 10, 0), refine=True)
    pair.late(click(1, 0, 12, 12, 0), refine=True)
    pair.step(5)


def test_a_late_mask_equals_upstream(models: Models, pictures: list[np.ndarray]) -> None:
    pair = Pair(models, pictures)
    pair.step(8, click(1, None))
    mask = np.zeros(SIZE, np.bool_)
    mask[20:40, 30:60] = True
    pair.late(Prompt(1, mask=mask, frame=4))
    pair.late(Prompt(2, mask=mask, frame=2))
    pair.step(5)


def test_replaying_with_features_computed_anew_is_exact(
    models: Models, pictures: list[np.ndarray]
) -> None:
    pair = Pair(models, pictures, feature_bytes=0)
    pair.step(8, click(1, None))
    tracked = pair.late(click(1, 4, 10, 50))
    assert tracked.applied[0].mode == "reencoded"
    pair.step(3)


def test_other_objects_stay_bit_identical(models: Models, pictures: list[np.ndarray]) -> None:
    tracker = Tracker(Segmenter(models[1], batched=False), model="random")
    alone, beside = tracker.open(), tracker.open()
    for i in range(20):
        prompts = [click(1, None)] if i == 0 else []
        expected = alone.step(pictures[i], prompts)
        found = beside.step(pictures[i], prompts)
        if i == 9:
            beside.apply([click(2, 6, 50, 20)])
        if i == 12:
            beside.apply([click(2, 8, 10, 10, 0)])
        assert np.array_equal(found.objects[1].logits, expected.objects[1].logits)


def test_several_late_prompts_at_once_equal_one_after_another(
    models: Models, pictures: list[np.ndarray]
) -> None:
    tracker = Tracker(Segmenter(models[1], batched=False), model="random")
    together, apart = tracker.open(), tracker.open()
    prompts = [click(1, 7, 40, 40, 0), click(1, 3, 20, 20), click(2, 5, 50, 20)]
    for i in range(10):
        for stream in (together, apart):
            stream.step(pictures[i], [click(1, None)] if i == 0 else [])
    one = together.apply(prompts)
    for prompt in sorted(prompts, key=lambda p: p.frame or 0):
        other = apart.apply([prompt])
    for object_id in (1, 2):
        expected = other.objects[object_id].logits
        assert np.array_equal(one.objects[object_id].logits, expected)
    assert [a.object_id for a in one.applied] == [1, 1, 2]
    assert [a.frame for a in one.applied] == [7, 3, 5]


def test_over_the_budget_the_object_jumps(models: Models, pictures: list[np.ndarray]) -> None:
    stream = Tracker(Segmenter(models[1]), model="random").open(replay_budget_ms=0)
    for i in range(8):
        stream.step(pictures[i], [click(1, None)] if i == 0 else [])
    tracked = stream.apply([click(1, 4, 10, 10, 0), click(2, 5)])
    assert {a.mode for a in tracked.applied} == {"jumped"}
    assert set(tracked.objects) == {1}
    assert tracked.applied[1].result.object_id == 2
    assert set(stream.step(pictures[8]).objects) == {1, 2}
    assert stream.apply([click(1, 8)]).applied[0].mode == "exact"


def test_a_frame_that_was_shown_but_not_stepped_takes_its_place(
    models: Models, pictures: list[np.ndarray]
) -> None:
    """Frames 0, 2, 4 ... are stepped; the late one makes the object's frames 0 ... 4, 5, 6, 8."""
    tracker = Tracker(Segmenter(models[1], batched=False), model="random")
    skipping = tracker.open(pictures=lambda frame: pictures[frame])
    for i in range(0, 10, 2):
        skipping.step(pictures[i], [click(1, None)] if i == 0 else [], frame=i)
    found = skipping.apply([click(1, 5, 10, 10, 0)])
    assert found.applied[0].frame == 5
    expected = tracker.open()
    for i in (0, 2, 4, 5, 6, 8):
        prompts = [click(1, None)] if i == 0 else [click(1, None, 10, 10, 0)] if i == 5 else []
        other = expected.step(pictures[i], prompts, frame=i)
    assert np.array_equal(found.objects[1].logits, other.objects[1].logits)
    for i in (10, 12):
        one, two = (s.step(pictures[i], frame=i) for s in (skipping, expected))
        assert np.array_equal(one.objects[1].logits, two.objects[1].logits)


def test_a_pinned_frame_can_be_prompted_when_the_window_is_past(
    models: Models, pictures: list[np.ndarray]
) -> None:
    stream = Tracker(Segmenter(models[1]), model="random").open(rewind_frames=4)
    for i in range(3):
        stream.step(pictures[i])
    assert stream.pin(1) and not stream.pin(77)
    for i in range(3, 20):
        stream.step(pictures[i])
    tracked = stream.apply([click(1, 1)])
    assert [(a.frame, a.mode) for a in tracked.applied] == [(1, "jumped")]
    assert set(stream.step(pictures[20]).objects) == {1}


def test_undo_of_a_late_prompt_goes_back_to_the_one_before(
    models: Models, pictures: list[np.ndarray]
) -> None:
    stream = Tracker(Segmenter(models[1]), model="random").open()
    for i in range(8):
        stream.step(pictures[i], [click(1, None)] if i == 0 else [])
    stream.apply([click(1, 5, 10, 10, 0)])
    assert stream.undo(1)
    stream.step(pictures[8])
    stream.apply([click(1, 6, 10, 10, 0)])
    assert stream.undo(1) and not stream.undo(1)
