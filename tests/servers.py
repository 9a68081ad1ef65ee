"""A real server on a free port, with a fake tracker and a fake camera, in the test's own loop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from streamtrack.client import Client
from streamtrack.config import load_config
from streamtrack.serving.app import Server, listening, url_of
from streamtrack.serving.hub import Hub
from tests.fakes import FakeSource, FakeTracker


@dataclass
class Served:
    """A running server."""

    url: str
    hub: Hub
    tracker: FakeTracker
    client: Client
    sources: list[Any] = field(default_factory=list)


@asynccontextmanager
async def served(
    *,
    token: str | None = None,
    max_objects: int = 32,
    source: Callable[[], Any] = FakeSource,
    codecs: tuple[str, ...] = (),
    gate: threading.Event | None = None,
    **sections: Mapping[str, Any],
) -> AsyncIterator[Served]:
    """Give a server with the stream "cam"; its model loads when the gate opens."""
    config = load_config(
        None,
        {
            "sources": {"cam": "fake"},
            **sections,
            "tracker": {"max_objects": max_objects},
            "server": {"port": 0, "token": token, **sections.get("server", {})},
        },
    )
    fake = FakeTracker()

    def load() -> FakeTracker:
        if gate is not None:
            gate.wait(10)
        return fake

    sources: list[Any] = []

    def open_fake(text: str, _: object) -> Any:
        sources.append(source())
        return sources[-1]

    with listening("127.0.0.1", 0) as sock:
        ready = asyncio.Event()
        server = Server(config, ready.set, load=load, open_with=open_fake)
        running = asyncio.create_task(server.serve(sockets=[sock]))
        await asyncio.wait_for(ready.wait(), 10)
        url = url_of(config, sock)
        try:
            yield Served(url, server.hub, fake, Client(url, token, codecs=codecs), sources)
        finally:
            server.should_exit = True
            await asyncio.wait_for(running, 15)
