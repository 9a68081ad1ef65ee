"""Checkpoints: read weights safely, say which model they are of, download and verify them."""

import pickle
import struct
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from streamtrack.errors import CheckpointError
from streamtrack.tracking.download import Progress, fetch, ignore_progress, verify_digest
from streamtrack.tracking.registry import (
    ModelEntry,
    best_model,
    cache_dir,
    find_checkpoint,
    fit,
    local_models,
    model_entry,
    registry,
)

__all__ = [
    "ModelEntry",
    "cache_dir",
    "choose_model",
    "device_memory",
    "download",
    "find_checkpoint",
    "fit",
    "identify",
    "infer_model",
    "load_state_dict",
    "local_models",
    "model_entry",
    "registry",
    "verify_checkpoint",
]

_SIZES = {(96, 12): "tiny", (96, 16): "small", (112, 24): "base+", (144, 48): "large"}
"""Model size by the trunk's first width and its number of blocks."""
_HIERA = "image_encoder.trunk.patch_embed.proj.weight"
_NANO = "memory_attention.log_scale"
_ADDED_IN_21 = frozenset(
    {"no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias"}
)
_HEAD_BYTES = 256


def download(
    name: str,
    *,
    progress: Progress = ignore_progress,
    models: Mapping[str, ModelEntry] | None = None,
    directory: Path | None = None,
) -> Path:
    """Return the local weights of a model, downloading them if they are not here.

    What is taken into the cache has the pinned SHA-256 and is a checkpoint of that
    model; weights that are here already are checked against the pin.

    Args:
        name: the model's name.
        progress: called with bytes done and bytes in all, None when not known.
        models: the known models; default the registry.
        directory: where to keep it; default the cache directory.

    Raises:
        CheckpointError: the model is unknown, or the download or a check failed.
    """
    entry = model_entry(name) if models is None else models[name]
    if entry.url is None:
        if (shipped := find_checkpoint(name)) is None:
            raise CheckpointError(
                f"{name} should have come with streamtrack but is missing; install it again."
            )
        return shipped
    target = (directory or cache_dir()) / entry.file
    if target.is_file():
        verify_digest(target, entry.sha256)
        return target
    fetch(entry, target, check=lambda path: verify_checkpoint(path, entry), progress=progress)
    return target


def choose_model(device: str, available: Collection[str] | None = None) -> tuple[str, str]:
    """Return the best model for a device, and one sentence why.

    Args:
        device: "cpu", "mps", "cuda" or "cuda:N".
        available: names to choose from; default the models on this machine.

    Raises:
        CheckpointError: none of them fits.
    """
    names = local_models() if available is None else available
    return best_model(device, names, device_memory(device))


def device_memory(device: str) -> int | None:
    """Return the bytes of memory a CUDA device has; None for the others."""
    if not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)


def load_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, on the CPU; never runs code from it.

    Args:
        path: a `.pt` file holding {"model": state dict}, or a `.safetensors` file.

    Raises:
        CheckpointError: the file is missing, empty, damaged or something else.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        raise CheckpointError(f"The checkpoint {path} cannot be read: {reason}.") from exc
    if head.startswith(b"PK\x03\x04"):
        return _load_torch(path, mapped=True)
    if head.startswith(b"\x80"):  # a bare pickle, as torch wrote before 1.6
        return _load_torch(path, mapped=False)
    if head[8:9] == b"{":
        return _load_safetensors(path)
    raise CheckpointError(f"{path} is not a checkpoint: {_describe(head)}.")


def infer_model(state_dict: Mapping[str, Tensor]) -> str | None:
    """Return the name of the model these tensors belong to, or None when it is unknown."""
    if _NANO in state_dict:
        return "nano"
    patch = state_dict.get(_HIERA)
    if patch is None:
        return None
    prefix = "image_encoder.trunk.blocks."
    blocks = {
        key.removeprefix(prefix).split(".")[0] for key in state_dict if key.startswith(prefix)
    }
    size = _SIZES.get((patch.shape[0] if patch.ndim else 0, len(blocks)))
    family = "sam2.1" if _ADDED_IN_21 <= state_dict.keys() else "sam2"
    return f"{family}-{size}" if size else None


def identify(state_dict: Mapping[str, Tensor], path: Path | str, wanted: str = "auto") -> str:
    """Return which model a checkpoint is of, which must be the wanted one.

    Args:
        state_dict: its tensors.
        path: where they came from, for the message.
        wanted: a model's name, or "auto" for whatever it is.

    Raises:
        CheckpointError: it is of no known model, or not of the wanted one.
    """
    if wanted != "auto":
        model_entry(wanted)
    found = infer_model(state_dict)
    if found is None:
        raise CheckpointError(
            f"{path} holds {len(state_dict)} tensors of no model known here; give a checkpoint of "
            f"{', '.join(registry())}."
        )
    if wanted not in ("auto", found):
        raise CheckpointError(
            f"{path} holds {found}, not {wanted}; ask for the model {found}, or give a checkpoint "
            f"of {wanted}."
        )
    return found


def verify_checkpoint(path: Path, entry: ModelEntry) -> None:
    """Check that a file is a whole checkpoint of one model.

    Raises:
        CheckpointError: it cannot be loaded, is of another model, or lacks something.
    """
    state = load_state_dict(path)
    identify(state, path, entry.name)
    found = (len(state), sum(tensor.numel() for tensor in state.values()))
    expected = (entry.keys or found[0], entry.elements or found[1])
    if found != expected:
        raise CheckpointError(
            f"{path} holds {found[0]} tensors of {found[1]:,} numbers, but {entry.name} has "
            f"{expected[0]} of {expected[1]:,}; get it again."
        )


def _load_torch(path: Path, *, mapped: bool) -> dict[str, Tensor]:
    try:
        with (
            warnings.catch_warnings()
        ):  # of unusual pickles, which are refused or read all the same
            warnings.simplefilter("ignore")
            content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as exc:
        raise CheckpointError(
            f"The checkpoint {path} holds code or objects other than tensors, or is damaged; "
            "it was not run; get it from a source you trust."
        ) from exc
    except (
        RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError,
        AssertionError, struct.error,
    ) as exc:  # fmt: skip
        raise CheckpointError(
            f"The checkpoint {path} is truncated or damaged; get it again."
        ) from exc
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise CheckpointError(
            f'The checkpoint {path} has no "model" state dict; give a file in the form of the '
            "official SAM 2 checkpoints."
        )
    for key, tensor in state.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"The checkpoint {path} holds {type(tensor).__name__} under {key!r} where a tensor "
                "belongs; give a file in the form of the official SAM 2 checkpoints."
            )
    return state


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as exc:
        raise CheckpointError(
            f"The checkpoint {path} is truncated or damaged; get it again."
        ) from exc


def _describe(head: bytes) -> str:
    """Return what a file that begins like this probably is."""
    if not head:
        return "it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, so the weights were never fetched"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, probably saved in place of the file"
    return "it is neither a PyTorch file nor safetensors"
