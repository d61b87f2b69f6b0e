"""Thin-plate splines through the centres of coarse cells, piecewise so that any size is feasible.

Cells lie on a regular lattice, so the system to solve is the same everywhere: it is inverted once.
The lattice is cut into blocks of cells; each block has a spline of its own through its cells and a
margin around them. Blocks are fixed to the lattice, not to tiles, so results do not depend on
tiling. A spline's influence fades within a few cells: the margin makes the seams vanish.

Source: Dubrule (1984), doi:10.1016/0098-3004(84)90030-1, for the spline; the cut is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 8
_MARGIN = 4
_SIDE = _BLOCK + 2 * _MARGIN


class ThinPlate:
    """Splines through one value per cell and band.

    Args:
        field: (bands, cell_rows, cell_cols), no NaN.
        device: Where to evaluate.
    """

    def __init__(self, field: Tensor, device: torch.device) -> None:
        bands, rows, cols = field.shape
        self._down, self._across = -(-rows // _BLOCK), -(-cols // _BLOCK)
        padded = _extend(field.double(), self._down * _BLOCK, self._across * _BLOCK)
        blocks = padded.unfold(1, _SIDE, _BLOCK).unfold(2, _SIDE, _BLOCK)
        values = blocks.reshape(bands, self._down * self._across, _SIDE * _SIDE)
        system = torch.zeros(_SIDE * _SIDE + 3, _SIDE * _SIDE + 3, dtype=torch.float64)
        nodes = _nodes()
        plane = torch.cat([torch.ones(len(nodes), 1).double(), nodes], dim=1)
        system[: len(nodes), : len(nodes)] = _kernel(torch.cdist(nodes, nodes).square())
        system[: len(nodes), len(nodes) :] = plane
        system[len(nodes) :, : len(nodes)] = plane.T
        inverse = torch.linalg.inv(system)[:, : len(nodes)]
        # (blocks, nodes + 3, bands)
        self._weights = (values @ inverse.T).permute(1, 2, 0).float().to(device)
        self._nodes_at = nodes.float().to(device)

    def __call__(self, places: Tensor) -> Tensor:
        """(bands, rows, cols) values at places (2, rows, cols), row and column among the cells."""
        row = torch.div(places[0], _BLOCK, rounding_mode="floor").clamp(0, self._down - 1)
        col = torch.div(places[1], _BLOCK, rounding_mode="floor").clamp(0, self._across - 1)
        block = (row * self._across + col).long()
        out = places.new_empty(self._weights.shape[-1], *places.shape[1:])
        for number in block.unique().tolist():
            here = block == number
            corner = places.new_tensor(divmod(number, self._across))[:, None] * _BLOCK
            # Relative to the block's own cells, whose first centre lies at (0.5, 0.5).
            local = (places[:, here] - corner - 0.5 + _MARGIN).T
            out[:, here] = self._block(local, self._weights[number]).T
        return out

    def _block(self, local: Tensor, weights: Tensor) -> Tensor:
        squared = torch.cdist(local, self._nodes_at, compute_mode="donot_use_mm_for_euclid_dist")
        values = _kernel(squared.square_()) @ weights[:-3]
        return values + weights[-3] + local @ weights[-2:]


def _extend(field: Tensor, rows: int, cols: int) -> Tensor:
    """Repeat the border cells: a margin on all sides of an image of whole blocks."""
    at_row = torch.arange(-_MARGIN, rows + _MARGIN).clamp(0, field.shape[1] - 1)
    at_col = torch.arange(-_MARGIN, cols + _MARGIN).clamp(0, field.shape[2] - 1)
    return field[:, at_row][:, :, at_col]


def _nodes() -> Tensor:
    """(nodes, 2): centres of the cells of a block and its margin, float64."""
    along = torch.arange(_SIDE, dtype=torch.float64)
    return torch.cartesian_prod(along, along)


def _kernel(squared: Tensor) -> Tensor:
    """r^2 log r for squared distances, 0 at 0."""
    return 0.5 * squared * torch.log(squared.clamp(min=1e-30))
