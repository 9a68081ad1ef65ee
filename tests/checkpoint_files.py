"""Checkpoints in the official form but of a few hundred numbers, for tests."""

from pathlib import Path

import torch
from torch import Tensor

from streamtrack.tracking.registry import ModelEntry

WIDTHS = {"tiny": (96, 12), "small": (96, 16), "base+": (112, 24), "large": (144, 48)}


def small_state(size: str = "tiny", *, newer: bool = True) -> dict[str, Tensor]:
    """Return a state dict with the marks of a SAM 2.1 (or 2.0) model of this size."""
    width, blocks = WIDTHS[size]
    state = {"image_encoder.trunk.patch_embed.proj.weight": torch.arange(width).float()}
    state |= {f"image_encoder.trunk.blocks.{n}.norm1.weight": torch.ones(1) for n in range(blocks)}
    if newer:
        added = ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias")
        state |= {name: torch.ones(1) for name in added}
    return state


def write_checkpoint(path: Path, state: dict[str, Tensor] | None = None) -> Path:
    """Write a state dict, by default of a tiny model, as the official checkpoints are."""
    torch.save({"model": small_state() if state is None else state}, path)
    return path


def entry_for(url: str | None = None, *, sha256: str | None = None) -> ModelEntry:
    """Return a registry entry for `small_state()`, named sam2.1-tiny as it is inferred."""
    state = small_state()
    return ModelEntry(
        name="sam2.1-tiny",
        config=None,
        url=url,
        file="tiny.pt",
        parameters=None,
        keys=len(state),
        elements=sum(tensor.numel() for tensor in state.values()),
        approx_bytes=10_000,
        sha256=sha256,
    )
