"""Start and end other processes, the worker above all: the only place that does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_WINDOWS = os.name == "nt"
# What QGIS, its launchers and shells set for their own Python, GDAL, PROJ and Qt.
_DROPPED = re.compile(
    r"(PYTHON|GDAL|LD_|DYLD_|QGIS|PIP_|OSGEO4W|QT_|OGR_|PROJ_).*"
    r"|PROJ|VIRTUAL_ENV|VIRTUAL_ENV_PROMPT|__PYVENV_LAUNCHER__|GEOTIFF_CSV"
)
_CERTIFICATES = {"SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"}
_QGIS_FOLDER = re.compile(r"(qgis([ \d.].*)?|qgis.*\.app|osgeo4w\d*)", re.IGNORECASE)
_LAST_WAIT_S = 5.0
_PAUSE_S = 0.02

Process = subprocess.Popen[bytes]


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy without what would make the worker load QGIS's libraries instead of its own."""
    root = environment.get("OSGEO4W_ROOT", "")
    kept = {}
    for name, value in environment.items():
        if _DROPPED.fullmatch(name.upper()):
            continue
        if name.upper() in _CERTIFICATES and inside_qgis(value, root):
            continue
        kept[name] = _without_qgis(value, root) if name.upper() == "PATH" else value
    return kept


def _without_qgis(path: str, root: str) -> str:
    entries = [entry for entry in path.split(os.pathsep) if entry and not inside_qgis(entry, root)]
    return os.pathsep.join(entries) or os.defpath


def inside_qgis(path: str, root: str = "") -> bool:
    """Whether a path lies in a QGIS bundle, to go by its folders' names, or below ``root``."""
    parts = _parts(path)
    base = _parts(root)
    if base and parts[: len(base)] == base:
        return True
    return any(_QGIS_FOLDER.fullmatch(part) for part in parts)


def _parts(path: str) -> list[str]:
    return [part.lower() for part in re.split(r"[\\/]+", path) if part]


def spawn(
    command: Sequence[str], folder: Path, errors: Path, added: Mapping[str, str] | None = None
) -> Process:
    """Start a program with pipes for its standard input and output.

    It gets a clean environment and the variables ``added``, no shell, no window, ``folder`` to
    work in, a group of its own so that its children end with it, and no file handles but the
    three; standard error goes to the file ``errors``.

    Raises:
        OSError: It cannot be started.
    """
    with open(errors, "ab") as log:
        # The worker has to be a process of its own (torch inside QGIS breaks QGIS). There is no
        # shell, and the program is the interpreter that the user chose or that was found.
        return subprocess.Popen(  # nosec B603
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env={**clean_environment(os.environ), **(added or {})},
            close_fds=True,
            start_new_session=not _WINDOWS,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )


def is_running(process: Process) -> bool:
    """Whether a process still runs; what it had started is killed when it is found dead."""
    if process.returncode is None and _has_died(process.pid):
        _kill_group(process)
    return process.poll() is None


def end(process: Process, patience_s: float) -> int | None:
    """Wait for a process to leave, kill it when it does not; its exit code, None if unkillable."""
    if not _ends_within(process, patience_s):
        kill(process)
        _ends_within(process, _LAST_WAIT_S)
    return process.poll()


def kill(process: Process) -> None:
    """Kill a process and what it has started itself."""
    if is_running(process):
        _kill_group(process)


def _ends_within(process: Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_S)
    return True


def _has_died(pid: int) -> bool:
    """Whether a child is dead and still holds its number, so that no other process can have it."""
    if not hasattr(os, "waitid"):  # Windows, and macOS before Python 3.13
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # another thread was faster
        return False


def _kill_group(process: Process) -> None:
    try:
        if _WINDOWS:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # it left at this very moment; macOS says so of a group of the dead
