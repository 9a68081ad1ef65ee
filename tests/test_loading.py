"""From a model's name or a checkpoint to a tracker."""

from pathlib import Path

import numpy as np
import pytest
import torch

from streamtrack.errors import CheckpointError, ConfigError
from streamtrack.tracking import loading
from streamtrack.tracking.devices import fast_dtype, resolve_device
from streamtrack.tracking.official import build_sam2
from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.tracker import Tracker

TINY = "configs/sam2.1/sam2.1_hiera_t.yaml"


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)


def test_the_embedded_model_loads_by_name_and_by_auto() -> None:
    for name in ("nano", "auto"):
        tracker = Tracker.load(name, device="cpu")
        assert (tracker.model, tracker.device, tracker.image_size) == ("nano", "cpu", 256)
        assert tracker.why


def test_one_model_serves_many_streams() -> None:
    tracker = Tracker.load("nano", device="cpu", image_size=64)
    streams = [tracker.open() for _ in range(3)]
    for stream in streams:
        assert stream.step(picture(), [Prompt(points=[[40, 30]])]).prompted == (1,)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint in the official format, with random weights."""
    torch.manual_seed(11)
    path = tmp_path_factory.mktemp("official") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": build_sam2(TINY, image_size=64).state_dict()}, path)
    return path


@pytest.mark.slow
def test_an_official_checkpoint_is_recognised_and_steps_like_its_model(official: Path) -> None:
    tracker = Tracker.load(
        checkpoint=official, image_size=64, device="cpu", dtype=torch.float32, batched=False
    )
    assert tracker.model == "sam2.1-tiny" and str(official) in tracker.why
    torch.manual_seed(11)
    twin = Tracker(Segmenter(build_sam2(TINY, image_size=64), batched=False), model="twin")
    prompts = [Prompt(points=[[40, 30]]), Prompt(box=[10, 10, 50, 50])]
    found, expected = (one.open().step(picture(), prompts) for one in (tracker, twin))
    for object_id in (1, 2):
        assert np.array_equal(found.objects[object_id].logits, expected.objects[object_id].logits)


@pytest.mark.slow
def test_a_checkpoint_of_another_model_says_what_it_holds(official: Path) -> None:
    with pytest.raises(CheckpointError, match="holds sam2.1-tiny, not sam2.1-large"):
        Tracker.load("sam2.1-large", checkpoint=official)


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(CheckpointError, match="did you mean sam2.1-tiny"):
        Tracker.load("sam2.1-tinny")


@pytest.mark.parametrize("size", [0, 33, 100, -64])
def test_an_image_size_must_be_a_multiple_of_32(size: int) -> None:
    with pytest.raises(ConfigError, match="multiple of 32"):
        Tracker.load("nano", image_size=size)


@pytest.mark.parametrize("device", ["tpu", "cuda:77", "mps:9"])
def test_a_device_that_is_not_here_is_said(device: str) -> None:
    with pytest.raises(ConfigError, match=device.split(":")[0]):
        resolve_device(device)


def test_the_processor_computes_in_bfloat16_only_where_it_can() -> None:
    can = torch.cpu._is_avx512_bf16_supported()
    assert fast_dtype("cpu") == (torch.bfloat16 if can else torch.float32)


@pytest.mark.parametrize(
    ("model", "image_size", "slow"),
    [
        ("nano", None, False),
        ("sam2.1-tiny", None, True),
        ("sam2.1-tiny", 256, False),
        ("sam2.1-tiny", 512, True),
        ("sam2.1-large", 768, True),
        ("auto", None, False),
    ],
)
def test_only_models_slower_than_flow_can_bridge_take_part_in_a_cascade(
    model: str, image_size: int | None, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading.checkpoints, "choose_model", lambda device: ("nano", "it is here"))
    assert loading.cascades(model, None, image_size, "cpu") is slow
