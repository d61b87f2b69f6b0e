"""One worker process as QGIS sees it: start it, run jobs one after another, end it."""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...models.errors import FusionError, WorkerError
from ..engine import VERSION
from ..training_job import AnyJob
from . import endings
from .channel import Channel, ChannelClosedError
from .find import WORKER
from .leftovers import Leftovers
from .process import Process, end, is_running, spawn

PROTOCOL = 1
HELLO_S = 60.0  # the first import of torch may be slow
GRACE_S = 2.0  # from cancel to kill
STALL_TOLD_S = 20.0  # without a sign of life until the user hears of it
STALL_S = 300.0  # until the worker is given up: it swaps or was stopped
_POLL_S = 0.1
_IDLE_S = 300
_TAIL = 4000  # characters of standard error to keep
# After these the process may be broken (a GPU fault stays) or hold much memory.
_POISONED = ("internal", "out_of_memory")

OnProgress = Callable[[str, float], None]
OnLog = Callable[[str, str], None]
OnDetail = Callable[[dict[str, Any]], None]  # what a training measured, with some of its progress
IsCancelled = Callable[[], bool]


@dataclass(frozen=True)
class Listener:
    """Who wants to hear of a job; called on the thread that runs it."""

    on_progress: OnProgress = lambda stage, fraction: None
    is_cancelled: IsCancelled = lambda: False
    on_log: OnLog = lambda level, text: None
    on_detail: OnDetail = lambda detail: None


class LeftEarlyError(WorkerError):
    """The worker left, as it does when idle, before it took up the job: try another one."""


