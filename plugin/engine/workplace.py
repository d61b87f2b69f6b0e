"""Where tiles are fused and how large they may be; both give way when memory runs out."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from ...models.base import FusionModel, Progress, Tile
from ...models.cards import Card
from ...models.errors import MemoryLimitError
from ..job import Job
from .device import (
    empty_cache,
    gpu_memory_mb,
    gpu_tile_bytes,
    ran_out_of_memory,
    tile_memory_bytes,
)
from .scene import Scene
from .tiles import smaller_side, tile_side

_CPU = torch.device("cpu")
_TEMPORARIES = 3  # copies of a tile that a method may need beside the card's figure

T = TypeVar("T")


class MemoryRanOutError(Exception):
    """Memory ran out. It holds the words of the first exception, and none of its tensors."""


def within_memory(action: Callable[[], T]) -> T:
    """What ``action`` answers.

    Raises:
        MemoryRanOutError: Memory ran out; what was held is free again.
    """
    try:
        return action()
    except (MemoryError, RuntimeError, OSError) as error:  # GDAL's are OSErrors
        if not ran_out_of_memory(error):
            raise
        words = str(error).partition("\n")[0]
    # Only out of the handler the frames of the failed call go, and their tensors with them.
    raise MemoryRanOutError(words)


class Workplace:
    """The method on its device, and the side of the tiles.

    Attributes:
        model: The method, ready after ``prepare``.
        device: The device that was chosen first.
        side: Side of a tile's core in fine pixels.
        warnings: What was given up, sentences for the report.
    """

    def __init__(self, job: Job, card: Card, device: torch.device) -> None:
        self._job = job
        self._card = card
        self.device = device
        self.model = load_model(card, job, device)
        self.side = 0
        self.warnings: list[str] = []

    def prepare(self, scene: Scene, progress: Progress) -> None:
        """Let the method learn from the scene, on the CPU where the device is too small for it."""
        self._scene = scene
        words = self._prepare(progress)
        if words:
            where = self._memory()
            self._move_to_cpu(words, progress)
            self.warnings = [
                f"{where} ran out while the method looked at the whole scene, so the CPU did "
                "the fusion."
            ]
        self.side = self._usual_side()

    def fuse(self, tile: Tile) -> Tensor:
        """(layers, rows, cols) of a tile with its halo: the bands of the result, NaN for nodata.

        Where the job wants the standard error, its bands follow, NaN where the result is.
        """
        placed = tile.to(self.model.device)
        if self._job.error_output is None:
            return self.model.fuse(placed).cpu()
        image, error = self.model.fuse_with_error(placed)
        return torch.cat([image, error.masked_fill(~torch.isfinite(image), torch.nan)]).cpu()

    def give_way(self, words: str, left: float, progress: Progress) -> None:
        """Make the tiles smaller or, where they are smallest, go on with the CPU.

        Args:
            words: What was said when memory ran out.
            left: Share of the scene that is not fused yet.
            progress: Is asked now and then while the method is prepared again.

        Raises:
            MemoryLimitError: The smallest tiles do not fit, on the CPU neither.
        """
        where, size = self._memory(), f"{self.side} x {self.side}"
        smaller = smaller_side(self.side)
        if smaller is None:
            self._move_to_cpu(words, progress)
            self.warnings = [
                f"{where} ran out even with tiles of {size} pixels, so the CPU fused {left:.0%} of "
                "the scene."
            ]
            self.side = self._usual_side()
            return
        empty_cache(self.model.device)
        self.side = smaller
        self.warnings.append(
            f"{where} ran out with tiles of {size} pixels, so smaller ones of {smaller} x "
            f"{smaller} were used."
        )

    def _move_to_cpu(self, words: str, progress: Progress) -> None:
        if self.model.device == _CPU:
            raise out_of_memory(self._job, words)
        # Other kernels run there; torch's run everywhere.
        backend = "torch" if self._job.backend == "torch" else "auto"
        self.model = load_model(self._card, replace(self._job, backend=backend), _CPU)
        empty_cache(self.device)
        words = self._prepare(progress)
        if words:
            raise out_of_memory(self._job, words)

    def _prepare(self, progress: Progress) -> str:
        """What was said when memory ran out; empty when it did not."""
        try:
            within_memory(lambda: self.model.prepare(self._scene, progress))
        except MemoryRanOutError as error:
            return str(error) or "no memory"
        return ""

    def _usual_side(self) -> int:
        rows, cols = self._scene.shape
        if self._job.limits.tile is not None:
            return min(self._job.limits.tile, max(rows, cols))
        images = len(self._job.outputs) + 2 * len(self._job.references) + _TEMPORARIES
        held, halo = self._scene.bands * 5 * images, self.model.halo
        working = held + self._scene.bands * self._card.cost["bytes_per_pixel_band"]
        limit = self._job.limits.memory_mb
        on_gpu, here = gpu_tile_bytes(self.model.device, limit), tile_memory_bytes(limit)
        if on_gpu is None:
            side = tile_side(halo, working, here)
        else:
            side = min(tile_side(halo, working, on_gpu), tile_side(halo, held, here))
        return min(side, max(rows, cols))

    def _memory(self) -> str:
        """What ran out, as the start of a sentence."""
        if self.model.device == _CPU:
            return "Memory"
        known = gpu_memory_mb(self.model.device)
        numbers = "" if known is None else f" ({known[0]:.0f} of {known[1]:.0f} MB were free)"
        return f"The memory of {self.model.device}{numbers}"


def out_of_memory(job: Job, words: str) -> MemoryLimitError:
    """The error for the user when nothing smaller is left to try."""
    return MemoryLimitError(
        "Memory ran out while fusing. Lower the memory limit of the job (it makes smaller tiles) "
        "or close other programs.",
        detail=f"{job.limits}: {words}",
    )


def load_model(card: Card, job: Job, device: torch.device) -> FusionModel:
    """The method's object: its class is named by the card, its module lies beside the card.

    Raises:
        InputError: A parameter is not allowed.
    """
    root = __package__.rsplit(".", 2)[0]
    module = importlib.import_module(f"{root}.models.{card.module}")
    return getattr(module, card.class_name)(card, job.parameters, device, job.backend)
