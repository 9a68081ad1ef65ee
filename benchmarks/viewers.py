"""View a stream with many connections that decode nothing; for measuring the server.

    python -m benchmarks.viewers URL COUNT

Prints the milliseconds from each offer to the first packet, and goes on until its input ends.
"""

import asyncio
import sys
import time
from typing import Any

from aiortc import rtcrtpreceiver

from streamtrack.client import Client


class Blind:
    """Decodes nothing: the viewers are to cost the server, not themselves."""

    def decode(self, frame: Any) -> list[Any]:
        """Return no picture."""
        return []


async def view(url: str, ended: asyncio.Event) -> None:
    """View until told to end."""
    begun = time.monotonic()
    async with Client(url) as client, client.view("demo") as video:
        while not video._receiver.getSynchronizationSources():
            await asyncio.sleep(0.005)
        print(round(1000 * (time.monotonic() - begun), 1), flush=True)
        await ended.wait()


async def view_all(url: str, count: int) -> None:
    """View with so many connections at once."""
    rtcrtpreceiver.get_decoder = lambda codec: Blind()
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(view(url, ended))
        await asyncio.to_thread(sys.stdin.read)
        ended.set()


if __name__ == "__main__":
    asyncio.run(view_all(sys.argv[1], int(sys.argv[2])))
