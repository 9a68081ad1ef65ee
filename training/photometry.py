"""What light and cameras do to a clip: brightness, colour, grey, blur, noise, compression."""

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator


class Photometry:
    """A random change of appearance that drifts over the frames of a clip."""

    def __init__(self, rng: Rng, frames: int) -> None:
        ends = 2
        self.gamma = np.exp(rng.normal(0, 0.2, 1) + rng.normal(0, 0.06, ends))
        self.gain = np.exp(rng.normal(0, 0.09, (1, 3)) + rng.normal(0, 0.04, (ends, 3)))
        self.lift = rng.normal(0, 0.06, (1, 3)) + rng.normal(0, 0.02, (ends, 3))
        self.grey = rng.random() < 0.06
        self.blur = float(rng.uniform(0.4, 1.6)) if rng.random() < 0.2 else 0.0
        self.noise = float(rng.uniform(1, 12)) if rng.random() < 0.3 else 0.0
        self.quality = int(rng.integers(15, 71)) if rng.random() < 0.25 else 0
        self.way = np.linspace(0, 1, frames)

    def apply(self, rng: Rng, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the changed (T, S, S, 3) frames."""
        out = np.empty_like(frames)
        for t, frame in enumerate(frames):
            changed = cv2.LUT(frame, self._table(self.way[t]))
            if self.grey:
                changed = np.repeat(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
            if self.blur:
                changed = cv2.GaussianBlur(changed, (0, 0), self.blur)
            if self.noise:
                grain = np.empty(frame.shape, np.int16)
                cv2.setRNGSeed(int(rng.integers(2**31 - 1)))
                cv2.randn(grain, 0, self.noise)
                changed = cv2.add(changed, grain, dtype=cv2.CV_8U)
            if self.quality:  # what webcams and cheap cameras send
                packed = cv2.imencode(".jpg", changed, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
                changed = cv2.imdecode(packed, cv2.IMREAD_COLOR)
            out[t] = changed
        return out

    def _table(self, way: float) -> NDArray[np.uint8]:
        """Return the (1, 256, 3) look-up table at a share of the clip's time."""
        gamma = self.gamma[0] + way * (self.gamma[1] - self.gamma[0])
        gain = self.gain[0] + way * (self.gain[1] - self.gain[0])
        lift = self.lift[0] + way * (self.lift[1] - self.lift[0])
        level = (np.arange(256) / 255) ** gamma
        table = level[:, None] * gain + lift
        return np.clip(table * 255, 0, 255).astype(np.uint8)[None]
