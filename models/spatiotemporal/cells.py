"""Between coarse cells and fine pixels: bring values of cells to pixels, and means back.

``places`` is what ``SceneReader.cell_positions`` gives: (2, rows, cols), row and column of every
fine pixel among the cells, where cell (i, j) reaches from (i, j) to (i + 1, j + 1).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def to_fine(field: Tensor, places: Tensor, mode: str) -> Tensor:
    """Sample cells at fine pixels.

    Args:
        field: (bands, cell_rows, cell_cols), no NaN.
        places: (2, rows, cols).
        mode: ``nearest``, ``bilinear`` or ``bicubic``. Beyond the cells the nearest one counts.

    Returns:
        (bands, rows, cols).
    """
    rows, cols = field.shape[-2:]
    # grid_sample counts from -1 at the first cell's outer edge to 1 at the last one's.
    grid = torch.stack([places[1] / cols * 2 - 1, places[0] / rows * 2 - 1], dim=-1)
    sampled = functional.grid_sample(
        field[None], grid[None], mode=mode, padding_mode="border", align_corners=False
    )
    return sampled[0]


def cell_numbers(places: Tensor) -> tuple[Tensor, int]:
    """Number every fine pixel's cell within the window: (rows, cols) int64 and how many there are.

    The numbers hold for this window alone.
    """
    row, col = places.floor().long()
    row, col = row - row.min(), col - col.min()
    width = int(col.max()) + 1
    return row * width + col, (int(row.max()) + 1) * width


def means_of_cells(values: Tensor, weights: Tensor, numbers: Tensor, count: int) -> Tensor:
    """(bands, rows, cols): every pixel gets the weighted mean of its cell.

    Args:
        values: (bands, rows, cols).
        weights: (rows, cols), 0 where a pixel does not count.
        numbers: (rows, cols) from ``cell_numbers``.
        count: How many cells there are.
    """
    flat, where = weights.flatten(), numbers.flatten()
    total = flat.new_zeros(count).index_add_(0, where, flat)
    sums = values.new_zeros(len(values), count)
    sums.index_add_(1, where, values.flatten(1) * flat)
    means = sums / total.clamp(min=1e-30)
    return means[:, where].reshape(values.shape)


def fill_cells(field: Tensor) -> Tensor:
    """Replace NaN cells by the mean of their valid neighbours, step by step outwards.

    Args:
        field: (bands, cell_rows, cell_cols) with at least one valid cell per band, else zeros.
    """
    known = torch.isfinite(field)
    values = field.where(known, 0.0)
    if not known.flatten(1).any(dim=1).all():
        return values
    while not known.all():
        summed = functional.avg_pool2d(values[None], 3, 1, 1, divisor_override=1)[0]
        count = functional.avg_pool2d(known.to(values)[None], 3, 1, 1, divisor_override=1)[0]
        reached = ~known & (count > 0)
        values = torch.where(reached, summed / count.clamp(min=1), values)
        known = known | reached
    return values
