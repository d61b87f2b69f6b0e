"""Coarse cells under the fine grid: which fine pixel lies in which cell, and means over cells.

Nothing assumes an integer ratio, aligned grids or one CRS: a fine pixel belongs to the native
coarse cell that holds its centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points
from torch import Tensor
from torch.nn import functional

from ..grid import Transform, Window, apply, invert, scale, shift
from .raster import Grid, Raster

# Memory stays bounded: beyond this many cells, k x k of them are taken together.
_MAX_CELLS = 250_000
# Positions are reprojected on a lattice of this many fine pixels and interpolated between: across
# 16 pixels a map projection bends by far less than a hundredth of a pixel.
_LATTICE = 16


@dataclass(frozen=True)
class CellGrid:
    """The native coarse cells under the target grid.

    Attributes:
        transform: Cell to CRS; (0, 0) is the corner of the first cell here.
        crs: The CRS of the cells.
        rows: Rows of cells.
        cols: Columns of cells.
        native: The same cells as a window of the coarse file's pixels; None for cells of an image
            that was resampled to the fine grid beforehand.
        fine: The target grid.
        step: Coarse pixels per cell along one axis; above 1 only for huge scenes.
    """

    transform: Transform
    crs: CRS | None
    rows: int
    cols: int
    native: Window | None
    fine: Grid
    step: int = 1

    @property
    def count(self) -> int:
        return self.rows * self.cols

    @property
    def least_pixels(self) -> float:
        """Fine pixels whose centres lie in a whole cell, at least: 4 x 4 for a ratio of 4.3."""
        row, col = self.fine.rows / 2, self.fine.cols / 2
        at_row, at_col = cell_positions(
            self, np.array([row, row + 1, row]), np.array([col, col, col + 1])
        )
        step = np.array([at_row[1:] - at_row[0], at_col[1:] - at_col[0]])
        if not np.isfinite(step).all() or np.linalg.det(step) == 0:
            return 1.0
        sides = np.linalg.norm(np.linalg.inv(step), axis=0)
        # Sides of 3.95 hold 4 pixels in all but one cell of twenty.
        return max(float(np.floor(sides + 0.1).prod()), 1.0)

    def index(self, window: Window) -> Tensor:
        """(rows, cols) int64: number of the cell of every fine pixel of a window; -1 for none."""
        rows, cols = self.positions(window)
        row, col = np.floor(rows), np.floor(cols)
        inside = (row >= 0) & (row < self.rows) & (col >= 0) & (col < self.cols)
        index = np.where(inside, row * self.cols + col, -1)
        return torch.from_numpy(index.astype(np.int64))

    def centres(self) -> Tensor:
        """(2, cell_rows, cell_cols) float64: row and column of the centres on the fine grid."""
        col, row = np.meshgrid(np.arange(self.cols) + 0.5, np.arange(self.rows) + 0.5)
        xs, ys = apply(self.transform, col, row)
        if self.crs != self.fine.crs:
            moved = transform_points(self.crs, self.fine.crs, xs.ravel(), ys.ravel())
            xs, ys = (np.asarray(values).reshape(col.shape) for values in moved)
        at_col, at_row = apply(invert(self.fine.transform), xs, ys)
        return torch.from_numpy(np.stack([at_row, at_col]))

    def positions(
        self, window: Window, shift: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[NDArray, NDArray]:
        """Fractional (row, col) in cells of the centres of a window's fine pixels.

        With a shift (rows, cols) in fine pixels, where the pixels lie among cells moved by it.
        """
        at_rows = np.arange(window.row, window.row + window.rows)
        at_cols = np.arange(window.col, window.col + window.cols)
        down, across = 0.5 - shift[0], 0.5 - shift[1]
        if self.crs == self.fine.crs:
            return cell_positions(self, at_rows[:, None] + down, at_cols[None, :] + across)
        nodes_r, nodes_c = _nodes(at_rows), _nodes(at_cols)
        mesh_r, mesh_c = np.meshgrid(nodes_r + down, nodes_c + across, indexing="ij")
        rows, cols = cell_positions(self, mesh_r, mesh_c)
        at_rows, at_cols = at_rows - nodes_r[0], at_cols - nodes_c[0]
        return _interpolate(rows, at_rows, at_cols), _interpolate(cols, at_rows, at_cols)


def cell_positions(cells: CellGrid, rows: NDArray, cols: NDArray) -> tuple[NDArray, NDArray]:
    """Fractional (row, col) in cells of positions (row, col) on the fine grid."""
    xs, ys = apply(cells.fine.transform, cols, rows)
    if cells.crs != cells.fine.crs:
        shape = np.broadcast(xs, ys).shape
        moved = transform_points(cells.fine.crs, cells.crs, np.ravel(xs), np.ravel(ys))
        xs, ys = (np.asarray(values, dtype=np.float64).reshape(shape) for values in moved)
    at_col, at_row = apply(invert(cells.transform), xs, ys)
    return at_row, at_col


def _nodes(pixels: NDArray) -> NDArray:
    """Where the lattice is needed for neighbouring pixels.

    It is fixed to the target grid: the cell of a pixel must not depend on the window read.
    """
    first = pixels[0] // _LATTICE * _LATTICE
    return np.arange(first, pixels[-1] + 1 + _LATTICE, _LATTICE)


def _interpolate(nodes: NDArray, rows: NDArray, cols: NDArray) -> NDArray:
    """Bilinear interpolation of values on the lattice to pixels counted from its first node."""
    row, col = rows / _LATTICE, cols / _LATTICE
    r0, c0 = row.astype(int), col.astype(int)
    fr, fc = (row - r0)[:, None], (col - c0)[None, :]
    above = nodes[r0][:, c0] * (1 - fc) + nodes[r0][:, c0 + 1] * fc
    below = nodes[r0 + 1][:, c0] * (1 - fc) + nodes[r0 + 1][:, c0 + 1] * fc
    return above * (1 - fr) + below * fr


def native_cells(fine: Grid, transform: Transform, crs: CRS | None) -> CellGrid:
    """The cells of a coarse raster that lie under the target grid."""
    everything = CellGrid(transform, crs, 1, 1, None, fine)
    edge = np.linspace(0, 1, 21)
    around_r = np.concatenate([edge * 0, edge, edge * 0 + 1, edge]) * fine.rows
    around_c = np.concatenate([edge, edge * 0 + 1, edge, edge * 0]) * fine.cols
    at_row, at_col = cell_positions(everything, around_r, around_c)
    good = np.isfinite(at_row) & np.isfinite(at_col)
    top, left = math.floor(at_row[good].min()), math.floor(at_col[good].min())
    bottom, right = math.ceil(at_row[good].max()), math.ceil(at_col[good].max())
    rows, cols = max(bottom - top, 1), max(right - left, 1)
    step = math.ceil(math.sqrt(rows * cols / _MAX_CELLS))
    rows, cols = math.ceil(rows / step), math.ceil(cols / step)
    window = Window(top, left, rows * step, cols * step)
    start = scale(shift(transform, top, left), step, step)
    return CellGrid(start, crs, rows, cols, window, fine, step)


def block_cells(fine: Grid, columns: float, rows: float) -> CellGrid:
    """Cells of ``rows`` x ``columns`` fine pixels that start at the target grid's corner."""
    step = max(math.ceil(math.sqrt(fine.rows * fine.cols / (rows * columns * _MAX_CELLS))), 1)
    rows, columns = rows * step, columns * step
    transform = scale(fine.transform, columns, rows)
    count_rows, count_cols = math.ceil(fine.rows / rows), math.ceil(fine.cols / columns)
    return CellGrid(transform, fine.crs, count_rows, count_cols, None, fine, step)


