"""Measure nano: a fixed protocol on held-out clips, and J on folders with true masks.

    python -m training.evaluate --data ../shared/data --weights checkpoints/nano.safetensors

Held-out clips come from pictures and videos that training never sees. Folders hold
frames/*.jpg and masks/*.png; they are only measured.
"""

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from streamtrack.media.demo import DemoScene
from streamtrack.tracking.memory import spread
from streamtrack.tracking.motion_prior import Trace, evidence, glimpse_of, trace
from streamtrack.tracking.nano import Nano, build_nano
from training.clips import box_around, click_on, make_clip
from training.data import Library, load_library
from training.rollout import (
    MEAN,
    STD,
    Features,
    encode_frames,
    remember,
    with_memory,
    without_memory,
)

PROMPTS = ("mask", "box", "click")
EVIDENCE_NAMES = {"carried": slice(0, 2), "colours": slice(2, 3)}
"""What of `motion_prior.evidence` can be left out, to see what it is worth."""
VALIDATION_SEED = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A clip to be measured on."""

    name: str
    frames: Sequence[NDArray[np.uint8]]
    """(H, W, 3) uint8 RGB each."""
    masks: NDArray[np.bool_]
    """(T, O, H, W)."""


@dataclass(frozen=True, slots=True)
class Result:
    """Means over one or more samples."""

    first: float
    """IoU of the first frame."""
    later: float
    """Mean J of later frames on which the object is visible."""
    lost_told: float
    """Share of frames without the object on which the score says so."""
    seen_told: float
    """Share of later frames with the object on which the score says so."""


def to_images(frames: Sequence[NDArray[np.uint8]], size: int) -> Tensor:
    """Return (T, 3, S, S) normalised images of (H, W, 3) pictures."""
    scaled = [cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in frames]
    images = torch.from_numpy(np.stack(scaled)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    return (images - mean) / std


@torch.inference_mode()
def follow(
    model: Nano, sample: Sample, kind: str, seed: int = 0, without: Sequence[str] = ()
) -> list[tuple[Tensor, Tensor]]:
    """Prompt the objects of the first frame and follow them.

    Args:
        model: the model.
        sample: the clip.
        kind: one of `PROMPTS`.
        seed: of the box's jitter.
        without: which of `EVIDENCE_NAMES` to leave out.

    Returns:
        For every frame the (O, 1, S / 2, S / 2) logits and (O, 1) object scores.
    """
    size, objects = model.image_size, sample.masks.shape[1]
    out: list[tuple[Tensor, Tensor]] = []
    prompted: Tensor | None = None
    pasts: list[list[Trace]] = []
    recent: list[list[Tensor]] = [[] for _ in range(objects)]
    for frame in sample.frames:
        image = to_images([frame], size).to(model.device)
        glimpse = glimpse_of(image[0])
        features = encode_frames(model, image[None], objects)[0]
        if prompted is None:
            masks, scores = _first(model, image, sample, kind, np.random.default_rng(seed))
            prompted = remember(model, features, masks, scores > 0, prompted=True)
        else:
            fused = _recall(model, features, prompted, recent)
            prior = evidence(glimpse, pasts, size // 2).to(model.device)
            for name in without:
                prior[:, EVIDENCE_NAMES[name]] = 0
            masks, _, _, scores = model.decode(fused, features.high_res, prior=prior)
            memory = remember(model, features, masks, scores > 0, prompted=False)
            for o in (scores[:, 0] > 0).nonzero()[:, 0].tolist():  # lost ones leave none
                recent[o] = [memory[o, None], *recent[o]][: model.memory_ages[-1]]
        before = torch.where((scores > 0)[..., None, None], masks.float(), -10.0)
        newest = [trace(glimpse, one[None], prompted=not pasts) for one in before]
        first = [past[:1] for past in pasts] or [[] for _ in newest]
        pasts = [[*past, one] for past, one in zip(first, newest, strict=True) if one is not None]
        out.append((masks.float(), scores.float()))
    return out


def _recall(
    model: Nano, features: Features, prompted: Tensor, recent: list[list[Tensor]]
) -> Tensor:
    """Return the (O, C, h, w) features conditioned on each object's memories."""
    fused = []
    for o, known in enumerate(recent):
        ages = spread(range(1, len(known) + 1), model.memory_ages)
        memories = [known[age - 1] for age in ages]
        slots = list(range(len(memories) + 1))
        here = features.pick(torch.tensor([o], device=prompted.device))
        fused.append(with_memory(model, here, [prompted[o, None], *memories], slots))
    return torch.cat(fused)


