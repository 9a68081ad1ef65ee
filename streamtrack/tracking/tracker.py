"""The bounded predictor: one model, any number of streams and objects.

tracker = Tracker.load("nano")
stream = tracker.open()
tracked = stream.step(picture, [Prompt(points=[[x, y]])])
"""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from streamtrack.tracking.following import TrackingStream
from streamtrack.tracking.loading import load_segmenter
from streamtrack.tracking.savings import Savings
from streamtrack.tracking.segmenter import Segmenter

__all__ = ["Tracker", "TrackingStream"]

REWIND_FRAMES = 16
FEATURE_BYTES = 256 * 2**20


class Tracker:
    """A model on a device, shared by any number of streams.

    Not thread-safe: one thread owns a tracker and all its streams.
    """

    def __init__(self, segmenter: Segmenter, *, model: str, why: str = "") -> None:
        """Wrap a segmenter; `Tracker.load` is the usual way.

        Args:
            segmenter: the model.
            model: its name.
            why: one sentence that says why this model was chosen.
        """
        self.segmenter = segmenter
        self.model = model
        self.why = why

    @classmethod
    def load(
        cls,
        model: str = "auto",
        *,
        checkpoint: Path | str | None = None,
        image_size: int | None = None,
        device: str = "auto",
        dtype: torch.dtype | str | None = None,
        batched: bool = True,
        savings: Savings | None = None,
    ) -> Self:
        """Load a model and put it on a device.

        Args:
            model: "nano", "sam2.1-tiny" ..., or "auto" for the best that is here and fits.
            checkpoint: weights to use; None = the model's own, downloaded if need be.
            image_size: side of the model's input in pixels, a multiple of 32; None = its own.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            dtype: "float32", "bfloat16" or torch's; None or "auto" = what is fast on the device.
            batched: step the objects of a stream together; False steps them one by one, the
                reference path: in float32 bit-equal to SAM 2's video predictor.
            savings: approximations that save time; None = none.

        Raises:
            CheckpointError: the model is unknown or its weights are missing or broken.
            ConfigError: the image size or device does not exist.
            DeviceError: the device cannot hold the model.
        """
        loaded = load_segmenter(
            model,
            checkpoint=checkpoint,
            image_size=image_size,
            device=device,
            dtype=dtype,
            batched=batched,
            savings=savings,
        )
        return cls(loaded.segmenter, model=loaded.model, why=loaded.why)

    @property
    def device(self) -> str:
        """The device's name, such as "cpu"."""
        return str(self.segmenter.device)

    @property
    def dtype(self) -> str:
        """The type of its numbers, such as "bfloat16"."""
        return str(self.segmenter.dtype).removeprefix("torch.")

    @property
    def image_size(self) -> int:
        """Side of the model's input in pixels."""
        return self.segmenter.image_size

    def open(
        self,
        *,
        max_objects: int = 32,
        rewind_frames: int = REWIND_FRAMES,
        feature_bytes: int = FEATURE_BYTES,
        replay_budget_ms: float | None = None,
        pictures: Callable[[int], NDArray[np.uint8] | None] | None = None,
    ) -> TrackingStream:
        """Return a new stream's state, one for each video.

        Args:
            max_objects: followed at once.
            rewind_frames: newest stepped frames a late prompt may name.
            feature_bytes: image features kept for them; others are computed again when needed.
            replay_budget_ms: what following an object again after a late prompt may take before
                it goes on from the next frame instead; None = any time.
            pictures: returns the (H, W, 3) uint8 RGB picture of a frame that was shown but not
                stepped, or None, so that late prompts may name such frames too.
        """
        return TrackingStream(
            self.segmenter,
            max_objects=max_objects,
            rewind_frames=rewind_frames,
            feature_bytes=feature_bytes,
            replay_budget_ms=replay_budget_ms,
            pictures=pictures,
        )
