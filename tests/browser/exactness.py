"""A server of numbered frames in a thread, and a spy in the page that reads the numbers."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.patterns import BITS, CELL, NumberedSource, number_of
from tests.servers import Served, served

SCRIPT = (Path(__file__).parent / "spy.js").read_text()


def spy(codec: str) -> str:
    """Return the script to inject, which also keeps the page to one codec."""
    facts = {"BITS": BITS, "CELL": CELL, "codec": codec}
    return f"window.numbered = {json.dumps(facts)};\n{SCRIPT}"


class NumberedServer:
    """served() in a thread of its own, for tests that drive a browser from theirs."""

    def __init__(self, source: Callable[[], Any] = NumberedSource, window_s: float = 10) -> None:
        """Prepare; start() serves a source whose frames clicks may name for so many seconds."""
        self._source = source
        self._window_s = window_s
        self.served: Served | None = None
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="numbered-server")

    def start(self) -> None:
        """Serve; returns when the server answers."""
        self._thread.start()
        assert self._ready.wait(30)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with served(source=self._source, window={"seconds": self._window_s}) as self.served:
            self._ready.set()
            await self._end.wait()

    def stop(self) -> None:
        """End the server and its thread."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)

    def call(self, work: Callable[[Served], Any]) -> Any:
        """Run something on the server's loop and return its result."""

        async def run() -> Any:
            assert self.served is not None
            return work(self.served)

        coroutine: Coroutine[Any, Any, Any] = run()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def wait_no_viewer(self) -> None:
        """Wait until the last viewer has left."""
        end = time.monotonic() + 20
        while self.call(lambda served: len(served.hub.viewers)):
            assert time.monotonic() < end
            time.sleep(0.05)

    def number_bound(self, frame_id: int) -> int:
        """Return the number on the picture that the server has under a frame id."""
        assert self.served is not None
        frame = self.served.hub.streams["cam"].frame(frame_id)
        assert frame is not None, f"frame {frame_id} has left the window"
        return number_of(frame.picture)
