"""The worker side as the rest of the plugin sees it: is it ready, run this job, close."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ...models.errors import FusionError, WorkerError
from ..training_job import AnyJob
from . import endings
from .client import (
    IsCancelled,
    LeftEarlyError,
    Listener,
    OnDetail,
    OnLog,
    OnProgress,
    WorkerClient,
)
from .find import candidates, explicit, fingerprint
from .known import recall, remember
from .pool import Pool
from .slots import Slots

WAITING = "Waiting for another job"
STARTING = "Starting the worker"
_POLL_S = 0.1


@dataclass(frozen=True)
class RuntimeStatus:
    """Whether jobs can run.

    Attributes:
        ready: There is a Python that can run the worker.
        python: It; when there is none, the one that was looked at first.
        reason: When not ready: what is wrong and what to do.
        hello: What the worker said of itself; may be empty when not ready.
        code: When not ready: the kind of failure, see ``models/catalogue.py``.
        looked_at: When it was found out, local time as YYYY-MM-DD HH:MM:SS.
    """

    ready: bool
    python: str = ""
    reason: str = ""
    hello: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    looked_at: str = ""


@dataclass(frozen=True)
class _Finding:
    """What the last search found, and what would make another one necessary."""

    status: RuntimeStatus
    seen: tuple[str, int, int]
    fault: WorkerError | None = None

    def holds(self) -> bool:
        """A good answer lasts until the interpreter changes; a bad one may be mended any time."""
        return self.status.ready and self.seen == fingerprint(self.status.python)


class Runtime:
    """Finds the interpreter, keeps warm workers, queues jobs: one at a time per device.

    All methods may be called from any thread.

    Args:
        chosen: The interpreter that the user chose; None to find one.
    """

    def __init__(self, chosen: str | None = None) -> None:
        self.chosen = chosen
        self._pool = Pool()
        self._slots = Slots()
        self._searching = threading.Lock()
        self._finding: _Finding | None = None
        # Also at the end of the process, and when everybody has forgotten this runtime.
        weakref.finalize(self, self._pool.close)
        _RUNTIMES.add(self)

    # --- state --------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        return self._pool.is_closed

    def cached_status(self) -> RuntimeStatus | None:
        """What is known without looking; None when nothing is."""
        return self._finding.status if self._finding is not None else None

    def remembered_status(self) -> RuntimeStatus | None:
        """What is known from this or an earlier session, without starting anything.

        None when nobody has looked, or when an interpreter has changed since.
        """
        found = self._finding
        if found is not None and (found.holds() or not found.status.ready):
            return found.status
        unfit: list[RuntimeStatus] = []
        for python in candidates(self.chosen):
            record = recall(python)
            if record is None:
                return None
            status = _recalled(python, record)
            if status.ready:
                return status
            unfit.append(status)
        return unfit[0] if unfit else None

    def last_words(self) -> str:
        """The end of what the worker wrote to standard error, also when it is gone."""
        return self._pool.last_words()

    def status(self, is_cancelled: IsCancelled = lambda: False) -> RuntimeStatus:
        """Look for a fit interpreter; may take seconds, never raises.

        A good answer is kept until the interpreter changes, a bad one is looked at anew.
        """
        try:
            return self._find(keep=False, is_cancelled=is_cancelled).status
        except FusionError as error:
            return RuntimeStatus(False, self.chosen or "", error.sentence, code=error.code)

    def prepare(
        self,
        is_cancelled: IsCancelled = lambda: False,
        on_progress: OnProgress = lambda stage, fraction: None,
    ) -> RuntimeStatus:
        """As ``status``, but the worker that answers stays for the first job.

        Raises:
            WorkerError: There is no fit interpreter.
            CancelledError: ``is_cancelled`` said so.
        """
        self._check(is_cancelled)
        if self._pool.is_cold():
            on_progress(STARTING, 0.0)
        found = self._find(keep=True, is_cancelled=is_cancelled)
        if not found.status.ready:
            code = found.fault.code if found.fault is not None else endings.MISSING
            detail = found.fault.detail if found.fault is not None else ""
            raise WorkerError(found.status.reason, code, detail)
        return found.status

    # --- jobs ---------------------------------------------------------------------------------

    def run(
        self,
        job: AnyJob,
        on_progress: OnProgress,
        is_cancelled: IsCancelled,
        on_log: OnLog | None = None,
        on_detail: OnDetail | None = None,
    ) -> dict[str, Any]:
        """Run a job and return its report; blocks, calls back on this thread.

        Without a result no new one of ``job.outputs`` is left, nor what grows beside it.

        Raises:
            FusionError: What the worker reported; WorkerError when there is none or it died;
                CancelledError within about two seconds after ``is_cancelled`` says so.
        """
        job = job.with_absolute_paths()
        listener = Listener(
            on_progress, is_cancelled, on_log or Listener.on_log, on_detail or Listener.on_detail
        )
        status = self.prepare(is_cancelled, on_progress)
        device = device_key(job.device, status.hello)
        outputs = {os.path.normcase(os.path.realpath(path)) for path in job.outputs}

        def check() -> None:
            self._check(is_cancelled)

        def on_wait() -> None:
            on_progress(WAITING, 0.0)

        # Two devices must not write one file. Always in this order, so nobody waits in a circle.
        wanted = [f"device {device}", *(f"output {path}" for path in sorted(outputs))]
        with ExitStack() as stack:
            for slot in wanted:
                stack.enter_context(self._slots.taken(slot, check, on_wait))
            return self._run_on(device, status.python, job, listener)

    def _run_on(self, device: str, python: str, job: AnyJob, listener: Listener) -> dict[str, Any]:
        worker = self._pool.warm(device, python)
        if worker is not None:
            try:
                return self._work(worker, device, job, listener)
            except LeftEarlyError:
                listener.on_progress(STARTING, 0.0)  # it had been idle too long at this moment
        try:
            worker = self._pool.start(WorkerClient(python), listener.is_cancelled)
        except WorkerError:
            self._finding = None  # what was found is no longer fit
            raise
        return self._work(worker, device, job, listener)

    def _work(
        self, worker: WorkerClient, device: str, job: AnyJob, listener: Listener
    ) -> dict[str, Any]:
        try:
            return worker.run(job, listener)
        finally:
            self._pool.give_back(device, worker)

    def _check(self, is_cancelled: IsCancelled) -> None:
        if is_cancelled():
            raise endings.cancelled()
        if self.is_closed:
            raise endings.closed()

    # --- search -------------------------------------------------------------------------------

    def _find(self, keep: bool, is_cancelled: IsCancelled) -> _Finding:
        with self._alone(is_cancelled):
            found = self._finding
            if found is None or not found.holds():
                found = self._finding = self._search(keep, is_cancelled)
            return found

    @contextmanager
    def _alone(self, is_cancelled: IsCancelled) -> Iterator[None]:
        """One thread searches, the others wait for what it finds."""
        while not self._searching.acquire(timeout=_POLL_S):
            self._check(is_cancelled)
        try:
            yield
        finally:
            self._searching.release()

    def _search(self, keep: bool, is_cancelled: IsCancelled) -> _Finding:
        tried: list[_Finding] = []
        for python in candidates(self.chosen):
            finding = self._look_at(python, keep, is_cancelled)
            if finding.status.ready:
                return finding
            tried.append(finding)
        if not tried:
            reason = endings.none_found([])
            status = RuntimeStatus(False, "", reason, code=endings.MISSING, looked_at=_now())
            return _Finding(status, ("", 0, 0))
        first = tried[0]
        if not explicit(self.chosen) and endings.is_lacking(first.fault):
            reason = endings.none_found([item.status.python for item in tried])
            return replace(first, status=replace(first.status, reason=reason))
        return first

    def _look_at(self, python: str, keep: bool, is_cancelled: IsCancelled) -> _Finding:
        """Start an interpreter, hear what it says, and remember that."""
        seen = fingerprint(python)
        worker = WorkerClient(python, probe=not keep)
        fault = None
        try:
            self._pool.start(worker, is_cancelled)
        except WorkerError as error:
            fault = error
        else:
            if keep:
                self._pool.keep(worker)
            else:
                self._pool.drop(worker)
        reason, code = (fault.sentence, fault.code) if fault is not None else ("", "")
        status = RuntimeStatus(fault is None, python, reason, worker.hello, code, _now())
        remember(python, worker.hello, reason=reason, code=code, looked_at=status.looked_at)
        return _Finding(status, seen, fault)

    # --- end ----------------------------------------------------------------------------------

    def is_empty(self) -> bool:
        """No worker has a process."""
        return self._pool.is_empty()

    def retire(self) -> None:
        """Let running jobs end, but keep no worker warm; another runtime takes over."""
        self._pool.retire()

    def close(self) -> None:
        """End all workers; jobs that run are cancelled, later ones refused. Safe to call twice."""
        self._pool.close()


def device_key(device: str, hello: dict[str, Any]) -> str:
    """The queue that a job belongs to: ``auto`` is the worker's first device."""
    known = [str(item.get("id")) for item in hello.get("devices") or [] if isinstance(item, dict)]
    if device == "auto":
        device = known[0] if known else "cpu"
    return "cuda:0" if device == "cuda" else device


