"""What must hold after every fault: one helper for all tests that cause one."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from rasterfuse.models.catalogue import CATALOGUE
from rasterfuse.models.errors import FusionError
from scripted_worker import is_running

WORKER = b"plugin/engine/worker.py"
SOON = 60  # seconds that anything may take on a busy machine; nothing may hang


def assert_explained(code: str, sentence: str) -> None:
    """A user can read what happened, and the help knows more."""
    assert code in CATALOGUE, f"{code!r} is not in models/catalogue.py ({sentence})"
    assert sentence.isprintable(), repr(sentence)
    assert 4 <= len(sentence.split()) <= 300, sentence
    assert sentence.endswith((".", ")", "…")), sentence
    assert "Traceback" not in sentence
    assert "object at 0x" not in sentence


def assert_nothing_left(output: str | Path, older: bytes | None = None) -> None:
    """No part of a result, and an older result as it was."""
    folder, name = os.path.split(output)
    found = sorted(item for item in os.listdir(folder) if item.startswith(name))
    assert found == ([] if older is None else [name])
    if older is not None:
        assert Path(output).read_bytes() == older


def assert_gone(pids: list[int]) -> None:
    """The processes end by themselves within some seconds."""
    wait_for(lambda: not any(is_running(pid) for pid in pids))


def assert_clean_failure(
    fault: Any, output: str | Path, pids: list[int], older: bytes | None = None
) -> None:
    """The whole promise: explained, no partial output, no orphan."""
    assert isinstance(fault, FusionError), repr(fault)
    assert_explained(fault.code, fault.sentence)
    assert_nothing_left(output, older)
    assert_gone(pids)


def wait_for(condition: Any) -> None:
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def workers_of(parent: int) -> list[int]:
    """Process ids of the living workers that a process has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            theirs = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if theirs == parent and WORKER in command and is_running(int(entry.name)):
            found.append(int(entry.name))
    return found


def processes_below(folder: str | Path) -> list[int]:
    """Living processes that work in a folder or below it, whoever their parent is by now."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            place = os.readlink(entry / "cwd").removesuffix(" (deleted)")
        except OSError:
            continue
        if (place + "/").startswith(f"{folder}/") and is_running(int(entry.name)):
            found.append(int(entry.name))
    return sorted(found)


def stop(pid: int) -> None:
    """Let a process stand still, as one that swaps or hangs in a driver does."""
    os.kill(pid, signal.SIGSTOP)
