"""`streamtrack bench`: what a step takes on this machine.

Every case steps the drawn scene with objects spread over it. Models whose weights are not
here are timed with random ones: the time is the same.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from streamtrack.energy import EnergyMeter
from streamtrack.media.sources import open_source
from streamtrack.progress import peak_memory_bytes
from streamtrack.tracking.devices import resolve_device
from streamtrack.tracking.loading import random_weights
from streamtrack.tracking.prompts import Prompt, Tracked
from streamtrack.tracking.registry import find_checkpoint, model_entry
from streamtrack.tracking.tracker import Tracker, TrackingStream

WARM_UP = 8
"""Frames that fill the mask memories of every model."""
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    model: str
    image_size: int | None
    """Side of the model's input in pixels; None = its own."""
    dtype: str | None
    """float32, bfloat16 or None = what is fast on the device."""
    objects: int
    streams: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What a case took."""

    model: str
    weights: str
    """own or random."""
    device: str
    image_size: int
    dtype: str
    objects: int
    streams: int
    step_ms: float
    """Median time of one frame of one stream."""
    step_ms_p95: float
    fps: float
    """Frames per second of each stream when all streams take turns."""
    state_mib: float
    """Memories and features kept for one stream."""
    peak_mib: float | None
    """Largest memory of the process so far."""
    joules: float | None
    """Energy of one step, of the whole processor or GPU; None where it cannot be read."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The type of numbers that is best for a model here."""

    dtype: str
    why: str


def measure(case: Case, *, device: str = "auto", frames: int = 12) -> Measured:
    """Time one case.

    Args:
        case: what to time.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        frames: counted of each stream.
    """
    tracker, weights = _load(case.model, case.image_size, device, case.dtype)
    streams = [tracker.open(max_objects=max(1, case.objects)) for _ in range(case.streams)]
    pictures = list(islice(_scene(), WARM_UP + frames))
    for picture in pictures[:WARM_UP]:
        for stream in streams:
            _step(stream, picture, case.objects)
    times: list[float] = []
    with EnergyMeter(tracker.device) as meter:
        for picture in pictures[WARM_UP:]:
            times += [_step(stream, picture, case.objects)[0] for stream in streams]
    peak = peak_memory_bytes()
    return Measured(
        model=case.model,
        weights=weights,
        device=tracker.device,
        image_size=tracker.image_size,
        dtype=tracker.dtype,
        objects=case.objects,
        streams=case.streams,
        step_ms=round(statistics.median(times), 2),
        step_ms_p95=round(float(np.percentile(times, 95)), 2),
        fps=round(1000 * frames / sum(times), 2),
        state_mib=round(streams[0].state_bytes / _MIB, 2),
        peak_mib=round(peak / _MIB, 1) if peak else None,
        joules=None if meter.joules is None else round(meter.joules / len(times), 3),
    )


def tune(model: str, *, image_size: int | None, device: str = "auto", frames: int = 8) -> Tuned:
    """Time the types of numbers in turn on the same frames and say which to take.

    Args:
        model: its name.
        image_size: side of its input in pixels; None = its own.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        frames: counted.
    """
    kinds = ("float32", "bfloat16")
    streams = [_load(model, image_size, device, kind)[0].open() for kind in kinds]
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    errors = []
    for index, picture in enumerate(islice(_scene(), WARM_UP + frames)):
        found = []
        for kind, stream in zip(kinds, streams, strict=True):
            taken, tracked = _step(stream, picture, 1)
            found.append(tracked.objects[1].logits)
            if index >= WARM_UP:
                times[kind].append(taken)
        if index >= WARM_UP:
            errors.append(float(np.linalg.norm(found[1] - found[0]) / np.linalg.norm(found[0])))
    exact, fast = (statistics.median(times[kind]) for kind in kinds)
    error = statistics.median(errors)
    chosen = kinds[1] if fast < 0.9 * exact else kinds[0]
    verdict = "it gains more than a tenth" if chosen == kinds[1] else "it does not gain a tenth"
    return Tuned(
        chosen,
        f"bfloat16 takes {fast:.0f} ms a step and float32 {exact:.0f} ms, its mask logits differ "
        f"by {error:.1%}; {verdict}.",
    )


def to_table(rows: Sequence[Measured]) -> Table:
    """Return the table for people."""
    table = Table("model", "weights", "px", "numbers", box=None, pad_edge=False)
    headings = ("objects", "streams", "ms/step", "p95", "fps each", "state MiB", "J/step")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.model,
            row.weights,
            str(row.image_size),
            row.dtype,
            str(row.objects),
            str(row.streams),
            f"{row.step_ms:.1f}",
            f"{row.step_ms_p95:.1f}",
            f"{row.fps:.1f}",
            f"{row.state_mib:.1f}",
            "-" if row.joules is None else f"{row.joules:.2f}",
        )
    return table


def to_json(rows: Sequence[Measured], tuned: dict[str, Tuned]) -> dict[str, Any]:
    """Return what --json writes."""
    return {
        "rows": [asdict(row) for row in rows],
        "tuned": {model: asdict(one) for model, one in tuned.items()},
    }


def _load(
    model: str, image_size: int | None, device: str, dtype: str | None
) -> tuple[Tracker, str]:
    """Return a tracker and whose weights it has."""
    here = find_checkpoint(model_entry(model).name) is not None
    place = resolve_device(device)
    if here:
        tracker = Tracker.load(model, image_size=image_size, device=place, dtype=dtype)
        return tracker, "own"
    segmenter = random_weights(model, image_size=image_size, device=place, dtype=dtype)
    return Tracker(segmenter, model=model), "random"


def _scene() -> Iterator[NDArray[np.uint8]]:
    for frame in open_source("demo"):
        yield frame.picture


def _step(
    stream: TrackingStream, picture: NDArray[np.uint8], objects: int
) -> tuple[float, Tracked]:
    """Step and return the milliseconds and the answer; the first frame is prompted."""
    prompts = [] if stream.object_ids else list(_boxes(objects, picture.shape[:2]))
    start = time.perf_counter()
    tracked = stream.step(picture, prompts)
    return (time.perf_counter() - start) * 1000, tracked


def _boxes(objects: int, size: tuple[int, ...]) -> Iterator[Prompt]:
    """Yield boxes spread over the picture."""
    height, width = size
    for i in range(objects):
        x, y = width * (0.05 + 0.15 * (i % 4)), height * (0.1 + 0.12 * (i // 4 % 4))
        yield Prompt(i + 1, box=[x, y, x + width / 4, y + height / 3])
