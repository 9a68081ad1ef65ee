"""From a source picture to the model's input, and from low-resolution logits back."""

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_LINEAR_UP_TO = 1.5
"""Linear interpolation shrinks a side at most by this; it sees two pixels."""


def to_image(
    picture: NDArray[np.uint8], image_size: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Return the picture squeezed to a square and normalised as SAM 2's training did.

    Args:
        picture: (H, W, 3) uint8 RGB.
        image_size: side of the model's input in pixels.
        device: where the image is wanted; a GPU gets bytes and normalises them itself.

    Returns:
        (3, image_size, image_size) float32.
    """
    pixels = torch.from_numpy(_squeezed(picture, image_size))
    if torch.device(device).type == "cuda":
        pixels = pixels.pin_memory().to(device, non_blocking=True)
    image = pixels.permute(2, 0, 1).float().div_(255)
    image -= torch.tensor(_MEAN, device=image.device)[:, None, None]
    image /= torch.tensor(_STD, device=image.device)[:, None, None]
    return image


def _squeezed(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the (size, size, 3) picture; shrunk, each pixel is the mean of those it covers.

    Means over a whole number of pixels take a fraction of the time of other ones, so a picture
    is first brought to a multiple of the size, where linear interpolation leaves out little.
    """
    if min(picture.shape[:2]) <= size:
        return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR))
    height, width = (size * math.ceil(side / (_LINEAR_UP_TO * size)) for side in picture.shape[:2])
    between = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(between, (size, size), interpolation=cv2.INTER_AREA))


def to_masks(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the masks of low-resolution logits at the source's size.

    Args:
        logits: (N, h, w) float32, foreground > 0.
        size: (height, width) of the source picture.

    Returns:
        (N, H, W) bool.
    """
    height, width = size
    masks = np.zeros((len(logits), height, width), dtype=np.bool_)
    for low, mask in zip(logits, masks, strict=True):
        if (low > 0).any():
            mask[:] = cv2.resize(low, (width, height), interpolation=cv2.INTER_LINEAR) > 0
    return masks


def mask_to_input(mask: NDArray[np.bool_], image_size: int) -> Tensor:
    """Return a mask prompt at the model's input size.

    Same resampling as `add_new_mask` of SAM 2's video predictor.

    Args:
        mask: (H, W) bool at source size.
        image_size: side of the model's input in pixels.

    Returns:
        (1, 1, image_size, image_size) float32 of 0 and 1.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]
    if mask.shape == (image_size, image_size):
        return tensor
    resized = torch.nn.functional.interpolate(
        tensor,
        size=(image_size, image_size),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )
    return (resized >= 0.5).float()


def to_input_points(
    points: NDArray[np.float32], labels: NDArray[np.int32], size: tuple[int, int], image_size: int
) -> tuple[Tensor, Tensor]:
    """Return points in the model's input pixels, in the order of SAM 2's arithmetic.

    Args:
        points: (N, 2) float32, (x, y) in source pixels.
        labels: (N,) int32.
        size: (height, width) of the source picture.
        image_size: side of the model's input in pixels.

    Returns:
        (1, N, 2) float32 and (1, N) int32.
    """
    height, width = size
    scaled = torch.from_numpy(points)[None] / torch.tensor([width, height])
    return scaled * image_size, torch.from_numpy(labels)[None]
