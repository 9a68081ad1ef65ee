"""Clicks, boxes and worn masks made from true masks, to practise on."""

import torch
from torch import Tensor
from torch.nn import functional as F

WORN_SHARE = 0.4
"""Share of the masks given after a leap that have a piece too much or too little."""


def inner_clicks(target: Tensor, generator: torch.Generator) -> Tensor:
    """Return (N, 1, 2) clicks in pixels inside (N, h, w) masks at stride 2, seldom at edges."""
    inside = (target > 0.5).float()[:, None]
    depth = F.avg_pool2d(inside, 9, 1, 4) * inside
    chance = (depth**2 + 1e-9).flatten(1).cpu()
    picked = torch.multinomial(chance, 1, generator=generator)[:, 0].to(target.device)
    width = target.shape[-1]
    cells = torch.stack([picked % width, picked // width], -1).float()
    return (cells * 2 + 0.5)[:, None]


def boxes_of(target: Tensor, generator: torch.Generator, jitter: float = 0.07) -> Tensor:
    """Return (N, 2, 2) boxes in pixels around (N, h, w) masks at stride 2, as drawn by hand."""
    ends = []
    for side in (1, 2):  # over rows, so along x; then along y
        any_there = (target > 0.5).any(side)
        line = torch.arange(any_there.shape[1], device=target.device)
        low = torch.where(any_there, line, any_there.shape[1]).amin(1)
        high = torch.where(any_there, line, -1).amax(1)
        ends.append(torch.stack([2.0 * low, 2.0 * high + 1], -1))
    boxes = torch.stack(ends, -1)  # (N, low and high, x and y)
    size = (boxes[:, 1:] - boxes[:, :1]).clamp(min=1)
    wobble = torch.randn(boxes.shape, generator=generator).to(target.device)
    return boxes + jitter * size * wobble.clamp(-2, 2)


def correction(logits: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a click, (N, 1, 2) and label (N, 1), somewhere in the larger error.

    Args:
        logits: (N, 1, h, w) at stride 2.
        target: (N, h, w) share of each cell that belongs to the object.
        generator: source of chance.
    """
    said, true = logits[:, 0] > 0, target > 0.5
    missed, extra = (true & ~said).flatten(1), (said & ~true).flatten(1)
    positive = missed.sum(1) >= extra.sum(1)
    wrong = torch.where(positive[:, None], missed, extra).float()
    none = wrong.sum(1) == 0
    picked = torch.multinomial((wrong + none[:, None]).cpu(), 1, generator=generator)[:, 0]
    picked = picked.to(target.device)
    width = target.shape[-1]
    cells = torch.stack([picked % width, picked // width], -1).float()
    labels = torch.where(none, -1, positive.int()).to(torch.int32)
    return (cells * 2 + 0.5)[:, None], labels[:, None]


def as_tracked(target: Tensor, generator: torch.Generator) -> Tensor:
    """Return (N, 1, h, w) logits of (N, h, w) true masks, many with a piece too much or too little.

    So masks are that a tracker has carried for long.
    """
    count, height, width = target.shape
    device = target.device
    logits = (target[:, None] - 0.5) * 14
    at = (inner_clicks(F.max_pool2d(target, 9, 1, 4), generator)[:, 0] - 0.5) / 2  # (N, 2) cells
    size = target.flatten(1).sum(1).clamp(min=1).sqrt()
    reach = size * (0.1 + 0.35 * torch.rand(count, generator=generator).to(device))
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    apart = (x - at[:, 0, None, None]) ** 2 + (y[:, None] - at[:, 1, None, None]) ** 2
    wrong = torch.rand(count, generator=generator).to(device) < WORN_SHARE
    more = torch.rand(count, generator=generator).to(device) < 0.5
    inside = (apart < reach[:, None, None] ** 2) & wrong[:, None, None]
    piece = torch.where(more, 4.0, -4.0)[:, None, None].expand_as(target)
    worn: Tensor = torch.where(inside[:, None], piece[:, None], logits)
    return worn


def chance(generator: torch.Generator, below: int) -> int:
    """Return a whole number from 0 up to below another."""
    return int(torch.randint(below, (1,), generator=generator))
