"""The control socket's messages as pydantic models (docs/protocol.md)."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

VERSION: Literal[1] = 1

ErrorCode = Literal[
    "bad_message",
    "bad_prompt",
    "unknown_object",
    "too_many_objects",
    "too_many_points",
    "stale_frame",
    "no_frame",
    "rate_limited",
    "forbidden",
    "busy",
    "internal",
]
Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
MessageId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
ObjectId = Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64)]
ClickMode = Literal["exact", "replayed", "jumped", "reencoded", "estimated"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Message(_Model):
    v: Literal[1] = VERSION


class Rle(_Model):
    """A mask in COCO run lengths."""

    size: Annotated[list[int], Field(min_length=2, max_length=2)]
    """[height, width] in pixels."""
    counts: str


class At(_Model):
    """Which frame a person saw: exactly one of rtp, frame_id or age_ms."""

    rtp: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    """The raw RTP timestamp of the frame, as the browser tells it."""
    frame_id: Annotated[int, Field(ge=0)] | None = None
    age_ms: Annotated[float, Field(ge=0, le=60_000)] | None = None
    """An estimate of how long ago the frame was captured."""
    w: Annotated[int, Field(ge=1)] | None = None
    """Width of the frame as it was seen, in pixels."""
    h: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.rtp, self.frame_id, self.age_ms)) != 1:
            raise ValueError("give exactly one of rtp, frame_id and age_ms")
        return self


class _Command(_Message):
    id: MessageId | None = None
    """Chosen by the client; the answer repeats it."""


class PromptAdd(_Command):
    """A click, a box or a mask on one object; answered by prompt.ack or error."""

    type: Literal["prompt.add"] = "prompt.add"
    id: MessageId
    object: ObjectId | None = None
    """The object to refine; null makes a new one."""
    points: list[tuple[Fraction, Fraction]] | None = None
    """(x, y) in [0, 1] of the frame, 1 to 16 of them."""
    labels: list[Literal[0, 1]] | None = None
    """1 foreground, 0 background, one for each point; all foreground when left out."""
    box: tuple[Fraction, Fraction, Fraction, Fraction] | None = None
    """x0, y0, x1, y1 in [0, 1] of the frame."""
    mask: Rle | None = None
    at: At | Literal["latest"] = "latest"

    @model_validator(mode="after")
    def _shape(self) -> Self:
        points, box, mask = self.points, self.box, self.mask
        if points is None and box is None and mask is None:
            raise ValueError("give points, a box or a mask")
        if mask is not None and (points is not None or box is not None):
            raise ValueError("a mask stands alone, without points and box")
        if points is not None and not points:
            raise ValueError("points is empty; give 1 to 16")
        if len(self.labels or []) != len(points or []) and self.labels is not None:
            raise ValueError("give one label for each point")
        if box is not None and not (box[0] < box[2] and box[1] < box[3]):
            raise ValueError("a box is [x0, y0, x1, y1] with x0 < x1 and y0 < y1")
        return self


class PromptUndo(_Command):
    """Take back the last prompt of an object; the object goes with its first one."""

    type: Literal["prompt.undo"] = "prompt.undo"
    object: ObjectId


class ObjectRemove(_Command):
    """Stop to follow an object."""

    type: Literal["object.remove"] = "object.remove"
    object: ObjectId


class ObjectRename(_Command):
    """Give an object a name; an empty one takes it away."""

    type: Literal["object.rename"] = "object.rename"
    object: ObjectId
    name: Name


class ObjectsReset(_Command):
    """Stop to follow all objects."""

    type: Literal["objects.reset"] = "objects.reset"


class FramePin(_Command):
    """Keep a frame for prompts for ten seconds, one for each socket; answered by ack or error."""

    type: Literal["frame.pin"] = "frame.pin"
    at: At | Literal["latest"] = "latest"


class FrameUnpin(_Command):
    """Let the pinned frame go."""

    type: Literal["frame.unpin"] = "frame.unpin"


class OverlayChange(_Model):
    """New overlay settings of the stream; what is left out stays."""

    fill_alpha: Fraction | None = None
    outline: bool | None = None
    labels: bool | None = None
    masks: bool | None = None


class SettingsSet(_Command):
    """Change the stream's overlay (for everyone) or this socket's masks."""

    type: Literal["settings.set"] = "settings.set"
    overlay: OverlayChange | None = None
    masks: Literal["none", "rle"] | None = None


class Seen(_Model):
    """A frame that came on a viewer's display."""

    rtp: Annotated[int, Field(ge=0, lt=2**32)]
    ago_ms: Annotated[float, Field(ge=0, le=10_000)]
    rtt_ms: Annotated[float, Field(ge=0, le=10_000)] = 0.0


