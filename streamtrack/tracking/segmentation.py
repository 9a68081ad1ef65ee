"""What the model takes and answers: features, points, segmentations."""

from dataclasses import dataclass

import torch
from torch import Tensor

from streamtrack.tracking.motion_prior import Glimpse


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """One frame's image features, finest first, as SAM 2 flattens them."""

    maps: tuple[Tensor, ...]
    """Each (h*w, 1, C)."""
    positions: tuple[Tensor, ...]
    """Each (h*w, 1, C): position codes; the last belongs to the last map."""
    sizes: tuple[tuple[int, int], ...]
    """Each (h, w)."""
    glimpse: Glimpse | None = None
    """The frame, for a model that takes evidence of the frames before."""

    def beside(self, other: "Features") -> "Features":
        """Return the features of two frames as one batch; each of the maps is (h*w, 2, C)."""
        maps = (torch.cat(pair, 1) for pair in zip(self.maps, other.maps, strict=True))
        return Features(tuple(maps), self.positions, self.sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of the maps; positions are constants of the model."""
        return sum(one.numel() * one.element_size() for one in self.maps)


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """The decoder's answer for one object on one frame."""

    logits: Tensor
    """(1, 1, h, w) float32 low-resolution mask logits."""
    high_logits: Tensor | None
    """(1, 1, S, S) float32 mask logits at the model's input size, where they are at hand."""
    pointer: Tensor
    """(1, D)."""
    object_score: Tensor
    """(1, 1) logit."""
    predicted_iou: Tensor
    """(1,) of the mask chosen."""
    candidates: Tensor | None
    """(3, h, w) logits, best predicted IoU first, when the decoder offered three."""


@dataclass(frozen=True, slots=True, eq=False)
class PointInput:
    """Clicks and box corners in the model's input pixels."""

    coords: Tensor
    """(1, N, 2) float32, (x, y)."""
    labels: Tensor
    """(1, N) int32: 0 background, 1 foreground, 2 and 3 box corners."""

    def beside_mirrored(self, size: int) -> "PointInput":
        """Return (2, N, 2) these points, and those of a frame of this size seen in a mirror."""
        twin = self.coords.clone()
        twin[..., 0] = size - 1 - twin[..., 0]
        corners = (self.labels == 2) | (self.labels == 3)  # the left one becomes the right one
        twin[..., 0][corners] = twin[..., 0][corners].flip(0)
        return PointInput(torch.cat([self.coords, twin]), self.labels.expand(2, -1))

    def joined(self, more: "PointInput") -> "PointInput":
        """Return these points followed by `more`."""
        coords = torch.cat([self.coords, more.coords], dim=1)
        return PointInput(coords, torch.cat([self.labels, more.labels], dim=1))
