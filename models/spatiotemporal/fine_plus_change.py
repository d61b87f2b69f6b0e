"""Fine reference plus coarse change: the baseline that every method has to beat."""

from __future__ import annotations

from torch import Tensor

from ..base import FusionModel, Progress, SceneReader, Tile
from .pairs import nearness


class FinePlusChange(FusionModel):
    """F + C2 - C1 per pixel; with several pairs their mean, nearer dates weighing more.

    Shapes and units:
        coarse_target: (bands, rows, cols), coarse image on the fine grid, the fine image's unit.
        coarse_references, fine_references: (pairs, bands, rows, cols), likewise.
        result: (bands, rows, cols); NaN where the target or every pair has nodata.

    Source: Gao, Masek, Schwaller & Hall (2006), doi:10.1109/TGRS.2006.872081, equation 1.
    """

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Distances of the pairs in days."""
        self._days = scene.days
        progress(1.0)

    def fuse(self, tile: Tile) -> Tensor:
        fine, coarse = tile["fine_references"], tile["coarse_references"]
        answers = fine + (tile["coarse_target"] - coarse)
        valid = tile.masks["fine_references"] & tile.masks["coarse_references"]
        valid = valid & tile.masks["coarse_target"]
        weights = nearness(self._days, len(fine), self.device) * valid
        return (weights * answers).sum(dim=0) / weights.sum(dim=0)