def _first(
    model: Nano, image: Tensor, sample: Sample, kind: str, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return the logits and object scores of the prompted frame, its (1, 3, S, S) image given."""
    size = model.image_size
    small = [
        cv2.resize(m.astype(np.uint8), (size, size), interpolation=cv2.INTER_AREA)
        for m in sample.masks[0]
    ]
    if kind == "mask":
        truth = torch.from_numpy(np.stack(small))[:, None].float().to(model.device)
        logits = F.avg_pool2d(truth, 2) * 20 - 10
        return logits, torch.full((len(small), 1), 10.0, device=model.device)
    if kind == "click":
        points = np.stack([click_on(np.random.default_rng(_CENTRED), m) for m in small])[:, None]
    else:
        points = np.stack([box_around(rng, m, jitter=0.0) for m in small]).reshape(-1, 2, 2)
    coords = torch.from_numpy(points).to(model.device)
    masks, ious, scores = _ask(model, image, coords)
    twins = coords.flip(1)  # the right corner of a box becomes the left one
    twins = torch.stack([size - 1 - twins[..., 0], coords[..., 1]], -1)
    more, sure, seen = _ask(model, image.flip(-1), twins)
    masks, scores = (masks + more.flip(-1)) / 2, (scores + seen) / 2
    rows = torch.arange(len(masks), device=masks.device)
    return masks[rows, (ious + sure).argmax(1), None].float(), scores


def _ask(model: Nano, image: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the masks, IoUs and scores of objects prompted by a click, or by two corners."""
    count, corners = points.shape[:2]
    features = encode_frames(model, image[None], count)[0]
    fused = without_memory(model, features)
    labels = torch.tensor([[1]] if corners == 1 else [[2, 3]], dtype=torch.int32)
    prompt = (points, labels.to(points.device).expand(count, corners))
    if corners == 1:
        masks, ious, _, scores = model.decode_click(fused, features.high_res, prompt)
    else:
        masks, ious, _, scores = model.decode(fused, features.high_res, points=prompt)
    return masks, ious, scores


_CENTRED = 2
"""A seed with which `click_on` takes the innermost point."""


def measure(model: Nano, sample: Sample, kind: str, without: Sequence[str] = ()) -> list[Result]:
    """Return one result per object of a sample."""
    height, width = sample.masks.shape[-2:]
    steps = follow(model, sample, kind, without=without)
    results = []
    for o in range(sample.masks.shape[1]):
        j, lost, seen = [], [], []
        for t, (logits, scores) in enumerate(steps):
            true = sample.masks[t, o]
            big = cv2.resize(logits[o, 0].cpu().numpy(), (width, height))
            said = (big > 0) & bool(scores[o] > 0)
            if t == 0 or true.any():
                j.append(iou(said, true))
            if t:
                (seen if true.any() else lost).append(bool(scores[o] > 0) == bool(true.any()))
        results.append(
            Result(j[0], _mean(j[1:]), _mean([float(x) for x in lost]), _mean([*map(float, seen)]))
        )
    return results


def iou(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Return intersection over union; 1 for two empty masks."""
    union = np.count_nonzero(said | true)
    return np.count_nonzero(said & true) / union if union else 1.0


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")


def mean_result(results: Sequence[Result]) -> Result:
    """Return the means of results, leaving out what was not measured."""
    names = ("first", "later", "lost_told", "seen_told")
    return Result(*(_mean([getattr(r, n) for r in results]) for n in names))


def validation_samples(
    library: Library, count: int, frames: int, size: int = 256
) -> Iterator[Sample]:
    """Yield held-out clips, always the same, of things whose edges can be seen."""
    made = (
        make_clip(library, (VALIDATION_SEED, i), size, frames, objects=1) for i in itertools.count()
    )
    clear = (clip for clip in made if not clip.vague.any())
    for i, clip in enumerate(itertools.islice(clear, count)):
        yield Sample(f"clip {i}", list(clip.frames), clip.masks.astype(bool))


def folder_sample(folder: Path, limit: int | None = None) -> Sample:
    """Return the sample in a folder with frames/*.jpg and masks/*.png; an object per colour."""
    frames = [
        np.asarray(cv2.cvtColor(cv2.imread(str(p)), cv2.COLOR_BGR2RGB), np.uint8)
        for p in sorted((folder / "frames").glob("*.jpg"))[:limit]
    ]
    colours = [
        cv2.imread(str(p), cv2.IMREAD_COLOR).astype(np.int32) @ (1, 256, 65536)
        for p in sorted((folder / "masks").glob("*.png"))[:limit]
    ]
    present = [c for c in np.unique(colours[0]) if c]
    masks = np.stack([np.stack([m == c for c in present]) for m in colours])
    return Sample(folder.name, frames, masks)


def scene_sample(seed: int, frames: int = 120, stride: int = 3) -> Sample:
    """Return the drawn scene of the demo under a seed, every third frame."""
    scene = DemoScene((360, 640), seed=seed)
    drawn = [scene.draw(stride * t) for t in range(frames)]
    masks = np.stack([np.stack([truth == i for i in scene.names]) for _, truth in drawn])
    return Sample(f"scene {seed}", [picture for picture, _ in drawn], masks)


def load_weights(path: Path, image_size: int = 256) -> Nano:
    """Return the model with the weights of a file."""
    model = build_nano(image_size)
    model.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return model


def evaluate(
    model: Nano,
    samples: Sequence[Sample],
    prompts: Sequence[str] = PROMPTS,
    without: Sequence[str] = (),
) -> dict[str, dict[str, Result]]:
    """Return by prompt and sample name the mean result; under "mean" that of all samples."""
    table: dict[str, dict[str, Result]] = defaultdict(dict)
    for kind in prompts:
        for sample in samples:
            table[kind][sample.name] = mean_result(measure(model, sample, kind, without))
        table[kind]["mean"] = mean_result(list(table[kind].values()))
    return table


def _show(console: Console, title: str, results: dict[str, dict[str, Result]], each: bool) -> None:
    table = Table("sample", "prompt", "first", "later", "lost told", "seen told", title=title)
    for kind, rows in results.items():
        for name, r in rows.items():
            if each or name == "mean":
                cells = (r.first, r.later, r.lost_told, r.seen_told)
                table.add_row(name, kind, *(f"{c:.3f}" for c in cells))
    console.print(table)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=Path("checkpoints/nano.safetensors"))
    parser.add_argument("--folders", type=Path, nargs="*", default=[], help="true masks, measured")
    parser.add_argument("--limit", type=int, help="measure so many frames of each folder")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--scenes", type=int, default=2, help="drawn scenes to measure")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--without", nargs="*", default=[], choices=list(EVIDENCE_NAMES))
    parser.add_argument(
        "--memories", type=int, help="read so many; default all that it was made for"
    )
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, console = load_weights(options.weights, options.size), Console()
    if options.memories is not None:
        model.num_maskmem = options.memories
    library = load_library(options.data, "validation")
    run = partial(evaluate, without=options.without)
    clips = list(validation_samples(library, options.clips, 12))
    _show(console, "held-out clips", run(model, clips), each=False)
    scenes = [scene_sample(seed) for seed in range(options.scenes)]
    if scenes:
        _show(console, "drawn scenes", run(model, scenes), each=True)
    if options.folders:
        samples = [folder_sample(f, options.limit) for f in options.folders]
        _show(console, "folders", run(model, samples), each=True)


if __name__ == "__main__":
    main()
