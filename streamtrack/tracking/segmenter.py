"""The model: SAM 2's own modules with the memory bank as an argument.

- `encode` once per frame, `track` all objects that have no prompt, `prompt` one object,
  `remember` what was segmented. The caller stores what `remember` returns.
- Objects whose memories have the same shape go through the model as one batch;
  `batched=False` steps them one by one, bit-equal to SAM 2's video predictor.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from streamtrack.errors import ConfigError
from streamtrack.tracking import motion_prior
from streamtrack.tracking.devices import device_errors
from streamtrack.tracking.lean import Lean
from streamtrack.tracking.memory import FrameMemory, MemoryView
from streamtrack.tracking.motion_prior import Trace, trace
from streamtrack.tracking.savings import Savings
from streamtrack.tracking.segmentation import Features, PointInput, Segmentation
from streamtrack.tracking.tokens import memory_tokens

_MASK_LOGIT_LIMIT = 32.0  # clamp of a previous mask given as prompt (sam2_video_predictor.py:244)


class Segmenter:
    """One model on one device; holds no state of any stream."""

    def __init__(
        self,
        model: SAM2Base,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        batched: bool = True,
        savings: Savings | None = None,
    ) -> None:
        """Move the model to its device.

        Args:
            model: in eval mode.
            device: "cpu", "cuda", "cuda:N" or "mps".
            dtype: float32, or bfloat16/float16 for autocast.
            batched: step objects together, with the lean model where there is one; False is the
                exact reference path.
            savings: what may be left out; None = nothing.

        Raises:
            ConfigError: the model has no part that the savings would save.
            DeviceError: the device cannot hold the model.
        """
        self.device = torch.device(device)
        self.dtype = dtype
        self.batched = batched
        self.savings = savings or Savings()
        with device_errors(device):
            self._model = model.to(self.device).eval()
            self._lean = self._build_lean() if batched else None
        self._takes_prior = bool(getattr(model, "takes_prior", False))
        self._memory_position: Tensor | None = None  # constant of the model, (h*w, C)
        if self._lean is not None:
            self._memory_position = self._lean.memory_position
        elif self.savings.memory_pooling != 1:
            raise ConfigError("This model cannot pool its memories; set memory_pooling to 1.")

    @property
    def image_size(self) -> int:
        """Side of the model's square input in pixels."""
        return int(self._model.image_size)

    @property
    def mask_memories(self) -> int:
        """Ordinary mask memories the model reads."""
        known = int(self._model.num_maskmem) - 1
        return min(known, self.savings.mask_memories or known)

    @property
    def memory_ages(self) -> tuple[int, ...] | None:
        """Ages of the mask memories the model reads; None for SAM 2's, the newest ones."""
        ages: tuple[int, ...] | None = getattr(self._model, "memory_ages", None)
        return None if ages is None else ages[: self.mask_memories]

    @property
    def pointers(self) -> int:
        """Ordinary object pointers the model reads; 0 for a model without pointers."""
        model = self._model
        return int(model.max_obj_ptrs_in_encoder) - 1 if model.use_obj_ptrs_in_encoder else 0

    @property
    def looks_in_mirror(self) -> bool:
        """Whether initial prompts are better answered with the frame's mirror image beside it."""
        return bool(getattr(self._model, "looks_in_mirror", False))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Enter inference on the device; foreign errors leave as DeviceError."""
        mixed = self._mixed() if self._lean is None else contextlib.nullcontext()
        with device_errors(str(self.device)), torch.inference_mode(), mixed:
            yield

    def _mixed(self) -> torch.autocast:
        """Return what lets SAM 2's own modules calculate in `dtype`."""
        enabled = self.dtype != torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled)

    def release_reference(self) -> None:
        """Free the weights that only the reference path reads; the model serves nobody else."""
        if self._lean is not None:
            for name in ("image_encoder", "memory_attention", "memory_encoder"):
                setattr(self._model, name, torch.nn.Identity())

    def _build_lean(self) -> Lean | None:
        known = self.device.type in ("cpu", "cuda") and self.dtype != torch.float16
        if not known or not Lean.suits(self._model):
            return None
        pooling = self.savings.memory_pooling
        return Lean(self._model, device=self.device, dtype=self.dtype, pooling=pooling)

    def encode(self, image: Tensor) -> Features:
        """Return the features of one normalised image, (3, S, S) float32."""
        if self._lean is not None:
            return self._lean.encode(image)
        encoded = self._model.forward_image(image[None].to(self.device))
        _, maps, positions, sizes = self._model._prepare_backbone_features(encoded)
        glimpse = motion_prior.glimpse_of(image) if self._takes_prior else None
        return Features(tuple(maps), tuple(positions), tuple(sizes), glimpse)

    def track(self, features: Features, views: Sequence[MemoryView]) -> list[Segmentation]:
        """Segment objects without prompts by their memories, in the order of `views`."""
        results: dict[int, Segmentation] = {}
        for group in self._groups(views):
            conditioned = self._attend(features, [views[i] for i in group])
            prior = self._prior(features, [views[i].traces for i in group])
            found = self._decode(
                features,
                conditioned,
                points=None,
                previous=None,
                initial=False,
                options={} if prior is None else {"prior": prior},
            )
            results.update(zip(group, found, strict=True))
        return [results[i] for i in range(len(views))]

    def prompt(
        self,
        features: Features,
        view: MemoryView | None,
        points: PointInput,
        previous: Tensor | None,
        mirrored: Features | None = None,
    ) -> Segmentation:
        """Segment one object from points or a box.

        Args:
            features: of the frame the prompt was made on.
            view: the object's memories there; None on its initial frame.
            points: clicks and box corners.
            previous: (1, 1, h, w) logits of the mask so far on this frame.
            mirrored: features of the frame's mirror image, on the initial frame of a model
                with `looks_in_mirror`, which then answers with the mean of both.
        """
        if mirrored is not None:
            assert view is None, "memories are of frames that were not mirrored"
            features, points = features.beside(mirrored), points.beside_mirrored(self.image_size)
            previous = None if previous is None else torch.cat([previous, previous.flip(-1)])
        if view is None:
            top = features.maps[-1] + self._model.no_mem_embed
            conditioned = self._unflatten(top, features.sizes[-1])
        else:
            conditioned = self._attend(features, [view])
        if previous is not None:
            previous = previous.clamp(-_MASK_LOGIT_LIMIT, _MASK_LOGIT_LIMIT)
        return self._decode(
            features,
            conditioned,
            points=points,
            previous=previous,
            initial=view is None,
            options={} if mirrored is None else {"mirrored": True},
        )[0]

    def prompt_mask(self, features: Features, mask: Tensor) -> Segmentation:
        """Take a given mask, (1, 1, S, S) of 0 and 1, as one object's segmentation."""
        top = self._unflatten(features.maps[-1], features.sizes[-1])
        with self._mixed():
            outputs = self._model._use_mask_as_output(
                top, self._fine_maps(features, 1), mask.to(self.device)
            )
        _, _, ious, low, high, pointer, score = outputs
        return Segmentation(low, high, pointer, score, ious[:, 0], None)

    def remember(
        self, features: Features, found: Sequence[Segmentation], *, prompted: bool
    ) -> list[FrameMemory]:
        """Return the full memories of segmentations, in order.

        Prompted frames are remembered by their binarised low-resolution mask, tracked ones
        by their high-resolution logits, as SAM 2's video predictor does.
        """
        memories = []
        for group in self._chunks(list(found)):
            encoded = self._remember(features, group, prompted)
            stored = encoded.to(torch.bfloat16)  # always, even in fp32: sam2_video_predictor.py:781
            memories += [
                FrameMemory(
                    stored[i : i + 1].clone(),
                    one.pointer.clone(),
                    trace(features.glimpse, one.logits, prompted=prompted),
                )
                for i, one in enumerate(group)
            ]
        return memories

    def follow(
        self, features: Features, found: Sequence[Segmentation], indices: Sequence[int]
    ) -> list[FrameMemory]:
        """Return the memories of tracked frames; savings may leave out mask memories.

        `indices` are the frame's place in each object's own count.
        """
        every = self.savings.memory_every
        lost = [self._takes_prior and float(one.object_score) <= 0 for one in found]
        due = [i for i, index in enumerate(indices) if index % every == 0 and not lost[i]]
        full = self.remember(features, [found[i] for i in due], prompted=False)
        memories = dict(zip(due, full, strict=True))
        return [
            memories.get(i) or self._light(features, found[i], lost[i]) for i in range(len(found))
        ]

    @staticmethod
    def _light(features: Features, found: Segmentation, lost: bool) -> FrameMemory:
        """Return what a frame leaves without a mask memory."""
        known = trace(features.glimpse, found.logits, prompted=False)
        return FrameMemory(None, found.pointer.clone(), known, lost)

    def _remember(self, features: Features, group: list[Segmentation], prompted: bool) -> Tensor:
        """Return (B, C, h, w) memory features."""
        low = torch.cat([one.logits for one in group])
        scores = torch.cat([one.object_score for one in group])
        if self._lean is not None:
            binary = prompted and self._model.binarize_mask_from_pts_for_mem_enc
            return self._lean.remember(features, low, scores, binary=binary)
        high = [one.high_logits for one in group if one.high_logits is not None]
        if prompted or len(high) < len(group):
            size = (self.image_size, self.image_size)
            high = [F.interpolate(low, size=size, mode="bilinear", align_corners=False)]
        encoded: Tensor
        encoded, positions = self._model._encode_new_memory(
            current_vision_feats=[m.expand(-1, len(group), -1) for m in features.maps],
            feat_sizes=list(features.sizes),
            pred_masks_high_res=torch.cat(high),
            object_score_logits=scores,
            is_mask_from_pts=prompted,
        )
        if self._memory_position is None:
            self._memory_position = positions[-1][0].flatten(1).t().clone()
        return encoded

    def _prior(self, features: Features, pasts: Sequence[Sequence[Trace]]) -> Tensor | None:
        """Return the (B, 3, S / 2, S / 2) evidence of the frames before."""
        if features.glimpse is None:
            return None
        side = self.image_size // 2
        return motion_prior.evidence(features.glimpse, pasts, side).to(self.device)

    def _groups(self, views: Sequence[MemoryView]) -> list[list[int]]:
        if not self.batched:
            return [[i] for i in range(len(views))]
        if self._lean is not None:
            return [list(range(len(views)))]
        by_shape: dict[tuple[int, int], list[int]] = {}
        for i, view in enumerate(views):
            by_shape.setdefault(view.shape, []).append(i)
        return list(by_shape.values())

    def _chunks(self, found: list[Segmentation]) -> list[list[Segmentation]]:
        if self.batched:
            return [found] if found else []
        return [[one] for one in found]

    def _attend(self, features: Features, views: Sequence[MemoryView]) -> Tensor:
        """Return features conditioned on memories, (B, C, h, w).

        The reference path takes only memories of equal shape together.
        """
        assert self._memory_position is not None, "a view has memories, so one was encoded"
        memories = [memory_tokens(self._model, view, self._memory_position) for view in views]
        if self._lean is not None:
            return self._lean.condition(features, memories)
        batch = len(views)
        attended = self._model.memory_attention(
            curr=[features.maps[-1].expand(-1, batch, -1)],
            curr_pos=[features.positions[-1].expand(-1, batch, -1)],
            memory=torch.stack([one.tokens for one in memories], dim=1),  # (M, B, C)
            memory_pos=torch.stack([one.codes for one in memories], dim=1),
            num_obj_ptr_tokens=memories[0].pointer_tokens,
        )
        return self._unflatten(attended, features.sizes[-1])

    def _decode(
        self,
        features: Features,
        conditioned: Tensor,
        *,
        points: PointInput | None,
        previous: Tensor | None,
        initial: bool,
        options: dict[str, Any],
    ) -> list[Segmentation]:
        """Run the mask decoder on (B, C, h, w) conditioned features.

        `options` are those of the model's own `_forward_sam_heads` beyond SAM 2's.
        """
        batch = len(conditioned)
        inputs: dict[str, Tensor] | None = None
        if points is not None:
            inputs = {
                "point_coords": points.coords.to(self.device),
                "point_labels": points.labels.to(self.device),
            }
        several = self._model._use_multimask(initial, inputs)
        if self._lean is not None:
            return self._lean.decode(
                features, conditioned, points=points, previous=previous, several=several
            )
        outputs = self._model._forward_sam_heads(
            backbone_features=conditioned,
            point_inputs=inputs,
            mask_inputs=previous,
            high_res_features=self._fine_maps(features, batch),
            multimask_output=several,
            **options,
        )
        all_low, _, ious, low, high, pointer, score = outputs
        best, order = ious.float().max(dim=1).values, ious.argsort(dim=1, descending=True)
        return [
            Segmentation(
                low[i : i + 1],
                high[i : i + 1],
                pointer[i : i + 1],
                score[i : i + 1],
                best[i : i + 1],
                all_low[i, order[i]] if several and points is not None else None,
            )
            for i in range(len(low))
        ]

    def _fine_maps(self, features: Features, batch: int) -> list[Tensor] | None:
        fine = [
            self._unflatten(m, size).expand(batch, -1, -1, -1)
            for m, size in zip(features.maps[:-1], features.sizes[:-1], strict=True)
        ]
        return fine or None

    @staticmethod
    def _unflatten(tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn (h*w, B, C) into (B, C, h, w)."""
        unflattened: Tensor = tokens.permute(1, 2, 0).unflatten(2, size)
        return unflattened
