"""The worker processes of one runtime: warm ones are used again, dead ones replaced."""

from __future__ import annotations

import threading
import time

from . import endings
from .client import GRACE_S, IsCancelled, WorkerClient


class Pool:
    """At most one worker per device, and one spare that has not yet got one. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alive: set[WorkerClient] = set()  # all that may have a process
        self._warm: dict[str, WorkerClient] = {}
        self._spare: WorkerClient | None = None
        self._last_words = ""
        self._closed = threading.Event()
        self._retired = threading.Event()

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def last_words(self) -> str:
        """The end of what the workers wrote to standard error, else that of the last one gone."""
        with self._lock:
            words = [worker.last_words() for worker in self._alive]
            return "\n".join(filter(None, words)) or self._last_words

    def is_cold(self) -> bool:
        """No worker stands ready, so the next job has to wait for one to start."""
        with self._lock:
            return not any(worker.is_alive() for worker in self._alive)

    def is_empty(self) -> bool:
        """No worker has a process."""
        with self._lock:
            return not self._alive

    def start(
        self, worker: WorkerClient, is_cancelled: IsCancelled = lambda: False
    ) -> WorkerClient:
        """Start a worker; ``close`` ends it from now on, even while it starts.

        Raises:
            WorkerError: It is unfit.
            CancelledError: ``is_cancelled`` said so, or the pool was closed.
        """
        with self._lock:
            if self.is_closed:
                raise endings.closed()
            self._alive.add(worker)
        try:
            worker.start(is_cancelled)
        except BaseException:
            self.drop(worker)
            raise
        return worker

    def keep(self, worker: WorkerClient) -> None:
        """Let a started worker wait for the first job, whatever the device."""
        with self._lock:
            former, self._spare = self._spare, worker
        if former is not None:
            self.drop(former)

    def warm(self, device: str, python: str) -> WorkerClient | None:
        """A living worker for a device: its own, else the spare."""
        with self._lock:
            known = [self._warm.pop(device, None)]
            if not _fits(known[0], python):
                known.append(self._spare)
                self._spare = None
        found = None
        for worker in known:
            if worker is None:
                continue
            if _fits(worker, python):
                found = worker
            else:
                self.drop(worker)
        return found

    def give_back(self, device: str, worker: WorkerClient) -> None:
        """Keep a worker warm after its job, unless it is dead or no longer wanted."""
        with self._lock:
            wanted = worker.is_alive() and not self._retired.is_set()
            if wanted:
                self._warm[device] = worker
        if not wanted:
            self.drop(worker)

    def drop(self, worker: WorkerClient, patience_s: float = GRACE_S) -> None:
        """End a worker, killing it when it does not leave in time, and forget it."""
        worker.close(patience_s)
        with self._lock:
            self._alive.discard(worker)
            self._last_words = worker.last_words() or self._last_words

    def retire(self) -> None:
        """End the idle workers now and the others after their jobs; does not wait for them."""
        self._retired.set()
        with self._lock:
            idle = [*self._warm.values()]
            idle += [self._spare] if self._spare is not None else []
            self._warm.clear()
            self._spare = None
        for worker in idle:
            worker.ask_to_leave()
        threading.Thread(target=self._drop_all, args=(idle,), daemon=True).start()

    def _drop_all(self, workers: list[WorkerClient]) -> None:
        for worker in workers:
            self.drop(worker)

    def close(self) -> None:
        """End all workers, those at work included; safe to call twice."""
        with self._lock:
            self._closed.set()
            workers = list(self._alive)
        for worker in workers:  # all at once, so the waits below overlap
            worker.ask_to_leave()
        deadline = time.monotonic() + GRACE_S
        for worker in workers:
            self.drop(worker, deadline - time.monotonic())


def _fits(worker: WorkerClient | None, python: str) -> bool:
    return worker is not None and worker.python == python and worker.is_alive()
