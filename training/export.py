"""Write the averaged weights of a run as the file that is given away.

    python -m training.export --run runs/nano --out checkpoints/nano.safetensors

Weights are stored as float16, which is half the size and changes no mask that matters
(training/LOG.md); they are read back as float32.
"""

import argparse
import json
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import save_file


def export(checkpoint: Path, out: Path, dtype: torch.dtype = torch.float16) -> int:
    """Write a checkpoint's averaged weights and return the file's size in bytes."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    tensors = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for name, value in state["ema"].items()
    }
    metadata = {
        "format": "pt",
        "model": "nano",
        "recipe": json.dumps(state["recipe"], sort_keys=True),
        "steps": str(state["steps"]),
        "minutes": f"{state['spent_s'] / 60:.1f}",
        "seed": str(state["recipe"]["seed"]),
        "made_by": "python -m training.train",
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    save_file(tensors, str(part), metadata)
    part.chmod(0o644)
    part.replace(out)
    return out.stat().st_size


def main() -> None:
    """Read the options and export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, default=Path("runs/nano"))
    parser.add_argument("--out", type=Path, default=Path("checkpoints/nano.safetensors"))
    options = parser.parse_args()
    size = export(options.run / "checkpoint.pt", options.out)
    Console().print(f"{options.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