class WorkerClient:
    """One worker process.

    ``run`` is for one thread at a time; ``close`` may come from any.

    Args:
        python: The interpreter.
        probe: Only ask what is installed; the process leaves after its hello.
        hello_s: Seconds within which the hello must come.
    """

    def __init__(self, python: str, probe: bool = False, hello_s: float = HELLO_S) -> None:
        self.python = python
        self.hello: dict[str, Any] = {}
        self._mode = ["--probe"] if probe else ["--idle", str(_IDLE_S)]
        self._hello_s = hello_s
        self._who = f"The worker ({python})"
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._folder: Path | None = None
        self._process: Process | None = None
        self._channel: Channel | None = None
        self._leftovers: Leftovers | None = None
        self._number = 0
        self._silent_s = 0.0
        self._last_words = ""
        self._log_start = 0  # what earlier jobs wrote does not explain this one's end

    # --- start --------------------------------------------------------------------------------

    def start(self, is_cancelled: IsCancelled = lambda: False) -> dict[str, Any]:
        """Start the process and wait for its hello, which is returned.

        Raises:
            WorkerError: It cannot be started, is unfit, or says nothing in time.
            CancelledError: ``is_cancelled`` said so, or ``close`` was called.
        """
        try:
            self._spawn()
            self.hello = self._await_hello(is_cancelled)
            self._check_hello()
        except BaseException as error:
            closed_meanwhile = self._closing.is_set()
            self._kill()
            if closed_meanwhile and isinstance(error, WorkerError):
                raise endings.cancelled() from error
            raise
        return self.hello

    def _spawn(self) -> None:
        # -E ignores PYTHON*, -u keeps prints in order, UTF-8 makes every file name possible.
        command = [self.python, "-E", "-u", "-X", "utf8", str(WORKER), *self._mode]
        with self._lock:
            if self._closing.is_set():
                raise endings.cancelled()
            self._folder = _new_folder()
            try:
                process = spawn(command, self._folder, self._log)
            except OSError as error:
                raise endings.not_started(self.python, error) from error
            self._process = process
            if process.stdin is None or process.stdout is None:
                raise endings.babble(self._who, [], "no pipe")
            self._channel = Channel(process.stdin, process.stdout)

    @property
    def _log(self) -> Path:
        return (self._folder or Path()) / "worker.log"

    def _await_hello(self, is_cancelled: IsCancelled) -> dict[str, Any]:
        deadline = time.monotonic() + self._hello_s
        while True:
            if is_cancelled() or self._closing.is_set():
                raise endings.cancelled()
            message = self._next()
            if message is not None and message["type"] == "hello":
                return message
            if time.monotonic() > deadline:
                raise endings.silent(self._who, self._hello_s, self._tail())

    def _check_hello(self) -> None:
        theirs = (self.hello.get("version"), self.hello.get("protocol"))
        if theirs != (VERSION, PROTOCOL):
            raise endings.other_version(self._who, theirs, (VERSION, PROTOCOL))
        missing = self.hello.get("missing") or []
        if missing:
            error = endings.unfit(self.python, [str(name) for name in missing])
            error.detail = self._tail()
            raise error

    # --- run ----------------------------------------------------------------------------------

    def is_alive(self) -> bool:
        """Whether it can take a job, as far as can be seen from outside."""
        return (
            self._process is not None and is_running(self._process) and not self._closing.is_set()
        )

    def run(self, job: AnyJob, listener: Listener) -> dict[str, Any]:
        """Run one job and return its report.

        Raises:
            FusionError: What the worker reported, a WorkerError when it died, or a
                CancelledError. The process is dead then, unless it reported the error itself,
                and nothing is left of the job.
        """
        self._number += 1
        leftovers = self._leftovers = Leftovers(job)
        try:
            message = self._converse(str(self._number), job, listener)
            if message["type"] == "result":
                return message["report"]
        except BaseException as error:
            self._kill()
            _clean(leftovers, error)
            raise
        finally:
            self._leftovers = None
        reported = endings.rebuilt(message)
        if reported.code in _POISONED:
            self.close()
        _clean(leftovers, reported)
        raise reported

    def _converse(self, number: str, job: AnyJob, listener: Listener) -> dict[str, Any]:
        """Send the job and follow it to its final message."""
        if self._channel is not None:
            self._channel.forget_noise()
        self._silent_s = 0.0
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        self._send({"type": "run", "id": number, "job": job.to_dict()})
        kill_at, heard = math.inf, False
        while time.monotonic() < kill_at:
            if kill_at == math.inf and (listener.is_cancelled() or self._closing.is_set()):
                self._send({"type": "cancel", "id": number})
                kill_at = time.monotonic() + GRACE_S
            try:
                message = self._next()
                self._watch_over(message, listener)
            except WorkerError as error:
                if kill_at < math.inf or self._closing.is_set():
                    break
                raise self._maybe_early(error, heard) from error
            if message is None or message.get("id") != number:
                continue
            heard = True
            if message["type"] in ("result", "error"):
                return self._final(message, cancelled=kill_at < math.inf)
            _pass_on(message, listener)
        raise endings.cancelled()

    def _watch_over(self, message: dict[str, Any] | None, listener: Listener) -> None:
        """Notice a worker that promised signs of life and gives none.

        Waits are added up instead of looking at the clock, which goes on while a laptop sleeps.

        Raises:
            WorkerError: It has been silent for too long.
        """
        before = self._silent_s
        self._silent_s = before + _POLL_S if message is None else 0.0
        if not self.hello.get("heartbeat"):
            return
        if before < STALL_TOLD_S <= self._silent_s:
            listener.on_log("warning", endings.no_sign_of_life(self._who, STALL_TOLD_S))
        if self._silent_s >= STALL_S:
            raise endings.stalled(self._who, STALL_S, self._tail())

    def _maybe_early(self, error: WorkerError, heard: bool) -> WorkerError:
        code = self._process.poll() if self._process is not None else None
        if not heard and code == 0:
            return LeftEarlyError(error.sentence, code=error.code, detail=error.detail)
        return error

    def _final(self, message: dict[str, Any], cancelled: bool) -> dict[str, Any]:
        if cancelled:  # even when it was faster: then the result goes, as the user wanted
            detail = str(message.get("detail") or "")
            return {
                "type": "error", "code": "cancelled", "sentence": endings.CANCELLED,
                "detail": detail,
            }  # fmt: skip
        if message["type"] == "result" and not isinstance(message.get("report"), dict):
            raise endings.babble(self._who, [repr(message)[:200]], self._tail())
        return message

    def _send(self, message: dict[str, Any]) -> None:
        if self._channel is not None:
            self._channel.send(message)

    def _next(self) -> dict[str, Any] | None:
        """The next message; None when there is none yet.

        Raises:
            WorkerError: There will be none.
        """
        channel, process = self._channel, self._process
        if channel is None or process is None:
            raise endings.ended(self._who, None, "not started")
        dead = not is_running(process)
        try:
            message = channel.receive(_POLL_S)
        except ChannelClosedError:
            raise self._obituary(process, channel) from None
        if message is None and dead:  # a child of it may still hold the pipe open
            raise self._obituary(process, channel)
        return message

    def _obituary(self, process: Process, channel: Channel) -> WorkerError:
        if channel.is_noisy:
            return endings.babble(self._who, channel.noise, self._tail())
        # After its last word it may take a moment to be gone.
        deadline = time.monotonic() + 1.0
        while is_running(process) and time.monotonic() < deadline:
            time.sleep(_POLL_S / 5)
        tail = self._tail(channel.noise)
        return endings.ended(self._who, process.poll(), tail, starting=not self.hello)

    def last_words(self) -> str:
        """The end of what the worker wrote to standard error, also when it is gone."""
        return self._tail() or self._last_words

    def _tail(self, noise: list[str] | None = None) -> str:
        """The end of what the worker wrote to standard error."""
        try:
            with open(self._log, "rb") as log:
                log.seek(0, 2)
                log.seek(max(self._log_start, log.tell() - _TAIL))
                errors = log.read().decode("utf-8", "replace")
        except OSError:
            errors = ""
        return "\n".join([*(noise or []), errors]).strip()

    # --- end ----------------------------------------------------------------------------------

    def ask_to_leave(self) -> None:
        """Tell the process to quit, without waiting; a job that runs is cancelled."""
        self._closing.set()
        self._send({"type": "quit"})
        if self._channel is not None:
            self._channel.hang_up()

    def close(self, patience_s: float = GRACE_S) -> None:
        """End the process: ask, wait, kill. What a running job left is removed."""
        self.ask_to_leave()
        self._bury(patience_s if self.hello else 0.0)  # before its hello it does not listen
        leftovers = self._leftovers
        if leftovers is not None:
            leftovers.remove_unfinished()

    def _kill(self) -> None:
        self._closing.set()
        self._bury(0.0)

    def _bury(self, patience_s: float) -> None:
        with self._lock:  # the first to come does it, others wait until it is done
            if self._process is not None:
                end(self._process, patience_s)
            if self._channel is not None:
                self._channel.join(1.0)
            if self._folder is not None:
                self._last_words = self.last_words()
                shutil.rmtree(self._folder, ignore_errors=True)


def _new_folder() -> Path:
    """Where the worker runs and its standard error goes."""
    try:
        return Path(tempfile.mkdtemp(prefix="rasterfuse-"))
    except OSError as error:
        raise WorkerError(
            f"No temporary folder can be made ({error}). Free some space on the disk for "
            "temporary files.",
            code=endings.TEMPORARY,
            detail=repr(error),
        ) from error


def _clean(leftovers: Leftovers, error: BaseException) -> None:
    """Remove what a failed job left; the error's log says what could not be removed."""
    remained = leftovers.remove()
    if remained and isinstance(error, FusionError):
        error.detail += f"\nCould not be removed: {', '.join(remained)}"


def _pass_on(message: dict[str, Any], listener: Listener) -> None:
    if message["type"] == "progress":
        fraction = message.get("fraction")
        if isinstance(fraction, (int, float)) and math.isfinite(fraction):
            stage = str(message.get("stage") or "")
            listener.on_progress(stage, min(max(float(fraction), 0.0), 1.0))
        if isinstance(message.get("detail"), dict):
            listener.on_detail(message["detail"])
    elif message["type"] == "log":
        listener.on_log(str(message.get("level") or "info"), str(message.get("text") or ""))
