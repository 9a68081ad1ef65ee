"""What a user of the tracker sees: ids, prompts, errors, undo, bounds."""

import numpy as np
import pytest
import torch

from streamtrack.errors import (
    DeviceError,
    PromptError,
    PromptTooOld,
    TooManyObjects,
    TooManyPoints,
    UnknownObject,
)
from streamtrack.tracking.devices import device_errors
from streamtrack.tracking.official import build_sam2
from streamtrack.tracking.prompts import Prompt, Tracked
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.tracker import Tracker, TrackingStream

SIZE = (90, 121)


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    torch.manual_seed(3)
    model = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", image_size=64)
    return Tracker(Segmenter(model), model="random")


@pytest.fixture
def stream(tracker: Tracker) -> TrackingStream:
    return tracker.open(max_objects=3)


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)


def click(object_id: int | None = None, x: float = 50, y: float = 40, label: int = 1) -> Prompt:
    return Prompt(object_id, points=[[x, y]], labels=[label])


def logits(tracked: Tracked, object_id: int) -> np.ndarray:
    return tracked.objects[object_id].logits


def test_new_objects_get_ids_from_one_that_are_never_reused(stream: TrackingStream) -> None:
    assert stream.step(picture(), [click(), click()]).prompted == (1, 2)
    stream.remove(2)
    assert stream.step(picture(), [click()]).prompted == (3,)
    assert stream.object_ids == (1, 3)
    stream.reset()
    assert stream.step(picture(), [click()]).prompted == (4,)


def test_a_given_unused_id_makes_the_object_with_that_id(stream: TrackingStream) -> None:
    assert stream.step(picture(), [click(7), click()]).prompted == (7, 8)


def test_results_have_the_sources_size(stream: TrackingStream) -> None:
    one = stream.step(picture(), [click()]).objects[1]
    assert one.mask.shape == SIZE and one.mask.dtype == np.bool_
    assert one.logits.shape == (16, 16) and one.logits.dtype == np.float32
    assert 0 <= one.score <= 1 and 0 <= one.predicted_iou <= 1
    assert one.area == one.mask.sum()


def test_an_ambiguous_first_click_offers_three_candidates(stream: TrackingStream) -> None:
    first = stream.step(picture(), [click()]).objects[1]
    assert first.candidates is not None and first.candidates.shape == (3, *SIZE)
    assert np.array_equal(first.candidates[0], first.mask)
    assert stream.step(picture()).objects[1].candidates is None


def test_a_box_offers_no_candidates(stream: TrackingStream) -> None:
    tracked = stream.step(picture(), [Prompt(box=[10, 10, 60, 60])])
    assert tracked.objects[1].candidates is None


def test_without_objects_a_step_only_counts(stream: TrackingStream) -> None:
    tracked = stream.step(picture())
    assert (tracked.index, tracked.objects, tracked.notes) == (0, {}, {})
    assert stream.step(picture()).index == 1


@pytest.mark.parametrize(
    "bad", [click(x=500), click(label=0), Prompt(), Prompt(points=[[1, 1]] * 17)]
)
def test_a_bad_prompt_changes_nothing_for_anyone(tracker: Tracker, bad: Prompt) -> None:
    stream, twin = tracker.open(), tracker.open()
    for one in (stream, twin):
        one.step(picture(0), [click()])
    with pytest.raises(PromptError):
        stream.step(picture(1), [click(1, 30, 30), bad])
    assert stream.index == twin.index and stream.object_ids == twin.object_ids
    assert np.array_equal(
        logits(stream.step(picture(1)), 1),
        logits(twin.step(picture(1)), 1),
    )


def test_check_refuses_what_step_would_refuse(stream: TrackingStream) -> None:
    stream.check(click(), SIZE)
    with pytest.raises(PromptError, match="outside the 121x90 frame"):
        stream.check(click(x=122), SIZE)
    assert stream.object_ids == ()


def test_the_object_limit_is_said(stream: TrackingStream) -> None:
    stream.step(picture(), [click(), click(), click()])
    with pytest.raises(TooManyObjects, match="3 objects"):
        stream.step(picture(), [click()])
    stream.remove(1)
    assert stream.step(picture(), [click()]).prompted == (4,)


def test_points_of_several_prompts_on_one_frame_share_the_limit(stream: TrackingStream) -> None:
    many = Prompt(1, points=[[20, 20]] * 9)
    with pytest.raises(TooManyPoints, match="18 points on one frame"):
        stream.step(picture(), [many, many])


