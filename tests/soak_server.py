"""A busy server for a long time: nothing grows, and every frame is accounted for.

    python -m tests.soak_server --minutes 30

Viewers come and go, things are clicked, corrected and removed, a publisher comes back again and
again; every second the server's memory, threads, files and counts are read.
"""

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from prometheus_client.parser import text_string_to_metric_families

from streamtrack.client import Client, CommandRefused
from tests.browser.server import Server
from tests.fakes import scene

SOURCE = "demo=demo:seed=4,size=640x360,fps=20,objects=4"
IN_FLIGHT = 4
"""Frames between two threads at the moment of counting."""


@dataclass
class Readings:
    """What was read, once a second."""

    times_s: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    lag_ms: list[float] = field(default_factory=list)
    unaccounted: list[int] = field(default_factory=list)
    """Frames that came but were neither shown nor dropped."""
    shown: float = 0
    dropped: float = 0
    viewers_seen: int = 0
    clicks: int = 0

    def growth_mib(self) -> float:
        """Return how much memory rose from the second quarter to the last."""
        quarter = len(self.rss_mib) // 4
        return float(
            np.median(self.rss_mib[-quarter:]) - np.median(self.rss_mib[quarter:][:quarter])
        )

    def rise(self, values: list[int]) -> float:
        """Return by how much the largest number of the last quarter is above that of the second."""
        quarter = len(values) // 4
        return float(max(values[-quarter:]) - max(values[quarter:][:quarter]))


def counts(text: str) -> dict[str, float]:
    """Return the stream demo's counts from the metrics."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            if one.labels.get("stream", "demo") == "demo":
                found[one.name + one.labels.get("stage", "")] = one.value
    return found


async def read(client: Client, process: psutil.Process, into: Readings, until: float) -> None:
    """Read the server once a second."""
    begun = time.monotonic()
    while (now := time.monotonic()) < until:
        answer = await client.request("GET", "metrics")
        seen = counts(answer.body.decode())
        into.times_s.append(now - begun)
        into.rss_mib.append(process.memory_info().rss / 2**20)
        into.threads.append(process.num_threads())
        into.files.append(process.num_fds())
        into.lag_ms.append(1000 * seen["streamtrack_event_loop_lag_seconds"])
        came = seen["streamtrack_frames_totalin"] + seen["streamtrack_frames_totalrepeated"]
        into.shown = seen["streamtrack_frames_totalout"]
        into.dropped = seen["streamtrack_frames_dropped_total"]
        into.unaccounted.append(int(came - into.shown - into.dropped))
        await asyncio.sleep(1)


async def look(client: Client, into: Readings, until: float, rng: random.Random) -> None:
    """View for some seconds, again and again."""
    while time.monotonic() < until:
        async with client.view("demo") as video:
            into.viewers_seen += 1
            leave = time.monotonic() + rng.uniform(1, 12)
            while time.monotonic() < min(leave, until):
                await video.frame()


async def click(client: Client, into: Readings, until: float, rng: random.Random) -> None:
    """Click, correct, undo and remove."""
    async with client.control("demo") as control:
        while time.monotonic() < until:
            objects = [one["id"] for one in control.objects]
            with contextlib.suppress(CommandRefused):  # the object may be gone by now
                if len(objects) > 2:
                    await control.command("object.remove", object=rng.choice(objects))
                elif objects and rng.random() < 0.5:
                    await control.click(rng.random(), rng.random(), object=rng.choice(objects))
                elif objects and rng.random() < 0.2:
                    await control.command("prompt.undo", object=rng.choice(objects))
                else:
                    await control.click(rng.random(), rng.random())
                into.clicks += 1
            await asyncio.sleep(rng.uniform(0.3, 2))


async def publish(client: Client, until: float, rng: random.Random) -> None:
    """Publish a camera for some seconds, again and again."""
    while time.monotonic() < until:
        async with client.publish("phone", lambda: scene(int(10 * time.monotonic())), fps=10):
            await asyncio.sleep(min(rng.uniform(2, 10), max(0.0, until - time.monotonic())))


async def soak(server: Server, seconds: float) -> Readings:
    """Keep a server busy and return what was read."""
    readings, rng = Readings(), random.Random(0)
    until = time.monotonic() + seconds
    async with Client(server.url) as client:
        tasks: Iterable[Any] = [
            read(client, psutil.Process(server.pid), readings, until),
            *(look(client, readings, until, random.Random(i)) for i in range(3)),
            click(client, readings, until, rng),
            publish(client, until, random.Random(9)),
        ]
        await asyncio.gather(*tasks)
    return readings


def report(readings: Readings) -> str:
    """Return the readings in words."""
    lag = np.percentile(readings.lag_ms, [50, 99])
    return (
        f"{readings.times_s[-1] / 60:.1f} minutes, {readings.viewers_seen} viewers, "
        f"{readings.clicks} clicks, {readings.shown:.0f} frames shown, {readings.dropped:.0f} "
        f"dropped, at most {max(readings.unaccounted)} under way\n"
        f"memory {readings.rss_mib[len(readings.rss_mib) // 4]:.0f} MiB after a quarter, "
        f"{readings.rss_mib[-1]:.0f} at the end, growth {readings.growth_mib():.1f}; "
        f"threads {min(readings.threads)} to {max(readings.threads)}, "
        f"rise {readings.rise(readings.threads):.0f}; "
        f"files {min(readings.files)} to {max(readings.files)}, "
        f"rise {readings.rise(readings.files):.0f}\n"
        f"event loop late by {lag[0]:.1f} ms (p50), {lag[1]:.1f} (p99)"
    )


def main() -> None:
    """Soak and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(SOURCE, Path(folder) / "server.log")
        server.start()
        try:
            print(report(asyncio.run(soak(server, 60 * args.minutes))))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
