"""Where the managed environments live, and which of them is in use.

current.json        which environment is in use; replaced in one go
<key>/              an environment; <key>b/ while another one of the same key is in use
<key>.json          how far its installation has come
python/             a Python that uv fetched
cache/, tools/, tmp/   only while installing
install.log         what the last installation said
lock                held by who installs
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....models.trained import local_data

VARIABLE = "RASTERFUSE_RUNTIME_DIR"
_WINDOWS = os.name == "nt"
_SCRATCH = ("cache", "tools", "tmp")


class _Chooser:
    """Who knows which folder the user chose; the settings are on QGIS's side."""

    def __init__(self) -> None:
        self.ask: Callable[[], str | None] = lambda: None


_CHOOSER = _Chooser()


def placed_by(ask: Callable[[], str | None]) -> None:
    """Ask for the user's folder from now on; an empty answer means the default."""
    _CHOOSER.ask = ask


def default_root() -> Path:
    """Beside the other local data of RasterFuse."""
    return local_data() / "runtime"


def root() -> Path:
    """The folder in use: what the environment variable says, the user chose, or the default."""
    wanted = os.environ.get(VARIABLE) or _CHOOSER.ask()
    return Path(wanted).expanduser() if wanted else default_root()


def interpreter(environment: Path) -> Path:
    """The Python of an environment."""
    return environment / ("Scripts/python.exe" if _WINDOWS else "bin/python")


@dataclass(frozen=True)
class Current:
    """The environment in use.

    Attributes:
        environment: Its folder.
        key: Of the plan that it was made by.
        build: Of torch.
        hello: What its worker said of itself when it was tried.
    """

    environment: Path
    key: str
    build: str
    hello: dict[str, Any]

    @property
    def python(self) -> Path:
        return interpreter(self.environment)


class Place:
    """The folder of the managed environments.

    Methods that write raise OSError.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.log = folder / "install.log"
        self.lock = folder / "lock"
        self.cache, self.tools, self.tmp = (folder / name for name in _SCRATCH)
        self.pythons = folder / "python"
        self._pointer = folder / "current.json"

    def current(self) -> Current | None:
        """The environment in use; None when there is none or its interpreter is gone."""
        pointer = _read(self._pointer)
        name, hello = str(pointer.get("environment") or ""), pointer.get("hello")
        if not name or Path(name).name != name or name in (".", ".."):
            return None
        found = Current(
            self.root / name,
            str(pointer.get("key") or ""),
            str(pointer.get("build") or ""),
            hello if isinstance(hello, dict) else {},
        )
        return found if found.python.is_file() else None

    def target(self, key: str) -> Path:
        """Where to install: never where the environment in use is."""
        current = self.current()
        taken = current.environment.name if current is not None else ""
        return self.root / (key if key != taken else key + "b")

    def switch(self, environment: Path, key: str, build: str, hello: dict[str, Any]) -> None:
        """Use another environment from now on, in one go."""
        pointer = {"environment": environment.name, "key": key, "build": build, "hello": hello}
        write(self._pointer, pointer)

    def state(self, environment: Path) -> dict[str, Any]:
        """How far the installation of an environment has come; empty when it has not begun."""
        return _read(self._state(environment))

    def set_state(self, environment: Path, state: dict[str, Any]) -> None:
        write(self._state(environment), state)

    def forget(self, environment: Path) -> None:
        """Begin from nothing next time; ``sweep`` still knows that the environment is ours."""
        self.set_state(environment, {})

    def _state(self, environment: Path) -> Path:
        return environment.with_name(environment.name + ".json")

    def is_begun(self, key: str) -> bool:
        """Whether an installation of a plan waits to be continued."""
        return bool(self.state(self.target(key)))

    def sweep(self) -> None:
        """Remove all environments but the one in use, and what only an installation needs.

        What another program still has open stays for the next time.
        """
        current = self.current()
        kept = current.environment if current is not None else None
        for state in self.root.glob("*.json"):
            environment = state.with_suffix("")
            if state != self._pointer and environment != kept:
                _remove(environment)
                if not environment.exists():
                    state.unlink(missing_ok=True)
        for name in _SCRATCH:
            _remove(self.root / name)
        for left in self.root.glob("*.part"):
            left.unlink(missing_ok=True)
        for left in self.root.glob("*.gone"):
            shutil.rmtree(left, ignore_errors=True)

    def remove(self) -> bool:
        """Remove everything that was installed; False when something could not be removed.

        Only what an installation has made is touched, whatever else lies in the folder.
        """
        self._pointer.unlink(missing_ok=True)
        self.sweep()
        _remove(self.pythons)
        self.log.unlink(missing_ok=True)
        made = [*self.root.glob("*.json"), *self.root.glob("*.gone"), self.pythons]
        return not any(path.exists() for path in made)


def size(folder: Path) -> int:
    """Bytes of all files below a folder, as far as they can be seen."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # removed meanwhile
                total += os.lstat(os.path.join(path, name)).st_size
    return total


def free_mb(folder: Path) -> float:
    """Free space on the disk on which a folder is or will be; infinite where it cannot be told."""
    for path in (folder, *folder.parents):
        if path.exists():
            try:
                return shutil.disk_usage(path).free / 1e6
            except OSError:
                break
    return float("inf")


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write(path: Path, value: dict[str, Any]) -> None:
    """Replace a JSON file in one go, so that nobody ever reads half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, path)


def _remove(folder: Path) -> None:
    """Remove a folder; by another name first, so that nobody takes what is left for whole."""
    doomed = folder.with_name(folder.name + ".gone")
    try:
        os.replace(folder, doomed)
    except FileNotFoundError:
        return
    except OSError:  # something in it is in use, or an earlier one is still there
        doomed = folder
    shutil.rmtree(doomed, ignore_errors=True)
