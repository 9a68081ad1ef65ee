"""What an object's colours say about a frame, as an input of the model.

Colours inside the mask of the newest prompted frame are counted against those around it.
Like the carried mask (motion_prior.py) nothing about it is learned, so it holds for things
that no training has shown.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

LEVELS = 12
"""Steps of lightness, and of each of the two opponent colours."""
COLOURS = LEVELS**3
_OPPONENT_REACH = 42
"""Opponent values beyond this, of 128, share the last step: few pictures have any."""
_NEARBY = 0.35
"""Side of the square that tells what is near a mask, as a share of the picture's."""
_FAR = 0.05
"""What a pixel far from the mask counts as background, beside 1 for one near it."""
_KNOWN = 3e-4
"""Share of the pixels a colour must have to be known for sure."""
_FEW_PX = 8.0
"""Masks of about so few pixels say little."""

Colours = NDArray[np.int16]


def colours_of(small: NDArray[np.uint8]) -> Colours:
    """Return the (h, w) colour numbers, in [0, COLOURS), of an (h, w, 3) RGB picture."""
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    light = lab[..., 0] * (LEVELS / 256)
    opponent = (lab[..., 1:] - 128 + _OPPONENT_REACH) * (LEVELS / (2 * _OPPONENT_REACH))
    steps = np.concatenate([light[..., None], opponent], -1)
    steps = np.clip(steps, 0, LEVELS - 1).astype(np.int16)
    return np.asarray(steps @ np.array([LEVELS**2, LEVELS, 1], np.int16), np.int16)


def count(colours: Tensor, logits: Tensor) -> Tensor:
    """Return how often each colour occurs in masks and around them.

    Args:
        colours: (N, m, m) int64.
        logits: (N, 1, h, w) of the masks.

    Returns:
        (N, 2, COLOURS) float32: shares inside and around. A mask of few pixels has small ones.
    """
    size = (colours.shape[-2], colours.shape[-1])
    if logits.shape[-2:] != size:
        logits = F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)
    inside = logits.float().sigmoid()
    reach = round(_NEARBY * size[0]) | 1
    near = F.avg_pool2d(inside, (reach, 1), 1, (reach // 2, 0))
    near = F.avg_pool2d(near, (1, reach), 1, (0, reach // 2))
    around = (1 - inside) * (_FAR + (8 * near).clamp(max=1))
    weights = torch.cat([inside, around], 1).flatten(2)  # (N, 2, m m)
    counts = weights.new_zeros(len(colours), 2, COLOURS)
    counts.scatter_add_(2, colours.flatten(1)[:, None].expand(-1, 2, -1), weights)
    smooth = F.avg_pool3d(counts.unflatten(2, (LEVELS,) * 3), 3, 1, 1).flatten(2)
    shares: Tensor = smooth / (smooth.sum(2, keepdim=True) + _FEW_PX)
    return shares


def likelihood(colours: Tensor, counts: Tensor) -> Tensor:
    """Return the (N, 1, m, m) evidence of a frame's colours, in [-1, 1]; 0 for unknown ones.

    Args:
        colours: (N, m, m) int64 of the frame.
        counts: (N, 2, COLOURS) of `count`.
    """
    inside, around = counts[:, 0], counts[:, 1]
    evidence = (inside - around) / (inside + around + _KNOWN)
    found: Tensor = evidence.gather(1, colours.flatten(1)).unflatten(1, colours.shape[1:])
    return found[:, None]
