"""Progress on stderr: a bar where a person looks on, else a quiet line now and then."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_QUIET_INTERVAL_S = 10.0


@contextlib.contextmanager
def download_progress(name: str, console: Console) -> Iterator[Callable[[int, int | None], None]]:
    """Give a callback that shows bytes done of bytes in all.

    Args:
        name: the model's name.
        console: where to show it.
    """
    if not console.is_terminal:
        yield _quiet_download(name, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"downloading {name}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def run_progress(
    total: int | None, console: Console
) -> Iterator[Callable[[int, float, int], None]]:
    """Give a callback that shows frames done, frames per second and objects.

    Args:
        total: frames to do; None when not known.
        console: where to show it.
    """
    if not console.is_terminal:
        yield _quiet_run(total, console)
        return
    columns = (
        TextColumn("tracking"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]:.1f} fps, {task.fields[objects]} objects"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("tracking", total=total, fps=0.0, objects=0)

        def show(frames: int, fps: float, objects: int) -> None:
            bar.update(task, completed=frames, fps=fps, objects=objects)

        yield show


def peak_memory_bytes() -> int | None:
    """Return the most memory this process has held; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _quiet_download(name: str, console: Console) -> Callable[[int, int | None], None]:
    due = _Interval()

    def show(done: int, total: int | None) -> None:
        if due():
            whole = f" of {total / 1e6:,.0f}" if total else ""
            console.print(f"downloading {name}: {done / 1e6:,.0f}{whole} MB", highlight=False)

    return show


def _quiet_run(total: int | None, console: Console) -> Callable[[int, float, int], None]:
    due = _Interval()

    def show(frames: int, fps: float, objects: int) -> None:
        if due():
            whole = f" of {total}" if total else ""
            console.print(
                f"{frames}{whole} frames, {fps:.1f} fps, {objects} objects", highlight=False
            )

    return show


class _Interval:
    """True once in every interval, first after one has passed."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self._last < _QUIET_INTERVAL_S:
            return False
        self._last = now
        return True
