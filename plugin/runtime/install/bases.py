"""Finds the Python to make an environment with: never QGIS itself."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ....models.errors import WorkerError
from ..find import is_python, qgis_pythons
from ..process import clean_environment
from . import endings
from .children import Surroundings, run
from .plan import BEST_PYTHON, OLDEST_PYTHON

_WINDOWS = os.name == "nt"
_PATIENCE_S = 30.0
_MINORS = (12, 13, 11, 14, 10)  # of Python 3, best first
_QUESTION = """
import importlib.util as u, json, struct, sys
print(json.dumps({
    "version": sys.version_info[:2], "bits": 8 * struct.calcsize("P"),
    "venv": all(u.find_spec(name) for name in ("venv", "ensurepip")),
}))
"""


@dataclass(frozen=True)
class Base:
    """A Python, as it says of itself."""

    python: str
    version: tuple[int, int]
    bits: int
    has_venv: bool

    def fault(self, newest: tuple[int, int]) -> str:
        """Why it cannot be used, to follow its path; empty when it can."""
        if self.bits != 64:
            return f"has {self.bits} bits, not 64"
        if not OLDEST_PYTHON <= self.version <= newest:
            return f"is Python {self.version[0]}.{self.version[1]}, not 3.10 to 3.{newest[1]}"
        return ""


def examine(python: str, around: Surroundings) -> Base | None:
    """Ask a Python what it is; None when it is none.

    Raises:
        CancelledError: The user cancelled.
    """
    command = [python, "-I", "-X", "utf8", "-c", _QUESTION]
    answers: list[str] = []

    def on_line(line: str) -> bool:
        answers.append(line)
        return False

    try:
        run(command, replace(around, stall_s=_PATIENCE_S), "looking for a Python", on_line)
        found = json.loads(answers[-1])
        version = found["version"]
        return Base(python, (version[0], version[1]), found["bits"], found["venv"])
    except (WorkerError, ValueError, KeyError, IndexError, TypeError):
        return None


def named(python: str, newest: tuple[int, int], around: Surroundings) -> Base:
    """The Python that somebody asked for.

    Raises:
        WorkerError: It is none, or not fit.
    """
    base = examine(python, around)
    if base is None:
        raise endings.not_fit(python, "is no Python that answers")
    if base.fault(newest):
        raise endings.not_fit(python, base.fault(newest))
    if not base.has_venv:
        raise endings.no_venv(python, base.version)
    return base


def on_this_machine(newest: tuple[int, int], around: Surroundings) -> Base:
    """The best Python that is installed.

    Raises:
        WorkerError: There is no fit one.
    """
    looked, without_venv = 0, None
    for python in candidates():
        looked += 1
        base = examine(python, around)
        if base is None or base.fault(newest):
            continue
        if base.has_venv:
            return base
        without_venv = without_venv or base
    if without_venv is not None:
        raise endings.no_venv(without_venv.python, without_venv.version)
    raise endings.no_python(looked, newest)


def any_with_venv(around: Surroundings) -> Base | None:
    """A Python that can make an environment, of whatever version."""
    for python in candidates():
        base = examine(python, around)
        if base is not None and base.has_venv:
            return base
    return None


def fetched(folder: Path) -> str | None:
    """The Python that uv has put into a folder."""
    pattern = "python.exe" if _WINDOWS else f"bin/python{BEST_PYTHON[0]}.{BEST_PYTHON[1]}"
    start = f"cpython-{BEST_PYTHON[0]}.{BEST_PYTHON[1]}."
    found = sorted(folder.glob(f"{start}*/{pattern}"))
    return str(found[-1]) if found else None


def uv() -> str | None:
    """A uv that the user has."""
    path = clean_environment(os.environ).get("PATH", os.defpath)
    more = [Path.home() / ".local" / "bin", Path.home() / ".cargo" / "bin"]
    return shutil.which("uv", path=os.pathsep.join([path, *map(str, more)]))


def candidates() -> list[str]:
    """Programs that may be a Python, best first; one program once, whatever its names."""
    found: dict[str, str] = {}
    for path in [*_by_name(), *_by_place(), *qgis_pythons()]:
        if os.path.isfile(path) and is_python(path) and "WindowsApps" not in path:
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _by_name() -> Iterator[str]:
    path = clean_environment(os.environ).get("PATH", os.defpath)
    folders = [*path.split(os.pathsep), *_folders()]
    names = [f"python3.{minor}" for minor in _MINORS] + ["python3"]
    if _WINDOWS:
        names = ["python.exe"]
    for name in names:
        for folder in folders:
            # Without Apple's tools, its python3 asks whether to install them.
            if not (sys.platform == "darwin" and folder == "/usr/bin"):
                yield os.path.join(folder, name)


def _folders() -> list[str]:
    """Where Pythons are, also when a program from a desktop has a short PATH."""
    if _WINDOWS:
        return []
    frameworks = "/Library/Frameworks/Python.framework/Versions/3.{}/bin"
    return ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", str(Path.home() / ".local/bin"),
            *(frameworks.format(minor) for minor in _MINORS)]  # fmt: skip


def _by_place() -> Iterator[str]:
    """Where the installers for Windows put Python."""
    if not _WINDOWS:
        return
    local = os.environ.get("LOCALAPPDATA", "")
    programs = os.environ.get("PROGRAMFILES", "")
    for minor in _MINORS:
        yield os.path.join(local, "Programs", "Python", f"Python3{minor}", "python.exe")
        yield os.path.join(programs, f"Python3{minor}", "python.exe")