def _now() -> str:
    return datetime.now().isoformat(" ", "seconds")


def _recalled(python: str, record: dict[str, Any]) -> RuntimeStatus:
    reason, code = str(record.get("reason") or ""), str(record.get("code") or "")
    hello = record.get("hello")
    hello = hello if isinstance(hello, dict) else {}
    looked_at = str(record.get("looked_at") or "")
    return RuntimeStatus(not code, python, reason, hello, code, looked_at)


# --- the one of this process ------------------------------------------------------------------


_RUNTIMES: weakref.WeakSet[Runtime] = weakref.WeakSet()


class _Shared:
    """The process-wide runtime, and who knows which interpreter the user chose."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runtime: Runtime | None = None
        self.chooser: Callable[[], str | None] = lambda: None


_SHARED = _Shared()


def chosen_by(chooser: Callable[[], str | None]) -> None:
    """Ask ``chooser`` for the user's interpreter from now on.

    The runtime does not import the settings itself, since it has to work without QGIS.
    """
    _SHARED.chooser = chooser


def shared() -> Runtime:
    """The process-wide runtime, made on first use and anew when the user chose another Python."""
    chosen = _SHARED.chooser()
    with _SHARED.lock:
        current = _SHARED.runtime
        if current is None or current.is_closed or current.chosen != chosen:
            if current is not None:
                current.retire()
            current = _SHARED.runtime = Runtime(chosen)
        return current


def renew(wait_s: float) -> bool:
    """End all idle workers and let ``shared`` look anew, since another environment is in use.

    Args:
        wait_s: Seconds to wait for the workers to leave.

    Returns:
        Whether all have left; a job that runs goes on, and so does its worker.
    """
    with _SHARED.lock:
        _SHARED.runtime = None
    for item in list(_RUNTIMES):
        item.retire()
    deadline = time.monotonic() + wait_s
    while not all(item.is_empty() for item in list(_RUNTIMES)):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def close_all() -> None:
    """Close every runtime of this process, also one that ends its last job after another choice.

    For when the plugin is unloaded.
    """
    for item in list(_RUNTIMES):
        item.close()
