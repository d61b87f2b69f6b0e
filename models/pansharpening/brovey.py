"""Brovey transform: modulate every band by the ratio of pan to intensity."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import FusionModel, Progress, SceneReader, Tile


class Brovey(FusionModel):
    """Sharpen a multispectral image with a panchromatic band.

    The intensity I is the mean of all bands; pan is matched to it in mean and standard deviation
    over the scene. Band ratios, hence the spectral angle of a pixel, are kept exactly.

    Shapes and units:
        multispectral: (bands, rows, cols), coarse image on the fine grid, any unit.
        panchromatic: (1, rows, cols), same grid, any unit.
        result: like ``multispectral``; NaN where not valid or the intensity is not positive.

    Source: Gillespie, Kahle & Walker (1987), doi:10.1016/0034-4257(87)90088-5.
    """

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Line that gives pan the mean and spread of the intensity."""
        pan, intensity = _Moments(), _Moments()
        for tile in scene.sample():
            valid = tile.valid[0]
            pan.add(tile["panchromatic"][0][valid])
            intensity.add(tile["multispectral"].mean(dim=0)[valid])
        self._gain = intensity.spread / pan.spread if pan.spread > 0 else 1.0
        self._offset = intensity.mean - self._gain * pan.mean
        progress(1.0)

    def fuse(self, tile: Tile) -> Tensor:
        image = tile["multispectral"]
        pan = tile["panchromatic"] * self._gain + self._offset
        intensity = image.mean(dim=0, keepdim=True)
        return image * pan / intensity.where(tile.valid & (intensity > 0), torch.nan)


class _Moments:
    """Mean and standard deviation of values that come in pieces.

    Sums are taken from the first value on, so a constant has no spread at all.
    """

    def __init__(self) -> None:
        self._count, self._total, self._squares = 0, 0.0, 0.0
        self._first: float | None = None

    def add(self, values: Tensor) -> None:
        if self._first is None and len(values):
            self._first = float(values[0])
        wide = values.double() - (self._first or 0.0)
        self._count += len(wide)
        self._total += float(wide.sum())
        self._squares += float(wide.square().sum())

    @property
    def mean(self) -> float:
        return (self._first or 0.0) + self._total / max(self._count, 1)

    @property
    def spread(self) -> float:
        count = max(self._count, 1)
        return max(self._squares / count - (self._total / count) ** 2, 0.0) ** 0.5
