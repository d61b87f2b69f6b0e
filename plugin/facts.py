"""Collects what the diagnostics show; starts nothing and takes milliseconds."""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import tempfile
from pathlib import Path

from qgis.core import Qgis, QgsApplication
from qgis.PyQt.QtCore import QT_VERSION_STR

from . import recent_errors
from .diagnostics import Facts, Person
from .engine import VERSION
from .runtime.runtime import Runtime, RuntimeStatus

_NAMES = ("USER", "USERNAME", "LOGNAME", "LNAME")
_HOMES = ("HOME", "USERPROFILE")


def collect(runtime: Runtime, status: RuntimeStatus | None) -> Facts:
    """What is known now.

    Args:
        runtime: Whose worker to tell of.
        status: What is known of it; None when nobody has looked.
    """
    temporary = tempfile.gettempdir()
    versions = {
        "RasterFuse": VERSION,
        "QGIS": Qgis.QGIS_VERSION,
        "Qt": QT_VERSION_STR,
        "Python of QGIS": platform.python_version(),
        "System": platform.platform(),
    }
    paths = {
        "Plugin": str(Path(__file__).resolve().parents[1]),
        "Profile": QgsApplication.qgisSettingsDirPath(),
        "Temporary files": temporary,
    }
    return Facts(
        versions, status, paths, _free(temporary), recent_errors.latest(), runtime.last_words()
    )


def person() -> Person:
    """Who must not be shown: the user of this computer."""
    homes = {str(Path.home()), *(os.environ.get(name, "") for name in _HOMES)}
    homes |= {os.path.realpath(home) for home in homes if home}
    names = {os.environ.get(name, "") for name in _NAMES} | {Path.home().name}
    try:
        names.add(getpass.getuser())
    except (OSError, KeyError, ImportError):  # a user without an entry, as in some containers
        names.discard("")
    return Person(tuple(sorted(homes - {""})), tuple(sorted(names - {""})))


def _free(temporary: str) -> dict[str, float]:
    try:
        return {"temporary files": shutil.disk_usage(temporary).free / 2**20}
    except OSError:
        return {}
