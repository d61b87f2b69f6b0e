"""Keep freed memory for the next tile.

The C library of Linux gives large blocks back to the system as soon as they are freed, and the
system clears every page that it hands out anew: for arrays of a few MiB that takes longer than the
arithmetic on them. Other systems are left alone.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

# Options and their values, from malloc.h: give back from so many free bytes on; blocks of so many
# bytes come straight from the system (32 MiB is the most allowed); one heap for all threads.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Let this process reuse what it freed; to be called before it allocates much."""
    library = _glibc()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, 32 * 2**20)
        library.mallopt(_TRIM_THRESHOLD, 2**30)
        library.mallopt(_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Return what is free to the system: a worker may wait long for its next job."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> Any:
    """The C library where it is glibc, else None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "gnu_get_libc_version") else None
    except OSError:
        return None
