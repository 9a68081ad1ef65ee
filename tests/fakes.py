"""Hand-written fakes that obey the project's protocols."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamtrack.errors import DeviceError, PromptError, TooManyObjects, UnknownObject
from streamtrack.masks import mask_box
from streamtrack.media.frame import Frame
from streamtrack.tracking.prompts import Applied, Prompt, Tracked, TrackedObject


class FakeClock:
    """A clock that moves only when told."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeTrackingStream:
    """Follows colours: an object is what looks like the pixel under its first click."""

    def __init__(self, tracker: "FakeTracker", max_objects: int) -> None:
        self.tracker = tracker
        self.max_objects = max_objects
        self.colours: dict[int, NDArray[np.uint8]] = {}
        self.clicks: dict[int, int] = {}
        self.next_id = 1
        self.index = 0
        self.last_frame = -1
        self.pictures: dict[int, NDArray[np.uint8]] = {}
        self.pinned: set[int] = set()
        self.corrections: list[tuple[int, set[int]]] = []
        """Frame and objects of each."""
        self.shown: Callable[[int], NDArray[np.uint8] | None] = lambda frame: None

    @property
    def object_ids(self) -> tuple[int, ...]:
        return tuple(self.colours)

    def check(self, prompt: Prompt, size: tuple[int, int]) -> None:
        if prompt.object_id not in self.colours and len(self.colours) >= self.max_objects:
            raise TooManyObjects(f"The stream follows {self.max_objects} objects already.")

    def step(
        self,
        picture: NDArray[np.uint8],
        prompts: Sequence[Prompt] = (),
        *,
        frame: int | None = None,
    ) -> Tracked:
        self.tracker.stepped(self, picture, prompts)
        new = sum(prompt.object_id not in self.colours for prompt in prompts)
        if len(self.colours) + new > self.max_objects:
            raise TooManyObjects(f"The stream may follow {self.max_objects} objects only.")
        self.index += 1
        self.last_frame = self.last_frame + 1 if frame is None else frame
        self.pictures[self.last_frame] = picture
        return self._applied(prompts)

    def apply(self, prompts: Sequence[Prompt]) -> Tracked:
        if prompts:
            self.tracker.stepped(self, self.pictures[self.last_frame], prompts)
        return self._applied(prompts)

    def _applied(self, prompts: Sequence[Prompt]) -> Tracked:
        frames = [self.last_frame if p.frame is None else p.frame for p in prompts]
        prompted = tuple(
            self._prompted(self._picture(frame), prompt)
            for frame, prompt in zip(frames, prompts, strict=True)
        )
        return self._tracked(prompted, frames)

    def _picture(self, frame: int) -> NDArray[np.uint8]:
        """A frame that was stepped, or one that was shown."""
        kept = self.pictures.get(frame)
        picture = self.shown(frame) if kept is None else kept
        assert picture is not None
        return picture

    def _tracked(self, prompted: tuple[int, ...], frames: list[int]) -> Tracked:
        picture = self.pictures[self.last_frame]
        objects = {key: self._object(key, picture) for key in self.colours}
        applied = tuple(
            Applied(
                object_id,
                frame,
                "exact" if frame == self.last_frame else "replayed",
                self.last_frame - frame,
                objects[object_id],
            )
            for object_id, frame in zip(prompted, frames, strict=True)
        )
        return Tracked(self.index - 1, objects, prompted, applied, {"track": self.tracker.step_ms})

    def correct(
        self, frame: int, masks: Mapping[int, NDArray[np.bool_]], budget_ms: float | None = None
    ) -> Tracked:
        assert all(mask.shape == self._picture(frame).shape[:2] for mask in masks.values())
        self.corrections.append((frame, set(masks)))
        return self._tracked((), [])

    def pin(self, frame: int) -> bool:
        self.pinned.add(frame)
        return frame in self.pictures

    def unpin(self, frame: int) -> None:
        self.pinned.discard(frame)

    def forget_before(self, frame: int) -> None:
        kept = {self.last_frame, *self.pinned}
        self.pictures = {i: p for i, p in self.pictures.items() if i >= frame or i in kept}

    def _prompted(self, picture: NDArray[np.uint8], prompt: Prompt) -> int:
        object_id = prompt.object_id
        if object_id not in self.colours:  # as the real one: an unused id may be chosen
            object_id = object_id or self.next_id
            self.next_id = max(self.next_id, object_id + 1)
            self.colours[object_id] = self._colour(picture, prompt)
        self.clicks[object_id] = self.clicks.get(object_id, 0) + 1
        return object_id

    @staticmethod
    def _colour(picture: NDArray[np.uint8], prompt: Prompt) -> NDArray[np.uint8]:
        if prompt.points is not None:
            x, y = np.asarray(prompt.points)[0].astype(int)
        elif prompt.box is not None:
            x0, y0, x1, y1 = np.asarray(prompt.box)
            x, y = int((x0 + x1) / 2), int((y0 + y1) / 2)
        else:
            rows, columns = np.nonzero(np.asarray(prompt.mask))
            x, y = int(columns.mean()), int(rows.mean())
        return picture[y, x].copy()

    def _object(self, object_id: int, picture: NDArray[np.uint8]) -> TrackedObject:
        far = np.abs(picture.astype(np.int16) - self.colours[object_id]).max(axis=2)
        mask: NDArray[np.bool_] = far < 12
        seen = bool(mask.any())
        return TrackedObject(
            object_id=object_id,
            state="tracked" if seen else "lost",
            mask=mask,
            logits=_logits(mask),
            score=0.9 if seen else 0.1,
            predicted_iou=0.8,
            box=mask_box(mask),
            area=int(mask.sum()),
        )

    def remove(self, object_id: int) -> None:
        if object_id not in self.colours:
            raise UnknownObject(f"No object has the id {object_id}.")
        del self.colours[object_id], self.clicks[object_id]

    def undo(self, object_id: int) -> bool:
        if object_id not in self.colours:
            raise UnknownObject(f"No object has the id {object_id}.")
        self.clicks[object_id] -= 1
        if not self.clicks[object_id]:
            self.remove(object_id)
            return False
        return True

    def reset(self) -> None:
        self.colours.clear()
        self.clicks.clear()


