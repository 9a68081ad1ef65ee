"""nano: the embedded model, SAM 2's pipeline in small.

`SAM2Base` on a trunk that was trained on Open Images (mobile_trunk.py), with parts that learn
quickly (nano_parts.py), so prompts, memory bank, corrections and replay are those of every
other model. It keeps no object pointers. Beside its memories it is told what the frames before
say without anything learned (motion_prior.py), and its masks have half the size of its input.
Weights: checkpoints/nano.safetensors; how they are made: training/README.md.
"""

from typing import Any

import torch
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.transformer import TwoWayTransformer
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from torch import Tensor, nn
from torch.nn import functional as F

from streamtrack.tracking.mobile_trunk import FINE_CHANNELS, MobileTrunk
from streamtrack.tracking.nano_parts import (
    AffinityReadout,
    FeaturePromptEncoder,
    FineHead,
    KeyValueMemoryEncoder,
    NoPosition,
)

NANO_IMAGE_SIZE = 256
NANO_DIM = 96
NANO_MEMORIES = 5
_FINE_DIM = 8


class Nano(SAM2Base):
    """SAM2Base whose prompt encoder also receives the features of the image."""

    sam_prompt_encoder: FeaturePromptEncoder
    sam_mask_decoder: MaskDecoder
    takes_prior = True
    """Whether tracked frames are given `motion_prior.evidence`."""
    looks_in_mirror = True
    """Whether a first prompt is answered with the mean over the frame and its mirror image; worth
    0.02 IoU (training/LOG.md)."""

    memory_ages = (1, 5, 9, 13)
    """Frames whose memories are read: the newest of all are too much alike (training/LOG.md)."""

    def _build_sam_heads(self) -> None:
        """Build the prompt encoder and the mask decoder."""
        self.sam_prompt_embed_dim = self.hidden_dim
        self.sam_image_embedding_size = self.image_size // self.backbone_stride
        self.sam_prompt_encoder = FeaturePromptEncoder(
            self.hidden_dim, self.sam_image_embedding_size, self.image_size
        )
        self.sam_mask_decoder = MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=self.hidden_dim, mlp_dim=256, num_heads=4
            ),
            transformer_dim=self.hidden_dim,
            iou_head_depth=3,
            iou_head_hidden_dim=128,
            use_high_res_features=True,
            iou_prediction_use_sigmoid=True,
            pred_obj_scores=True,
            pred_obj_scores_mlp=True,
        )
        self.fine = nn.Conv2d(FINE_CHANNELS, _FINE_DIM, 1)
        self.fine_head = FineHead(_FINE_DIM)
        # SAM2Base reads it even where there are no object pointers
        self.register_buffer("no_obj_ptr", torch.zeros(1, self.hidden_dim), persistent=False)

    def forward_image(self, img_batch: Tensor) -> dict[str, Tensor | list[Tensor]]:
        """Do what SAM2Base's method does, with stride-2 features folded into the stride-4 ones."""
        fine, *levels = self.image_encoder.trunk(img_batch)
        features, positions = self.image_encoder.neck(levels)
        decoder = self.sam_mask_decoder
        folded = F.pixel_unshuffle(self.fine(fine), 2)  # (B, 4 x 8, S / 4, S / 4)
        maps = [
            torch.cat([decoder.conv_s0(features[0]), folded], 1),
            decoder.conv_s1(features[1]),
            features[2],
        ]
        return {
            "vision_features": maps[-1],
            "vision_pos_enc": positions[:3],
            "backbone_fpn": maps,
        }

    def decode(
        self,
        features: Tensor,
        high_res_features: list[Tensor],
        *,
        points: tuple[Tensor, Tensor] | None = None,
        mask_logits: Tensor | None = None,
        multimask: bool = False,
        prior: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mask logits, predicted IoUs, tokens and object scores, not yet gated.

        Args:
            features: (B, C, S / 16, S / 16), conditioned on memories or on having none.
            high_res_features: (B, C / 8 + 32, S / 4, S / 4) and (B, C / 4, S / 8, S / 8).
            points: (B, P, 2) in image pixels and (B, P) labels.
            mask_logits: (B, 1, h, w).
            multimask: three candidates instead of one mask.
            prior: (B, 3, S / 2, S / 2) of `motion_prior.evidence`; None for none.

        Returns:
            (B, M, S / 2, S / 2), (B, M), (B, 1, C) and (B, 1), M being 3 or 1.
        """
        quarter, eighth = high_res_features
        quarter, folded = quarter.split([self.hidden_dim // 8, 4 * _FINE_DIM], 1)
        size = self.sam_prompt_encoder.mask_input_size
        if mask_logits is not None and mask_logits.shape[-2:] != size:
            mask_logits = F.interpolate(
                mask_logits.float(), size, mode="bilinear", align_corners=False, antialias=True
            )
        sparse, dense = self.sam_prompt_encoder.encode(
            points,
            mask_logits,
            [features, eighth, quarter],
            None if prior is None else F.avg_pool2d(prior, 2),
        )
        masks, ious, tokens, scores = self.sam_mask_decoder(
            image_embeddings=features,
            image_pe=self.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=[quarter, eighth],
        )
        masks = self.fine_head(masks, F.pixel_shuffle(folded, 2), prior)
        return masks, ious, tokens, scores

    def decode_click(
        self,
        features: Tensor,
        high_res_features: list[Tensor],
        points: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return three candidates, each drawn again with itself as a mask prompt.

        The second look is worth 0.03 IoU, and tells better which of them is the best
        (training/LOG.md). Arguments and results are those of `decode`.
        """
        masks, ious, tokens, scores = self.decode(
            features, high_res_features, points=points, multimask=True
        )
        count = masks.shape[1]
        again, sure, _, _ = self.decode(
            features.repeat_interleave(count, 0),
            [level.repeat_interleave(count, 0) for level in high_res_features],
            points=(points[0].repeat_interleave(count, 0), points[1].repeat_interleave(count, 0)),
            mask_logits=masks.flatten(0, 1)[:, None],
        )
        return again.unflatten(0, (-1, count))[:, :, 0], sure.view_as(ious), tokens, scores

    def _use_mask_as_output(
        self, backbone_features: Tensor, high_res_features: list[Tensor], mask_inputs: Tensor
    ) -> tuple[Tensor, ...]:
        """Do what SAM2Base's method does, with low-resolution masks of this model's size."""
        outputs = super()._use_mask_as_output(  # type: ignore[no-untyped-call]
            backbone_features, high_res_features, mask_inputs
        )
        _, high, ious, _, _, pointer, score = outputs
        size = (self.image_size // 2, self.image_size // 2)
        low = F.interpolate(high, size, mode="bilinear", align_corners=False, antialias=True)
        return low, high, ious, low, high, pointer, score

    def _forward_sam_heads(
        self,
        backbone_features: Tensor,
        point_inputs: dict[str, Tensor] | None = None,
        mask_inputs: Tensor | None = None,
        high_res_features: list[Tensor] | None = None,
        multimask_output: bool = False,
        prior: Tensor | None = None,
        mirrored: bool = False,
    ) -> tuple[Tensor, ...]:
        """Do what SAM2Base's method does, with the features at the prompt encoder's hand.

        Mirrored, the second of two rows is the mirror image of the first, and the mean of both
        is the answer.
        """
        assert high_res_features is not None
        points = None
        if point_inputs is not None:
            points = (point_inputs["point_coords"], point_inputs["point_labels"])
        if multimask_output and points is not None and mask_inputs is None:
            found = self.decode_click(backbone_features, high_res_features, points)
        else:
            found = self.decode(
                backbone_features,
                high_res_features,
                points=points,
                mask_logits=mask_inputs,
                multimask=multimask_output,
                prior=prior,
            )
        masks, ious, tokens, scores = found
        if mirrored:
            masks = torch.stack([masks[0], masks[1].flip(-1)])
            masks, ious, tokens, scores = (
                one.mean(0, keepdim=True) for one in (masks, ious, tokens, scores)
            )
        masks = torch.where((scores > 0)[..., None, None], masks, NO_OBJ_SCORE).float()
        high_res = F.interpolate(
            masks, (self.image_size, self.image_size), mode="bilinear", align_corners=False
        )
        rows = torch.arange(masks.shape[0], device=masks.device)
        best = ious.argmax(-1)
        low_best, high_best = masks[rows, best, None], high_res[rows, best, None]
        return masks, high_res, ious, low_best, high_best, tokens[:, 0], scores


def build_nano(image_size: int = NANO_IMAGE_SIZE, **options: Any) -> Nano:
    """Return the embedded model with random weights, in evaluation mode.

    Args:
        image_size: side of the square input in pixels, a multiple of 32.
        options: further options of SAM2Base.
    """
    if image_size < 32 or image_size % 32:
        raise ValueError(f"image_size is {image_size}; expected a multiple of 32, such as 256.")
    trunk = MobileTrunk()
    neck = FpnNeck(
        NoPosition(),
        d_model=NANO_DIM,
        backbone_channel_list=trunk.channel_list,
        fpn_interp_model="nearest",
    )
    settings: dict[str, Any] = {
        "num_maskmem": NANO_MEMORIES,
        "image_size": image_size,
        "sigmoid_scale_for_mem_enc": 2.0,
        "sigmoid_bias_for_mem_enc": -1.0,
        "binarize_mask_from_pts_for_mem_enc": True,
        "use_mask_input_as_output_without_sam": True,
        "directly_add_no_mem_embed": True,
        "use_high_res_features_in_sam": True,
        "multimask_output_in_sam": True,
        "multimask_min_pt_num": 1,
        "multimask_max_pt_num": 1,
        "multimask_output_for_tracking": False,
        "iou_prediction_use_sigmoid": True,
        "use_obj_ptrs_in_encoder": False,
        "pred_obj_scores": True,
        "pred_obj_scores_mlp": True,
        "no_obj_embed_spatial": True,
    }
    model = Nano(
        image_encoder=ImageEncoder(trunk, neck, scalp=1),
        memory_attention=AffinityReadout(NANO_DIM),
        memory_encoder=KeyValueMemoryEncoder(NANO_DIM),
        **(settings | options),
    )
    return model.eval()


def make_quick(model: Nano, dtype: torch.dtype = torch.float32) -> Nano:
    """Lay channels last and cast weights once, in place: the same function in less time.

    Autocast casts every weight of every layer on every frame: 250 small copies, a tenth of a step.

    Args:
        model: in evaluation mode.
        dtype: what autocast will calculate in.
    """
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    exact = set(model.memory_attention.modules_in_float32())
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module not in exact:
            module.to(dtype)
    return model
