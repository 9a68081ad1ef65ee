"""What waits between a control session and its socket, all of it bounded."""

import asyncio
from collections import deque

from pydantic import BaseModel

from streamtrack.messages import Message

ANSWERS_KEPT = 256
"""Answers that wait for a slow viewer; more end the socket."""


class TokenBucket:
    """Lets through so many messages a second, and a second's worth at once."""

    def __init__(self, rate_hz: float, now: float) -> None:
        """Begin full."""
        self._rate = rate_hz
        self._size = max(1.0, rate_hz)
        self._level = self._size
        self._last = now

    def take(self, now: float) -> bool:
        """Return whether one more message may pass."""
        self._level = min(self._size, self._level + self._rate * (now - self._last))
        self._last = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


class Outbox:
    """What waits to be sent: answers in order, and of objects and statistics only the newest."""

    def __init__(self) -> None:
        """Begin empty."""
        self._answers: deque[BaseModel] = deque()
        self._newest: dict[type, Message] = {}
        self._filled = asyncio.Event()
        self.overflowed = False

    def answer(self, message: BaseModel) -> None:
        """Queue an answer or event."""
        if len(self._answers) >= ANSWERS_KEPT:
            self.overflowed = True
        else:
            self._answers.append(message)
        self._filled.set()

    def state(self, message: Message) -> None:
        """Replace the newest of its kind."""
        self._newest[type(message)] = message
        self._filled.set()

    async def take(self) -> BaseModel | Message:
        """Return what is to be sent next, waiting for it."""
        while not self._answers and not self._newest:
            self._filled.clear()
            await self._filled.wait()
        if self._answers:
            return self._answers.popleft()
        return self._newest.pop(next(iter(self._newest)))
