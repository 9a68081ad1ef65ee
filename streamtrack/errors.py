"""Every error streamtrack raises on purpose.

StreamtrackError
    ConfigError                 a configuration file, option or argument is wrong
    CheckpointError             a model is unknown, or its weights are missing or broken
    DeviceError                 the device failed or ran out of memory
    SourceError                 a source cannot be used
        SourceUnavailable       ... now, but trying again may help
    PromptError                 the viewer's fault; goes back on the control socket
        UnknownObject           no object has this id
        TooManyObjects          the stream's object limit is reached
        TooManyPoints           more points than one prompt may carry
        PromptTooOld            the frame the prompt names is gone
        Busy, NoFrame           too much waits; nothing was shown yet (commands.py)
    ProtocolError               the peer's message is not understood
        NotJson, TooLarge       ... and the socket is closed (serving/protocol.py)
    Refusal                     a message that is refused with its code (serving/protocol.py)
    NegotiationError            the peer's session description cannot be used
    ServerRefused, CommandRefused   what a server told its client (client.py)

A message is one sentence: what was given, what was expected, what to do.
"""

from typing import ClassVar


class StreamtrackError(Exception):
    """Base of every error streamtrack raises on purpose."""

    exit_code: ClassVar[int] = 1
    """The command line's exit status (docs/protocol.md)."""
    code: ClassVar[str] = "internal"
    """The control socket's error code (docs/protocol.md)."""


class ConfigError(StreamtrackError):
    """A configuration file, option or argument is wrong."""

    exit_code = 2


class CheckpointError(StreamtrackError):
    """A model is unknown, or its weights are missing, truncated or of another model."""

    exit_code = 4


class DeviceError(StreamtrackError):
    """The device failed or ran out of memory; the stream goes on without masks."""

    exit_code = 4


class SourceError(StreamtrackError):
    """A source cannot be used and trying again will not help."""

    exit_code = 3


class SourceUnavailable(SourceError):
    """A source cannot be used now; trying again may help."""


class PromptError(StreamtrackError):
    """A prompt cannot be applied; nothing that is tracked has changed."""

    exit_code = 2
    code = "bad_prompt"


class UnknownObject(PromptError):
    """No object has the id that was named."""

    code = "unknown_object"


class TooManyObjects(PromptError):
    """The stream already follows as many objects as it may."""

    code = "too_many_objects"


class TooManyPoints(PromptError):
    """The prompt carries more points than one prompt may."""

    code = "too_many_points"


class PromptTooOld(PromptError):
    """The frame the prompt was made on is no longer kept."""

    code = "stale_frame"


class ProtocolError(StreamtrackError):
    """A peer's message is not understood."""

    code = "bad_message"


class NegotiationError(StreamtrackError):
    """A peer's session description cannot be used."""

    code = "bad_message"
