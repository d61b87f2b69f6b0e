"""ESTARFM: change converted from coarse to fine, between two or more pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import FusionModel, Progress, SceneReader, Tile
from ..kernels.backend import choose_backend
from ..kernels.neighbours import Neighbours, find_neighbours
from .chosen_window import chosen_window
from .statistics import fine_statistics, window_sum

_ENOUGH = 5  # with fewer similar pixels than this plus one the weights mean little
_STEEPEST = 5.0  # largest conversion coefficient that is believed
_MARGIN = 0.25  # a result may leave the range of the inputs by this share of it
_ROUNDING = 1e-6  # of the sum of squares: less than that is no variance in single precision


class Estarfm(FusionModel):
    """Enhanced STARFM for any number of pairs from two on (F_k, C_k; coarse target C2).

    Similar pixels differ by less than 2 * spread / classes in every band of every pair; the best
    ``similar`` of them count. Weights are 1 / ((1 - R_i) (1 + d_i / w)), R the correlation of a
    pixel's fine with its coarse values over all bands and dates. The change C2 - C_k is multiplied
    by the slope v of fine against coarse values among the similar pixels where it is significant,
    and pairs are weighted by the inverse of the mean coarse change around the pixel.

    Shapes and units:
        coarse_target: (bands, rows, cols), coarse image on the fine grid, the fine image's unit.
        coarse_references, fine_references: (pairs, bands, rows, cols), likewise.
        result: (bands, rows, cols); where only some pairs have data, those change with the mean
            of the window; NaN without any, and in the tile's halo.

    Source: Zhu, Chen, Gao, Chen & Masek (2010), doi:10.1016/j.rse.2010.05.032.
    """

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Levels, spreads and ranges of the fine references."""
        self.backend = choose_backend(self.wanted_backend, self.device, self.notes)
        self._stats = fine_statistics(scene).to(self.device)
        self._window = chosen_window(self)
        span = self._stats.high - self._stats.low
        self._low = (self._stats.low - _MARGIN * span - self._stats.level)[:, None, None]
        self._high = (self._stats.high + _MARGIN * span - self._stats.level)[:, None, None]
        progress(1.0)

    def fuse(self, tile: Tile) -> Tensor:
        level = self._stats.level[:, None, None]
        # Values near zero keep more digits in sums than values near 300 K.
        fine, coarse = tile["fine_references"] - level, tile["coarse_references"] - level
        target = tile["coarse_target"] - level
        known = tile.masks["fine_references"].all(1) & tile.masks["coarse_references"].all(1)
        known = known & tile.masks["coarse_target"].all(0)  # (pairs, rows, cols)
        similar = self._similar(fine, known.all(dim=0))
        core = slice(self.halo, -self.halo)
        share, mean_change = self._pair_weights(coarse, target, known)
        # Where few pixels are similar, or a pair is missing: the mean change of the window.
        plain = fine[..., core, core] + mean_change
        result = (share * plain).sum(dim=0)
        trusted = similar.found.sum(dim=0) > _ENOUGH
        rich = self._from_similar(fine, coarse, target, similar, share)
        result = torch.where(trusted, rich, result)
        full = torch.full_like(target, torch.nan)
        some = known[..., core, core].any(dim=0)
        full[:, core, core] = (result + level).where(some, torch.nan)
        return full

    def _similar(self, fine: Tensor, known: Tensor) -> Neighbours:
        tolerance = 2 * self._stats.spread / self.parameters["classes"]
        tolerance = torch.maximum(tolerance, self._stats.floor)[:, :, None, None]
        features = (fine / tolerance).flatten(0, 1)
        count = self.parameters["similar"]
        return find_neighbours(features, known, self._window, count, 1.0, self.backend)

    def _pair_weights(self, coarse: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Share of every pair, and mean coarse change of the window, (pairs, bands, rows, cols)."""
        count = window_sum(known, self.halo)[:, None]
        change = window_sum((target - coarse).where(known[:, None], 0.0), self.halo)
        mean = (change / count.clamp(min=1)).float()
        core = slice(self.halo, -self.halo)
        here = known[:, None, core, core]
        floor = self._stats.floor[:, None, None]
        weight = (1 / (mean.abs() + floor)) * here
        share = weight / weight.sum(dim=0).clamp(min=1e-30)
        return share, mean

    def _from_similar(
        self, fine: Tensor, coarse: Tensor, target: Tensor, similar: Neighbours, share: Tensor
    ) -> Tensor:
        """Weighted converted change of the similar pixels, (bands, rows, cols)."""
        pairs, bands = fine.shape[:2]
        level = self._stats.level[:, None, None]
        agreement = _agreement(fine + level, coarse + level, self._stats.floor)
        ones = torch.ones_like(similar.score).where(similar.found, 0.0)
        weights = similar.shares(1 - agreement)
        both = similar.weighted_sum(torch.cat([target - coarse, fine]).flatten(0, 1), weights)
        change, mean = both.reshape(2, pairs, bands, *both.shape[-2:])
        slope = self._conversion(fine, coarse, similar, ones)
        core = slice(self.halo, -self.halo)
        answer = (share * (fine[..., core, core] + slope * change)).sum(dim=0)
        outside = (answer <= self._low) | (answer >= self._high)
        return torch.where(outside, (share * mean).sum(dim=0), answer)

    def _conversion(
        self, fine: Tensor, coarse: Tensor, similar: Neighbours, ones: Tensor
    ) -> Tensor:
        """(bands, rows, cols): slope of fine against coarse where it is significant, else 1."""
        pairs, bands = fine.shape[:2]
        # In deviations of the band: sums of squares then neither vanish nor drown in rounding.
        spread = torch.maximum(self._stats.spread.mean(0), self._stats.floor)[:, None, None]
        fine, coarse = fine / spread, coarse / spread
        maps = torch.cat(
            [fine.sum(0), coarse.square().sum(0), (fine * coarse).sum(0), fine.square().sum(0),
             *coarse]
        )  # fmt: skip
        sums = similar.weighted_sum(maps, ones)
        f, cc, fc, ff, *each = sums.reshape(4 + pairs, bands, *sums.shape[-2:])
        every = torch.stack(each)
        c = every.sum(dim=0)
        count = (similar.found.sum(dim=0) * pairs).clamp(min=1).float()
        var_c, var_f = cc - c * c / count, ff - f * f / count
        cov = fc - f * c / count
        varies = (var_c > _ROUNDING * cc) & (var_f > _ROUNDING * ff)
        slope = cov / var_c.where(varies, 1.0)
        explained = slope * cov / var_f.where(varies, 1.0)
        freedom = (count - 2).clamp(min=1)
        # Two-sided 5 % point of Student's t to 0.5 % from 8 degrees of freedom on.
        t = 1.96 + 2.72 / freedom
        significant = varies & (explained >= t.square() / (t.square() + freedom))
        moved = (every.amax(dim=0) - every.amin(dim=0)) * pairs / count
        enough = moved >= self.parameters["change"]
        good = significant & enough & (slope > 0) & (slope <= _STEEPEST)
        return slope.where(good, 1.0)


def _agreement(fine: Tensor, coarse: Tensor, floor: Tensor) -> Tensor:
    """(rows, cols): how alike fine and coarse values of a pixel are, at most 1.

    Their correlation over bands and pairs; for a single band one minus their mean relative
    difference, as in the author's program; 0.5 where nothing varies.
    """
    if fine.shape[1] == 1:
        size = (fine.abs() + coarse.abs()).clamp(min=float(floor.min()))
        return 1 - ((fine - coarse).abs() / size).mean(dim=(0, 1))
    f, c = fine.flatten(0, 1), coarse.flatten(0, 1)
    f, c = f - f.mean(dim=0), c - c.mean(dim=0)
    size = (f.square().sum(0) * c.square().sum(0)).sqrt()
    smallest = float(floor.min()) ** 2
    likeness = (f * c).sum(dim=0) / size.clamp(min=smallest)
    return likeness.where(size > smallest, 0.5).clamp(-1, 1)
