"""The losses on what nano says of the objects of a batch."""

import torch
from torch import Tensor
from torch.nn import functional as F

from training.clips import EDGELESS

FIRST_WEIGHT = 2.0
"""What a pass on a prompted first frame counts, beside 1 for one on a later frame."""


class Tally:
    """Collects the losses of all decoder passes of a batch."""

    def __init__(self, seen: Tensor, told: Tensor, vague: Tensor) -> None:
        self.seen, self.told, self.vague = seen, told, vague
        self.mask: list[Tensor] = []
        self.iou: list[Tensor] = []
        self.score: list[Tensor] = []
        self.share: list[Tensor] = []
        self.weight: list[Tensor] = []

    def add(
        self,
        t: int,
        masks: Tensor,
        ious: Tensor,
        scores: Tensor,
        target: Tensor,
        rows: Tensor | None = None,
        most: int = EDGELESS,
        weight: float = 1.0,
    ) -> Tensor:
        """Add one pass; return the (N,) index of each object's best candidate by true IoU.

        Args:
            t: the frame.
            masks: (N, M, h, w) logits.
            ious: (N, M) predicted.
            scores: (N, 1) object scores.
            target: (N, h, w).
            rows: which objects they are; None for all.
            most: vaguer objects than that do not count.
            weight: what the pass counts.
        """
        everyone = slice(None) if rows is None else rows
        seen, told = self.seen[t, everyone], self.told[t, everyone]
        loss = mask_losses(masks.float(), target, seen)  # (N, M)
        true = true_ious(masks, target)
        best = true.argmax(1)
        least = loss.min(1).values
        self.mask.append(least + 0.05 * loss.mean(1) if loss.shape[1] > 1 else least)
        self.iou.append((ious.float() - true).abs().mean(1) * seen)
        wrong = F.binary_cross_entropy_with_logits(
            scores[:, 0].float(), seen.float(), reduction="none"
        )
        self.score.append(wrong * told * torch.where(seen, 1.0, 2.0))
        counted = self.vague[everyone] <= most
        self.share.append(true.max(1).values[seen & counted].detach())
        self.weight.append(torch.full_like(least.detach(), weight) * counted)
        return best

    def losses(self) -> dict[str, Tensor]:
        """Return the mean losses, their weighted "total", and the mean IoU "j"."""
        weight = torch.cat(self.weight)
        weight = weight / weight.sum()
        mask, iou, score = (
            (torch.cat(x) * weight).sum() for x in (self.mask, self.iou, self.score)
        )
        total = mask + 0.5 * iou + 0.7 * score
        return {
            "total": total,
            "mask": mask.detach(),
            "iou": iou.detach(),
            "score": score.detach(),
            "j": torch.cat(self.share).mean(),
        }


def mask_losses(logits: Tensor, target: Tensor, seen: Tensor) -> Tensor:
    """Return (N, M) losses: 8 focal-like + 0.5 cross-entropy + dice where there is an object.

    Args:
        logits: (N, M, h, w).
        target: (N, h, w) in [0, 1].
        seen: (N,) bool.
    """
    goal = target[:, None].expand_as(logits)
    wrong = F.binary_cross_entropy_with_logits(logits, goal, reduction="none")
    p = logits.sigmoid()
    focal = ((p - goal).abs() ** 1.5 * wrong).mean((2, 3))
    overlap = (p * goal).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (p.sum((2, 3)) + goal.sum((2, 3)) + 1)
    return 8 * focal + 0.5 * wrong.mean((2, 3)) + dice * seen[:, None]


@torch.no_grad()
def true_ious(logits: Tensor, target: Tensor) -> Tensor:
    """Return the (N, M) intersection over union of (N, M, h, w) logits with the target."""
    said, true = logits > 0, (target > 0.5)[:, None]
    union = (said | true).sum((2, 3))
    return (said & true).sum((2, 3)) / union.clamp(min=1)
