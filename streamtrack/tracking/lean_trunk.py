"""SAM 2's image encoder with less copying, equal up to rounding.

- Tokens stay in the order of the attention windows from block to block: layers on single
  tokens do not care, and pooling by two turns windows of 8 into windows of 4.
- Where windows overhang the picture, only the picture's own tokens are projected; the rest
  are the projection's bias.
- What depends on the input size alone is computed once: position codes above all.
- The two fine feature maps leave two convolutions in a row that are one matrix.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from streamtrack.tracking.kernels import Linear, attend


@dataclass(frozen=True, slots=True)
class _Layout:
    """Order of the tokens of an h x w grid: rows, or windows when `window` is not 0."""

    height: int
    width: int
    window: int = 0


class LeanEncoder:
    """Trunk, neck and the decoder's convolutions of the fine maps."""

    def __init__(self, model: Any, *, device: torch.device, dtype: torch.dtype) -> None:
        """Take the weights of a model that `suits` accepts.

        Args:
            model: SAM2Base.
            device: where it will run.
            dtype: of the arithmetic.
        """
        trunk, neck = model.image_encoder.trunk, model.image_encoder.neck
        self._device, self._dtype = device, dtype
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        conv = trunk.patch_embed.proj
        self._stride, self._padding = conv.stride, conv.padding
        self._kernel = (
            conv.weight.detach().to(**place).contiguous(memory_format=torch.channels_last)
        )
        self._kernel_bias = conv.bias.detach().to(**place)
        self._blocks = [_Block(block, device, dtype) for block in trunk.blocks]
        self._ends = list(trunk.stage_ends)
        side = model.image_size // conv.stride[0]
        self._start = _Layout(side, side, self._blocks[0].first_window(side))
        with torch.no_grad():
            codes = trunk._get_pos_embed((side, side))[0].to(**place)  # (h, w, C)
            self._codes = _reorder(codes.flatten(0, 1), _Layout(side, side), self._start)
        laterals = [one.conv for one in neck.convs][::-1]  # finest first
        decoder = model.sam_mask_decoder
        self._fine = [
            _joined(laterals[0], decoder.conv_s0, device, dtype),
            _joined(laterals[1], decoder.conv_s1, device, dtype),
        ]
        self._coarse = [Linear.of(lateral, device, dtype) for lateral in laterals[2:]]

    @staticmethod
    def suits(model: Any) -> bool:
        """Tell whether the model's encoder is built as the official ones are."""
        encoder = model.image_encoder
        neck = encoder.neck
        return (
            hasattr(encoder.trunk, "pos_embed_window")
            and encoder.scalp == 1
            and model.use_high_res_features_in_sam
            and model.num_feature_levels == 3
            and len(encoder.trunk.stage_ends) == 4
            and neck.fpn_top_down_levels == [2, 3]
            and neck.fpn_interp_model == "nearest"
            and neck.fuse_type == "sum"
            and all(block.mlp.num_layers == 2 for block in encoder.trunk.blocks)
        )

    def encode(self, image: Tensor) -> tuple[list[Tensor], list[tuple[int, int]]]:
        """Return three maps, each (h*w, C), finest first, and their (h, w).

        Args:
            image: (3, S, S) float32, normalised.
        """
        pixels = image.to(self._device, self._dtype)[None]
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(pixels, self._kernel, self._kernel_bias, self._stride, self._padding)
        layout = _Layout(*x.shape[2:])
        x = _reorder(x[0].permute(1, 2, 0).flatten(0, 1), layout, self._start) + self._codes
        layout = self._start
        found: list[tuple[Tensor, _Layout]] = []
        for i, block in enumerate(self._blocks):
            x, layout = block(x, layout)
            if i in self._ends:
                found.append((x, layout))
        return self._neck(found)

    def _neck(
        self, found: list[tuple[Tensor, _Layout]]
    ) -> tuple[list[Tensor], list[tuple[int, int]]]:
        maps, sizes = [], []
        for (x, layout), project in zip(found[:2], self._fine, strict=True):
            maps.append(_in_rows(project(x), layout))
        third, fourth = (
            (_in_rows(project(x), layout), layout)
            for (x, layout), project in zip(found[2:], self._coarse, strict=True)
        )
        coarse = fourth[0].view(fourth[1].height, fourth[1].width, -1)
        wide = coarse.repeat_interleave(2, 0).repeat_interleave(2, 1).flatten(0, 1)
        maps.append(third[0] + wide)
        sizes = [(layout.height, layout.width) for _, layout in found[:3]]
        return maps, sizes


