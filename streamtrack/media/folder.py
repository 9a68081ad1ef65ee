"""Read a folder of pictures, in the order a person would list them."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamtrack.errors import SourceError
from streamtrack.media.frame import Frame
from streamtrack.media.pacing import Pacer

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
FOLDER_FPS = 25
"""Pictures in a second of a folder, which says nothing about time itself."""


class FolderSource:
    """Yields the pictures of a folder; all must have the size of the first."""

    def __init__(
        self,
        folder: Path,
        *,
        realtime: bool = False,
        loop: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a folder.

        Args:
            folder: where the pictures are.
            realtime: give FOLDER_FPS pictures a second instead of as many as asked for.
            loop: begin again at the end.
            clock: monotonic seconds.
        """
        self.live = False
        self.description = str(folder)
        self.fps: float | None = float(FOLDER_FPS)
        self._folder = folder
        self._loop = loop
        self._clock = clock
        self._closed = threading.Event()
        self._pacer = Pacer(self._closed, clock) if realtime else None

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames()."""
        return self.frames()

    def close(self) -> None:
        """End frames() at once; from any thread, as often as one likes."""
        self._closed.set()

    def frames(self) -> Iterator[Frame]:
        """Yield the pictures as frames.

        Raises:
            SourceError: there is no picture, one is unreadable, or its size differs.
        """
        paths = picture_paths(self._folder)
        size: tuple[int, ...] | None = None
        while not self._closed.is_set():
            if self._pacer:
                self._pacer.restart(self.fps)
            for number, path in enumerate(paths):
                picture = read_picture(path)
                size = size or picture.shape
                if picture.shape != size:
                    raise SourceError(
                        f"{path} has {_written(picture.shape)} pixels, but {paths[0].name} has "
                        f"{_written(size)}; make all pictures of the folder the same size."
                    )
                step = Fraction(1, FOLDER_FPS)
                if self._closed.is_set() or self._pacer and not self._pacer.wait(number, step):
                    return
                yield Frame(picture, self._clock(), number, step)
            if not self._loop:
                return


def picture_paths(folder: Path) -> list[Path]:
    """Return a folder's pictures in natural order: 2.jpg comes before 10.jpg.

    Raises:
        SourceError: it cannot be listed or holds no picture.
    """
    try:
        files = [path for path in folder.iterdir() if path.is_file()]
    except OSError as exc:
        raise SourceError(f"The folder {folder} cannot be read: {exc.strerror}.") from exc
    shown = [path for path in files if path.suffix.lower() in ENDINGS and path.name[0] != "."]
    if not shown:
        raise SourceError(
            f"The folder {folder} holds no picture; put {', '.join(ENDINGS)} files into it."
        )
    return sorted(shown, key=_natural)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return a picture file as (H, W, 3) uint8 RGB, upright.

    Raises:
        SourceError: the file cannot be read or is no picture.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as exc:
        raise SourceError(f"The picture {path} cannot be read: {exc.strerror}.") from exc
    bgr = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if bgr is None:
        raise SourceError(f"{path} is damaged or no picture; replace or remove it.")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a sorting key in which numbers compare as numbers."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _written(shape: tuple[int, ...]) -> str:
    """Return an array's shape as people write a picture's size."""
    return f"{shape[1]}x{shape[0]}"
