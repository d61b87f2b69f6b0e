"""Runs a child to its end: cancelled at once, ended when nothing moves, never for being slow."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..process import Process, end, is_running, kill, spawn
from . import endings

STALL_S = 300.0
_POLL_S = 0.1
_TAIL = 6000  # characters of output that an error carries
_LOOKS = 4  # how often the bytes are counted before nothing has moved for too long


@dataclass(frozen=True)
class Surroundings:
    """What all children of an installation have in common.

    Attributes:
        folder: Where they work.
        log: The file to which all they say is added.
        environment: Variables, besides the clean ones of this process.
        is_cancelled: Asked ten times a second.
        grown: Bytes of what grows while they work, for those that say nothing.
        stall_s: Without output and growth for so long, they are ended.
    """

    folder: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    is_cancelled: Callable[[], bool] = lambda: False
    grown: Callable[[], int] = lambda: 0
    stall_s: float = STALL_S


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its exit code, None when it cannot be ended, and what it said last."""

    code: int | None
    text: str


def run(
    command: Sequence[str],
    around: Surroundings,
    step: str,
    on_line: Callable[[str], bool] = lambda line: False,
) -> Outcome:
    """Run a program until it leaves.

    Args:
        command: The program and its arguments.
        around: See there.
        step: Names what is being done, for the sentence about a stall.
        on_line: Gets every line; True when the log need not have it.

    Raises:
        CancelledError: ``is_cancelled`` said so.
        WorkerError: Nothing moved for too long, or the program cannot be started.
    """
    begin = around.log.stat().st_size if around.log.exists() else 0
    _note(around.log, "$ " + " ".join(word if "\n" not in word else "…" for word in command))
    try:
        process = spawn(command, around.folder, around.log, around.environment)
    except OSError as error:
        raise endings.not_fit(command[0], f"cannot be started ({error.strerror})") from error
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
    reader.start()
    try:
        _follow(process, lines, around, step, on_line)
        code = end(process, 2.0)
    finally:
        kill(process)
        reader.join(5.0)
        _close(process)
    return Outcome(code, tail(around.log, begin))


def _follow(
    process: Process,
    lines: queue.SimpleQueue[str | None],
    around: Surroundings,
    step: str,
    on_line: Callable[[str], bool],
) -> None:
    """Pass on lines until there are no more."""
    watch = _StallWatch(around)
    while True:
        if around.is_cancelled():
            raise endings.cancelled()
        try:
            line = lines.get(timeout=_POLL_S)
        except queue.Empty:
            if not is_running(process):  # a child of it may still hold the pipe open
                return
            if watch.is_stalled():
                raise endings.stalled(step, around.stall_s, tail(around.log)) from None
            continue
        if line is None:
            return
        watch.moved()
        if not on_line(line):
            _note(around.log, line)


class _StallWatch:
    """Knows how long nothing has moved."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._bytes = -1
        self.moved()

    def moved(self) -> None:
        self._since = self._looked = time.monotonic()

    def is_stalled(self) -> bool:
        now = time.monotonic()
        if now - self._looked < self._around.stall_s / _LOOKS:
            return False
        self._looked = now
        size = self._around.grown() + self._around.log.stat().st_size
        if size != self._bytes:
            self._bytes, self._since = size, now
        return now - self._since >= self._around.stall_s


def _read(process: Process, lines: queue.SimpleQueue[str | None]) -> None:
    if process.stdout is not None:
        for line in iter(process.stdout.readline, b""):
            lines.put(line.decode("utf-8", "replace").rstrip())
    lines.put(None)


def _close(process: Process) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # the child has gone with something unread
                continue


def _note(log: Path, line: str) -> None:
    with open(log, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def tail(log: Path, begin: int = 0) -> str:
    """The end of a log, from a position on."""
    try:
        with open(log, "rb") as file:
            file.seek(0, 2)
            file.seek(max(begin, file.tell() - _TAIL))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
