"""What a job that ended without a result may have left on the disk."""

from __future__ import annotations

import os
import time

from ..training_job import AnyJob

_TRIES = 20  # Windows lets go of a dead process's files a little late
_PAUSE_S = 0.05


class Leftovers:
    """Make it before the job is sent, so what was there before is known."""

    def __init__(self, job: AnyJob) -> None:
        self._output = job.output
        self._before = _identity(job.output)
        self._unfinished = (job.part, job.part + ".aux.xml")

    def remove(self) -> list[str]:
        """Remove what the job wrote; call it when nobody writes any more.

        The output itself goes only when it is another file than the one that was there before:
        the job was stopped between finishing it and saying so.

        Returns:
            The paths that could not be removed.
        """
        remained = self.remove_unfinished()
        changed = _identity(self._output) not in (None, self._before)
        if changed and not _remove(self._output):
            remained.append(self._output)
        return remained

    def remove_unfinished(self) -> list[str]:
        """Remove the growing file only; returns what could not be removed."""
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
