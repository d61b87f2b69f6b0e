"""STARFM: fine reference plus coarse change, averaged over similar neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..base import FusionModel, Progress, SceneReader, Tile
from ..kernels.backend import choose_backend
from ..kernels.similar import FAR, Candidates, similar_sums
from .chosen_window import chosen_window
from .statistics import fine_statistics

# Uncertainties where the user states none, as shares of a band's spread: the fine sensor's, and
# the coarse one's with what mixed pixels and shifted cells add to it.
_FINE_SHARE, _COARSE_SHARE = 0.1, 0.4


class Starfm(FusionModel):
    """Spatial and temporal adaptive reflectance fusion model.

    Every pixel is the weighted mean of F + C2 - C1 over the pixels i of a window and over all
    reference pairs that pass three tests (F, C1 fine and coarse reference, C2 coarse target):

        similar    |F_i - F_0| <= 2 * spread / classes
        spectral   S_i = |F_i - C1_i|  < max over pairs of S_0 + sigma_s
        temporal   T_i = |C1_i - C2_i| < max over pairs of T_0 + sigma_t

    with sigma_s^2 = sigma_fine^2 + sigma_coarse^2 and sigma_t = sqrt(2) sigma_coarse. The weight is
    1 / ((S_i + sigma_fine) (T_i + sigma_fine) (1 + d_i / A)): the paper's combined weight; a
    difference below the fine uncertainty counts no more, which also bounds the weight where the
    paper treats S = 0 and T = 0 apart. The pixel itself always passes.

    Shapes and units:
        coarse_target: (bands, rows, cols), coarse image on the fine grid, the fine image's unit.
        coarse_references, fine_references: (pairs, bands, rows, cols), likewise.
        result: (bands, rows, cols); NaN where the target or every pair has nodata, and in the
            tile's halo.

    Source: Gao, Masek, Schwaller & Hall (2006), doi:10.1109/TGRS.2006.872081, equations 1 to 17.
    """

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Level and spread of every fine band over the scene; the weights of the window."""
        self.backend = choose_backend(self.wanted_backend, self.device, self.notes)
        stats = fine_statistics(scene).to(self.device)
        self._level, self._spread, self._floor = stats.level, stats.spread, stats.floor
        self._fine_noise = self._uncertainty("uncertainty_fine", _FINE_SHARE)
        self._coarse_noise = self._uncertainty("uncertainty_coarse", _COARSE_SHARE)
        self._kernel = self._distance_weights()
        progress(1.0)

    def _uncertainty(self, name: str, share: float) -> Tensor:
        """(bands,) standard error of an image: the user's, else a share of the spread."""
        stated = self.parameters[name]
        spread = self._spread.mean(dim=0)
        noise = share * spread if stated is None else torch.full_like(spread, stated)
        return torch.maximum(noise, self._floor)

    def _distance_weights(self) -> Tensor:
        """(window, window) weight of the distance from the centre, 0 where it does not look."""
        radius = self.halo
        half = self.parameters["spatial_weight"] or max(radius, 1)
        offset = torch.arange(-radius, radius + 1.0, device=self.device)
        weights = 1 / (1 + torch.hypot(offset[:, None], offset[None, :]) / half)
        return chosen_window(self).only_here(weights)

    def fuse(self, tile: Tile) -> Tensor:
        target = tile["coarse_target"]
        result = torch.full_like(target, torch.nan)
        core = slice(self.halo, -self.halo)
        for band in range(len(target)):
            result[band, core, core] = self._fuse_band(tile, band)
        return result

    def _fuse_band(self, tile: Tile, band: int) -> Tensor:
        """One band of the tile without its halo."""
        weights = sums = torch.zeros((), device=self.device)
        for candidates in self._candidates(tile, band):
            more_weights, more_sums = similar_sums(candidates, self._kernel, self.backend)
            weights, sums = weights + more_weights, sums + more_sums
        return (sums / weights + self._level[band]).where(weights > 0, torch.nan)

    def _candidates(self, tile: Tile, band: int) -> Iterator[Candidates]:
        """What the tests and weights need, pair by pair."""
        fine = tile["fine_references"][:, band]
        coarse = tile["coarse_references"][:, band]
        target = tile["coarse_target"][band]
        valid = tile.masks["fine_references"][:, band] & tile.masks["coarse_references"][:, band]
        valid = valid & tile.masks["coarse_target"][band]
        fine_noise, coarse_noise = self._fine_noise[band], self._coarse_noise[band]
        spectral, temporal = (fine - coarse).abs(), (coarse - target).abs()
        # A pair without data at a pixel must not widen the limits there.
        most_spectral = spectral.where(valid, 0.0).amax(dim=0)
        most_temporal = temporal.where(valid, 0.0).amax(dim=0)
        weight = 1 / ((spectral + fine_noise) * (temporal + fine_noise))
        tolerance = 2 * self._spread[:, band] / self.parameters["classes"]
        tolerance = torch.maximum(tolerance, self._floor[band])
        # Sums of values near zero keep more digits than sums of values near 300 K.
        height = fine - self._level[band]
        for pair in range(len(fine)):
            yield Candidates(
                feature=(height[pair] / tolerance[pair]).where(valid[pair], FAR),
                spectral=spectral[pair],
                temporal=temporal[pair],
                weight=weight[pair].where(valid[pair], 0.0),
                value=height[pair] + (target - coarse[pair]),
                spectral_limit=most_spectral + torch.hypot(fine_noise, coarse_noise),
                temporal_limit=most_temporal + math.sqrt(2) * coarse_noise,
            )
