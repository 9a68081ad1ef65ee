"""Write the averaged weights of a run as the file that is given away.

    python -m training.export --run runs/nano --out checkpoints/nano.safetensors

With --average they are the mean of that run's and of other states on its way, which forgets
less of what it began with than its end does (training/LOG.md).

Weights are stored as float16, which is half the size and changes no mask that matters
(training/LOG.md); they are read back as float32.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor


def export(
    checkpoint: Path,
    out: Path,
    dtype: torch.dtype = torch.float16,
    others: Sequence[Path] = (),
) -> int:
    """Write a checkpoint's averaged weights and return the file's size in bytes.

    Args:
        checkpoint: of a run.
        out: the file to write.
        dtype: of its tensors.
        others: checkpoints and .safetensors files of the same model to take the mean with.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    states = [state["ema"], *(_weights(other) for other in others)]
    tensors = {
        name: _mean([one[name] for one in states]).to(dtype).contiguous()
        if value.is_floating_point()
        else value
        for name, value in state["ema"].items()
    }
    metadata = {
        "format": "pt",
        "model": "nano",
        "recipe": json.dumps(state["recipe"], sort_keys=True),
        "steps": str(state["steps"]),
        "minutes": f"{state['spent_s'] / 60:.1f}",
        "seed": str(state["recipe"]["seed"]),
        "averaged": str(len(states)),
        "made_by": "python -m training.train",
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    save_file(tensors, str(part), metadata)
    part.chmod(0o644)
    part.replace(out)
    return out.stat().st_size


def _weights(path: Path) -> dict[str, Tensor]:
    """Return the averaged weights of a checkpoint, or those of a .safetensors file."""
    if path.suffix == ".safetensors":
        return load_file(path)
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["ema"]
    return weights


def _mean(values: list[Tensor]) -> Tensor:
    """Return the mean of tensors in float32."""
    return torch.stack([value.float() for value in values]).mean(0)


def main() -> None:
    """Read the options and export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, default=Path("runs/nano"))
    parser.add_argument("--out", type=Path, default=Path("checkpoints/nano.safetensors"))
    parser.add_argument(
        "--average", type=Path, nargs="*", default=[], help="states to average with"
    )
    options = parser.parse_args()
    size = export(options.run / "checkpoint.pt", options.out, others=options.average)
    Console().print(f"{options.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
