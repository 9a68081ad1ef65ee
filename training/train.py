"""Train nano within a budget of time.

    python -m training.pretrained --out runs/trunk.safetensors
    python -m training.train --data ../shared/data --minutes 60 --out runs/nano \\
        --trunk runs/trunk.safetensors

The learning rate and the image size follow the elapsed share of the budget, so training
ends annealed whatever the machine's speed. A run that was stopped goes on where its last
checkpoint was when the same command is given again.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file
from torch import Tensor, nn

from streamtrack.tracking.nano import Nano, build_nano
from training.batches import Maker, Order
from training.data import Library, load_library
from training.evaluate import evaluate, validation_samples
from training.rollout import Batch, rollout


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training with one image size."""

    until: float
    """Share of the budget at which it ends."""
    size: int
    clips: int
    frames: int


PHASES = (
    Phase(0.06, 128, 12, 3),
    Phase(0.30, 192, 4, 6),
    Phase(0.65, 256, 3, 6),
    Phase(1.00, 256, 2, 9),
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a run."""

    minutes: float = 60.0
    seed: int = 0
    objects: int = 2
    """Objects followed in each clip; they share its features."""
    rate: float = 1e-3
    """Highest learning rate."""
    trunk_rate: float = 0.1
    """That of the trunk, as a share of it."""
    frozen_blocks: int = 6
    """First blocks of the trunk that are not trained: those up to stride 8."""
    rate_end: float = 0.01
    """Last learning rate, as a share of the highest."""
    warm_up_steps: int = 150
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    ema: float = 0.998
    checkpoint_s: float = 240.0
    validate_s: float = 600.0


class Trainer:
    """Everything that changes during training, and one step of it.

    Args:
        library: what clips are made of.
        recipe: the settings.
        phases: image sizes over time.
        device: where to train.
        clock: seconds; time spent between `load` and `save` counts.
        workers: processes that make batches; 0 for a thread.
    """

    def __init__(
        self,
        library: Library,
        recipe: Recipe,
        phases: tuple[Phase, ...] = PHASES,
        device: str = "cpu",
        clock: Callable[[], float] = time.monotonic,
        workers: int = 0,
    ) -> None:
        self._maker = Maker(library, workers)  # first: processes inherit what is there
        torch.manual_seed(recipe.seed)
        self.recipe, self.phases = recipe, phases
        self.device, self.clock = torch.device(device), clock
        self.model = build_nano().to(self.device)
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            _groups(self.model, recipe), lr=recipe.rate, betas=(0.9, 0.98)
        )
        self.steps = 0
        self.spent_s = 0.0
        self._since = clock()

    @property
    def elapsed(self) -> float:
        """Share of the budget that is spent."""
        return (self.spent_s + self.clock() - self._since) / (60 * self.recipe.minutes)

    def step(self) -> dict[str, float]:
        """Train on one batch and return its losses."""
        elapsed = min(1.0, self.elapsed)
        batch = self._batch(self._phase(elapsed))
        size = batch.images.shape[-1]
        _resize(self.model, size)
        self.model.train()
        rate = self._rate(elapsed)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.steps)
        with torch.autocast(self.device.type, torch.bfloat16):
            losses = rollout(self.model, batch, generator)
        self.optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        if torch.isfinite(norm):
            self.optimizer.step()
        self._average()
        self.steps += 1
        return {k: float(v.detach()) for k, v in losses.items()} | {"size": size, "rate": rate}

    def averaged(self, image_size: int = 256) -> Nano:
        """Return a model with the averaged weights, in evaluation mode."""
        model = build_nano(image_size).to(self.device)
        model.load_state_dict(self.ema)
        return model

    def begin_from(self, weights: Path) -> None:
        """Begin with the weights of a .safetensors file instead of random ones."""
        state = {k: v.float().to(self.device) for k, v in load_file(weights).items()}
        self.model.load_state_dict(state)
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def take_trunk(self, weights: Path) -> None:
        """Begin with the trunk of a .safetensors file that training/pretrained.py wrote."""
        trunk = self.model.image_encoder.trunk
        trunk.load_state_dict(load_file(weights))
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def save(self, path: Path) -> None:
        """Write all state to a file, whole or not at all."""
        now = self.clock()
        self.spent_s, self._since = self.spent_s + now - self._since, now
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "spent_s": self.spent_s,
            "recipe": asdict(self.recipe),
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a file that `save` wrote."""
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema = state["ema"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.spent_s = state["steps"], state["spent_s"]
        self._since = self.clock()

    def close(self) -> None:
        """End what makes clips."""
        self._maker.close()

    def _phase(self, elapsed: float) -> Phase:
        return next((p for p in self.phases if elapsed < p.until), self.phases[-1])

    def _rate(self, elapsed: float) -> float:
        """Return the learning rate: a linear warm-up, then a cosine over the budget."""
        end = self.recipe.rate_end
        cosine = end + (1 - end) * 0.5 * (1 + math.cos(math.pi * elapsed))
        return self.recipe.rate * cosine * min(1.0, (self.steps + 1) / self.recipe.warm_up_steps)

    def _batch(self, phase: Phase) -> Batch:
        """Return this step's batch and have the next ones made meanwhile."""
        seed, objects = self.recipe.seed, self.recipe.objects
        order, *following = (
            Order(seed, self.steps + i, phase.size, phase.clips, phase.frames, objects)
            for i in range(self._maker.ahead + 1)
        )
        batch = self._maker.get(order, following)
        return Batch(*(getattr(batch, f.name).to(self.device) for f in fields(Batch)))

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.recipe.ema, (1 + self.steps) / (10 + self.steps))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.ema[name].lerp_(value, 1 - keep)
            else:
                self.ema[name].copy_(value)


def _resize(model: Nano, size: int) -> None:
    """Make the model take images of another size; no weight depends on it."""
    if model.image_size == size:
        return
    grid = size // 16
    model.image_size, model.sam_image_embedding_size = size, grid
    encoder = model.sam_prompt_encoder
    encoder.input_image_size = (size, size)
    encoder.image_embedding_size = (grid, grid)
    encoder.mask_input_size = (4 * grid, 4 * grid)


def _groups(model: Nano, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the parameters with and without weight decay, those of the trunk apart."""
    trunk = model.image_encoder.trunk
    for part in (trunk.stem, *trunk.blocks[: recipe.frozen_blocks]):
        part.requires_grad_(False)
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        plain = p.ndim > 1 and not any(w in name for w in ("embed", "token", "tpos"))
        groups.setdefault((plain, ".trunk." in name), []).append(p)
    return [
        {
            "params": parameters,
            "weight_decay": recipe.weight_decay if plain else 0.0,
            "share": recipe.trunk_rate if deep else 1.0,
        }
        for (plain, deep), parameters in groups.items()
    ]


def train(trainer: Trainer, out: Path, validation: Library, console: Console) -> None:
    """Train until the budget is spent, writing checkpoints, a log and validation results."""
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, log = out / "checkpoint.pt", out / "log.jsonl"
    if checkpoint.exists():
        trainer.load(checkpoint)
        console.print(f"Going on from step {trainer.steps}, {trainer.elapsed:.0%} of the budget.")
    samples = list(validation_samples(validation, 24, 8))
    saved = validated = trainer.clock()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    sums: dict[str, list[float]] = {}
    with Progress(*columns, console=console) as progress, log.open("a") as lines:
        task = progress.add_task("training", total=1.0)
        while trainer.elapsed < 1.0:
            for name, value in trainer.step().items():
                sums.setdefault(name, []).append(value)
            progress.update(task, completed=trainer.elapsed)
            if trainer.steps % 50 == 0:
                means = {k: round(float(np.nanmean(v)), 5) for k, v in sums.items()}
                row = {"step": trainer.steps, "minutes": trainer.elapsed * trainer.recipe.minutes}
                lines.write(json.dumps(row | means) + "\n")
                lines.flush()
                progress.update(task, description=f"step {trainer.steps} J {means['j']:.3f}")
                sums = {}
            now = trainer.clock()
            if now - saved > trainer.recipe.checkpoint_s:
                trainer.save(checkpoint)
                saved = trainer.clock()
            if now - validated > trainer.recipe.validate_s:
                results = evaluate(trainer.averaged(), samples)
                row = {k: asdict(v["mean"]) for k, v in results.items()}
                lines.write(json.dumps({"step": trainer.steps, "validation": row}) + "\n")
                lines.flush()
                validated = trainer.clock()
    trainer.save(checkpoint)
    trainer.close()


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="holds train/ and videos/")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=Path("runs/nano"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="highest learning rate")
    parser.add_argument("--begin-from", type=Path, help="weights to begin with; default random")
    parser.add_argument("--clip-art", type=Path, help="png folder of Debian's openclipart-png")
    parser.add_argument("--tracks", type=Path, help="folder of training.pseudo_labels")
    parser.add_argument("--trunk", type=Path, help="weights of the trunk; default random")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="processes that make clips")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console()
    library = load_library(options.data, "train", clip_art=options.clip_art, tracks=options.tracks)
    console.print(
        f"{len(library.pictures)} pictures, {len(library.clip_art)} pieces of clip art, "
        f"{len(library.videos)} videos, {len(library.tracks)} tracked things"
    )
    recipe = Recipe(minutes=options.minutes, seed=options.seed, rate=options.rate)
    phases = PHASES if options.begin_from is None else PHASES[2:]
    trainer = Trainer(library, recipe, phases, options.device, workers=options.workers)
    if options.trunk is not None:
        trainer.take_trunk(options.trunk)
    if options.begin_from is not None:
        trainer.begin_from(options.begin_from)
    train(trainer, options.out, load_library(options.data, "validation"), console)


if __name__ == "__main__":
    main()
