"""A real server in a process of its own, that tests can kill and start again."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

READY_S = 90.0
"""A busy machine takes this long to import torch and warm a model up."""


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`streamtrack serve` on a port that stays the same over restarts."""

    def __init__(self, source: str, log: Path) -> None:
        """Describe the server; start() runs it and keeps its output in log."""
        self.source = source
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.started = 0.0
        """time.monotonic() seconds of the last start."""
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        """Return the command line of the server."""
        options = ["--port", str(self.port), "--model", "nano", "--device", "cpu"]
        return [sys.executable, "-m", "streamtrack", "serve", self.source, *options]

    def start(self) -> None:
        """Run the server and wait until it is ready; its output goes to the log."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        self.started = time.monotonic()
        until = self.started + READY_S
        while not self._ready():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, f"not ready in {READY_S} s:\n{self._log.read_text()}"
            time.sleep(0.2)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """End the server as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def stop(self) -> None:
        """End the server as a person would; kill it if it does not obey."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
