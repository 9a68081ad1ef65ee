"""Play a labelled sequence on a camera's clock, through the path that is served."""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from streamtrack.commands import Click
from streamtrack.evaluation import LabelledSequence, Mask, Picture, PromptKind, prompt_of
from streamtrack.lane import TrackerLike
from streamtrack.masks import decode_rle
from streamtrack.media.frame import Frame
from streamtrack.messages import Message, ObjectsNow, Shown
from streamtrack.stream import Stream, StreamOptions
from streamtrack.tracking_thread import TrackingThread

Masks = dict[int, Mask]


@dataclass(frozen=True, slots=True)
class Played:
    """What was seen; None for frames that were not shown."""

    shown: list[Masks | None]
    """Masks as they were drawn in each frame."""
    stale: list[Masks | None]
    """The newest masks there were at that moment, as they were found."""
    share: float
    """Share of the frames that were shown."""


@dataclass(eq=False)
class _Watcher:
    """Keeps what a viewer and a listener are told."""

    wants_masks: bool = True
    people: int = 1
    shown: list[tuple[float, Shown]] = field(default_factory=list)
    told: list[tuple[float, ObjectsNow]] = field(default_factory=list)

    def show(self, shown: Shown) -> None:
        self.shown.append((time.monotonic(), shown))

    def locate(self, rtp: int) -> int | None:
        return None

    def tell(self, message: Message) -> None:
        if isinstance(message, ObjectsNow):
            self.told.append((time.monotonic(), message))


def play(
    sequence: LabelledSequence,
    tracker: TrackerLike,
    truth: Sequence[Mapping[int, Mask] | None],
    prompted: Mapping[int, int],
    kind: PromptKind,
    fps: float,
    step: Callable[[], None] = lambda: None,
) -> Played:
    """Play a sequence; its objects are prompted on the first frame before the clock starts.

    Args:
        sequence: whose frames come.
        tracker: follows them, on a thread of its own.
        truth: true masks by object, frame by frame.
        prompted: the frame each object is first seen on; only those of frame 0 are followed.
        kind: how they are prompted.
        fps: of the camera.
        step: called after each frame.
    """
    pictures = [_even(one) for one in sequence.pictures()]
    thread = TrackingThread(lambda: tracker)
    thread.start()
    stream = Stream("eval", "camera", thread, StreamOptions(max_long_px=4096, max_short_px=4096))
    watcher, ids = _Watcher(), {1: 0}
    try:
        stream.add_listener(watcher)
        stream.ingest(Frame(pictures[0], time.monotonic()))
        for key, first in prompted.items():
            if first == 0:
                stream.submit(_click((truth[0] or {})[key], key, kind)).result()
        stream.add_viewer(watcher)
        step()
        pace, begun = threading.Event(), time.monotonic()
        for index, picture in enumerate(pictures[1:], 1):
            pace.wait(max(0.0, begun + index / fps - time.monotonic()))
            stream.ingest(Frame(picture, time.monotonic()))
            row = stream.ledger.newest
            assert row is not None
            ids[row.frame_id] = index
            step()
        pace.wait(2 / fps)
    finally:
        stream.close()
        thread.close()
    size = next(mask.shape for true in truth for mask in (true or {}).values())
    return _played(watcher, ids, len(pictures), (size[0], size[1]))


def _played(watcher: _Watcher, ids: Mapping[int, int], count: int, size: tuple[int, int]) -> Played:
    height, width = size
    shown: list[Masks | None] = [None] * count
    stale: list[Masks | None] = [None] * count
    begins = sorted(ids)
    for moment, one in watcher.shown:
        # A frame that was shown again has an id of its own, after that of its picture.
        index = ids[begins[max(0, bisect_right(begins, one.row.frame_id) - 1)]]
        drawn = {o.object_id: o.mask for o in one.objects if o.state == "tracked"}
        shown[index] = {key: mask[:height, :width] for key, mask in drawn.items()}
        known = [message for told, message in watcher.told if told <= moment]
        newest = known[-1].objects if known else ()
        kept = {o.object_id: decode_rle(o.rle) for o in newest if o.rle is not None}
        stale[index] = {key: mask[:height, :width] for key, mask in kept.items()}
    shown[0], stale[0] = shown[0] or {}, stale[0] or {}
    share = sum(one is not None for one in shown[1:]) / max(1, count - 1)
    return Played(shown, stale, share)


def _even(picture: Picture) -> Picture:
    """Return the picture with even sides, as streams give it: a pixel is repeated at the edge."""
    height, width = picture.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return picture
    padded = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.asarray(padded, np.uint8)


def _click(mask: Mask, object_id: int, kind: PromptKind) -> Click:
    """Return the prompt of a true mask as a viewer's command."""
    height, width = mask.shape
    prompt = prompt_of(mask, object_id, kind)
    now = time.monotonic()
    if prompt.mask is not None:
        return Click(now, object_id, mask=mask, adopted=True)
    if prompt.box is not None:
        x0, y0, x1, y1 = np.asarray(prompt.box, np.float64) / (width, height, width, height)
        return Click(now, object_id, box_norm=(x0, y0, x1, y1), adopted=True)
    ((x, y),) = np.asarray(prompt.points, np.float64) / (width, height)
    return Click(now, object_id, ((x, y),), (1,), adopted=True)
