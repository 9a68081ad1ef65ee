"""What a run leaves behind: an overlay video, mask pictures, a file of tracks.

Each export is written frame by frame, so what is there when a run breaks is whole.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from streamtrack.display.overlay import OverlayObject, draw_overlay
from streamtrack.errors import ConfigError
from streamtrack.masks import encode_rle
from streamtrack.media.frame import Frame
from streamtrack.media.recorder import Recorder
from streamtrack.tracking.prompts import Tracked, TrackedObject

_DEFAULT_FPS = 30.0


class Export(Protocol):
    """One thing a run leaves behind."""

    def write(self, index: int, frame: Frame, tracked: Tracked) -> None:
        """Add one frame; index is its running number in the run."""
        ...

    def close(self) -> None:
        """Finish what was written so far; idempotent."""
        ...


def check_places(output: Path | None, masks: Path | None, tracks: Path | None) -> None:
    """Check where exports shall go before anything is opened; writes nothing.

    Raises:
        ConfigError: a place cannot be written to.
    """
    if output and output.suffix.lower() not in (".mp4", ".m4v"):
        raise ConfigError(f"The video {output} would be an MP4; give it a name that ends in .mp4.")
    for path in filter(None, (output, tracks)):
        if path.is_dir():
            raise ConfigError(f"{path} is a folder, but a file is written there; name a file.")
        if not path.parent.is_dir():
            raise ConfigError(f"There is no folder {path.parent} to write {path.name} in; make it.")
    if masks and masks.exists() and not masks.is_dir():
        raise ConfigError(f"{masks} is a file, but masks go to a folder; name a folder.")


class VideoExport:
    """An MP4 of the frames with the masks drawn over them."""

    def __init__(self, path: Path, fps: float | None, *, timed: bool = False) -> None:
        """Describe the video; its file appears when it is closed.

        Args:
            path: the MP4 file.
            fps: frames per second; 30 when None.
            timed: show each picture at the time of its arrival, not at regular ones.
        """
        self._path = path
        self._fps = fps or _DEFAULT_FPS
        self._timed = timed
        self._recorder: Recorder | None = None
        self._started = 0.0

    def write(self, index: int, frame: Frame, tracked: Tracked) -> None:
        """Draw and append one frame."""
        if self._recorder is None:
            self._started = frame.arrival
            self._recorder = Recorder(self._path, frame.size, self._fps)
        objects = [_overlay(one) for one in tracked.objects.values()]
        time_s = frame.arrival - self._started if self._timed else None
        self._recorder.write(draw_overlay(frame.picture, objects), time_s)

    def close(self) -> None:
        """Finish the file, unless nothing was written."""
        if self._recorder is None:
            return
        if self._recorder.written:
            self._recorder.close()
        else:
            self._recorder.discard()


class MaskExport:
    """FOLDER/<object>/<frame:05d>.png, 0 and 255, at the size of the source.

    Masks of an earlier run in the folders of this run's objects are replaced.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder.

        Raises:
            ConfigError: it cannot be made.
        """
        self._folder = folder
        self._begun: set[int] = set()
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, index: int, frame: Frame, tracked: Tracked) -> None:
        """Write one picture for each object followed."""
        for object_id, one in tracked.objects.items():
            folder = self._folder / str(object_id)
            with writing(folder):
                if object_id not in self._begun:
                    _empty(folder)
                    self._begun.add(object_id)
                _, encoded = cv2.imencode(".png", one.mask.astype(np.uint8) * 255)
                (folder / f"{index:05d}.png").write_bytes(encoded.tobytes())

    def close(self) -> None:
        """Every picture is whole already."""


class TrackExport:
    """One JSON object per frame: {"frame", "pts", "objects"}."""

    def __init__(self, path: Path) -> None:
        """Begin the file anew.

        Raises:
            ConfigError: it cannot be written.
        """
        self._path = path
        with writing(path):
            self._file = path.open("w", encoding="utf-8", buffering=1)

    def write(self, index: int, frame: Frame, tracked: Tracked) -> None:
        """Append one line."""
        objects = [_track(one) for one in tracked.objects.values()]
        line = {"frame": index, "pts": frame.pts, "objects": objects}
        with writing(self._path):
            self._file.write(json.dumps(line, allow_nan=False) + "\n")

    def close(self) -> None:
        """Close the file."""
        with writing(self._path):
            self._file.close()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Translate what the file system can raise while an export is written.

    Raises:
        ConfigError: the export cannot be written.
    """
    try:
        yield
    except OSError as exc:
        raise ConfigError(
            f"{path} cannot be written: {exc.strerror or exc}; name another place or make room."
        ) from exc


def _overlay(one: TrackedObject) -> OverlayObject:
    return OverlayObject(
        object_id=one.object_id,
        name="",
        state=one.state,
        score=one.score,
        mask=one.mask,
        box=one.box,
    )


def _track(one: TrackedObject) -> dict[str, object]:
    return {
        "id": one.object_id,
        "state": one.state,
        "score": round(one.score, 6),
        "box": one.box,
        "area": one.area,
        "rle": encode_rle(one.mask),
    }


def _empty(folder: Path) -> None:
    """Make a folder for masks and delete the masks of an earlier run in it."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if re.fullmatch(r"\d{5,}\.png", path.name):
            path.unlink()
