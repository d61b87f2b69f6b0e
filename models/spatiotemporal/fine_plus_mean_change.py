"""Fine reference plus the mean coarse change of the scene: a baseline without spatial detail."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import FusionModel, Progress, SceneReader, Tile
from .pairs import nearness


class FinePlusMeanChange(FusionModel):
    """F + mean of C2 - C1 over the scene, per band; nearer dates weigh more.

    Shapes and units:
        fine_references: (pairs, bands, rows, cols).
        result: (bands, rows, cols); NaN where every reference has nodata.

    Source: the constant part of Gao, Masek, Schwaller & Hall (2006),
    doi:10.1109/TGRS.2006.872081, equation 1.
    """

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Mean coarse change from every pair to the target."""
        self._days = scene.days
        target = scene.cell_values("coarse_target")
        pairs = scene.pairs
        changes = [target - scene.cell_values(f"coarse {k + 1}") for k in range(pairs)]
        means = torch.stack([change.flatten(1).nanmean(dim=1) for change in changes])
        self._change = torch.nan_to_num(means)[:, :, None, None].to(self.device)
        progress(1.0)

    def fuse(self, tile: Tile) -> Tensor:
        fine, valid = tile["fine_references"], tile.masks["fine_references"]
        weights = nearness(self._days, len(fine), self.device) * valid
        return (weights * (fine + self._change)).sum(dim=0) / weights.sum(dim=0)
