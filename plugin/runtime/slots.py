"""A queue per device: one job at a time each, in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_POLL_S = 0.1


class Slots:
    """Thread-safe; a slot is made when its name is first used."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queues: dict[str, deque[object]] = {}

    @contextmanager
    def taken(
        self, name: str, check: Callable[[], None], on_wait: Callable[[], None]
    ) -> Iterator[None]:
        """Hold the slot ``name`` within the block.

        Args:
            name: Of the slot.
            check: Called every 100 ms while waiting; what it raises ends the wait.
            on_wait: Called once when the slot is not free at once.
        """
        ticket = object()
        with self._changed:
            self._queues.setdefault(name, deque()).append(ticket)
        try:
            if not self._is_first(name, ticket):
                on_wait()
            while not self._is_first(name, ticket):
                check()
                with self._changed:
                    self._changed.wait(_POLL_S)
            yield
        finally:
            self._leave(name, ticket)

    def is_free(self, name: str) -> bool:
        with self._changed:
            return name not in self._queues

    def _is_first(self, name: str, ticket: object) -> bool:
        with self._changed:
            return self._queues[name][0] is ticket

    def _leave(self, name: str, ticket: object) -> None:
        with self._changed:
            waiting = self._queues[name]
            waiting.remove(ticket)
            if not waiting:
                del self._queues[name]
            self._changed.notify_all()
