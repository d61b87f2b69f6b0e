"""One installation at a time, over all windows of QGIS.

The system holds the lock and lets go of it when the process ends, however it ends. The file says
who holds it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import endings

_FAR = 2**30  # Windows locks bytes against reading too: one far behind the text


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock within the block.

    Raises:
        WorkerError: Somebody else holds it; the sentence says who and since when.
        OSError: The file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _try_lock(handle):
            raise endings.busy(_who(path))
        text = json.dumps({"pid": os.getpid(), "since": time.time()}).encode("ascii")
        os.ftruncate(handle, 0)
        os.write(handle, text)
        try:
            yield
        finally:
            os.ftruncate(handle, 0)
            _unlock(handle)
    finally:
        os.close(handle)


def holder(path: Path) -> str:
    """Who holds the lock, in words; empty when nobody does."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return ""
    try:
        if not _try_lock(handle):
            return _who(path)
        _unlock(handle)
        return ""
    finally:
        os.close(handle)


def _who(path: Path) -> str:
    try:
        owner: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
        since = time.strftime("%H:%M", time.localtime(float(owner["since"])))
        return f"Another window of QGIS (process {int(owner['pid'])}, since {since})"
    except (OSError, ValueError, KeyError, TypeError):
        return "Another window of QGIS"


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(handle, 0, os.SEEK_SET)
        return True

    def _unlock(handle: int) -> None:
        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
