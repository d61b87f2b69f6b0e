"""Fit-FC: regression between coarse dates, filtering over similar pixels, residuals given back."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..base import FusionModel, Progress, SceneReader, Tile
from ..kernels.backend import choose_backend
from ..kernels.neighbours import find_neighbours
from .cells import to_fine
from .chosen_window import chosen_window
from .pairs import nearest_pair
from .statistics import fine_statistics


class FitFc(FusionModel):
    """Regression model fitting, spatial filtering and residual compensation, one pair.

    Per band a local line C2 = a C1 + b is fitted in a window of coarse cells. It is applied to the
    fine reference with a and b of the cell, the coarse residual is added smoothly, and the result
    is averaged over the most similar pixels of the fine reference, nearer ones weighing more.

    Shapes and units:
        coarse_target: (bands, rows, cols), coarse image on the fine grid, the fine image's unit.
        coarse_references, fine_references: (pairs, bands, rows, cols); the nearest pair is used.
        result: (bands, rows, cols); NaN where one of the three images has nodata, and in the
            tile's halo.

    Source: Wang & Atkinson (2018), doi:10.1016/j.rse.2017.10.046.
    """

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Lines and residuals of all coarse cells."""
        self.backend = choose_backend(self.wanted_backend, self.device, self.notes)
        self._scene = scene
        self._stats = fine_statistics(scene).to(self.device)
        self._pair = nearest_pair(scene.days)
        self._window = chosen_window(self)
        before = scene.cell_values(f"coarse {self._pair + 1}")
        after = scene.cell_values("coarse_target")
        slope, intercept = _local_lines(before, after, self.parameters["coarse_window"] // 2)
        residual = after - (slope * before + intercept)
        residual = torch.where(torch.isfinite(residual), residual, 0.0)
        # One field for all bands, so that it is brought to the fine grid in one go.
        self._lines = torch.cat([slope, intercept]).float().to(self.device)
        self._residual = residual.float().to(self.device)
        progress(1.0)

    def fuse(self, tile: Tile) -> Tensor:
        fine = tile["fine_references"][self._pair]
        known = tile.masks["fine_references"][self._pair] & tile.masks["coarse_target"]
        known = (known & tile.masks["coarse_references"][self._pair]).all(dim=0)
        places = self._scene.cell_positions(tile).to(self.device)
        slope, intercept = to_fine(self._lines, places, "nearest").chunk(2)
        residual = to_fine(self._residual, places, "bicubic")
        level = self._stats.level[:, None, None]
        fitted = slope * fine + intercept + residual - level
        spread = torch.maximum(self._stats.spread[self._pair], self._stats.floor)[:, None, None]
        similar = find_neighbours(
            (fine - level) / spread, known, self._window, self.parameters["similar"],
            float("inf"), self.backend,
        )  # fmt: skip
        weights = similar.normalised(1 / (1 + similar.distance() / max(self.halo, 1)))
        result = torch.full_like(fine, torch.nan)
        core = slice(self.halo, -self.halo)
        filtered = similar.weighted_sum(fitted.where(known, 0.0), weights) + level
        result[:, core, core] = filtered.where(known[core, core], torch.nan)
        return result


def _local_lines(before: Tensor, after: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Least squares line per band in a window around every coarse cell.

    Args:
        before: (bands, cell_rows, cell_cols) coarse reference, NaN for nodata.
        after: Coarse target, likewise.
        radius: Window without its centre, in cells; it shrinks at the border and at nodata.

    Returns:
        Slope and intercept, (bands, cell_rows, cell_cols) float64; slope 1 where nothing varies,
        and the mean change of all cells where the window is empty.
    """
    known = torch.isfinite(before) & torch.isfinite(after)
    x, y = before.double().where(known, 0.0), after.double().where(known, 0.0)
    # Sums of centred values keep their digits.
    level = (x.sum((1, 2)) / known.sum((1, 2)).clamp(min=1))[:, None, None]
    x, y = (x - level).where(known, 0.0), (y - level).where(known, 0.0)
    count, sx, sy, sxx, sxy = (
        _box(image, radius) for image in (known.double(), x, y, x * x, x * y)
    )
    some = count > 0
    count = count.clamp(min=1)
    variance = sxx - sx * sx / count
    floor = 1e-12 * level.square() + 1e-30
    slope = torch.where(variance > floor, (sxy - sx * sy / count) / variance.clamp(min=1e-300), 1.0)
    mean_change = (y - x).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)
    slope = slope.where(some, 1.0)
    intercept = torch.where(some, (sy - slope * sx) / count, mean_change[:, None, None])
    return slope, intercept + level - slope * level


def _box(image: Tensor, radius: int) -> Tensor:
    """Sums over a square window; nothing beyond the border."""
    size = 2 * radius + 1
    summed = functional.avg_pool2d(image[None], size, stride=1, padding=radius, divisor_override=1)
    return summed[0]
