"""The slot: a one-item mailbox in which the newest item wins."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """A one-item mailbox between two threads; put never waits, get does.

    A producer that is faster than its consumer replaces what was not read yet,
    so the consumer's item is never older than one production interval.
    """

    def __init__(self) -> None:
        """Make an empty, open slot."""
        self._changed = threading.Condition()
        self._items: list[T] = []  # at most one; a list, since None may be an item
        self._accepted = 0
        self._dropped = 0
        self._closed = False

    @property
    def accepted(self) -> int:
        """How many items were put while the slot was open."""
        return self._accepted

    @property
    def dropped(self) -> int:
        """How many items were replaced before anyone read them."""
        return self._dropped

    @property
    def closed(self) -> bool:
        """Whether close was called."""
        return self._closed

    def put(self, item: T) -> bool:
        """Leave an item, replacing an unread one; a closed slot ignores it.

        Returns:
            Whether an unread item was dropped for it.
        """
        with self._changed:
            if self._closed:
                return False
            replaced = bool(self._items)
            self._items[:] = [item]
            self._accepted += 1
            self._dropped += replaced
            self._changed.notify()
            return replaced

    def get(self, timeout: float | None = None) -> T | None:
        """Take the item, waiting for one.

        Args:
            timeout: seconds to wait, 0 to look only; None waits until the slot is closed.

        Returns:
            The item; None when none came in time or the slot is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            return self._items.pop() if self._items else None

    def close(self) -> None:
        """Forget an unread item and wake every waiter; closing again does nothing."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
