"""UBDF: unmix the coarse image into one value per land-cover class, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..base import FusionModel, Progress, SceneReader, Tile
from ..errors import InputError
from .bounded import bounded_minimum
from .classes import find_classes
from .pairs import nearest_pair

_MARGIN = 0.1  # a class may leave the range of the coarse target by this share of it
_PRIOR = 0.3  # what a class's value in the whole scene weighs, in cells full of it
_FAINT = 1e-6  # likewise for the mean of all cells where the whole scene is unmixed
_NUMBERS = 4_000_000  # float64 numbers that are worked on at once


class Ubdf(FusionModel):
    """Unmixing-based data fusion.

    The value of a coarse cell is the mean of the values of its classes, weighted by their shares.
    So for every cell, the shares in the k x k cells around it and the values of these cells give
    the values of the classes there, by least squares within bounds. A class that the window hardly
    tells anything of tends to its value in the whole scene. Every fine pixel takes the value that
    its class has in its cell.

    Shapes and units:
        coarse_target: (bands, rows, cols), coarse image on the fine grid, the fine image's unit.
        fine_references: (pairs, bands, rows, cols); the nearest pair's gives the classes.
        class_layer: (1, rows, cols) codes of classes, optional.
        result: (bands, rows, cols); NaN where target or fine reference have nodata.

    Raises:
        InputError: No coarse cell has data, or the class layer holds no classes.

    Source: Zurita-Milla, Clevers & Schaepman (2008), doi:10.1109/LGRS.2008.919685; the pull to the
        scene's values is that of Amorós-López et al. (2013), doi:10.1016/j.jag.2012.12.004.
    """

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Shares of the classes in every cell, and their values in the whole scene."""
        self._scene = scene
        self._pair = nearest_pair(scene.days)
        classes = find_classes(scene, self._pair, self.parameters["classes"])
        self._shares = classes.shares(scene, progress).double()
        self._cells = scene.cell_values("coarse_target").double()
        known = torch.isfinite(self._shares).all(dim=0) & torch.isfinite(self._cells).all(dim=0)
        if not known.any():
            raise InputError(
                "No coarse cells have data in the coarse target and the fine reference alike, so "
                "no class can be learnt. Choose a larger extent or clearer images."
            )
        self._known = known
        self._low, self._high = _bounds(self._cells[:, known])
        self._overall = self._whole_scene()
        self._classes = classes.to(self.device)
        self.notes.append(classes.note)

    def fuse(self, tile: Tile) -> Tensor:
        labels = self._classes(tile)
        row, col = self._scene.cell_positions(tile).floor().long()
        rows, cols = self._known.shape
        cells = row.clamp(0, rows - 1) * cols + col.clamp(0, cols - 1)
        needed, which = torch.unique(cells, return_inverse=True)
        values = self._values(needed).to(self.device)
        result = values[which.to(self.device), labels].permute(2, 0, 1)
        known = (tile.masks["fine_references"][self._pair] & tile.masks["coarse_target"]).all(dim=0)
        return result.where(known, torch.nan)

    def _whole_scene(self) -> Tensor:
        """(classes, bands) float64: values of the classes from all cells together."""
        shares, cells = self._shares[:, self._known].T, self._cells[:, self._known].T
        mean = cells.mean(dim=0)
        prior = mean.expand(shares.shape[1], -1)
        return self._solve(shares[None], cells[None], prior, _FAINT)[0]

    def _values(self, cells: Tensor) -> Tensor:
        """(cells, classes, bands) float32: values of the classes in cells given by number."""
        found = [
            self._solve(shares, values, self._overall, _PRIOR)
            for shares, values in self._windows(cells)
        ]
        return torch.cat(found).float()

    def _windows(self, cells: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Shares (some, k * k, classes) and values (some, k * k, bands) around cells, part by part.

        Cells without data, or beyond the image, have shares of 0: an equation that says nothing.
        """
        rows, cols = self._known.shape
        side, classes = self.parameters["coarse_window"], len(self._shares)
        shares = self._shares.where(self._known, 0.0).flatten(1).T
        values = self._cells.where(self._known, 0.0).flatten(1).T
        around = torch.arange(side) - side // 2
        for part in cells.split(max(_NUMBERS // (side * side * classes), 1)):
            row = (part // cols)[:, None, None] + around[:, None]
            col = (part % cols)[:, None, None] + around
            inside = ((row >= 0) & (row < rows) & (col >= 0) & (col < cols)).flatten(1)
            at = (row.clamp(0, rows - 1) * cols + col.clamp(0, cols - 1)).flatten(1)
            yield shares[at] * inside[..., None], values[at]

    def _solve(self, shares: Tensor, values: Tensor, prior: Tensor, weight: float) -> Tensor:
        """(windows, classes, bands) float64: least squares within bounds.

        Args:
            shares: (windows, cells, classes), 0 for cells without data.
            values: (windows, cells, bands).
            prior: (classes, bands), what a class is taken for that no cell holds.
            weight: What the prior counts, in cells full of a class.
        """
        # Departures from the prior are small beside the values, which keeps kelvin precise.
        empty = (shares == 0).all(dim=2, keepdim=True)
        off = (values - shares @ prior).masked_fill(empty, 0.0)
        count = shares.shape[2]
        matrix = shares.mT @ shares + weight * torch.eye(count, dtype=torch.float64)
        vector = (shares.mT @ off).mT
        low, high = (limit[:, None] - prior.T for limit in (self._low, self._high))
        found = [
            bounded_minimum(matrix, vector[:, band], low[band].expand_as(vector[:, band]),
                            high[band].expand_as(vector[:, band]))
            for band in range(vector.shape[1])
        ]  # fmt: skip
        return prior + torch.stack(found, dim=2)


def _bounds(cells: Tensor) -> tuple[Tensor, Tensor]:
    """(bands,) smallest and largest value that a class may have, from (bands, n) cells."""
    low, high = cells.amin(dim=1), cells.amax(dim=1)
    margin = _MARGIN * (high - low)
    return low - margin, high + margin
