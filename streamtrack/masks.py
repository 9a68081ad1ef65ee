"""Masks on the wire and in files: COCO run-length encoding, and bounding boxes.

Decoding trusts nothing: a run-length string comes from browsers and files, so its
runs are read and checked here before any picture-sized memory is touched.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

MAX_SIDE_PX = 8192
"""Largest height or width accepted; 67 million pixels, a bound on memory (guess)."""

_BITS = 5  # COCO packs a run into characters of 5 bits each, least significant first
_MAX_CHARACTERS = 6  # 30 bits hold every run of an 8192 x 8192 mask, and every difference


def encode_rle(mask: NDArray[np.bool_]) -> dict[str, object]:
    """Return the COCO run-length encoding {"size": [h, w], "counts": "..."} of a mask.

    Args:
        mask: (H, W) bool.

    Raises:
        ValueError: the mask is not two-dimensional, empty-sized or too large.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"A mask of shape {mask.shape} cannot be encoded; it must be (H, W).")
    height, width = _checked_size(list(mask.shape))
    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [height, width], "counts": encoded["counts"].decode("ascii")}


def decode_rle(rle: Mapping[str, object]) -> NDArray[np.bool_]:
    """Return the (H, W) bool mask of a COCO run-length encoding, compressed form.

    Raises:
        ValueError: anything about it is wrong; the message is one sentence.
    """
    if not isinstance(rle, Mapping) or "size" not in rle or "counts" not in rle:
        raise ValueError('A run-length mask must be an object with "size" and "counts".')
    height, width = _checked_size(rle["size"])
    counts = rle["counts"]
    if not isinstance(counts, str):
        raise ValueError('The "counts" of a run-length mask must be a string.')
    if len(counts) > _MAX_CHARACTERS * (height * width + 1):
        raise ValueError(f"The run-length mask has more runs than {height} x {width} has pixels.")
    runs = _runs(counts)
    if (runs < 0).any() or (runs > height * width).any() or int(runs.sum()) != height * width:
        raise ValueError(f"The runs of the run-length mask do not add up to {height} x {width}.")
    values = (np.arange(len(runs)) % 2).astype(np.bool_)  # runs alternate, background first
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def mask_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Return (x0, y0, x1, y1) around the mask, x1 and y1 exclusive; None when it is empty.

    Args:
        mask: (H, W) bool.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    return int(columns[0]), top, int(columns[-1]) + 1, bottom


def _checked_size(size: object) -> tuple[int, int]:
    """Return (height, width) when both are whole numbers from 1 to MAX_SIDE_PX."""
    sides = list(size) if isinstance(size, list | tuple) else []
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= MAX_SIDE_PX for side in sides):
        raise ValueError(
            f"The size of a mask must be [height, width], each from 1 to {MAX_SIDE_PX}."
        )
    return int(sides[0]), int(sides[1])


def _runs(counts: str) -> NDArray[np.int64]:
    """Return the run lengths of a compressed COCO string, unchecked against any size.

    Restates pycocotools' rleFrString (common/maskApi.c) on whole arrays: a character
    is 48 + 5 bits + 32 when more follow; the last one's top bit is the sign; from the
    fourth run on, the difference to the run two before is stored.
    """
    try:
        codes = np.frombuffer(counts.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        codes = np.array([-1])
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError('The "counts" of the run-length mask are not a COCO string.')
    last = np.flatnonzero(~codes & 32)
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > _MAX_CHARACTERS:
        raise ValueError("The run-length mask holds a run longer than any picture.")
    places = np.arange(len(codes)) - np.repeat(first, lengths)
    runs: NDArray[np.int64] = np.add.reduceat((codes & 31) << (_BITS * places), first)
    runs -= np.where(codes[last] & 16, np.int64(1) << (_BITS * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
