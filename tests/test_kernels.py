"""The arithmetic of the lean model against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from sam2.modeling.position_encoding import apply_rotary_enc, compute_axial_cis
from torch import nn

from streamtrack.tracking.kernels import Linear, attend, attend_one, halves, rotate

CPU = torch.device("cpu")


@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
def test_a_packed_layer_equals_torchs(activation: str) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(48, 96), torch.randn(3, 7, 48)
    with torch.inference_mode():
        expected = layer(x)
        expected = {"none": expected, "relu": expected.relu(), "gelu": F.gelu(expected)}[activation]
        found = Linear.of(layer, CPU, torch.float32)(x, activation)
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_layer_adds_onto_a_residual(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, x, residual = nn.Linear(48, 96), torch.randn(5, 48), torch.randn(5, 96)
    with torch.inference_mode():
        found = Linear.of(layer, CPU, dtype).onto(x, residual)
        expected = residual + layer(x)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < (1e-5 if dtype == torch.float32 else 5e-2)


def test_attention_by_blocks_equals_torchs() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(700, 32), torch.randn(450, 32), torch.randn(450, 8)
    expected = torch.softmax(query @ key.t(), -1) @ value
    with torch.inference_mode():
        assert (attend_one(query, key, value) - expected).abs().max() < 1e-5
        heads = [one.unflatten(1, (2, -1)).transpose(0, 1)[None] for one in (query, key, value)]
        several = attend(*heads)
        for i in range(2):
            alone = torch.softmax(heads[0][0, i] @ heads[1][0, i].t(), -1) @ heads[2][0, i]
            assert (several[0, i] - alone).abs().max() < 1e-5


def test_rotating_halves_equals_rotating_pairs() -> None:
    torch.manual_seed(0)
    turns = compute_axial_cis(dim=32, end_x=5, end_y=5)
    query, key = torch.randn(1, 1, 25, 32), torch.randn(1, 1, 25, 32)
    turned_query, turned_key = apply_rotary_enc(query, key, turns)
    order = halves(32)
    ours = [rotate(one[..., order], turns.real, turns.imag) for one in (query, key)]
    expected = turned_query @ turned_key.transpose(2, 3)
    assert ((ours[0] @ ours[1].transpose(2, 3)) - expected).abs().max() < 1e-4
