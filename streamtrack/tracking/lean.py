"""SAM 2 with less arithmetic and less copying, equal up to rounding.

The same weights and the same functions as the reference in segmenter.py, arranged for
speed: trunk (lean_trunk.py), memory attention (lean_readout.py), and here the mask decoder
and the memory encoder. tests/test_lean.py holds every part against SAM 2's own module.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamtrack.tracking.kernels import Linear, pack_linears
from streamtrack.tracking.lean_readout import LeanReadout
from streamtrack.tracking.lean_trunk import LeanEncoder
from streamtrack.tracking.segmentation import Features, PointInput, Segmentation
from streamtrack.tracking.tokens import ObjectMemory

_NO_OBJECT = -1024.0  # mask logit where there is no object (sam2_base.py, NO_OBJ_SCORE)


class Lean:
    """The model's parts for one device and type of numbers."""

    def __init__(
        self, model: Any, *, device: torch.device, dtype: torch.dtype, pooling: int = 1
    ) -> None:
        """Take the weights of a model that `suits` accepts.

        Args:
            model: SAM2Base on its device; left as it is.
            device: where it runs.
            dtype: float32 or bfloat16.
            pooling: side of the squares of memory cells that are read as one; 1 is exact.
        """
        self._model, self._dtype = model, dtype
        self._side: int = model.sam_image_embedding_size
        self._encoder = LeanEncoder(model, device=device, dtype=dtype)
        self._readout = LeanReadout(
            model.memory_attention, self._side, device=device, dtype=dtype, pooling=pooling
        )
        self._decoder = _packed(model.sam_mask_decoder, device, dtype)
        self._pointer = _packed(model.obj_ptr_proj, device, dtype)
        self._remember = _MemoryEncoder(model.memory_encoder, device, dtype)
        prompts = model.sam_prompt_encoder
        with torch.no_grad():
            self._place = prompts.get_dense_pe().to(dtype)
            corner = torch.zeros(1, 1, 2, device=device)
            nothing = -torch.ones(1, 1, dtype=torch.int32, device=device)
            self._promptless = prompts(points=(corner, nothing), boxes=None, masks=None)
            level = torch.empty(1, 1, self._side, self._side, device=device)
            position = model.image_encoder.neck.position_encoding(level)
            self._position = position[0].flatten(1).t().contiguous()  # (h*w, C)
            codes = model.memory_encoder.position_encoding(level)
            self.memory_position: Tensor = codes[0].flatten(1).t().contiguous()
            """(h*w, C): position codes of every mask memory."""

    @staticmethod
    def suits(model: Any) -> bool:
        """Tell whether the model is built as the official ones are."""
        return bool(
            LeanReadout.suits(model.memory_attention)
            and LeanEncoder.suits(model)
            and model.pred_obj_scores
            and model.fixed_no_obj_ptr
            and not model.soft_no_obj_ptr
            and not model.non_overlap_masks_for_mem_enc
        )

    def encode(self, image: Tensor) -> Features:
        """Return the features of one normalised image, (3, S, S) float32."""
        maps, sizes = self._encoder.encode(image)
        return Features(
            tuple(one[:, None] for one in maps), (self._position[:, None],), tuple(sizes)
        )

    def condition(self, features: Features, memories: Sequence[ObjectMemory]) -> Tensor:
        """Return features conditioned on each object's memories, (B, C, h, w)."""
        read = self._readout.read(features.maps[-1][:, 0], features.positions[-1][:, 0], memories)
        height, width = features.sizes[-1]
        return read.transpose(1, 2).reshape(len(read), -1, height, width)

    def decode(
        self,
        features: Features,
        conditioned: Tensor,
        *,
        points: PointInput | None,
        previous: Tensor | None,
        several: bool,
    ) -> list[Segmentation]:
        """Run the mask decoder on (B, C, h, w) conditioned features."""
        batch, kind = len(conditioned), self._dtype
        if points is None and previous is None:
            sparse, dense = (one.expand(batch, -1, *one.shape[2:]) for one in self._promptless)
        else:
            assert points is not None
            device = conditioned.device
            given = (points.coords.to(device), points.labels.to(device))
            sparse, dense = self._model.sam_prompt_encoder(points=given, boxes=None, masks=previous)
        fine = [
            one.permute(1, 2, 0).unflatten(2, size).expand(batch, -1, -1, -1)
            for one, size in zip(features.maps[:-1], features.sizes[:-1], strict=True)
        ]
        sparse = sparse.expand(batch, -1, -1)
        masks, ious, tokens, scores = self._decoder(
            image_embeddings=conditioned.to(kind),
            image_pe=self._place,
            sparse_prompt_embeddings=sparse.to(kind),
            dense_prompt_embeddings=dense.to(kind),
            multimask_output=several,
            repeat_image=False,
            high_res_features=[one.to(kind) for one in fine],
        )
        masks = torch.where(scores[:, None, None] > 0, masks.float(), _NO_OBJECT)
        return self._answers(masks, ious, tokens, scores, offered=several and points is not None)

    def _answers(
        self, masks: Tensor, ious: Tensor, tokens: Tensor, scores: Tensor, *, offered: bool
    ) -> list[Segmentation]:
        """Choose among (B, M, h, w) masks by their predicted IoU."""
        rows = torch.arange(len(masks), device=masks.device)
        best = ious.argmax(-1)
        low = masks[rows, best][:, None]
        token = tokens[rows, best] if tokens.shape[1] > 1 else tokens[:, 0]
        seen = (scores > 0).to(token.dtype)
        pointers = seen * self._pointer(token) + (1 - seen) * self._model.no_obj_ptr.to(token.dtype)
        order = ious.argsort(dim=1, descending=True) if offered else None
        quality = ious.gather(1, best[:, None]).float()
        return [
            Segmentation(
                low[i : i + 1],
                None,
                pointers[i : i + 1],
                scores[i : i + 1],
                quality[i],
                None if order is None else masks[i, order[i]],
            )
            for i in range(len(masks))
        ]

    def remember(self, features: Features, low: Tensor, scores: Tensor, *, binary: bool) -> Tensor:
        """Return the memory features, (B, C, h, w), of (B, 1, h, w) mask logits.

        Args:
            features: of the frame.
            low: mask logits.
            scores: (B, 1) object scores.
            binary: the masks come from a prompt and are taken as 0 and 1.
        """
        model, size = self._model, self._model.image_size
        high = F.interpolate(low.float(), size=(size, size), mode="bilinear", align_corners=False)
        mask = (high > 0).float() if binary else high.sigmoid_()
        mask.mul_(model.sigmoid_scale_for_mem_enc).add_(model.sigmoid_bias_for_mem_enc)
        memory = self._remember(features.maps[-1][:, 0], mask)
        if model.no_obj_embed_spatial is not None:
            unseen = (scores <= 0).to(memory.dtype)[..., None, None]
            memory = memory + unseen * model.no_obj_embed_spatial[..., None, None].to(memory.dtype)
        return memory


