"""GSA: adaptive Gram-Schmidt pansharpening."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import FusionModel, Progress, SceneReader, Tile
from ..errors import InputError


class Gsa(FusionModel):
    """Inject into every band what pan has beyond the mixture of bands that it measures.

    The mixture I = sum of alpha_b M_b is found by least squares on the coarse cells, against means
    of pan over each cell. Then F_b = M_b + g_b ((P - mean P) - (I - mean I)) with
    g_b = cov(M_b, I) / var(I) over the interpolated image.

    Shapes and units:
        multispectral: (bands, rows, cols), coarse image on the fine grid, any unit.
        panchromatic: (1, rows, cols), same grid, any unit.
        result: like ``multispectral``; NaN where not valid.

    Raises:
        InputError: Fewer coarse cells than bands have data in both images.

    Source: Aiazzi, Baronti & Selva (2007), doi:10.1109/TGRS.2007.901007.
    """

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Mixture weights and injection gains of the whole scene."""
        self._alpha = self._mixture(scene)
        progress(0.5)
        mean, covariance, pan_mean = _statistics(scene)
        mixed = covariance @ self._alpha
        variance = self._alpha @ mixed
        flat = not variance > 0
        if flat:
            self.notes.append("The panchromatic band is constant, so no detail was added.")
        gain = torch.zeros_like(mixed) if flat else mixed / variance
        self._gain = gain.float().to(self.device)
        self._weights = self._alpha.float().to(self.device)
        self._level = float(pan_mean - self._alpha @ mean)
        text = ", ".join(f"{value:.3g}" for value in self._alpha.tolist())
        self.notes.append(f"Weights of the bands in the panchromatic mixture: {text}.")
        progress(1.0)

    def _mixture(self, scene: SceneReader) -> Tensor:
        bands = scene.cell_values("multispectral").flatten(1).double()
        pan = scene.cell_values("panchromatic").flatten().double()
        valid = torch.isfinite(bands).all(dim=0) & torch.isfinite(pan)
        count = int(valid.sum())
        if count <= len(bands):
            raise InputError(
                f"Only {count} coarse cells have data in both images; GSA needs more than "
                f"{len(bands)}. Choose images that overlap more."
            )
        bands, pan = bands[:, valid], pan[valid]
        centred = (bands - bands.mean(dim=1, keepdim=True)).T
        solution = torch.linalg.lstsq(centred, (pan - pan.mean())[:, None], driver="gelsd")
        return solution.solution[:, 0]

    def fuse(self, tile: Tile) -> Tensor:
        image = tile["multispectral"]
        mixture = torch.tensordot(self._weights, image, dims=1) + self._level
        detail = tile["panchromatic"][0] - mixture
        fused = image + self._gain[:, None, None] * detail
        return fused.where(tile.valid, torch.nan)


def _statistics(scene: SceneReader) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (bands,) and covariance (bands, bands) of the interpolated image, and mean of pan."""
    count, pan_total = 0, torch.zeros((), dtype=torch.float64)
    total = products = pan_total
    for tile in scene.sample():
        valid = tile.valid[0]
        values = tile["multispectral"][:, valid].double()
        count += values.shape[1]
        total = total + values.sum(dim=1)
        products = products + values @ values.T
        pan_total = pan_total + tile["panchromatic"][0][valid].double().sum()
    count = max(count, 1)
    mean = total / count
    return mean, products / count - torch.outer(mean, mean), pan_total / count
