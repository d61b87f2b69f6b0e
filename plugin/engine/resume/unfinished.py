"""Finished tiles of a job that did not end, kept for the next run of the same job.

They lie in RasterFuse's cache, never beside the output. The next run reads the images and prepares
the method again, but does not compute these tiles.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import torch
from torch import Tensor

from ....models.errors import InputError
from ...grid import Window
from ...job import Job
from ..scene import Scene
from .journal import Journal
from .shelf import Shelf, cache_folder, room_bytes, tidy
from .stamp import stamp

WORTH_S = 5.0  # a job that takes less is as well begun anew

T = TypeVar("T")


class Unfinished:
    """The tiles of one job. Use as a context manager; a job that ends well leaves none.

    The layers of a tile are the bands of the result, and those of its standard error after them
    where that is wanted.

    Nothing here ends a job: what cannot be kept or read is done without, with a note.
    """

    def __init__(self, job: Job, scene: Scene) -> None:
        self._bands = scene.bands * len(job.outputs)
        self._began = time.monotonic()
        self._shelf: Shelf | None = None
        self._journal: Journal | None = None
        self._fault = ""
        root = cache_folder() / "unfinished"
        name = stamp(job, scene) if job.limits.resume else None
        self._folder = folder = None if name is None else root / name
        tidy(root, folder)
        if folder is not None and os.path.exists(folder):  # no exception without rights
            self._attempt(lambda: self._open(folder))

    def __enter__(self) -> Unfinished:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._shelf is None:
            return
        if error is None or isinstance(error, InputError):
            self._shelf.remove()
        else:
            self._shelf.close()

    def take(self, window: Window) -> Tensor | None:
        """(layers, rows, cols) of a window that former runs have finished, else None."""
        journal = self._journal
        values = None if journal is None else self._attempt(lambda: journal.read(window))
        return None if values is None else torch.from_numpy(values)

    def keep(self, window: Window, result: Tensor) -> None:
        """Keep a finished tile, (layers, rows, cols), if the job is long enough to matter."""
        folder = self._folder
        if folder is None or self._fault:
            return
        if self._journal is not None or time.monotonic() - self._began >= WORTH_S:
            self._attempt(lambda: self._append(folder, window, result))

    def notes(self, tiles: int, resumed: int) -> list[str]:
        """Sentences for the report on a job of so many tiles, some of them taken over."""
        found = []
        if resumed:
            found.append(
                f"Resumed: {resumed} of {tiles} tiles were taken over from a run that did not "
                "finish."
            )
        if self._fault:
            found.append(
                f"Finished tiles could not be kept ({self._fault}): had this job been stopped, "
                "it would have begun anew."
            )
        return found

    def _attempt(self, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except (OSError, MemoryError) as error:
            self._fault = self._fault or str(error)
            return None

    def _open(self, folder: Path) -> Journal:
        self._shelf = self._shelf or Shelf(folder)
        self._journal = self._journal or Journal(folder, self._bands)
        return self._journal

    def _append(self, folder: Path, window: Window, result: Tensor) -> None:
        journal = self._open(folder)
        if room_bytes(folder) < result.nbytes:
            raise OSError(f"too little room in {folder.parent}")
        journal.append(window, result.numpy())