def native_values(raster: Raster, cells: CellGrid) -> Tensor:
    """(bands, cell_rows, cell_cols): a coarse file's own values in the cells, NaN for nodata."""
    if cells.native is None:
        raise ValueError("These cells are not the raster's own pixels.")
    window, step, strips = cells.native, cells.step, []
    per_strip = max(_MAX_CELLS // (cells.cols * step * step), 1)
    for first in range(0, cells.rows, per_strip):
        count = min(per_strip, cells.rows - first)
        strip = Window(window.row + first * step, window.col, count * step, window.cols)
        values = torch.from_numpy(raster.read_native(strip))
        blocks = values.reshape(len(values), count, step, cells.cols, step)
        strips.append(blocks.nanmean(dim=(2, 4)))
    return torch.cat(strips, dim=1)


class CellCentres:
    """Values of an image at the centres of the cells.

    For a coarse image that was interpolated to the fine grid beforehand: the mean over a cell would
    blur it once more.
    """

    def __init__(self, cells: CellGrid, bands: int) -> None:
        self._shape = bands, cells.rows, cells.cols
        self._values = torch.full((bands, cells.count), torch.nan)
        self._centres = cells.centres().flatten(1)

    def add(self, values: Tensor, window: Window) -> None:
        """Add a window: (bands, rows, cols) with NaN for nodata."""
        row, col = self._centres[0] - window.row, self._centres[1] - window.col
        inside = (row >= 0) & (row < window.rows) & (col >= 0) & (col < window.cols)
        places = torch.stack([col / window.cols, row / window.rows], dim=-1)[inside] * 2 - 1
        if len(places):
            sampled = functional.grid_sample(
                values[None], places[None, None].to(values), mode="bilinear",
                padding_mode="border", align_corners=False,
            )  # fmt: skip
            self._values[:, inside] = sampled[0, :, 0]

    def values(self) -> Tensor:
        """(bands, cell_rows, cell_cols); NaN for nodata and outside."""
        return self._values.reshape(self._shape)


class CellMeans:
    """Running means of a fine image over coarse cells."""

    def __init__(self, cells: CellGrid, bands: int) -> None:
        self.cells = cells
        self._sums = torch.zeros(bands, cells.count, dtype=torch.float64)
        self._counts = torch.zeros(bands, cells.count, dtype=torch.float64)

    def add(self, values: Tensor, window: Window) -> None:
        """Add a window: (bands, rows, cols) with NaN for nodata."""
        self.add_at(values, self.cells.index(window))

    def add_at(self, values: Tensor, index: Tensor) -> None:
        """The same where the cell numbers of the pixels, (rows, cols), are known."""
        flat, where = values.reshape(len(values), -1).double().cpu(), index.reshape(-1)
        inside = where >= 0
        if not inside.all():
            flat, where = flat[:, inside], where[inside]
        if not len(where):
            return
        # Only the cells under the window are touched: there may be a million of them.
        first, last = int(where.min()), int(where.max())
        here, size = slice(first, last + 1), last - first + 1
        where = where - first
        everywhere = torch.bincount(where, minlength=size)
        for band, row in enumerate(flat):
            sums, counts = torch.bincount(where, row, minlength=size), everywhere
            if not torch.isfinite(sums).all():
                valid = torch.isfinite(row)
                at = where[valid]
                sums = torch.bincount(at, row[valid], minlength=size)
                counts = torch.bincount(at, minlength=size)
            self._sums[band, here] += sums
            self._counts[band, here] += counts

    def means(self, coverage: float) -> Tensor:
        """(bands, cell_rows, cell_cols) float32; NaN where less than ``coverage`` is covered.

        Coverage is measured against a whole cell, so cells cut by the border count less.
        """
        means = self._sums / self._counts
        means[self._counts < coverage * self.cells.least_pixels] = torch.nan
        return means.reshape(-1, self.cells.rows, self.cells.cols).float()
