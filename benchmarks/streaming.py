"""Play sequences on the camera's clock and compare what is shown with the truth.

    python benchmarks/streaming.py ../shared/data/davis --model nano --fps 30
    python benchmarks/streaming.py ../shared/data/davis --model sam2.1-tiny
    python benchmarks/streaming.py ../shared/data/davis --step-ms 600 --cascade

DATASET holds sequences with frames/*.jpg and masks/*.png. The true mask of the first frame is
the prompt. `offline` is J when every frame is processed; `shown` is J of the masks drawn in the
frames as they were shown; `stale` is J of the newest masks there were at that moment, left where
they were found. Frames that were not shown count in `share` alone.

Models other than nano have no weights here: random ones give the time a step takes, and the true
mask of the frame that was stepped, on a 128 x 128 grid, stands in for what they would find. So
their J tells what is lost between the tracker and the screen, not how good the model is.
`--step-ms` stands in for a tracker on another processor: it sleeps.
"""

import argparse
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from rich.console import Console
from rich.table import Table

from streamtrack.commands import Click
from streamtrack.lane import TrackerLike
from streamtrack.masks import mask_box
from streamtrack.media.frame import Frame
from streamtrack.messages import Message, ObjectsNow, Shown
from streamtrack.stream import Stream, StreamOptions
from streamtrack.tracking import checkpoints
from streamtrack.tracking.devices import fast_dtype, use_threads
from streamtrack.tracking.following import TrackingStream
from streamtrack.tracking.official import build_sam2
from streamtrack.tracking.prompts import Prompt, Tracked, TrackedObject
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.tracker import Tracker
from streamtrack.tracking_thread import TrackingThread

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
GRID = 128
"""Side of the logits that stand in: those of SAM 2 at 512 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A sequence of frames with its truth."""

    name: str
    pictures: list[Picture]
    masks: list[Mask]