class _MemoryEncoder:
    """SAM 2's memory encoder; what depends on the picture alone is computed once a frame."""

    def __init__(self, encoder: Any, device: torch.device, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._masks = _packed(encoder.mask_downsampler.encoder, device, dtype)
        self._picture = Linear.of(encoder.pix_feat_proj, device, dtype)
        self._layers = [_Mixing(layer, device, dtype) for layer in encoder.fuser.layers]
        self._out = Linear.of(encoder.out_proj, device, dtype)

    def __call__(self, picture: Tensor, masks: Tensor) -> Tensor:
        """Return (B, C, h, w) of a (h*w, C) picture and (B, 1, S, S) masks."""
        x = self._masks(masks.to(self._dtype).contiguous(memory_format=torch.channels_last))
        side = x.shape[2]
        x = x + self._picture(picture).view(side, side, -1).permute(2, 0, 1)
        for layer in self._layers:
            x = layer(x)
        return self._out(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Mixing:
    """A ConvNeXt block of the memory encoder."""

    def __init__(self, block: Any, device: torch.device, dtype: torch.dtype) -> None:
        self._around = copy.deepcopy(block.dwconv).to(device, dtype)
        self._norm = _ChannelNorm(block.norm).to(device, dtype)
        self._widen = Linear.of(block.pwconv1, device, dtype)
        scale = 1.0 if block.gamma is None else block.gamma.detach()[:, None]
        bias = block.pwconv2.bias.detach() * (1.0 if block.gamma is None else block.gamma.detach())
        self._narrow = Linear(block.pwconv2.weight * scale, bias, device=device, dtype=dtype)

    def __call__(self, x: Tensor) -> Tensor:
        y = self._norm(self._around(x)).permute(0, 2, 3, 1)
        y = self._narrow.onto(self._widen(y, "gelu"), x.permute(0, 2, 3, 1))
        return y.permute(0, 3, 1, 2)


class _ChannelNorm(nn.Module):
    """SAM 2's LayerNorm2d in one operation."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(norm.weight.detach().clone(), requires_grad=False)
        self.bias = nn.Parameter(norm.bias.detach().clone(), requires_grad=False)
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, h, w) over its channels."""
        last = x.permute(0, 2, 3, 1)
        return F.layer_norm(last, last.shape[-1:], self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


def _packed(module: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Return a copy of a module with packed layers, for inference only."""
    twin: Any = copy.deepcopy(module).requires_grad_(False)
    _replace_norms(twin)
    pack_linears(twin, device, dtype)
    return twin.to(device=device, dtype=dtype).to(memory_format=torch.channels_last)


def _replace_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if type(child).__name__ == "LayerNorm2d":
            setattr(module, name, _ChannelNorm(child))
        else:
            _replace_norms(child)
