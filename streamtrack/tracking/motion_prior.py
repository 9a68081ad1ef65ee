"""The mask of the frame before, carried onto a frame by optical flow, as an input of the model.

Nothing about it is learned, so it holds for things no training has shown; the model learns
when to believe it. Trust says where: how well the moved picture of before explains this one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

GREY_PX = 128
"""Side of the grey images that flow is found on; 256 takes four times as long."""
_STRIDE_PX, _DESCENTS = 4, 12
_TRUST_GREYS = 15.0
"""Change of grey at which trust falls to 1/e."""
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_LUMA = (0.299, 0.587, 0.114)

Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What the next frame needs to carry a mask onto itself."""

    grey: Grey
    """(GREY_PX, GREY_PX) uint8, the frame."""
    logits: Tensor
    """(1, 1, h, w) the object's mask logits on it."""


def grey_of(image: Tensor) -> Grey:
    """Return the small grey picture of a normalised (3, S, S) image."""
    weights = [luma * std for luma, std in zip(_LUMA, _STD, strict=True)]
    offset = sum(luma * mean for luma, mean in zip(_LUMA, _MEAN, strict=True))
    scaled = (image.float().cpu() * torch.tensor(weights)[:, None, None]).sum(0) + offset
    grey = cv2.resize(scaled.numpy(), (GREY_PX, GREY_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(255 * grey + 0.5, 0, 255), np.uint8)


def flow_and_trust(before: Grey, now: Grey) -> NDArray[np.float32]:
    """Return where each pixel was in the frame before, and how far to believe it.

    Returns:
        (3, GREY_PX, GREY_PX) float32: dx, dy in shares of the side, and trust in [0, 1].
    """
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    finder.setFinestScale(0)
    finder.setPatchStride(_STRIDE_PX)
    finder.setGradientDescentIterations(_DESCENTS)
    finder.setVariationalRefinementIterations(0)
    flow = finder.calc(now, before, None)  # type: ignore[call-overload]
    side = np.arange(GREY_PX, dtype=np.float32)
    x, y = flow[..., 0] + side[None, :], flow[..., 1] + side[:, None]
    moved = cv2.remap(before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    change = cv2.blur(cv2.absdiff(now, moved).astype(np.float32), (3, 3))
    inside = (x > -1) & (x < GREY_PX) & (y > -1) & (y < GREY_PX)
    trust = np.exp(change * (-1 / _TRUST_GREYS)) * inside
    return np.stack([flow[..., 0] / GREY_PX, flow[..., 1] / GREY_PX, trust]).astype(np.float32)


def carry(motion: Tensor, logits: Tensor) -> Tensor:
    """Return the prior: masks of the frame before, moved, and the trust in them.

    Args:
        motion: (N, 3, m, m) of `flow_and_trust`.
        logits: (N, 1, h, w) on the frame before.

    Returns:
        (N, 2, h, w) float32: the moved mask as 2 p - 1, and trust.
    """
    size = (logits.shape[-2], logits.shape[-1])
    motion = F.interpolate(motion.float(), size, mode="bilinear", align_corners=False)
    y, x = ((torch.arange(n, device=logits.device) + 0.5) / n * 2 - 1 for n in size)
    grid = torch.stack(
        [x[None, None, :] + 2 * motion[:, 0], y[None, :, None] + 2 * motion[:, 1]], -1
    )
    moved = F.grid_sample(
        torch.tanh(logits.float() / 4), grid, padding_mode="border", align_corners=False
    )
    return torch.cat([moved, motion[:, 2:]], 1)


def carried(now: Grey, traces: Sequence[Trace | None], side: int) -> Tensor:
    """Return the (N, 2, side, side) prior of N objects on a frame; zeros where there is no trace.

    Args:
        now: the frame.
        traces: of the objects, each on the newest frame it was seen on.
        side: of the logits.
    """
    flows: dict[int, Tensor] = {}
    motions, logits = [], []
    for trace in traces:
        if trace is None:
            motions.append(torch.zeros(3, GREY_PX, GREY_PX))
            logits.append(torch.zeros(1, 1, side, side))
            continue
        if id(trace.grey) not in flows:  # objects stepped together share the frame
            flows[id(trace.grey)] = torch.from_numpy(flow_and_trust(trace.grey, now))
        motions.append(flows[id(trace.grey)])
        logits.append(trace.logits.float().cpu())
    return carry(torch.stack(motions), torch.cat(logits))
