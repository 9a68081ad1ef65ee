"""From the decoder's answer to what a user gets."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamtrack.masks import mask_box
from streamtrack.tracking.preprocess import to_masks
from streamtrack.tracking.prompts import TrackedObject
from streamtrack.tracking.segmentation import Segmentation


def to_objects(
    found: Mapping[int, Segmentation], size: tuple[int, int]
) -> dict[int, TrackedObject]:
    """Return the objects of one frame at the source's size.

    Args:
        found: the decoder's answers by object id.
        size: (height, width) of the source picture.
    """
    if not found:
        return {}
    logits = torch.cat([one.logits[:, 0] for one in found.values()])  # (N, h, w)
    scores = torch.cat([one.object_score.flatten() for one in found.values()])
    ious = torch.cat([one.predicted_iou.flatten() for one in found.values()])
    # Everything at once: each copy from a GPU waits for it.
    numbers = torch.stack([scores.float(), ious.float()], 1)
    flat = _to_numpy(torch.cat([numbers, logits.float().flatten(1)], 1))
    low = flat[:, 2:].reshape(logits.shape)
    return {
        object_id: _to_object(object_id, one, flat[i, :2], low[i], mask, size)
        for i, ((object_id, one), mask) in enumerate(
            zip(found.items(), to_masks(low, size), strict=True)
        )
    }


def _to_object(
    object_id: int,
    found: Segmentation,
    numbers: NDArray[np.float32],
    logits: NDArray[np.float32],
    mask: NDArray[np.bool_],
    size: tuple[int, int],
) -> TrackedObject:
    score, iou = float(numbers[0]), float(numbers[1])
    candidates = None
    if found.candidates is not None:
        candidates = to_masks(_to_numpy(found.candidates), size)
    return TrackedObject(
        object_id=object_id,
        state="tracked" if score > 0 else "lost",
        mask=mask,
        logits=logits,
        score=1 / (1 + float(np.exp(-score))),
        predicted_iou=min(1.0, max(0.0, iou)),
        box=mask_box(mask),
        area=int(np.count_nonzero(mask)),
        candidates=candidates,
    )


def _to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().cpu().numpy()
    return array
