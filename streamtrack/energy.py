"""Energy of a stretch of work, where the machine tells it."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Self

_RAPL = Path("/sys/class/powercap")


class EnergyMeter:
    """Context manager: joules used by the processor packages, or by the GPU.

    Processors count energy (RAPL, often readable by root alone). A GPU tells its present
    power, which is taken at the end of the stretch as the power of all of it.
    """

    def __init__(self, device: str, *, powercap: Path = _RAPL) -> None:
        """Prepare.

        Args:
            device: "cpu", "cuda" or "cuda:N".
            powercap: where Linux shows its counters.
        """
        self.joules: float | None = None
        self._gpu = (device.partition(":")[2] or "0") if device.startswith("cuda") else None
        self._counters = sorted(powercap.glob("intel-rapl:?/energy_uj"))
        self._before: list[int] = []
        self._start = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        self._before = self._read()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        """Read what was used; None where it cannot be read."""
        seconds = time.perf_counter() - self._start
        if self._gpu is not None:
            watts = _gpu_watts(self._gpu)
            self.joules = None if watts is None else watts * seconds
            return
        after = self._read()
        used = [now - then for now, then in zip(after, self._before, strict=False)]
        if used and min(used) >= 0:  # a counter that began anew says nothing
            self.joules = sum(used) / 1e6

    def _read(self) -> list[int]:
        try:
            return [int(counter.read_text()) for counter in self._counters]
        except (OSError, ValueError):
            return []


def _gpu_watts(number: str) -> float | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, f"--id={number}", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True)
        return float(found.stdout.strip())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
