"""Compute devices: which are here, what is fast on them, and what their errors mean."""

import contextlib
from collections.abc import Callable, Iterator

import torch

from streamtrack.errors import ConfigError, DeviceError


def use_threads(count: int) -> None:
    """Let the calling thread compute on so many cores of the processor."""
    torch.set_num_threads(max(1, count))


def resolve_device(device: str) -> str:
    """Return the device to use: "auto" becomes the best that is here.

    Raises:
        ConfigError: the device is unknown or not on this machine.
    """
    here: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if device == "auto":
        return next(name for name, available in here.items() if available())
    kind = device.split(":")[0]
    if kind not in here:
        raise ConfigError(f"The device {device!r} is unknown; use auto, cpu, cuda or mps.")
    if not here[kind]():
        raise ConfigError(f"The device {device} is not on this machine; use --device cpu.")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise ConfigError(
            f"The device {device} is not on this machine; use --device {kind}."
        ) from None
    return device


def fast_dtype(device: str) -> torch.dtype:
    """Return bfloat16 where the device multiplies it natively, else float32."""
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return torch.float32


def named_dtype(name: str, device: str) -> torch.dtype:
    """Return the type of numbers of this name: "auto", "float32" or "bfloat16".

    Raises:
        ConfigError: there is no such name.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "auto": fast_dtype(device)}
    if name not in known:
        raise ConfigError(f"The numbers {name!r} are unknown; use auto, float32 or bfloat16.")
    return known[name]


@contextlib.contextmanager
def device_errors(device: str) -> Iterator[None]:
    """Translate the device's own errors: out of memory above all.

    Raises:
        DeviceError: the device ran out of memory or failed.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(_out_of_memory(device)) from error
    except RuntimeError as error:
        text = str(error)
        if "not enough memory" in text or "out of memory" in text:
            raise DeviceError(_out_of_memory(device)) from error
        if "CUDA" in text or "MPS" in text or "No NVIDIA" in text:
            raise DeviceError(
                f"The device {device} failed ({text.splitlines()[0][:160]}); "
                "use --device cpu or restart."
            ) from error
        raise


def _out_of_memory(device: str) -> str:
    return (
        f"The device {device} ran out of memory; follow fewer objects, or use a smaller "
        "--image-size or --model."
    )
