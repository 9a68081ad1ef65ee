"""The lean model part by part against SAM 2's own modules, and as a whole in a stream."""

import copy

import numpy as np
import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from streamtrack.tracking import kernels
from streamtrack.tracking.lean import Lean
from streamtrack.tracking.lean_readout import LeanReadout
from streamtrack.tracking.lean_trunk import LeanEncoder
from streamtrack.tracking.nano import build_nano
from streamtrack.tracking.official import build_sam2
from streamtrack.tracking.prompts import Prompt, Tracked
from streamtrack.tracking.savings import Savings
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.tokens import ObjectMemory
from streamtrack.tracking.tracker import Tracker

CPU = torch.device("cpu")
TINY = "configs/sam2.1/sam2.1_hiera_t.yaml"
FLOAT, BRAIN = torch.float32, torch.bfloat16


def build(config: str, side: int) -> SAM2Base:
    """Random weights whose biases are not zero, so that no term can be forgotten."""
    torch.manual_seed(3)
    model = build_sam2(config, image_size=side)
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "gamma")) or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.fixture(scope="module")
def tiny() -> SAM2Base:
    model = build(TINY, 128)
    decoder = model.sam_mask_decoder
    with torch.no_grad():  # choices that rounding cannot change: objects are seen, mask 2 is best
        decoder.pred_obj_score_head.layers[-1].bias.fill_(5)
        decoder.iou_prediction_head.layers[-1].bias.copy_(torch.tensor([0.0, 0.0, 4.0, 0.0]))
    return model


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


@pytest.mark.parametrize("config", ["t", "s", "b+", "l"])
@pytest.mark.parametrize("side", [64, 160])
def test_the_encoder_equals_sam2s(config: str, side: int) -> None:
    model = build(f"configs/sam2.1/sam2.1_hiera_{config}.yaml", side)
    image = torch.randn(3, side, side)
    with torch.inference_mode():
        encoded = model.forward_image(image[None])
        _, maps, positions, sizes = model._prepare_backbone_features(encoded)
        found = Lean(model, device=CPU, dtype=FLOAT).encode(image)
        mixed, _ = LeanEncoder(model, device=CPU, dtype=BRAIN).encode(image)
    assert list(found.sizes) == list(sizes)
    assert torch.equal(found.positions[-1], positions[-1])
    for one, rounded, expected in zip(found.maps, mixed, maps, strict=True):
        assert one.shape == expected.shape
        assert relative_error(one, expected) < 5e-6
        assert relative_error(rounded, expected[:, 0]) < 3e-2


@pytest.mark.parametrize("dtype", [FLOAT, BRAIN])
def test_memory_attention_equals_sam2s_for_objects_of_any_age(
    tiny: SAM2Base, dtype: torch.dtype
) -> None:
    side = 8
    features, position = torch.randn(side * side, 1, 256), torch.randn(side * side, 1, 256)
    ages = [(1, 4), (7, 64), (3, 0)]
    lengths = [count * side * side + pointers for count, pointers in ages]
    memories = [
        ObjectMemory(torch.randn(length, 64), torch.randn(length, 64), pointers)
        for length, (_, pointers) in zip(lengths, ages, strict=True)
    ]
    with torch.inference_mode():
        readout = LeanReadout(tiny.memory_attention, side, device=CPU, dtype=dtype)
        found = readout.read(features[:, 0], position[:, 0], memories)
        for one, memory in zip(found, memories, strict=True):
            expected = tiny.memory_attention(
                curr=[features],
                curr_pos=[position],
                memory=memory.tokens[:, None],
                memory_pos=memory.codes[:, None],
                num_obj_ptr_tokens=memory.pointer_tokens,
            )[:, 0]
            assert relative_error(one, expected) < (5e-6 if dtype == FLOAT else 3e-2)


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    wide = np.kron(rng.integers(0, 255, (12, 40, 3), np.uint8), np.ones((10, 10, 1), np.uint8))
    return [np.ascontiguousarray(wide[:, 3 * i : 3 * i + 160]) for i in range(count)]


def play(model: SAM2Base, **options: object) -> list[Tracked]:
    stream = Tracker(Segmenter(model, **options), model="random").open()  # type: ignore[arg-type]
    mask = np.zeros((120, 160), np.bool_)
    mask[30:70, 40:90] = True
    script = {
        0: [Prompt(1, points=[[50, 40]], labels=[1])],
        2: [Prompt(2, box=[80, 30, 140, 100])],
        4: [Prompt(3, mask=mask), Prompt(1, points=[[20, 20]], labels=[0])],
    }
    return [stream.step(picture, script.get(i, [])) for i, picture in enumerate(pictures(8))]


def test_a_stream_in_bfloat16_stays_near_the_exact_one(tiny: SAM2Base) -> None:
    exact, fast = play(tiny, batched=False), play(tiny, dtype=BRAIN)
    for one, other in zip(exact, fast, strict=True):
        for object_id, expected in one.objects.items():
            found = torch.from_numpy(other.objects[object_id].logits)
            assert relative_error(found, torch.from_numpy(expected.logits)) < 0.1


def test_without_onednn_it_gives_the_same(tiny: SAM2Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: plain layers and torch's fused attention."""
    exact = play(tiny, batched=False)
    monkeypatch.setattr(kernels, "has_onednn", lambda: False)
    for one, other in zip(exact, play(tiny), strict=True):
        for object_id, expected in one.objects.items():
            found = other.objects[object_id].logits
            assert np.abs(found - expected.logits).max() <= 1e-4
    pooled = play(tiny, savings=Savings(memory_pooling=2))
    assert pooled[-1].objects[1].logits.shape == (32, 32)


def test_building_it_leaves_the_model_as_it_was(tiny: SAM2Base) -> None:
    before = copy.deepcopy(tiny.state_dict())
    for dtype in (FLOAT, BRAIN):
        Lean(tiny, device=CPU, dtype=dtype)
    after = tiny.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_it_suits_official_models_only(tiny: SAM2Base) -> None:
    assert Lean.suits(tiny)
    assert not Lean.suits(build_nano(64))
