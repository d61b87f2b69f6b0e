"""What is known of the worker without waiting for it; light enough for the toolbox."""

from __future__ import annotations

import threading
import time

from .. import settings  # noqa: F401 (importing them tells the runtime whose choice counts)
from ..runtime.runtime import shared

_LOOK_AGAIN_S = 10.0


class _Looker:
    """Looks for a worker in the background, so that a reason that is no longer true goes away."""

    def __init__(self) -> None:
        self._last = -_LOOK_AGAIN_S

    def look(self) -> None:
        if time.monotonic() - self._last < _LOOK_AGAIN_S:
            return
        self._last = time.monotonic()
        threading.Thread(target=shared().status, name="rasterfuse-look", daemon=True).start()


_LOOKER = _Looker()


def known_obstacle() -> str:
    """Why no job can run, as far as that is known without waiting; empty when nothing is known."""
    status = shared().cached_status()
    if status is None or status.ready:
        return ""
    _LOOKER.look()
    return status.reason
