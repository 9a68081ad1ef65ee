"""What memory attention reads of an object: tokens and their position codes.

Restates the second half of SAM 2's `_prepare_memory_conditioned_features`; see memory.py.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from streamtrack.tracking.memory import MemoryView


@dataclass(frozen=True, slots=True, eq=False)
class ObjectMemory:
    """What one object's cross attention reads."""

    tokens: Tensor
    """(M, C): mask memories, each h*w tokens long, then pointer tokens."""
    codes: Tensor
    """(M, C): position codes."""
    pointer_tokens: int


def memory_tokens(model: Any, view: MemoryView, position: Tensor) -> ObjectMemory:
    """Return the tokens of an object's memories.

    Args:
        model: SAM2Base.
        view: the memories.
        position: (h*w, C) position codes of every mask memory.
    """
    memory = [features[0].flatten(1).t() for _, features in view.features]
    # The last temporal code, index -1, is that of prompted frames.
    codes = [position + model.maskmem_tpos_enc[ago - 1, 0] for ago, _ in view.features]
    pointer_tokens = 0
    if view.pointers and model.use_obj_ptrs_in_encoder:
        pointers, pointer_codes = _pointer_tokens(model, view)
        memory.append(pointers)
        codes.append(pointer_codes)
        pointer_tokens = len(pointers)
    joined = torch.cat(codes)
    return ObjectMemory(torch.cat(memory).to(joined.dtype), joined, pointer_tokens)


def _pointer_tokens(model: Any, view: MemoryView) -> tuple[Tensor, Tensor]:
    """Return object pointers split into memory-sized tokens and their temporal codes."""
    pointers = torch.cat([pointer for _, pointer in view.pointers])  # (P, D)
    signed = model.use_signed_tpos_enc_to_obj_ptrs
    ago = [distance if signed else abs(distance) for distance, _ in view.pointers]
    if model.add_tpos_enc_to_obj_ptrs:
        width = model.hidden_dim if model.proj_tpos_enc_in_obj_ptrs else model.mem_dim
        scaled = torch.tensor(ago).to(pointers.device) / (model.max_obj_ptrs_in_encoder - 1)
        codes: Tensor = model.obj_ptr_tpos_proj(_sine(scaled, width))
    else:
        codes = pointers.new_zeros(len(ago), model.mem_dim)
    split = model.hidden_dim // model.mem_dim
    return pointers.reshape(-1, model.mem_dim), codes.repeat_interleave(split, dim=0)


def _sine(places: Tensor, width: int) -> Tensor:
    """Return (P, width) sine codes of (P,) places, as `get_1d_sine_pe` of SAM 2 does."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=places.device)
    angles = places.unsqueeze(-1) / 10000 ** (2 * (steps // 2) / half)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
