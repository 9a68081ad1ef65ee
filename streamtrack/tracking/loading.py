"""From a model's name to a model on a device."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from streamtrack.tracking import checkpoints, nano
from streamtrack.tracking.devices import named_dtype, resolve_device
from streamtrack.tracking.official import build_sam2, check_image_size, load_weights
from streamtrack.tracking.savings import Savings
from streamtrack.tracking.segmenter import Segmenter

logger = logging.getLogger(__name__)

_OFFICIAL_IMAGE_SIZE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model ready to step."""

    segmenter: Segmenter
    model: str
    """The model's name."""
    why: str
    """One sentence that says why it was chosen."""


_CARRIED_SIZE = 320
"""Up to this input size a step is short enough on a processor for flow alone to carry masks
(guess; at 512, some 200 ms, the cascade shows 78 % of the model's quality and flow 67 %,
benchmarks/LOG.md)."""


def cascades(
    model: str, checkpoint: Path | str | None, image_size: int | None, device: str
) -> bool:
    """Tell whether a model is so slow on its device that nano should follow in its stead.

    Raises:
        CheckpointError: the model is unknown.
        ConfigError: the device does not exist.
    """
    chosen_device = resolve_device(device)
    if chosen_device != "cpu" or (image_size or _OFFICIAL_IMAGE_SIZE) <= _CARRIED_SIZE:
        return False
    if model != "auto":
        return checkpoints.model_entry(model).config is not None
    if checkpoint is not None:
        return Path(checkpoint).suffix == ".pt"  # nano's weights are .safetensors
    name, _ = checkpoints.choose_model(chosen_device)
    return checkpoints.model_entry(name).config is not None


def load_segmenter(
    model: str,
    *,
    checkpoint: Path | str | None,
    image_size: int | None,
    device: str,
    dtype: torch.dtype | str | None,
    batched: bool = True,
    savings: Savings | None = None,
) -> LoadedModel:
    """Resolve the name, find or download its weights, and build the model.

    Raises:
        CheckpointError: the model is unknown or its weights are missing or broken.
        ConfigError: the image size or device does not exist.
        DeviceError: the device cannot hold the model.
    """
    if image_size is not None:
        check_image_size(image_size)
    chosen_device = resolve_device(device)
    if model != "auto":
        checkpoints.model_entry(model)
    name, why = model, "it was asked for"
    if checkpoint is not None:
        path = Path(checkpoint)
        state = checkpoints.load_state_dict(path)
        name, why = checkpoints.identify(state, path, model), f"it is the model of {path}"
    else:
        if model == "auto":
            name, why = checkpoints.choose_model(chosen_device)
        path = checkpoints.find_checkpoint(name) or checkpoints.download(name)
        state = checkpoints.load_state_dict(path)
        checkpoints.identify(state, path, name)
    built = _build(name, image_size)
    load_weights(built, state, str(path))
    kind = _dtype(dtype, chosen_device)
    if isinstance(built, nano.Nano):
        built = nano.make_quick(built, kind)
    segmenter = Segmenter(built, device=chosen_device, dtype=kind, batched=batched, savings=savings)
    segmenter.release_reference()
    logger.info("model %s on %s: %s", name, chosen_device, why)
    return LoadedModel(segmenter, name, why)


def random_weights(
    model: str,
    *,
    image_size: int | None = None,
    device: str = "cpu",
    dtype: torch.dtype | str | None = None,
    savings: Savings | None = None,
) -> Segmenter:
    """Return a model that has learned nothing: for timing, which needs no weights.

    Raises:
        CheckpointError: the model is unknown.
        ConfigError: the image size or device does not exist.
    """
    chosen_device = resolve_device(device)
    torch.manual_seed(0)
    built = _build(checkpoints.model_entry(model).name, image_size)
    kind = _dtype(dtype, chosen_device)
    segmenter = Segmenter(built, device=chosen_device, dtype=kind, savings=savings)
    segmenter.release_reference()
    return segmenter


def _build(name: str, image_size: int | None) -> Any:
    config = checkpoints.registry()[name].config
    if config is None:
        return nano.build_nano(image_size=image_size or nano.NANO_IMAGE_SIZE)
    return build_sam2(config, image_size=image_size or _OFFICIAL_IMAGE_SIZE)


def _dtype(dtype: torch.dtype | str | None, device: str) -> torch.dtype:
    return dtype if isinstance(dtype, torch.dtype) else named_dtype(dtype or "auto", device)
