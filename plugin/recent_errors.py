"""The last failures of this session, for the diagnostics. Standard library only."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime

from ..models.errors import CancelledError, FusionError

_MOST = 20
_LONGEST_DETAIL = 4000  # characters; the end of a traceback says most


@dataclass(frozen=True)
class Entry:
    """A failure; ``when`` is the local time of the last one of ``times`` equal ones in a row."""

    when: str
    code: str
    sentence: str
    detail: str
    times: int = 1


_LOCK = threading.Lock()
_RING: deque[Entry] = deque(maxlen=_MOST)


def note(error: FusionError) -> None:
    """Remember a failure, unless the user wanted it; fit for any thread."""
    if isinstance(error, CancelledError):
        return
    when = datetime.now().isoformat(" ", "seconds")
    entry = Entry(when, error.code, error.sentence, error.detail[-_LONGEST_DETAIL:])
    with _LOCK:
        last = _RING[-1] if _RING else None
        if last is not None and (last.code, last.sentence) == (entry.code, entry.sentence):
            _RING[-1] = replace(entry, times=last.times + 1)
        else:
            _RING.append(entry)


def latest() -> list[Entry]:
    """What was noted, the newest first."""
    with _LOCK:
        return list(reversed(_RING))


def forget() -> None:
    """Begin anew."""
    with _LOCK:
        _RING.clear()