def _logits(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Low-resolution logits of a mask."""
    small = cv2.resize(mask.astype(np.float32), (64, 64), interpolation=cv2.INTER_AREA)
    return np.asarray(20 * small - 10, np.float32)


class FakeTracker:
    """Opens FakeTrackingStreams; can be slow, refuse a prompt, or fail."""

    model = "fake"
    device = "cpu"

    def __init__(self, step_s: float = 0.0) -> None:
        self.step_s = step_s
        """What a step really takes."""
        self.step_ms = 1.0
        """What it says it took."""
        self.fail: Exception | None = None
        self.refuse_in_step: Callable[[Sequence[Prompt]], bool] = lambda prompts: False
        self.hold: threading.Event | None = None
        """Steps wait for it."""
        self.threads: set[str] = set()
        self.steps: list[FakeTrackingStream] = []
        self.opened: list[FakeTrackingStream] = []

    def open(self, *, max_objects: int = 32, **memory: Any) -> FakeTrackingStream:
        stream = FakeTrackingStream(self, max_objects)
        stream.shown = memory.get("pictures") or stream.shown
        self.opened.append(stream)
        return stream

    def stepped(
        self, stream: FakeTrackingStream, picture: NDArray[np.uint8], prompts: Sequence[Prompt]
    ) -> None:
        self.threads.add(threading.current_thread().name)
        if self.hold is not None and len(self.opened) > 1:
            self.hold.wait(5)
        if self.step_s:
            time.sleep(self.step_s)
        if self.fail is not None:
            raise self.fail
        if self.refuse_in_step(prompts):
            raise PromptError("The step refuses this prompt.")
        self.steps.append(stream)


DEVICE_GONE = DeviceError("The device ran out of memory; use a smaller model.")


def scene(
    index: int = 0, size: tuple[int, int] = (240, 320), hidden: bool = False
) -> NDArray[np.uint8]:
    """Draw a grey picture with a red square that wanders and a blue one that stays."""
    height, width = size
    picture = np.full((height, width, 3), 128, np.uint8)
    if not hidden:
        left = 20 + (3 * index) % (width - 100)
        picture[40:100, left : left + 60] = (220, 30, 40)
    picture[height - 70 : height - 20, width - 80 : width - 20] = (30, 60, 220)
    return picture


class FakeSource:
    """A live source of scene() pictures at a steady rate."""

    live = True
    description = "fake"

    def __init__(self, fps: float = 25.0, size: tuple[int, int] = (240, 320), count: int = 10**9):
        self.fps: float | None = fps
        self._size = size
        self._count = count
        self._closed = threading.Event()

    def frames(self) -> Iterator[Frame]:
        assert self.fps is not None
        for index in range(self._count):
            if self._closed.wait(1 / self.fps):
                return
            yield Frame(scene(index, self._size), time.monotonic())

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def close(self) -> None:
        self._closed.set()
