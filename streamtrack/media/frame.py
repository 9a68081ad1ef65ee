"""The frame: a picture with its identity in time."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture of a source."""

    picture: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB, C-contiguous; never written to after it is made."""
    arrival: float
    """time.monotonic() seconds when the picture was decoded or received here."""
    pts: int | None = None
    """The source's own presentation timestamp, for information only."""
    time_base: Fraction | None = None
    """Seconds per unit of pts."""
    epoch: int = 0
    """Changes when the source reconnects or its picture size changes."""
    truth: NDArray[np.uint8] | None = None
    """(H, W) uint8 map of object ids, 0 = background; only drawn scenes know it."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.picture.shape[:2]
        return height, width
