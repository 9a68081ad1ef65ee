"""What the frames before say of a frame without anything learned, as inputs of the model.

The mask of the frame before, carried by optical flow; trust in it, which is how well the moved
picture of before explains this one; and what the object's colours say (colour_prior.py). It
holds for things no training has shown; the model learns when to believe it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from streamtrack.tracking.colour_prior import COLOURS, Colours, colours_of, count, likelihood

GREY_PX = 128
"""Side of the grey images that flow is found on; 256 takes four times as long."""
_STRIDE_PX, _DESCENTS = 4, 12
_TRUST_GREYS = 15.0
"""Change of grey at which trust falls to 1/e."""
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Glimpse:
    """A frame, small: all that evidence needs of it."""

    grey: Grey
    """(GREY_PX, GREY_PX) uint8."""
    colours: Colours
    """(GREY_PX, GREY_PX) int16 of `colours_of`."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What an object on one frame says of later ones."""

    glimpse: Glimpse
    """Of the frame."""
    logits: Tensor
    """(1, 1, h, w) the object's mask logits on it."""
    counts: Tensor | None
    """(1, 2, COLOURS) of `colour_prior.count`, on a prompted frame."""


def glimpse_of(image: Tensor) -> Glimpse:
    """Return the small picture of a normalised (3, S, S) image."""
    std, mean = (torch.tensor(v)[:, None, None] for v in (_STD, _MEAN))
    picture = (image.float().cpu() * std + mean).permute(1, 2, 0).numpy()
    size = (GREY_PX, GREY_PX)
    small = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    rgb = np.asarray(np.clip(255 * small + 0.5, 0, 255), np.uint8)
    return Glimpse(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8), colours_of(rgb))


def trace(glimpse: Glimpse | None, logits: Tensor, *, prompted: bool) -> Trace | None:
    """Return what an object with these (1, 1, h, w) mask logits on a frame says of later ones.

    Nothing where there is no glimpse, that is for a model that takes no evidence.

    Only prompted frames tell its colours: those of a mask that has spread over something else
    would keep it there.
    """
    if glimpse is None:
        return None
    logits = logits.float().cpu()
    colours = torch.from_numpy(glimpse.colours.astype(np.int64))[None]
    return Trace(glimpse, logits, count(colours, logits) if prompted else None)


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


def evidence(now: Glimpse, pasts: Sequence[Sequence[Trace]], side: int) -> Tensor:
    """Return the (N, 3, side, side) evidence for N objects on a frame, zeros for those unknown.

    Args:
        now: the frame.
        pasts: of each object the trace of the newest prompted frame, and last that of the newest
            frame before `now`, which may be the same one.
        side: of the maps.

    Returns:
        The carried mask times the trust in it, trust, and the likelihood of the colours.
    """
    flows: dict[int, Tensor] = {}
    motions, logits, counts = [], [], []
    for past in pasts:
        if not past:
            motions.append(torch.zeros(3, GREY_PX, GREY_PX))
            logits.append(torch.zeros(1, 1, side, side))
            counts.append(torch.zeros(1, 2, COLOURS))
            continue
        before = past[-1].glimpse
        if id(before) not in flows:  # objects stepped together share the frame
            flows[id(before)] = torch.from_numpy(flow_and_trust(before.grey, now.grey))
        motions.append(flows[id(before)])
        logits.append(past[-1].logits)
        known = past[0].counts
        counts.append(torch.zeros(1, 2, COLOURS) if known is None else known)
    colours = torch.from_numpy(now.colours.astype(np.int64))[None].expand(len(pasts), -1, -1)
    return joined(carry(torch.stack(motions), torch.cat(logits)), colours, torch.cat(counts))


def joined(carried: Tensor, colours: Tensor, counts: Tensor) -> Tensor:
    """Return the (N, 3, h, w) evidence from its parts.

    Args:
        carried: (N, 2, h, w) of `carry`.
        colours: (N, m, m) int64 of the frame.
        counts: (N, 2, COLOURS) of `colour_prior.count`.
    """
    likely = likelihood(colours, counts)
    if likely.shape[-2:] != carried.shape[-2:]:
        size = (carried.shape[-2], carried.shape[-1])
        likely = F.interpolate(likely, size, mode="bilinear", align_corners=False)
    return torch.cat([carried[:, :1] * carried[:, 1:], carried[:, 1:], likely], 1)
