"""Arithmetic of the lean model: packed linear layers, attention by blocks, rotations.

On the CPU everything that multiplies goes through oneDNN, with weights packed once. It
reaches the processor's peak where torch's default library does not (on AMD by a factor
of 2.4 in float32). Elsewhere torch's own fused attention is used.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ROWS = 256  # of scores at once: they stay in the cache (measured; 128 to 512 are alike)
_PACKED_FOR_ROWS = 1024  # rows the packed layout is chosen for


def has_onednn() -> bool:
    """Tell whether torch was built with the oneDNN operations used here."""
    operations = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and all(
        hasattr(operations, name) for name in ("_linear_pointwise", "_reorder_linear_weight")
    )


class Linear(nn.Module):
    """A linear layer without gradients, its weight packed for the device."""

    _packed: Tensor | None

    def __init__(
        self, weight: Tensor, bias: Tensor | None, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Pack a layer.

        Args:
            weight: (out, in).
            bias: (out,).
            device: where it will run.
            dtype: of inputs and outputs.
        """
        super().__init__()
        self.dtype = dtype
        kept = weight.detach().to(device, dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(device, dtype).contiguous()
        self._packed = self._plain = None
        if device.type == "cpu" and has_onednn():
            with torch.no_grad():
                self._packed = torch.ops.mkldnn._reorder_linear_weight(kept, _PACKED_FOR_ROWS)
        else:
            self._plain = kept

    @classmethod
    def of(cls, layer: nn.Module, device: torch.device, dtype: torch.dtype) -> "Linear":
        """Pack a torch layer: linear, or a convolution with a kernel of 1x1."""
        weight: Tensor = layer.weight  # type: ignore[assignment]
        bias: Tensor | None = layer.bias  # type: ignore[assignment]
        return cls(weight.flatten(1), bias, device=device, dtype=dtype)

    def __call__(self, x: Tensor, activation: str = "none") -> Tensor:
        """Do what `forward` does; torch does not say what its modules return."""
        return self.forward(x, activation)

    def forward(self, x: Tensor, activation: str = "none") -> Tensor:
        """Return act(x W^T + b); the activation is "none", "relu" or "gelu" (exact)."""
        x = x.to(self.dtype)
        if self._packed is not None:
            found: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self._packed, self.bias, activation, [], "none" if activation == "gelu" else ""
            )
            return found
        assert self._plain is not None
        y = F.linear(x, self._plain, self.bias)
        if activation == "gelu":
            return F.gelu(y)
        return y.relu() if activation == "relu" else y

    def onto(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return residual + x W^T + b."""
        x = x.to(self.dtype)
        if self._packed is not None and residual.dtype == self.dtype:
            found: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
                x, residual, self._packed, self.bias, "add"
            )
            return found
        summed: Tensor = residual + self(x)
        return summed


def pack_linears(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Replace every linear layer inside a module, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Linear.of(child, device, dtype))
        else:
            pack_linears(child, device, dtype)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(query key^T) value; the queries are scaled already.

    Args:
        query: (B, H, N, D).
        key: (B, H, M, D).
        value: (B, H, M, V); V may differ from D.
    """
    if query.device.type != "cpu" or not has_onednn():
        return F.scaled_dot_product_attention(query, key, value, scale=1.0)
    if query.dtype == torch.float32:
        if query.shape[2] < _ROWS:  # small windows
            return F.scaled_dot_product_attention(query, key, value, scale=1.0)
        found = query.new_empty(*query.shape[:3], value.shape[3])
        for b in range(query.shape[0]):
            for h in range(query.shape[1]):
                attend_one(query[b, h], key[b, h], value[b, h], out=found[b, h])
        return found
    return torch.softmax(query @ key.transpose(2, 3), -1) @ value


def attend_one(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return softmax(query key^T + bias) value of one head, by blocks of rows.

    Args:
        query: (N, D), scaled.
        key: (M, D).
        value: (M, V); laid out by columns it is not copied.
        bias: (M,) added to the scores of each key.
        out: (N, V) to write to.
    """
    found = query.new_empty(len(query), value.shape[1]) if out is None else out
    if query.device.type != "cpu" or not has_onednn():
        # Fused kernels want one width.
        wide = F.pad(value, (0, query.shape[1] - value.shape[1]))
        given = (query[None, None], key[None, None], wide[None, None])
        mask = None if bias is None else bias.expand(len(query), -1)
        read = F.scaled_dot_product_attention(*given, attn_mask=mask, scale=1.0)
        return found.copy_(read[0, 0, :, : value.shape[1]])
    product = torch.ops.mkldnn._linear_pointwise
    key, flipped = key.contiguous(), value.t().contiguous()
    weights = query.new_empty(min(_ROWS, len(query)), len(key))
    for start in range(0, len(query), _ROWS):
        rows = query[start : start + _ROWS].contiguous()
        scores = product(rows, key, bias, "none", [], "")
        part = torch.softmax(scores, -1, out=weights[: len(rows)])
        found[start : start + _ROWS] = product(part, flipped, None, "none", [], "")
    return found


def halves(width: int) -> Tensor:
    """Return the order of channels that turns pairs (2i, 2i + 1) into halves (i, width/2 + i)."""
    return torch.arange(width).view(-1, 2).t().reshape(-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Rotate channel i against channel width/2 + i.

    Args:
        x: (..., N, D).
        cos: (N, D / 2).
        sin: (N, D / 2).
        out: like x, to write to.
    """
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    turned = torch.empty_like(x) if out is None else out
    torch.mul(first, cos, out=turned[..., :half]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=turned[..., half:]).addcmul_(first, sin)
    return turned
