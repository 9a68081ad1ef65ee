"""Memory attention of SAM 2 with less arithmetic, equal up to rounding.

- Values are the memories themselves, 64 channels wide: their projection to 256 channels and
  the projection of the output are one matrix, applied once to what was read, because a
  weighted mean of W v + b is W times the weighted mean of v, plus b.
- Until the first cross attention nothing depends on the object: it is computed once.
- The channels of queries and keys are reordered, so that a rotation acts on two halves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamtrack.tracking.kernels import Linear, attend_one, halves, rotate
from streamtrack.tracking.tokens import ObjectMemory


class LeanReadout:
    """Memory attention over all objects of a frame."""

    def __init__(
        self,
        attention: nn.Module,
        side: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
        pooling: int = 1,
    ) -> None:
        """Take the weights of SAM 2's `MemoryAttention`.

        Args:
            attention: the module; one that `suits` accepts.
            side: of the features, in cells.
            device: where it will run.
            dtype: of the arithmetic; sums along the layers stay float32.
            pooling: side of the squares of memory cells that are read as one; 1 is exact.
        """
        layers: Any = attention.layers
        self._layers = [_Layer(layer, device, dtype, pooling) for layer in layers]
        self._norm = _Norm(attention.norm, device)
        turns = layers[0].self_attn.compute_cis(end_x=side, end_y=side).to(device)
        self._cos, self._sin = turns.real.to(dtype), turns.imag.to(dtype)  # (h*w, D / 2)
        self._dtype, self._pooling = dtype, pooling

    @staticmethod
    def suits(attention: Any) -> bool:
        """Tell whether the module is built as the official models build it."""
        layers: Any = getattr(attention, "layers", ())
        return (
            bool(layers)
            and attention.pos_enc_at_input
            and attention.batch_first
            and all(
                layer.self_attn.num_heads == layer.cross_attn_image.num_heads == 1
                and hasattr(layer.self_attn, "compute_cis")
                and layer.activation_str == "relu"
                and layer.pos_enc_at_cross_attn_keys
                and not (layer.pos_enc_at_attn or layer.pos_enc_at_cross_attn_queries)
                for layer in layers
            )
        )

    def read(self, features: Tensor, position: Tensor, memories: Sequence[ObjectMemory]) -> Tensor:
        """Return the features conditioned on each object's memories, (B, h*w, C) float32.

        Args:
            features: (h*w, C) of the frame.
            position: (h*w, C).
            memories: of the objects, of any lengths.
        """
        x = (features.float() + 0.1 * position.float())[None]
        prepared = [self._prepare(memory) for memory in memories]
        for layer in self._layers:
            x = layer.look_around(x, self._cos, self._sin)
            x = layer.look_back(x, prepared, self._cos, self._sin)
            x = layer.mix(x)
        return self._norm(x)

    def _prepare(self, memory: ObjectMemory) -> "_Reading":
        """Do once what all layers need."""
        source = (memory.tokens.float() + memory.codes.float()).to(self._dtype)
        spatial = len(source) - memory.pointer_tokens
        value, bias = memory.tokens.to(self._dtype), None
        if self._pooling > 1:
            value = _pooled(value, spatial, len(self._cos), self._pooling)
            bias = value.new_zeros(len(value))
            bias[: len(value) - memory.pointer_tokens] = math.log(self._pooling**2)
        return _Reading(source, spatial, value.t().contiguous().t(), bias)


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """One object's memories, ready to be read."""

    source: Tensor
    """(M, C) of which keys are made."""
    spatial: int
    """How many of them have a place; the rest are pointers."""
    value: Tensor
    """(M', C), laid out by columns."""
    bias: Tensor | None
    """(M',) what makes one pooled key weigh as much as the keys it stands for."""


class _Norm:
    def __init__(self, norm: Any, device: torch.device) -> None:
        self._weight = norm.weight.detach().to(device, torch.float32)
        self._bias = norm.bias.detach().to(device, torch.float32)
        self._eps = norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self._weight.shape, self._weight, self._bias, self._eps)


class _Attention:
    """Projections of one attention: of queries, of keys, and of what was read."""

    def __init__(self, attention: Any, device: torch.device, dtype: torch.dtype) -> None:
        order = halves(attention.internal_dim)
        scale = attention.internal_dim**-0.5
        query, key = attention.q_proj, attention.k_proj
        value, out = attention.v_proj, attention.out_proj
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.query = Linear(query.weight[order] * scale, query.bias[order] * scale, **place)
        self.key = Linear(key.weight[order], key.bias[order], **place)
        joined = out.weight.double() @ value.weight.double()
        bias = out.weight.double() @ value.bias.double() + out.bias.double()
        self.out = Linear(joined.float(), bias.float(), **place)


class _Layer:
    def __init__(self, layer: Any, device: torch.device, dtype: torch.dtype, pooling: int) -> None:
        self._around = _Attention(layer.self_attn, device, dtype)
        self._back = _Attention(layer.cross_attn_image, device, dtype)
        self._norms = [_Norm(n, device) for n in (layer.norm1, layer.norm2, layer.norm3)]
        self._widen = Linear.of(layer.linear1, device, dtype)
        self._narrow = Linear.of(layer.linear2, device, dtype)
        self._dtype = dtype
        self._pooling = pooling

    def look_around(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Self attention of (B, N, C)."""
        seen = self._norms[0](x).to(self._dtype)
        query = rotate(self._around.query(seen), cos, sin)
        key = rotate(self._around.key(seen), cos, sin)
        read = torch.empty_like(seen)
        for i in range(len(x)):
            attend_one(query[i], key[i], seen[i], out=read[i])
        return self._around.out.onto(read, x)

    def look_back(
        self, x: Tensor, readings: Sequence[_Reading], cos: Tensor, sin: Tensor
    ) -> Tensor:
        """Cross attention of (B, N, C), or of (1, N, C) that all objects share."""
        query = rotate(self._back.query(self._norms[1](x)), cos, sin)
        width = readings[0].value.shape[1]
        read = query.new_empty(len(readings), x.shape[1], width)
        for i, one in enumerate(readings):
            key = self._keys(one, cos, sin)
            attend_one(query[i % len(query)], key, one.value, bias=one.bias, out=read[i])
        return self._back.out.onto(read, x.expand(len(readings), -1, -1))

    def _keys(self, reading: _Reading, cos: Tensor, sin: Tensor) -> Tensor:
        """Return (M', D) keys; those of pointers have no place to be rotated by."""
        plain, spatial = self._back.key(reading.source), reading.spatial
        key = torch.empty_like(plain)
        grids = (one[:spatial].view(-1, len(cos), one.shape[1]) for one in (plain, key))
        rotate(next(grids), cos, sin, out=next(grids))
        key[spatial:] = plain[spatial:]
        if self._pooling > 1:
            return _pooled(key, spatial, len(cos), self._pooling)
        return key

    def mix(self, x: Tensor) -> Tensor:
        """Two layers on each token of (B, N, C)."""
        return self._narrow.onto(self._widen(self._norms[2](x), "relu"), x)


def _pooled(tokens: Tensor, spatial: int, cells: int, pooling: int) -> Tensor:
    """Return (M, D) tokens whose first `spatial` are averaged over squares of their grids."""
    side = round(math.sqrt(cells))
    grids = tokens[:spatial].view(-1, side, side, tokens.shape[1]).permute(0, 3, 1, 2)
    squares = F.avg_pool2d(grids, pooling).permute(0, 2, 3, 1).flatten(0, 2)
    return torch.cat([squares, tokens[spatial:]])
