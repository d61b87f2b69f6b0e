"""What is known of interpreters from earlier, so that nothing has to be started to say it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..engine import VERSION
from .find import fingerprint

_MOST = 8  # interpreters
_TOLD = ("version", "python", "packages", "missing", "devices")


class _Memory:
    """Where it is kept: a text that outlives the session. QGIS's side has the settings for it."""

    def __init__(self) -> None:
        self.load: Callable[[], str] = lambda: ""
        self.save: Callable[[str], None] = lambda text: None


_MEMORY = _Memory()


def remembered_by(load: Callable[[], str], save: Callable[[str], None]) -> None:
    """Keep what is known with these functions from now on; they may be called on any thread."""
    _MEMORY.load, _MEMORY.save = load, save


def recall(python: str) -> dict[str, Any] | None:
    """What was remembered of an interpreter; None if nothing or if it has changed since."""
    record = _records().get(python)
    if not isinstance(record, dict) or record.get("version") != VERSION:
        return None
    return record if record.get("seen") == list(fingerprint(python)) else None


def remember(python: str, hello: dict[str, Any], **facts: Any) -> None:
    """Keep what an interpreter's hello says and some more facts, all of them plain data."""
    records = _records()
    records.pop(python, None)
    told = {name: hello[name] for name in _TOLD if name in hello}
    seen = list(fingerprint(python))
    records[python] = {"version": VERSION, "seen": seen, "hello": told, **facts}
    newest = dict(list(records.items())[-_MOST:])
    _MEMORY.save(json.dumps(newest))


def _records() -> dict[str, Any]:
    try:
        records = json.loads(_MEMORY.load() or "{}")
    except ValueError:  # somebody edited the settings
        return {}
    return records if isinstance(records, dict) else {}
