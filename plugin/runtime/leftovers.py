"""What a job that ended without a result may have left on the disk."""

from __future__ import annotations

import os
import time

from ..paths import part_of
from ..training_job import AnyJob

_TRIES = 20  # Windows lets go of a dead process's files a little late
_PAUSE_S = 0.05


class Leftovers:
    """Make it before the job is sent, so what was there before is known."""

    def __init__(self, job: AnyJob) -> None:
        self._before = {path: _identity(path) for path in job.outputs}
        parts = [part_of(path) for path in job.outputs]
        self._unfinished = [*parts, *(part + ".aux.xml" for part in parts)]

    def remove(self) -> list[str]:
        """Remove what the job wrote; call it when nobody writes any more.

        An output itself goes only when it is another file than the one that was there before: the
        job was stopped between finishing it and saying so.

        Returns:
            The paths that could not be removed.
        """
        remained = self.remove_unfinished()
        for path, before in self._before.items():
            if _identity(path) not in (None, before) and not _remove(path):
                remained.append(path)
        return remained

    def remove_unfinished(self) -> list[str]:
        """Remove the growing files only; returns what could not be removed."""
        return [path for path in self._unfinished if not _remove(path)]


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _remove(path: str) -> bool:
    for _ in range(_TRIES):
        try:
            os.remove(path)
        except FileNotFoundError:
            return True
        except OSError:
            time.sleep(_PAUSE_S)
        else:
            return True
    return False
