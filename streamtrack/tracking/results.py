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
    logits = _to_numpy(torch.cat([one.logits[:, 0] for one in found.values()]))  # (N, h, w)
    masks = to_masks(logits, size)
    return {
        object_id: _to_object(object_id, one, low, mask, size)
        for (object_id, one), low, mask in zip(found.items(), logits, masks, strict=True)
    }


def _to_object(
    object_id: int,
    found: Segmentation,
    logits: NDArray[np.float32],
    mask: NDArray[np.bool_],
    size: tuple[int, int],
) -> TrackedObject:
    score = float(found.object_score.float())
    candidates = None
    if found.candidates is not None:
        candidates = to_masks(_to_numpy(found.candidates), size)
    return TrackedObject(
        object_id=object_id,
        state="tracked" if score > 0 else "lost",
        mask=mask,
        logits=logits,
        score=1 / (1 + float(np.exp(-score))),
        predicted_iou=float(found.predicted_iou.float().clamp(0, 1)),
        box=mask_box(mask),
        area=int(np.count_nonzero(mask)),
        candidates=candidates,
    )


def _to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().cpu().numpy()
    return array
