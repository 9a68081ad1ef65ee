"""The command `streamtrack bench`: cases from flags, a table and a file of numbers."""

import argparse
import json
from itertools import product

from rich.console import Console

from streamtrack.benchmarking import Case, Measured, Tuned, measure, to_json, to_table, tune
from streamtrack.errors import ConfigError


def cases(args: argparse.Namespace) -> list[Case]:
    """Return every combination of the flags' values."""
    sizes = args.image_size or [None]
    return [
        Case(model, size, None if kind == "auto" else kind, objects, streams)
        for model, size, kind, objects, streams in product(
            args.model, sizes, args.dtype, args.objects, args.streams
        )
    ]


def bench(args: argparse.Namespace, out: Console, told: Console) -> None:
    """Measure, print, and write.

    Args:
        args: what the command line says.
        out: gets the table.
        told: hears of progress.

    Raises:
        ConfigError: a value means nothing here, or the file cannot be written.
        CheckpointError: a model is unknown.
    """
    if args.json is not None and not args.json.parent.is_dir():
        raise ConfigError(f"The folder {args.json.parent} does not exist; make it first.")
    rows: list[Measured] = []
    tuned: dict[str, Tuned] = {}
    if args.tune:
        for model, size in product(args.model, args.image_size or [None]):
            told.print(f"tuning {model} ...", highlight=False)
            found = tune(model, image_size=size, device=args.device, frames=args.frames)
            tuned[f"{model} {size}" if size else model] = found
    else:
        for number, case in enumerate(wanted := cases(args), 1):
            told.print(f"case {number} of {len(wanted)}: {case.model} ...", highlight=False)
            rows.append(measure(case, device=args.device, frames=args.frames))
        out.print(to_table(rows))
    for name, one in tuned.items():
        out.print(f"{name}: tracker.dtype: {one.dtype}. {one.why}", highlight=False)
    if args.json is not None:
        args.json.write_text(json.dumps(to_json(rows, tuned), indent=2) + "\n")