class Ping(_Command):
    """Answered by pong with the same t, and how long a frame took from camera to display."""

    type: Literal["ping"] = "ping"
    t: float
    seen: Seen | None = None


class Auth(_Command):
    """The server's token, as the first message, where no header could carry it."""

    type: Literal["auth"] = "auth"
    token: Annotated[str, StringConstraints(max_length=1024)]


ClientMessage = Annotated[
    PromptAdd
    | PromptUndo
    | ObjectRemove
    | ObjectRename
    | ObjectsReset
    | FramePin
    | FrameUnpin
    | SettingsSet
    | Ping
    | Auth,
    Field(discriminator="type"),
]


class ObjectInfo(_Model):
    """One object on one frame."""

    id: int
    name: str
    state: Literal["tracked", "lost"]
    score: float
    predicted_iou: float
    box: tuple[int, int, int, int] | None
    """x0, y0, x1, y1 in pixels of the frame, x1 and y1 exclusive."""
    area: int
    """Pixels of the mask."""
    rle: Rle | None = None
    """Only with settings.masks = "rle"."""


class Overlay(_Model):
    """How the masks are drawn."""

    fill_alpha: float
    outline: bool
    labels: bool
    masks: bool


class Limits(_Model):
    """What this server accepts."""

    objects: int
    points: int
    messages_per_s: float
    message_bytes: int


class SettingsNow(_Model):
    """The settings as this socket has them."""

    overlay: Overlay
    masks: Literal["none", "rle"]


class Hello(_Message):
    """Once, first."""

    type: Literal["hello"] = "hello"
    stream: str
    kind: Literal["camera", "publisher"]
    state: str
    size: tuple[int, int] | None
    """[height, width] in pixels; null before the first frame."""
    model: str
    """Empty while the model is loading."""
    device: str
    limits: Limits
    objects: list[ObjectInfo]
    colours: list[str]
    """The colour of object n is colours[(n - 1) % length], as #rrggbb."""
    settings: SettingsNow
    version: str
    """The server's version."""


class PromptParts(_Model):
    """Where the time of a prompt went, in ms; what is missing to latency_ms is following others."""

    bind_ms: float
    """Finding the frame it was made on."""
    queue_ms: float
    """Waiting for the tracker."""
    encode_ms: float
    """The frame's features, when they were not kept."""
    prompt_ms: float
    """Decoding the mask."""
    replay_ms: float
    """Following the object from there to the newest frame."""


class PromptAck(_Message):
    """A prompt was applied."""

    type: Literal["prompt.ack"] = "prompt.ack"
    id: str
    object: int
    frame_id: int
    """The frame the prompt was applied to: the one it was made on."""
    applied_at: int
    """The newest frame when it was applied; the object is followed up to here."""
    mode: ClickMode
    """exact: on the newest frame; replayed, reencoded: on an earlier one, and the object was
    followed again from there; jumped: likewise, but it goes on from the next frame; estimated: the
    frame was found by its age only."""
    age_ms: float | None
    """How old the frame under the click was when the click came; null when not known."""
    latency_ms: float
    """From the click's coming to the mask."""
    parts: PromptParts


class Ack(_Message):
    """Another command that carried an id was done."""

    type: Literal["ack"] = "ack"
    id: str
    object: int | None = None
    frame_id: int | None = None
    """The frame that was pinned."""


class Error(_Message):
    """Something was refused; nothing has changed."""

    type: Literal["error"] = "error"
    id: str | None = None
    code: ErrorCode
    message: str


class Objects(_Message):
    """All objects after a step of the tracker; only the newest is sent."""

    type: Literal["objects"] = "objects"
    frame_id: int
    objects: list[ObjectInfo]


class Stats(_Message):
    """Once a second."""

    type: Literal["stats"] = "stats"
    fps_in: float
    fps_out: float
    fps_tracker: float
    step_ms: float
    age_ms: float
    dropped: int
    viewers: int
    align: Literal["exact", "predict"]
    display_ms: float
    mask_age_ms: float
    encode_ms: float
    bitrate_bps: int


class EventMessage(_Model):
    """Something happened; facts beside kind depend on it."""

    model_config = ConfigDict(frozen=True, extra="allow")
    v: Literal[1] = VERSION
    type: Literal["event"] = "event"
    kind: str


class Settings(_Message):
    """The settings changed."""

    type: Literal["settings"] = "settings"
    overlay: Overlay
    masks: Literal["none", "rle"]


class Pong(_Message):
    """The answer to ping."""

    type: Literal["pong"] = "pong"
    id: str | None = None
    t: float
    glass_ms: float | None = None


ServerMessage = Annotated[
    Hello | PromptAck | Ack | Error | Objects | Stats | EventMessage | Settings | Pong,
    Field(discriminator="type"),
]
