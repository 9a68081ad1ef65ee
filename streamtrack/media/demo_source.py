"""The drawn scene as a source."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from streamtrack.errors import ConfigError
from streamtrack.media.demo import DEFAULT_SIZE, DEFAULT_THINGS, MAX_THINGS, DemoScene
from streamtrack.media.frame import Frame

_USAGE = f"demo:seed=N,size=WIDTHxHEIGHT,fps=N,objects=1..{MAX_THINGS}"
_MAX_SIDE = 4096


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What "demo:…" may set."""

    size: tuple[int, int] = DEFAULT_SIZE
    """(height, width) in pixels."""
    fps: float = 30.0
    seed: int = 0
    objects: int = DEFAULT_THINGS


def parse_demo(text: str) -> DemoSettings:
    """Understand "demo" and "demo:seed=3,size=640x480,fps=30,objects=4".

    Raises:
        ConfigError: an option is unknown or its value cannot be used.
    """
    settings: dict[str, str] = {}
    for part in filter(None, text.removeprefix("demo").removeprefix(":").split(",")):
        key, _, value = part.partition("=")
        settings[key.strip()] = value.strip()
    defaults = DemoSettings()
    size = settings.pop("size", f"{defaults.size[1]}x{defaults.size[0]}")
    fps = settings.pop("fps", str(defaults.fps))
    seed = settings.pop("seed", str(defaults.seed))
    objects = settings.pop("objects", str(defaults.objects))
    sides = re.fullmatch(r"(\d{2,4})x(\d{2,4})", size)
    numbers = re.fullmatch(r"\d{1,3}(\.\d{1,3})?", fps), re.fullmatch(r"\d{1,9}", seed)
    if settings or not sides or not all(numbers) or not re.fullmatch(r"\d", objects):
        raise ConfigError(f"The scene {text!r} is not understood; write {_USAGE}.")
    width, height = int(sides[1]), int(sides[2])
    usable = 32 <= width <= _MAX_SIDE and 32 <= height <= _MAX_SIDE
    if not usable or not 1 <= float(fps) <= 240 or not 1 <= int(objects) <= MAX_THINGS:
        raise ConfigError(
            f"The scene {text!r} cannot be drawn; sides go from 32 to {_MAX_SIDE}, "
            f"fps from 1 to 240, objects from 1 to {MAX_THINGS}."
        )
    return DemoSettings((height, width), float(fps), int(seed), int(objects))


class DemoSource:
    """Yields the frames of the drawn scene for ever."""

    def __init__(
        self,
        settings: DemoSettings | None = None,
        *,
        realtime: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe the scene; it is painted when the frames are asked for.

        Args:
            settings: the scene; the default one when None.
            realtime: be like a camera, which leaves out what nobody took in time;
                otherwise every frame comes as fast as it is asked for.
            clock: monotonic seconds.
        """
        self.settings = settings or DemoSettings()
        self.live = realtime
        self.description = "the drawn scene"
        self.fps: float | None = self.settings.fps
        self._clock = clock
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames()."""
        return self.frames()

    def close(self) -> None:
        """End frames() at once; from any thread, as often as one likes."""
        self._closed.set()

    def frames(self) -> Iterator[Frame]:
        """Yield frames, each with its truth, until closed."""
        settings = self.settings
        scene = DemoScene(settings.size, settings.fps, settings.seed, settings.objects)
        step = 1 / Fraction(settings.fps).limit_denominator(1000)
        start, index = self._clock(), 0
        while not self._closed.is_set():
            if self.live:
                wait_s = start + index / settings.fps - self._clock()
                if wait_s > 0 and self._closed.wait(wait_s):
                    return
                index = max(index, int((self._clock() - start) * settings.fps))
            picture, truth = scene.draw(index)
            yield Frame(picture, self._clock(), index, step, truth=truth)
            index += 1
