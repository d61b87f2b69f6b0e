"""A copy of the nearest fine reference: what a user has without any fusion."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import FusionModel, Progress, SceneReader, Tile
from .pairs import by_nearness


class CopyFine(FusionModel):
    """The fine reference nearest in time; where it has nodata, the next one.

    Shapes and units:
        fine_references: (pairs, bands, rows, cols).
        result: (bands, rows, cols); NaN where every reference has nodata.

    Source: persistence, the usual reference forecast; it has no paper of its own.
    """

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Distances of the pairs in days."""
        self._days = scene.days
        progress(1.0)

    def fuse(self, tile: Tile) -> Tensor:
        fine, valid = tile["fine_references"], tile.masks["fine_references"]
        order = torch.tensor(by_nearness(self._days, len(fine)), device=self.device)
        first = valid[order].to(torch.uint8).argmax(dim=0, keepdim=True)
        result = fine[order].gather(0, first)[0]
        return result.where(valid.any(dim=0), torch.nan)
