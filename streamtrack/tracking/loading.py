"""From a model's name to a model on a device."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from streamtrack.errors import CheckpointError
from streamtrack.tracking import checkpoints, nano
from streamtrack.tracking.devices import fast_dtype, resolve_device
from streamtrack.tracking.segmenter import (
    Segmenter,
    build_sam2,
    check_image_size,
    load_weights,
)

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


def load_segmenter(
    model: str,
    *,
    checkpoint: Path | str | None,
    image_size: int | None,
    device: str,
    dtype: torch.dtype | None,
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
    path, state = _weights(model, checkpoint)
    if state is not None:
        name, why = _name_of(model, state, path), f"it was asked for ({path})"
    elif model == "auto":
        name, why = checkpoints.choose_model(chosen_device)
    else:
        name, why = model, "it was asked for"
    if state is None:
        path = checkpoints.find_checkpoint(name) or checkpoints.download(name)
        state = checkpoints.load_state_dict(path)
        _name_of(name, state, path)
    entry = checkpoints.registry()[name]
    built = (
        nano.build_nano(image_size=image_size or nano.NANO_IMAGE_SIZE)
        if entry.config is None
        else build_sam2(entry.config, image_size=image_size or _OFFICIAL_IMAGE_SIZE)
    )
    load_weights(built, state, str(path))
    segmenter = Segmenter(built, device=chosen_device, dtype=dtype or fast_dtype(chosen_device))
    logger.info("model %s on %s: %s", name, chosen_device, why)
    return LoadedModel(segmenter, name, why)


def _weights(model: str, checkpoint: Path | str | None) -> tuple[Path, Mapping[str, Tensor] | None]:
    """Return the given checkpoint's weights, or None when none was given."""
    if model != "auto" and model not in checkpoints.registry():
        names = ", ".join(checkpoints.registry())
        raise CheckpointError(f"The model {model!r} is unknown; choose auto or one of: {names}.")
    if checkpoint is None:
        return Path(), None
    path = Path(checkpoint)
    return path, checkpoints.load_state_dict(path)


def _name_of(model: str, state: Mapping[str, Tensor], path: Path) -> str:
    """Return the name of the model the weights belong to, if it is the one asked for."""
    found = checkpoints.infer_model(dict(state))
    if found is None:
        raise CheckpointError(
            f"{path} holds none of the known models' weights; give an official SAM 2 checkpoint."
        )
    if model not in ("auto", found):
        raise CheckpointError(
            f"{path} holds {found}, but the model asked for is {model}; "
            f"use --model {found} or another file."
        )
    return found
