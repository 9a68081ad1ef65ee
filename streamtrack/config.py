"""The configuration: pydantic models of configs/default.yaml, and how files become them.

A wrong file gives one sentence that names the key by its full path and, when it is unknown,
the nearest key that exists. Values are never repeated in messages: they may be secrets.
"""

import difflib
import ipaddress
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from streamtrack.errors import ConfigError

StreamId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Alpha = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class IceServer(_Section):
    """A STUN or TURN server."""

    urls: tuple[str, ...]
    """stun:host:port, turn:host:port?transport=udp or turns:host:port."""
    username: str | None = None
    credential: SecretStr | None = None
    secret: SecretStr | None = None
    """Shared with the TURN server: makes a short-lived username and credential per viewer."""
    ttl_s: Annotated[int, Field(ge=60)] = 3600


class ServerConfig(_Section):
    """Where the server listens and whom it lets in."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    token: SecretStr | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure: bool = False
    allowed_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    ice_servers: tuple[IceServer, ...] = ()

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together; give both or none")
        return self


class TrackerConfig(_Section):
    """The model that follows the objects."""

    model: str = "auto"
    checkpoint: Path | None = None
    image_size: Annotated[int, Field(ge=64, le=2048, multiple_of=32)] | None = None
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    cascade: Literal["auto", "on", "off"] = "auto"
    max_objects: Annotated[int, Field(ge=1, le=256)] = 32
    replay_budget_ms: Annotated[float, Field(ge=0, le=10_000)] = 150.0
    memory_pooling: Literal[1, 2] = 1
    mask_memories: Annotated[int, Field(ge=1, le=16)] | None = None
    memory_every: Annotated[int, Field(ge=1, le=16)] = 1


class WindowConfig(_Section):
    """What is remembered of the latest frames."""

    seconds: Annotated[float, Field(gt=0, le=10)] = 2.0
    max_bytes: Annotated[int, Field(ge=2**20)] = 256 * 2**20
    ledger_s: Annotated[float, Field(ge=10, le=60)] = 10.0


class OverlayConfig(_Section):
    """How masks are drawn at the start; viewers may change it."""

    fill_alpha: Alpha = 0.45
    outline: bool = True
    labels: bool = True
    masks: bool = True


class DisplayConfig(_Section):
    """What viewers see."""

    align: Literal["auto", "predict", "exact"] = "auto"
    budget_ms: Annotated[float, Field(gt=0, le=1000)] = 15.0
    overlay: OverlayConfig = OverlayConfig()


class VideoConfig(_Section):
    """The pictures sent to viewers."""

    max_long_px: Annotated[int, Field(ge=64, le=4096)] = 1280
    max_short_px: Annotated[int, Field(ge=64, le=4096)] = 720
    max_fps: Annotated[float, Field(gt=0, le=120)] = 30.0
    bitrate_bps: Annotated[int, Field(ge=100_000, le=50_000_000)] = 3_000_000
    min_bitrate_bps: Annotated[int, Field(ge=50_000, le=50_000_000)] = 300_000
    max_bitrate_bps: Annotated[int, Field(ge=100_000, le=50_000_000)] = 6_000_000
    encoder: Literal["auto", "x264", "nvenc"] = "auto"


class LimitsConfig(_Section):
    """What one server carries."""

    viewers: Annotated[int, Field(ge=1)] = 16
    publishers: Annotated[int, Field(ge=0)] = 4
    sockets: Annotated[int, Field(ge=1)] = 64
    messages_per_s: Annotated[float, Field(gt=0)] = 20.0
    viewer_timeout_s: Annotated[float, Field(ge=1, le=14)] = 10.0
    publisher_grace_s: Annotated[float, Field(ge=0, le=600)] = 10.0


class SourceConfig(_Section):
    """A source by more than its address."""

    source: SecretStr
    loop: bool = False
    """Begin a file or folder again when it ends."""


class Config(_Section):
    """Everything that can be configured."""

    server: ServerConfig = ServerConfig()
    sources: dict[StreamId, SourceConfig] = Field(default_factory=dict)
    tracker: TrackerConfig = TrackerConfig()
    window: WindowConfig = WindowConfig()
    display: DisplayConfig = DisplayConfig()
    video: VideoConfig = VideoConfig()
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="before")
    @classmethod
    def _short_sources(cls, data: Any) -> Any:
        """Accept `id: address` for `id: {source: address}`."""
        if not isinstance(data, dict) or not isinstance(data.get("sources"), dict):
            return data
        full = {
            key: value if isinstance(value, dict | SourceConfig) else {"source": str(value)}
            for key, value in data["sources"].items()
        }
        return {**data, "sources": full}


def load_config(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Return the configuration of a YAML file with overrides on top.

    Args:
        path: the file; None means the defaults.
        overrides: the same shape as the file; None values are left out. Given sources
            replace those of the file.

    Raises:
        ConfigError: the file cannot be read, or a key or value is wrong.
    """
    data: Any = {}
    if path is not None:
        data = _read(path)
    merged = _merged(data, overrides or {})
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_sentence(error, path)) from None


def _read(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise ConfigError(f"The configuration {path} cannot be read: {reason}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"The configuration {path} is not valid YAML{where}.") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"The configuration {path} must be a mapping of keys to values.")
    return data


def _merged(base: Mapping[str, Any], top: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return base with what top says, section by section."""
    merged = dict(base)
    for key, value in top.items():
        if value is None:
            continue
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and key != "sources":
            merged[key] = _merged(below, value)
        elif isinstance(value, Mapping) and key != "sources":
            merged[key] = _merged({}, value)
        else:
            merged[key] = value
    return merged


def _sentence(error: ValidationError, path: Path | None) -> str:
    """Return one sentence on the first wrong key."""
    problem = error.errors(include_url=False, include_input=False)[0]
    keys = [str(part) for part in problem["loc"] if part != "[key]"]
    where = ".".join(keys)
    origin = f" in {path}" if path is not None else ""
    if problem["type"] == "extra_forbidden":
        known = _known_keys(keys[:-1])
        near = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.4)
        parent = "".join(f"{key}." for key in keys[:-1])
        hint = f"did you mean {parent}{near[0]}?" if near else f"known: {', '.join(known)}."
        return f"The key {where}{origin} is unknown; {hint}"
    text = problem["msg"].removeprefix("Value error, ").rstrip(".")
    if "[key]" in problem["loc"]:
        text = "an id has 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or digit"
    return f"The value of {where}{origin} is wrong: {text[:1].lower()}{text[1:]}."


def _known_keys(keys: list[str]) -> list[str]:
    """Return the keys of the section at this path."""
    model: Any = Config
    for key in keys:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(key)
            model = field.annotation if field is not None else None
        elif typing.get_origin(model) is dict:
            model = typing.get_args(model)[1]
        elif typing.get_origin(model) is tuple:
            model = typing.get_args(model)[0]
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return []
