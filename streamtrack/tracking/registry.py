"""The models streamtrack knows, where their weights are, and which one to take.

Nothing here imports torch, so the command line can answer at once.
"""

import difflib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from streamtrack.errors import CheckpointError
from streamtrack.resources import resource

Fit = Literal["real time", "slow", "too large"]
"""How a model runs on a device."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of checkpoints/registry.yaml."""

    name: str
    config: str | None
    """Hydra configuration inside the sam2 package; None: a model of streamtrack's own."""
    url: str | None
    """Where to download it; None: it ships with streamtrack."""
    file: str
    """Name in the cache directory, or below checkpoints/ when it ships."""
    parameters: int | None
    """Trained numbers."""
    keys: int | None
    """Tensors in the state dict."""
    elements: int | None
    """Numbers in all tensors of the state dict."""
    approx_bytes: int
    """Size of the file, about."""
    sha256: str | None = None
    """Pinned digest; None: pinned by the first verified download."""
    quality: float | None = None
    """Published J&F on the SA-V test set, percent."""


def registry() -> dict[str, ModelEntry]:
    """Return every known model by name, the embedded one first."""
    rows = yaml.safe_load(resource("checkpoints/registry.yaml").read_text(encoding="utf-8"))
    return {name: ModelEntry(name=name, **row) for name, row in rows.items()}


def model_entry(name: str) -> ModelEntry:
    """Return the model of this name.

    Raises:
        CheckpointError: there is none.
    """
    models = registry()
    if name not in models:
        near = difflib.get_close_matches(name, models, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(models)}."
        raise CheckpointError(f"There is no model {name!r}; {hint}")
    return models[name]


def cache_dir() -> Path:
    """Return the folder of downloaded models: $STREAMTRACK_CACHE, else the user's cache."""
    if chosen := os.environ.get("STREAMTRACK_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamtrack"


def find_checkpoint(name: str) -> Path | None:
    """Return the local weights of a model, or None when they are not on this machine.

    Raises:
        CheckpointError: there is no such model.
    """
    entry = model_entry(name)
    if entry.url is None:
        try:
            return resource(f"checkpoints/{entry.file}")
        except FileNotFoundError:
            return None
    path = cache_dir() / entry.file
    return path if path.is_file() else None


def local_models() -> list[str]:
    """Return the names of the models whose weights are on this machine."""
    return [name for name in registry() if find_checkpoint(name) is not None]


def fit(entry: ModelEntry, device: str, memory_bytes: int | None = None) -> Fit:
    """Return how a model runs on a device.

    Args:
        entry: the model.
        device: "cpu", "mps", "cuda" or "cuda:N".
        memory_bytes: the device's memory; None when it is not known.
    """
    # Weights, their bfloat16 copy and activations at 1024 px: a guess on the safe side.
    if memory_bytes is not None and 2 * entry.approx_bytes + 2**30 > memory_bytes:
        return "too large"
    return "real time" if entry.url is None or device.startswith("cuda") else "slow"


def best_model(
    device: str, available: Collection[str], memory_bytes: int | None = None
) -> tuple[str, str]:
    """Return the best of the available models for a device, and one sentence why.

    On CUDA that is the one of highest published quality that fits; elsewhere the
    embedded model, because only it keeps up with a camera.

    Args:
        device: "cpu", "mps", "cuda" or "cuda:N".
        available: names of the models on this machine.
        memory_bytes: the device's memory; None when it is not known.

    Raises:
        CheckpointError: no model is available that fits.
    """
    models = registry()
    fits = {name: fit(entry, device, memory_bytes) for name, entry in models.items()}
    usable = [name for name in models if name in available and fits[name] != "too large"]
    if not usable:
        raise CheckpointError(
            f"No model on this machine fits {device}; get one with "
            "`streamtrack download sam2.1-tiny`."
        )
    fast = [name for name in usable if fits[name] == "real time"]
    if not fast:
        name = min(usable, key=lambda name: models[name].approx_bytes)
        return name, f"{name} is the smallest model on this machine, though slow on {device}."
    name = max(fast, key=lambda name: models[name].quality or 0)
    return name, _why(name, device, fits, usable)


def _why(name: str, device: str, fits: dict[str, Fit], usable: list[str]) -> str:
    """Return why `name` was chosen and how to get a better model."""
    if not device.startswith("cuda"):
        better = next((one for one in usable if fits[one] == "slow"), None)
        way = f"--model {better}" if better else "streamtrack download sam2.1-tiny"
        return f"{name} runs in real time on {device}; `{way}` gives better masks, slowly."
    models = registry()
    best = max(
        (one for one in models if fits[one] != "too large"), key=lambda m: models[m].quality or 0
    )
    reason = f"{name} is the best model on this machine that fits {device}"
    return (
        f"{reason}."
        if best == name
        else f"{reason}; `streamtrack download {best}` gets a better one."
    )
