"""Calls pip, and knows from what it prints how far it is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from . import endings
from .children import Surroundings, run

_GUARD = Path(__file__).with_name("guard.py")
# -I keeps the user's packages and PYTHON* out, -u lines in order, UTF-8 makes every name possible.
FLAGS = ("-I", "-u", "-X", "utf8")
_TALKS = (24, 1)
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)$")
# Only wheels: nobody wants a compiler to run. Compiled on the first import, which saves minutes.
_INSTALL = ("install", "--only-binary", ":all:", "--no-compile", "--no-warn-script-location")
OnBytes = Callable[[int], None]


def variables(cache: Path, offline: bool) -> dict[str, str]:
    """Settings of pip; what the user has configured for it counts too, but not without network."""
    found = {
        "PIP_CACHE_DIR": str(cache),
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_REQUIRE_VIRTUALENV": "0",
        "PIP_USER": "0",
    }
    if offline:
        found["PIP_CONFIG_FILE"] = os.devnull
    return found


def from_folder(wheels: str) -> list[str]:
    """Options to install from a folder and nothing else; without one, none."""
    return ["--no-index", "--find-links", os.path.abspath(wheels)] if wheels else []


def progress_options(packages: Iterable[str]) -> list[str]:
    """Options to print how far it is, for those pips that can; an old one may stay offline.

    Args:
        packages: Paths of what is installed.
    """
    for path in packages:
        match = re.search(r"\bpip-(\d+)\.(\d+)[.\d]*\.dist-info$", path)
        if match and (int(match[1]), int(match[2])) >= _TALKS:
            return ["--progress-bar", "raw"]
    return []


def guarded(python: Path | str, module: str, *arguments: str) -> list[str]:
    """The command that runs a module, and ends with whoever started it."""
    return [str(python), *FLAGS, str(_GUARD), module, *arguments]


def install(
    python: Path,
    arguments: list[str],
    around: Surroundings,
    step: str,
    on_bytes: OnBytes = lambda count: None,
) -> None:
    """Install into an environment.

    Args:
        python: Its interpreter.
        arguments: Requirements and options.
        around: See there.
        step: Names the step.
        on_bytes: Gets how many bytes were fetched so far, see ``progress_options``.

    Raises:
        WorkerError: pip failed.
        CancelledError: The user cancelled.
    """
    count = _Count(on_bytes)
    outcome = run(guarded(python, "pip", *_INSTALL, *arguments), around, step, count.take)
    if outcome.code != 0:
        raise endings.of_pip(outcome.text, outcome.code, around.folder)


class _Count:
    """Adds up the files that are fetched one after another."""

    def __init__(self, on_bytes: OnBytes) -> None:
        self._on_bytes = on_bytes
        self._finished = self._now = 0

    def take(self, line: str) -> bool:
        """Whether a line was one of progress."""
        match = _PROGRESS.match(line)
        if match is None:
            return False
        now = int(match[1])
        if now < self._now:
            self._finished += self._now
        self._now = now
        self._on_bytes(self._finished + now)
        return True
