"""Click anything in a live video and it stays masked, in real time, on any machine.

    source -> slot -> tracking thread (SAM 2, bounded memory) -> display -> viewers
                              ^                                                |
                              +------------------ prompts ---------------------+

Frames flow left to right and may be dropped; prompts flow right to left and may not;
everything that waits, waits in a bounded place that counts what it lost.

    stream = streamtrack.Tracker.load("nano").open()
    for frame in streamtrack.open_source("demo"):
        tracked = stream.step(frame.picture, prompts=[...])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamtrack.errors import (
        CheckpointError,
        ConfigError,
        DeviceError,
        PromptError,
        SourceError,
        StreamtrackError,
    )
    from streamtrack.media.frame import Frame
    from streamtrack.media.sources import open_source
    from streamtrack.tracking.prompts import Prompt, Tracked, TrackedObject
    from streamtrack.tracking.savings import Savings
    from streamtrack.tracking.tracker import Tracker, TrackingStream

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DeviceError",
    "Frame",
    "Prompt",
    "PromptError",
    "Savings",
    "SourceError",
    "StreamtrackError",
    "Tracked",
    "TrackedObject",
    "Tracker",
    "TrackingStream",
    "__version__",
    "open_source",
]

_HOMES = {
    "Frame": "media.frame",
    "open_source": "media.sources",
    "Prompt": "tracking.prompts",
    "Savings": "tracking.savings",
    "Tracked": "tracking.prompts",
    "TrackedObject": "tracking.prompts",
    "Tracker": "tracking.tracker",
    "TrackingStream": "tracking.tracker",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import streamtrack` stays light."""
    if name not in __all__:
        raise AttributeError(f"module 'streamtrack' has no attribute {name!r}")
    return getattr(import_module(f"streamtrack.{_HOMES.get(name, 'errors')}"), name)
