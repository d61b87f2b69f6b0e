"""Which Python may run the worker."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from .install import folder

ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / "plugin" / "engine" / "worker.py"
VARIABLE = "RASTERFUSE_PYTHON"
_WINDOWS = os.name == "nt"


def candidates(chosen: str | None = None) -> list[str]:
    """Interpreters to try, best first.

    What the user chose, else what the environment variable names, stands alone: when it is unfit,
    the user shall hear of it and not unknowingly get another one. Without a choice come the
    managed environment, that of a checkout, and the Python that QGIS runs on.
    """
    wanted = explicit(chosen)
    if wanted:
        return [os.path.expanduser(wanted)]
    found = [managed(), checkout(), *qgis_pythons()]
    return [path for path in dict.fromkeys(found) if os.path.isfile(path)]


def explicit(chosen: str | None) -> str | None:
    """The interpreter that somebody asked for by name, if any."""
    return chosen or os.environ.get(VARIABLE) or None


def managed() -> str:
    """The interpreter of the environment that RasterFuse has installed; empty without one."""
    current = folder.Place(folder.root()).current()
    return str(current.python) if current is not None else ""


def checkout() -> str:
    """The interpreter that ``make setup`` makes in a checkout."""
    return str(folder.interpreter(ROOT / "build" / "worker"))


def qgis_pythons() -> list[str]:
    """The Python that QGIS runs on: ``sys.executable`` is QGIS itself on Windows and macOS."""
    found = []
    if sys.executable and is_python(sys.executable):
        found.append(sys.executable)
    base = Path(sys.base_exec_prefix)
    found.append(str(base / "python.exe" if _WINDOWS else base / "bin" / "python3"))
    return found


def is_python(path: str) -> bool:
    """Whether a program is a Python by its name."""
    name = re.split(r"[\\/]", path)[-1].lower()
    return re.fullmatch(r"python[\d.]*(\.exe)?", name) is not None


def fingerprint(path: str) -> tuple[str, int, int]:
    """Changes when the interpreter or its virtual environment is made anew."""
    return path, _changed(Path(path)), _changed(Path(path).parent.parent / "pyvenv.cfg")


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
