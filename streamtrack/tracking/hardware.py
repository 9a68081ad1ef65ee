"""The compute devices of this machine, for people to read."""

import os
import platform
from dataclasses import dataclass

import torch

from streamtrack.tracking.checkpoints import device_memory
from streamtrack.tracking.devices import fast_dtype


@dataclass(frozen=True, slots=True)
class ComputeDevice:
    """Something a model can run on."""

    name: str
    """What to write after --device."""
    description: str
    """What it is."""


def compute_devices() -> list[ComputeDevice]:
    """Return the devices of this machine, the one `auto` takes first."""
    devices = [_cuda(number) for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append(ComputeDevice("mps", f"Apple GPU, {_dtype('mps')}"))
    model = platform.processor() or platform.machine()
    devices.append(ComputeDevice("cpu", f"{os.cpu_count()} x {model}, {_dtype('cpu')}"))
    return devices


def _cuda(number: int) -> ComputeDevice:
    name = f"cuda:{number}"
    gib = (device_memory(name) or 0) / 2**30
    model = torch.cuda.get_device_name(number)
    return ComputeDevice(name, f"{model}, {gib:.0f} GiB, {_dtype(name)}")


def _dtype(device: str) -> str:
    return str(fast_dtype(device)).removeprefix("torch.")
