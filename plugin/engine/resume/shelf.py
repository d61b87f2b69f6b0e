"""Folders in RasterFuse's cache, each of one process at a time, together of a bounded size."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

PLACE = "RASTERFUSE_CACHE"  # the variable that moves the cache
MOST_BYTES = 10 * 2**30  # of all folders together
SPARE_BYTES = 2**30  # of the disk that are left to others
OLDEST_S = 7 * 24 * 3600.0
_LOCK = "lock"


def cache_folder() -> Path:
    """Where RasterFuse keeps what it can do without."""
    stated = os.environ.get(PLACE)
    if stated:
        return Path(stated)
    home = Path(os.path.expanduser("~"))  # unlike Path.home() it never fails
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return Path(base) / "rasterfuse"


class Shelf:
    """A folder that no other process has while this one has it.

    The system itself lets go of the lock of a process that died, so there are no stale ones.

    Raises:
        OSError: The folder cannot be made.
        BlockingIOError: Another process has it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(self._lock)
            # Whoever had it before may have removed it just now.
            mine = os.path.samestat(os.fstat(self._lock), os.stat(folder / _LOCK))
        except OSError:
            mine = False
        if not mine:
            os.close(self._lock)
            raise BlockingIOError(f"{folder} is in use by another process")

    def close(self) -> None:
        os.close(self._lock)

    def remove(self) -> None:
        """Close the folder and remove it with all that is in it."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def room_bytes(folder: Path) -> int:
    """How much may still be put into a folder; negative when too much is there already."""
    total = sum(_size(other) for other in _folders(folder.parent))
    return min(MOST_BYTES - total, shutil.disk_usage(folder).free - SPARE_BYTES)


def tidy(root: Path, but: Path | None) -> None:
    """Remove folders that nobody came back for, and the oldest ones if they take too much.

    Args:
        root: Where the folders are.
        but: A folder that stays in any case.
    """
    total = 0
    for folder in sorted(_folders(root), key=_age_s):
        total += _size(folder)
        if folder == but or (_age_s(folder) < OLDEST_S and total <= MOST_BYTES // 2):
            continue
        with suppress(OSError):  # in use
            Shelf(folder).remove()


def _folders(root: Path) -> list[Path]:
    try:
        return [path for path in root.iterdir() if path.is_dir()]
    except OSError:
        return []


def _size(folder: Path) -> int:
    return sum(status.st_size for status in _contents(folder))


def _age_s(folder: Path) -> float:
    """Seconds since something was put into a folder."""
    return time.time() - max((status.st_mtime for status in _contents(folder)), default=0.0)


def _contents(folder: Path) -> list[os.stat_result]:
    try:
        return [entry.stat() for entry in os.scandir(folder)]
    except OSError:  # it was removed meanwhile
        return []


if sys.platform == "win32":
    import msvcrt

    def _take(lock: int) -> None:
        msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(lock: int) -> None:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