def load(folder: Path) -> Film:
    """Read a sequence; its pictures get even sides, as streams give them."""
    pictures, masks = [], []
    for path in sorted((folder / "frames").iterdir()):
        picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(folder / "masks" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE) > 0
        height, width = (side // 2 * 2 for side in picture.shape[:2])
        pictures.append(np.ascontiguousarray(picture[:height, :width], np.uint8))
        masks.append(mask[:height, :width])
    return Film(folder.name, pictures, masks)


def jaccard(a: Mask, b: Mask) -> float:
    """Return intersection over union; 1 for two empty masks."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


class StandIn:
    """A tracker that takes a model's time and finds the truth."""

    device = "cpu"

    def __init__(self, model: str, size: int, step_ms: float | None) -> None:
        """Build the model with random weights; with step_ms, sleep instead."""
        self.model = f"{model} (stand-in)"
        self.truth: dict[int, Mask] = {}
        self.step_ms = step_ms
        self._tracker = None
        if step_ms is None:
            config = checkpoints.model_entry(model).config
            assert config is not None
            built = build_sam2(config, image_size=size)
            self._tracker = Tracker(Segmenter(built, dtype=fast_dtype("cpu")), model=model)
        else:
            self._tracker = Tracker.load("nano")

    def open(self, **options: Any) -> "StandInStream":
        """Begin to follow one more stream."""
        return StandInStream(self, self._tracker.segmenter, **options)


class StandInStream(TrackingStream):
    """A stream whose steps take time and whose masks are the truth."""

    def __init__(self, home: StandIn, segmenter: Segmenter, **options: Any) -> None:
        """Follow with a real model, or by sleeping."""
        super().__init__(segmenter, **options)
        self._home = home
        self._shown: Picture | None = None

    def step(
        self, picture: Picture, prompts: Sequence[Prompt] = (), *, frame: int | None = None
    ) -> Tracked:
        """Step and put the truth of the picture in place of what was found."""
        begun = time.perf_counter()
        tracked = super().step(picture, prompts, frame=frame)
        if self._home.step_ms is not None and tracked.objects:
            time.sleep(max(0.0, self._home.step_ms / 1000 - (time.perf_counter() - begun)))
        self._shown = picture
        objects = {key: self._true(one, picture) for key, one in tracked.objects.items()}
        notes = {"track": 1000 * (time.perf_counter() - begun)}
        applied = tuple(replace(a, result=self._applied_truth(a)) for a in tracked.applied)
        self._last = replace(tracked, objects=objects, applied=applied, notes=notes)
        return self._last

    def _applied_truth(self, applied: Any) -> TrackedObject:
        past = self._find(applied.frame)
        return self._true(applied.result, past.picture) if past else applied.result

    def _true(self, one: TrackedObject, picture: Picture) -> TrackedObject:
        truth = self._home.truth.get(id(picture))
        if truth is None:  # the warm-up
            return one
        small = cv2.resize(truth.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
        logits = 20 * small - 10
        mask = cv2.resize(logits, truth.shape[::-1]) > 0
        state = "tracked" if mask.any() else "lost"
        return TrackedObject(
            one.object_id, state, mask, logits, 0.99, 0.9, mask_box(mask), int(mask.sum())
        )


@dataclass(eq=False)
class Watcher:
    """Keeps what viewers and listeners are told."""

    wants_masks: bool = True
    people: int = 1
    shown: list[tuple[float, Shown]] = field(default_factory=list)
    told: list[tuple[float, ObjectsNow]] = field(default_factory=list)

    def show(self, shown: Shown) -> None:
        """Keep a shown picture."""
        self.shown.append((time.monotonic(), shown))

    def locate(self, rtp: int) -> int | None:
        """Know nothing."""
        return None

    def tell(self, message: Message) -> None:
        """Keep results."""
        if isinstance(message, ObjectsNow):
            self.told.append((time.monotonic(), message))


@dataclass(frozen=True, slots=True)
class Played:
    """How a sequence went."""

    offline: float
    shown: float
    stale: float
    share: float
    ages_ms: list[float]


def play(sequence: Film, make: Callable[[], Stream], fps: float, offline: float) -> Played:
    """Play a sequence on the camera's clock."""
    stream, watcher = make(), Watcher()
    stream.add_listener(watcher)
    stream.ingest(Frame(sequence.pictures[0], time.monotonic()))
    click = Click(time.monotonic(), mask=sequence.masks[0])
    stream.submit(click).result(120)
    stream.add_viewer(watcher)
    ids: dict[int, int] = {}
    pace, begun = threading.Event(), time.monotonic()
    for index, picture in enumerate(sequence.pictures[1:], 1):
        pace.wait(max(0.0, begun + index / fps - time.monotonic()))
        stream.ingest(Frame(picture, time.monotonic()))
        row = stream.ledger.newest
        assert row is not None
        ids[row.frame_id] = index
    pace.wait(2 / fps)
    stream.close()
    found, stale, ages = [], [], []
    begins, seen = [1, *sorted(ids)], set()
    for moment, shown in watcher.shown:
        # A frame that was shown again has an id of its own, after that of its picture.
        index = ids.get(begins[bisect_right(begins, shown.row.frame_id) - 1], 0)
        if not index:
            continue
        seen.add(index)
        truth = sequence.masks[index]
        drawn = [one.mask for one in shown.objects if one.state == "tracked"]
        found.append(jaccard(drawn[0] if drawn else np.zeros_like(truth), truth))
        stale.append(jaccard(_newest(watcher, moment, truth), truth))
        ages.append(1000 * (moment - shown.row.t_capture))
    share = len(seen) / max(1, len(ids))
    return Played(offline, float(np.mean(found)), float(np.mean(stale)), share, ages)


def _newest(watcher: Watcher, moment: float, like: Mask) -> Mask:
    """Return the newest mask there was at a moment."""
    known = [message for told, message in watcher.told if told <= moment and message.objects]
    rle = known[-1].objects[0].rle if known else None
    if rle is None:
        return np.zeros_like(like)
    return np.asarray(coco.decode({"size": rle["size"], "counts": rle["counts"]}), np.bool_)


def offline_j(tracker: TrackerLike, sequence: Film) -> float:
    """Return J after the first frame when every frame is processed."""
    stream = tracker.open()
    scores = []
    for index, picture in enumerate(sequence.pictures):
        prompts = [] if index else [Prompt(mask=sequence.masks[0])]
        tracked = stream.step(picture, prompts)
        if index:
            scores.append(jaccard(tracked.objects[1].mask, sequence.masks[index]))
    return float(np.mean(scores))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--image-size", type=int, default=512, help="of a stand-in's model")
    parser.add_argument("--step-ms", type=float, help="a tracker that sleeps this long")
    parser.add_argument("--cascade", action="store_true", help="nano follows, the model corrects")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--align", default="auto", choices=("auto", "predict", "exact"))
    parser.add_argument("--only", nargs="+", help="names of sequences")
    return parser.parse_args()


def main() -> None:
    """Play all sequences and print a table."""
    args = parse()
    console = Console(width=100)
    stands_in = args.model != "nano" or args.step_ms is not None
    cores = torch.get_num_threads()
    model: TrackerLike
    model = (
        StandIn(args.model, args.image_size, args.step_ms) if stands_in else Tracker.load("nano")
    )

    def loaded(tracker: TrackerLike, threads: int) -> TrackingThread:
        def load() -> TrackerLike:
            use_threads(threads)
            return tracker

        thread = TrackingThread(load)
        thread.start()
        return thread

    slow = loaded(model, max(1, cores - 1) if args.cascade else cores)
    fast = loaded(Tracker.load("nano"), 1) if args.cascade else None
    while slow.state == "loading" or (fast is not None and fast.state == "loading"):
        time.sleep(0.05)
    folders = sorted(one for one in args.dataset.iterdir() if (one / "frames").is_dir())
    rows: dict[str, Played] = {}
    for folder in folders:
        if args.only and folder.name not in args.only:
            continue
        sequence = load(folder)
        if isinstance(model, StandIn):
            pairs = zip(sequence.pictures, sequence.masks, strict=True)
            model.truth = {id(picture): mask for picture, mask in pairs}
            offline = float(np.mean([_stand_in_j(mask) for mask in sequence.masks[1:]]))
        else:
            offline = offline_j(Tracker.load("nano"), sequence)
        options = StreamOptions(max_fps=1e9, align=args.align)

        def make(options: StreamOptions = options) -> Stream:
            corrector = slow if fast is not None else None
            return Stream("bench", "camera", fast or slow, options, corrector=corrector)

        rows[folder.name] = play(sequence, make, args.fps, offline)
    console.print(table(args, model.model, rows))
    for thread in (slow, fast):
        if thread is not None:
            thread.close()


def _stand_in_j(mask: Mask) -> float:
    """Return J of a truth that went through the stand-in's grid."""
    small = cv2.resize(mask.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
    return jaccard(cv2.resize(20 * small - 10, mask.shape[::-1]) > 0, mask)


def table(args: argparse.Namespace, model: str, rows: dict[str, Played]) -> Table:
    """Return the table of all sequences and their mean."""
    through = " through the cascade" if args.cascade else ""
    step = f", {args.step_ms:.0f} ms a step" if args.step_ms else ""
    title = f"{model}{step}{through}, {args.fps:.0f} frames/s, align {args.align}"
    result = Table(title=title)
    for column in (
        "sequence",
        "offline",
        "shown",
        "of offline",
        "stale",
        "share",
        "age p50",
        "p95",
    ):
        result.add_column(column, justify="right")
    ages = [age for one in rows.values() for age in one.ages_ms]
    means = [
        float(np.mean([getattr(o, n) for o in rows.values()]))
        for n in ("offline", "shown", "stale", "share")
    ]
    for name, one in {**rows, "mean": Played(*means, ages)}.items():
        p50, p95 = np.percentile(one.ages_ms, [50, 95])
        result.add_row(
            name,
            f"{one.offline:.3f}",
            f"{one.shown:.3f}",
            f"{one.shown / max(one.offline, 1e-9):.0%}",
            f"{one.stale:.3f}",
            f"{one.share:.0%}",
            f"{p50:.0f} ms",
            f"{p95:.0f} ms",
        )
    return result


if __name__ == "__main__":
    main()
