"""Thin-plate splines through the centres of coarse cells, piecewise so that any size is feasible.

The lattice of cells is cut into blocks; each block has a spline of its own through its cells and a
margin around them. Blocks are fixed to the lattice, not to tiles, so results do not depend on
tiling. A spline's influence fades within a few cells: the margin makes the seams vanish.

Cells lie on a regular lattice, so one matrix turns the values of any block into the spline's values
on a fine mesh; between its points the surface is taken as flat, which changes it by a 500th of its
curvature over a cell.

Source: Dubrule (1984), doi:10.1016/0098-3004(84)90030-1, for the spline; the cut is ours.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK = 8
_MARGIN = 4
_SIDE = _BLOCK + 2 * _MARGIN
_PER_CELL = 8  # steps of the mesh along a cell
_MESH = _BLOCK * _PER_CELL + 1  # its points along a block, both ends included


class ThinPlate:
    """Splines through one value per cell and band.

    Args:
        field: (bands, cell_rows, cell_cols), no NaN.
        device: Where to evaluate.
    """

    def __init__(self, field: Tensor, device: torch.device) -> None:
        bands, rows, cols = field.shape
        self._down, self._across = -(-rows // _BLOCK), -(-cols // _BLOCK)
        padded = _extend(field, self._down * _BLOCK, self._across * _BLOCK)
        blocks = padded.unfold(1, _SIDE, _BLOCK).unfold(2, _SIDE, _BLOCK)
        self._values = blocks.reshape(bands, self._down, self._across, _SIDE**2).to(device)
        self._mesh = _mesh_matrix().to(device)

    def __call__(self, places: Tensor) -> Tensor:
        """(bands, rows, cols) values at places (2, rows, cols), row and column among the cells."""
        row = torch.div(places[0], _BLOCK, rounding_mode="floor").clamp(0, self._down - 1)
        col = torch.div(places[1], _BLOCK, rounding_mode="floor").clamp(0, self._across - 1)
        top, left = int(row.min()), int(col.min())
        surface = self._surface(slice(top, int(row.max()) + 1), slice(left, int(col.max()) + 1))
        # Every block has its own piece of the mesh, so positions jump from one to the next.
        across = (col - left) * _MESH + (places[1] - col * _BLOCK) * _PER_CELL
        down = (row - top) * _MESH + (places[0] - row * _BLOCK) * _PER_CELL
        rows, cols = surface.shape[1:]
        grid = torch.stack([across / (cols - 1) * 2 - 1, down / (rows - 1) * 2 - 1], dim=-1)
        sampled = functional.grid_sample(
            surface[None], grid[None], mode="bilinear", padding_mode="border", align_corners=True
        )
        return sampled[0]

    def _surface(self, rows: slice, cols: slice) -> Tensor:
        """The meshes of some blocks side by side."""
        values = self._values[:, rows, cols]
        # Small numbers keep more digits in the sum.
        level = values.mean(dim=-1, keepdim=True)
        meshes = (values - level) @ self._mesh.T + level
        bands, down, across, _ = meshes.shape
        pieces = meshes.reshape(bands, down, across, _MESH, _MESH).permute(0, 1, 3, 2, 4)
        return pieces.reshape(bands, down * _MESH, across * _MESH)


@cache
def _mesh_matrix() -> Tensor:
    """(points of the mesh, cells) float32: values of the spline for those of a block's cells."""
    nodes = _nodes()
    plane = torch.cat([torch.ones(len(nodes), 1).double(), nodes], dim=1)
    system = torch.zeros(len(nodes) + 3, len(nodes) + 3, dtype=torch.float64)
    system[: len(nodes), : len(nodes)] = _kernel(torch.cdist(nodes, nodes).square())
    system[: len(nodes), len(nodes) :] = plane
    system[len(nodes) :, : len(nodes)] = plane.T
    weights = torch.linalg.inv(system)[:, : len(nodes)]
    along = torch.arange(_MESH, dtype=torch.float64) / _PER_CELL + _MARGIN - 0.5
    points = torch.cartesian_prod(along, along)
    near = _kernel(torch.cdist(points, nodes).square())
    return torch.cat([near, torch.ones(len(points), 1), points], dim=1).matmul(weights).float()


def _extend(field: Tensor, rows: int, cols: int) -> Tensor:
    """Repeat the border cells: a margin on all sides of an image of whole blocks."""
    at_row = torch.arange(-_MARGIN, rows + _MARGIN).clamp(0, field.shape[1] - 1)
    at_col = torch.arange(-_MARGIN, cols + _MARGIN).clamp(0, field.shape[2] - 1)
    return field[:, at_row][:, :, at_col]


def _nodes() -> Tensor:
    """(cells, 2): centres of the cells of a block and its margin, float64."""
    along = torch.arange(_SIDE, dtype=torch.float64)
    return torch.cartesian_prod(along, along)


def _kernel(squared: Tensor) -> Tensor:
    """r^2 log r for squared distances, 0 at 0."""
    return 0.5 * squared * torch.log(squared.clamp(min=1e-30))
