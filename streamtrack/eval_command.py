"""`streamtrack eval`: a model's J, F and J&F on sequences with true masks."""

import argparse
import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from streamtrack.errors import ConfigError
from streamtrack.evaluation import (
    LabelledSequence,
    Mask,
    PromptKind,
    Score,
    find_sequences,
    mean_score,
    prompt_of,
    score,
)
from streamtrack.playing import play
from streamtrack.tracking.tracker import Tracker


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What one sequence gave."""

    name: str
    objects: Mapping[int, Score]
    shown: float | None = None
    """Share of the frames that were shown in time; None offline."""
    stale: Score | None = None
    """Of the newest masks left where they were found; None offline."""

    @property
    def mean(self) -> Score:
        """Mean over the objects."""
        return mean_score(list(self.objects.values()))


def evaluate_dataset(
    dataset: Path,
    tracker: Tracker,
    kind: PromptKind,
    *,
    frames: int | None,
    fps: float | None,
    console: Console,
) -> list[Evaluated]:
    """Evaluate every sequence, with a progress bar.

    Args:
        dataset: where the sequences are.
        tracker: the model.
        kind: how objects are prompted.
        frames: evaluate so many of each sequence; None = all.
        fps: play on a camera's clock; None: every frame waits for its masks.
        console: for the progress bar.

    Raises:
        SourceError: there are no sequences, or one cannot be read.
    """
    sequences = find_sequences(dataset)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    results = []
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=sum(len(one) for one in sequences))
        for sequence in sequences:
            progress.update(task, description=sequence.name)

            def step() -> None:
                progress.advance(task)

            limited = LabelledSequence(sequence.name, sequence.frames[:frames], sequence.masks)
            results.append(_evaluated(limited, tracker, kind, fps, step))
    return results


def _evaluated(
    sequence: LabelledSequence, tracker: Tracker, kind: PromptKind, fps: float | None, step: Any
) -> Evaluated:
    truth = sequence.truth()
    prompted: dict[int, int] = {}
    for index, true in enumerate(truth):
        for key, mask in (true or {}).items():
            if key not in prompted and mask.any():
                prompted[key] = index
    if fps is not None:
        played = play(sequence, tracker, truth, prompted, kind, fps, step)
        begun = dict.fromkeys(prompted, 0)
        return Evaluated(
            sequence.name,
            score(played.shown, truth, begun),
            played.share,
            mean_score(list(score(played.stale, truth, begun).values())),
        )
    stream, found = tracker.open(), list[dict[int, Mask]]()
    for index, picture in enumerate(sequence.pictures()):
        true = truth[index] or {}
        begin = [key for key, first in prompted.items() if first == index]
        tracked = stream.step(picture, [prompt_of(true[key], key, kind) for key in begin])
        found.append({key: one.mask for key, one in tracked.objects.items()})
        step()
    return Evaluated(sequence.name, score(found, truth, prompted))


def table_of(results: list[Evaluated], title: str) -> Table:
    """Return the scores as a table."""
    table = Table(title=title)
    live = results[0].shown is not None
    columns = ["sequence", "objects", "J&F", "J", "F", "first J"]
    for column in columns + (["stale J", "shown"] if live else []):
        table.add_column(column, justify="left" if column == "sequence" else "right")
    for row in rows_of(results):
        cells = [f"{row[key]:.3f}" for key in ("jf", "j", "f", "first")]
        if live:
            cells += [f"{row['stale_j']:.3f}", f"{row['shown']:.0%}"]
        table.add_row(row["sequence"], str(row["objects"]), *cells)
    return table


def rows_of(results: list[Evaluated]) -> list[dict[str, Any]]:
    """Return one row per sequence, and last the mean over all objects."""
    named = [(one.name, list(one.objects.values()), one) for one in results]
    rows = [_row(name, scores, [one]) for name, scores, one in named]
    everything = [score for _, scores, _ in named for score in scores]
    return [*rows, _row("mean", everything, results)]


def _row(name: str, scores: list[Score], results: list[Evaluated]) -> dict[str, Any]:
    mean = mean_score(scores)
    row: dict[str, Any] = {"sequence": name, "objects": len(scores), "jf": mean.jf}
    row |= {"j": mean.j, "f": mean.f, "first": mean.first}
    shown = [one.shown for one in results if one.shown is not None]
    stale = [one.stale.j for one in results if one.stale is not None]
    if shown:
        row |= {"stale_j": float(np.mean(stale)), "shown": float(np.mean(shown))}
    return row


def evaluate(args: argparse.Namespace, tracker: Tracker, out: Console, told: Console) -> None:
    """Evaluate, print, and write.

    Args:
        args: what the command line says.
        tracker: the model.
        out: gets the table.
        told: shows the progress.

    Raises:
        SourceError: the dataset is none, or cannot be read.
        ConfigError: a file cannot be written.
    """
    fps, kind = args.realtime, args.prompt
    results = evaluate_dataset(
        args.dataset, tracker, kind, frames=args.frames, fps=fps, console=told
    )
    live = f", at {fps:g} frames/s" if fps else ""
    out.print(table_of(results, f"{tracker.model} from one {kind}{live}"))
    facts = {"model": tracker.model, "prompt": kind, "realtime_fps": fps, "frames": args.frames}
    write_results(results, facts, args.json, args.csv)


def write_results(
    results: list[Evaluated], facts: Mapping[str, Any], json_to: Path | None, csv_to: Path | None
) -> None:
    """Write the scores to files.

    Raises:
        ConfigError: a file cannot be written.
    """
    rows = rows_of(results)
    try:
        if json_to is not None:
            json_to.write_text(json.dumps({**facts, "sequences": rows[:-1], "mean": rows[-1]}))
        if csv_to is not None:
            with csv_to.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
    except OSError as error:
        raise ConfigError(
            f"{error.filename} cannot be written ({error.strerror}); give another file."
        ) from None