class _Block:
    """One block: attention in windows or over everything, then two layers on each token."""

    def __init__(self, block: Any, device: torch.device, dtype: torch.dtype) -> None:
        attention = block.attn
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self._window = block.window_size
        self._pools = bool(block.q_stride)
        assert not self._pools or tuple(block.q_stride) == (2, 2)
        self._heads = attention.num_heads
        wide = attention.qkv.weight.shape[0] // 3
        scale = torch.ones(3 * wide)
        scale[:wide] = (wide // self._heads) ** -0.5  # queries; pooling by maximum commutes
        weight = attention.qkv.weight.detach().cpu() * scale[:, None]
        self._qkv = Linear(weight, attention.qkv.bias.detach().cpu() * scale, **place)
        self._project = Linear.of(attention.proj, device, dtype)
        self._norms = [
            (n.weight.detach().to(**place), n.bias.detach().to(**place), n.eps)
            for n in (block.norm1, block.norm2)
        ]
        self._widen = Linear.of(block.mlp.layers[0], device, dtype)
        self._narrow = Linear.of(block.mlp.layers[1], device, dtype)
        changes = block.dim != block.dim_out
        self._shortcut = Linear.of(block.proj, device, dtype) if changes else None

    def first_window(self, side: int) -> int:
        """Return the window whose order the tokens of a side x side grid may start in."""
        return self._window if self._window and side % self._window == 0 else 0

    def __call__(self, x: Tensor, layout: _Layout) -> tuple[Tensor, _Layout]:
        """Return the tokens, (T, C), and their order, after the block."""
        height, width, window = layout.height, layout.width, self._window
        overhangs = bool(window) and (height % window > 0 or width % window > 0)
        if window:
            target = _Layout(height, width, 0 if overhangs else window)
            x, layout = _reorder(x, layout, target), target
        seen = self._norm(x, 0)
        after = layout
        shortcut = x
        if self._pools:
            after = _Layout(height // 2, width // 2, layout.window // 2)
            assert self._shortcut is not None
            shortcut = _pool(_cells(self._shortcut(seen), layout)).flatten(0, 2)
        elif self._shortcut is not None:
            shortcut = self._shortcut(seen)
        read = self._overhanging(seen, layout) if overhangs else self._attend(seen, layout)
        x = self._project.onto(read, shortcut)
        return self._narrow.onto(self._widen(self._norm(x, 1), "gelu"), x), after

    def _norm(self, x: Tensor, which: int) -> Tensor:
        weight, bias, eps = self._norms[which]
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    def _attend(self, seen: Tensor, layout: _Layout) -> Tensor:
        """Attention in windows that fit the grid, or over the whole grid: (T, C)."""
        cells = _cells(self._qkv(seen), layout)  # (windows, h, w, 3 C)
        if not self._window:
            cells = cells.flatten(0, 2)[None, None]
        return self._in_windows(cells).flatten(0, 2)

    def _overhanging(self, seen: Tensor, layout: _Layout) -> Tensor:
        """Attention of a grid in rows whose windows overhang it: (T, C) in rows."""
        window, height, width = self._window, layout.height, layout.width
        down, across = -(-height // window), -(-width // window)
        qkv = self._qkv(seen)
        bias = self._qkv.bias
        assert bias is not None
        grid = bias.expand(down * window, across * window, -1).clone()
        grid[:height, :width] = qkv.view(height, width, -1)
        cells = grid.view(down, window, across, window, -1).transpose(1, 2).flatten(0, 1)
        read = self._in_windows(cells)  # (windows, h', w', C)
        side = read.shape[1]
        shrink = window // side
        read = read.view(down, across, side, side, -1).transpose(1, 2)
        read = read.reshape(down * side, across * side, -1)
        return read[: height // shrink, : width // shrink].flatten(0, 1)

    def _in_windows(self, cells: Tensor) -> Tensor:
        """Attention inside each of (windows, h, w, 3 C): (windows, h', w', C)."""
        windows, height, width, _ = cells.shape
        query, key, value = cells.chunk(3, -1)
        if self._pools:
            query = _pool(query)
        side = query.shape[1:3]
        heads = (
            part.reshape(windows, -1, self._heads, part.shape[-1] // self._heads).transpose(1, 2)
            for part in (query, key, value)
        )
        read = attend(*heads)  # (windows, heads, tokens, C / heads)
        return read.transpose(1, 2).reshape(windows, *side, -1)


def _joined(first: Any, second: Any, device: torch.device, dtype: torch.dtype) -> Linear:
    """Return two convolutions of 1x1 in a row as one layer."""
    after = second.weight.detach().double().flatten(1)
    weight = after @ first.weight.detach().double().flatten(1)
    bias = after @ first.bias.detach().double() + second.bias.detach().double()
    return Linear(weight.float(), bias.float(), device=device, dtype=dtype)


def _cells(x: Tensor, layout: _Layout) -> Tensor:
    """Return (T, C) tokens as (windows, h, w, C); in rows, the grid is one window."""
    if layout.window:
        return x.view(-1, layout.window, layout.window, x.shape[-1])
    return x.view(1, layout.height, layout.width, x.shape[-1])


def _pool(cells: Tensor) -> Tensor:
    """Return the maxima of 2x2 cells of (windows, h, w, C)."""
    rows = torch.maximum(cells[:, 0::2], cells[:, 1::2])
    return torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])


def _in_rows(x: Tensor, layout: _Layout) -> Tensor:
    return _reorder(x, layout, _Layout(layout.height, layout.width))


def _reorder(x: Tensor, before: _Layout, after: _Layout) -> Tensor:
    """Return (T, C) tokens in another order."""
    if before == after:
        return x
    height, width, size = before.height, before.width, x.shape[-1]
    if before.window:
        w = before.window
        x = x.view(height // w, width // w, w, w, size).transpose(1, 2).reshape(-1, size)
    if after.window:
        w = after.window
        x = x.view(height // w, w, width // w, w, size).transpose(1, 2).reshape(-1, size)
    return x
