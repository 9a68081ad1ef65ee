"""Pictures with known motion, for the tests of what follows it."""

import cv2
import numpy as np


def texture(size: tuple[int, int], seed: int = 1, tint: tuple[int, int, int] = (0, 0, 0)):
    """A picture of coloured blots, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    height, width = size
    noise = np.zeros((height, width, 3), np.float32)
    for cell in (6, 14, 40):
        small = rng.uniform(0, 255, (height // cell + 2, width // cell + 2, 3)).astype(np.float32)
        noise += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) / 3
    return np.clip(noise + np.array(tint, np.float32), 0, 255).astype(np.uint8)


def moved(picture: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """The picture after a (2, 3) affine motion, its border mirrored."""
    size = picture.shape[1], picture.shape[0]
    return cv2.warpAffine(picture, motion, size, borderMode=cv2.BORDER_REFLECT_101)


class Scene:
    """A textured disc that moves over a textured ground."""

    def __init__(self, size: tuple[int, int] = (240, 320), radius: int = 36) -> None:
        self.size, self.radius = size, radius
        self.ground = texture(size, 3, (-50, 0, 50))
        self.skin = texture((2 * radius + 1, 2 * radius + 1), 5, (90, 0, -90))

    def mask(self, centre: tuple[float, float]) -> np.ndarray:
        """(H, W) bool, where the disc is."""
        y, x = np.mgrid[: self.size[0], : self.size[1]]
        return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= self.radius**2

    def picture(self, centre: tuple[float, float]) -> np.ndarray:
        """(H, W, 3) uint8 with the disc around a point (x, y)."""
        motion = np.float32([[1, 0, centre[0] - self.radius], [0, 1, centre[1] - self.radius]])
        skin = cv2.warpAffine(self.skin, motion, self.size[::-1], borderMode=cv2.BORDER_REFLECT)
        return np.where(self.mask(centre)[..., None], skin, self.ground)


def logits_of(mask: np.ndarray, grid: tuple[int, int] | None = None) -> np.ndarray:
    """A mask as logits, on a grid over the whole frame."""
    soft = mask.astype(np.float32)
    if grid is not None:
        soft = cv2.resize(soft, grid[::-1], interpolation=cv2.INTER_AREA)
    return (soft * 2 - 1) * 10


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    return float((one & other).sum() / max(1, (one | other).sum()))
