"""What makes the embedded model quick changes nothing of what it says."""

import numpy as np
import pytest
import torch

from streamtrack.tracking.nano import build_nano, make_quick
from streamtrack.tracking.nano_parts import KEY_CHANNELS, AffinityReadout
from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.tracker import Tracker
from tests.test_nano import Nano, disc_scene
from tests.test_nano import shipped as shipped  # the fixture


def test_the_quick_form_of_the_model_segments_alike() -> None:
    torch.manual_seed(3)
    plain, quick = build_nano(image_size=64), build_nano(image_size=64)
    quick.load_state_dict(plain.state_dict())
    streams = [Tracker(Segmenter(one), model="nano").open() for one in (plain, make_quick(quick))]
    rng = np.random.default_rng(0)
    for index in range(4):
        picture = rng.integers(0, 255, (64, 64, 3), np.uint8)
        prompts = [] if index else [Prompt(box=[10, 10, 50, 50])]
        one, other = (stream.step(picture, prompts).objects[1].logits for stream in streams)
        assert np.allclose(one, other, atol=1e-3 * max(1.0, float(np.abs(one).max())))


def test_weights_cast_once_give_what_autocast_gives(shipped: Nano) -> None:
    """Bit for bit: autocast would cast the same weights the same way on every frame."""
    cast = build_nano()
    cast.load_state_dict(shipped.state_dict())
    cast = make_quick(cast, torch.bfloat16)
    assert cast.image_encoder.trunk.stem[0].weight.dtype == torch.bfloat16
    plain = shipped.to(memory_format=torch.channels_last)
    segmenters = (Segmenter(one, dtype=torch.bfloat16) for one in (plain, cast))
    streams = [Tracker(one, model="nano").open() for one in segmenters]
    for index, (picture, _) in enumerate(disc_scene(5)):
        prompts = [] if index else [Prompt(points=[[70, 120]]), Prompt(box=[5, 5, 60, 60])]
        one, other = (stream.step(picture, prompts).objects for stream in streams)
        assert all(np.array_equal(one[i].logits, other[i].logits) for i in one)


@torch.inference_mode()
def test_objects_with_the_same_keys_are_read_at_once_and_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(1)
    readout = AffinityReadout(128).eval()
    frame, codes = torch.randn(64, 1, 128), torch.randn(192, 1, 128)
    keys, values = torch.randn(192, 1, KEY_CHANNELS), torch.randn(192, 3, 128 - KEY_CHANNELS)
    memory = torch.cat([keys.expand(-1, 3, -1), values], 2)
    frames, places = frame.expand(-1, 3, -1), codes.expand(-1, 3, -1)
    matches = []
    softmax = torch.Tensor.softmax
    monkeypatch.setattr(
        torch.Tensor, "softmax", lambda one, dim: matches.append(len(one)) or softmax(one, dim)
    )
    together = readout(frames, memory, memory_pos=places)
    assert matches == [1, 1]
    alone = [readout(frame, memory[:, i : i + 1], memory_pos=codes) for i in range(3)]
    assert torch.allclose(together, torch.cat(alone, 1), atol=1e-5)
    matches.clear()
    memory[7, 2, 0] += 1  # one object remembers something else
    apart = readout(frames, memory, memory_pos=places)
    assert matches == [3, 3]
    assert torch.allclose(apart[:, :2], together[:, :2], atol=1e-5)
    assert not torch.allclose(apart[:, 2], together[:, 2], atol=1e-5)