@pytest.mark.parametrize("frame", [3, 900])
def test_a_prompt_for_a_frame_that_is_not_kept_is_refused_not_moved(
    tracker: Tracker, frame: int
) -> None:
    stream = tracker.open(rewind_frames=4)
    for i in range(10):
        stream.step(picture(i))
    with pytest.raises(PromptTooOld, match=f"names frame {frame}, but only frames 6 to 9"):
        stream.apply([Prompt(points=[[5, 5]], frame=frame)])


def test_removing_an_object_leaves_earlier_results_as_they_were(stream: TrackingStream) -> None:
    """The removal once reached into the result of the step before."""
    tracked = stream.step(picture(), [click(), click()])
    stream.remove(2)
    assert set(tracked.objects) == {1, 2}
    assert set(stream.apply([]).objects) == {1}


def test_unknown_objects_are_said(stream: TrackingStream) -> None:
    stream.step(picture(), [click()])
    for action in (stream.remove, stream.undo):
        with pytest.raises(UnknownObject, match="No object has the id 9; .*followed: 1"):
            action(9)


def test_corrections_stick(tracker: Tracker) -> None:
    """SAM 2 loses corrections on tracked frames (sam2 #546, #719, #731)."""
    corrected, plain = tracker.open(), tracker.open()
    for one in (corrected, plain):
        one.step(picture(0), [click()])
    corrected.step(picture(1), [click(1, 20, 20, 0)])
    plain.step(picture(1))
    assert not np.array_equal(
        logits(corrected.step(picture(2)), 1), logits(plain.step(picture(2)), 1)
    )


def test_undo_before_the_next_frame_is_exact(tracker: Tracker) -> None:
    corrected, plain = tracker.open(), tracker.open()
    for one in (corrected, plain):
        for i in range(5):
            one.step(picture(i), [click()] if i == 0 else [])
    corrected.step(picture(5), [click(1, 20, 20, 0)])
    plain.step(picture(5))
    assert corrected.undo(1)
    assert np.array_equal(logits(corrected.step(picture(6)), 1), logits(plain.step(picture(6)), 1))


def test_undo_of_the_first_prompt_removes_the_object(stream: TrackingStream) -> None:
    stream.step(picture(), [click()])
    assert not stream.undo(1)
    assert stream.object_ids == ()


def test_streams_of_one_tracker_do_not_touch_each_other(tracker: Tracker) -> None:
    alone, beside, other = tracker.open(), tracker.open(), tracker.open()
    for i in range(4):
        prompts = [click()] if i == 0 else []
        expected = alone.step(picture(i), prompts)
        found = beside.step(picture(i), prompts)
        other.step(picture(100 + i), [click(x=90)])
    assert np.array_equal(logits(found, 1), logits(expected, 1))


def test_a_picture_of_a_wrong_kind_is_refused(stream: TrackingStream) -> None:
    with pytest.raises(PromptError, match="float64 of shape"):
        stream.step(np.zeros(SIZE))  # type: ignore[arg-type]


def test_pictures_of_any_shape_are_taken(stream: TrackingStream) -> None:
    for height, width in [(64, 64), (1, 1), (33, 470), (720, 405)]:
        small = np.zeros((height, width, 3), np.uint8)
        tracked = stream.step(small, [Prompt(1, points=[[0, 0]])])
        assert tracked.objects[1].mask.shape == (height, width)


def test_running_out_of_memory_is_one_sentence() -> None:
    with pytest.raises(DeviceError, match="cuda ran out of memory; follow fewer objects"):
        with device_errors("cuda"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def test_a_failing_device_leaves_the_stream_as_it_was(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, twin = tracker.open(), tracker.open()
    for one in (stream, twin):
        one.step(picture(0), [click()])

    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    with monkeypatch.context() as patch, pytest.raises(DeviceError):
        patch.setattr(tracker.segmenter, "remember", fail)
        stream.step(picture(1), [click(1, 20, 20, 0), click()])
    assert stream.object_ids == (1,) and stream.index == 1
    assert np.array_equal(logits(stream.step(picture(1)), 1), logits(twin.step(picture(1)), 1))


def test_state_bytes_are_constant_in_steady_state(stream: TrackingStream) -> None:
    sizes = []
    for i in range(60):
        stream.step(picture(i % 3), [click()] if i in (0, 2) else [])
        sizes.append(stream.state_bytes)
    assert len(set(sizes[40:])) == 1
