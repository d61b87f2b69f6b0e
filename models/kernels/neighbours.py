"""The N most similar pixels of a window, and weighted sums over them: the heavy step of ESTARFM,
Fit-FC and FSDAF.

One definition, two back-ends: numba on the CPU, an eager torch loop everywhere. For a pixel p and
every pixel i of the window around it, with features scaled to a common tolerance:

    i counts  when  i is usable and every |feature_k,i - feature_k,p| < limit
    score_i   = sum over k of |feature_k,i - feature_k,p|

Kept are the N counting pixels of the smallest score; of equal ones those nearer to p, then those
that come first row by row. A usable pixel always keeps itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_TORCH_ROWS = 16  # rows at a time in the fallback: keeps window x row buffers small


@dataclass(frozen=True)
class Neighbours:
    """The most similar pixels around every pixel of a tile's core.

    Attributes:
        place: (N, rows, cols) int32: number of the place in the window, row by row; -1 for none.
        score: (N, rows, cols) float32: sum of scaled feature differences; 0 where there is none.
        radius: Half the window without its centre.
    """

    place: Tensor
    score: Tensor
    radius: int

    @property
    def found(self) -> Tensor:
        """(N, rows, cols) bool: where there is a neighbour."""
        return self.place >= 0

    def distance(self) -> Tensor:
        """(N, rows, cols) distance from the pixel, in pixels."""
        size = 2 * self.radius + 1
        place = self.place.clamp(min=0)
        rows = torch.div(place, size, rounding_mode="floor") - self.radius
        cols = place % size - self.radius
        return torch.hypot(rows.float(), cols.float())

    def weighted_sum(self, values: Tensor, weights: Tensor) -> Tensor:
        """Sum of weight * value over the neighbours of every pixel.

        Args:
            values: (bands, rows + 2 radius, cols + 2 radius), halo included, no NaN.
            weights: (N, rows, cols), 0 where there is no neighbour.

        Returns:
            (bands, rows, cols).
        """
        _, rows, cols = self.place.shape
        total = values.new_zeros(len(values), rows, cols)
        flat = values.reshape(len(values), -1)
        for place, weight in zip(self.place, weights):
            total += weight * flat[:, self.index(place, values.shape[-1])]
        return total

    def index(self, place: Tensor, width: int) -> Tensor:
        """(rows, cols) positions in the flattened tile of one neighbour of every pixel."""
        size = 2 * self.radius + 1
        rows, cols = place.shape
        there = place.clamp(min=0).long()
        row = torch.arange(rows, device=place.device)[:, None] + torch.div(
            there, size, rounding_mode="floor"
        )
        col = torch.arange(cols, device=place.device)[None, :] + there % size
        return row * width + col


def find_neighbours(
    features: Tensor, usable: Tensor, radius: int, count: int, limit: float, backend: str
) -> Neighbours:
    """Find the most similar pixels.

    Args:
        features: (features, rows + 2 radius, cols + 2 radius) float32, scaled, no NaN.
        usable: (rows + 2 radius, cols + 2 radius) bool.
        radius: Half the window without its centre.
        count: N.
        limit: Largest difference in any feature; infinity for none.
        backend: ``numba`` or ``torch``.
    """
    order = _centre_out(radius)
    if backend == "numba":
        return _find_numba(features, usable, order, radius, count, limit)
    return _find_torch(features, usable, order, radius, count, limit)


def _centre_out(radius: int) -> Tensor:
    """(window,) places of the window by distance from the centre, ties row by row."""
    offset = torch.arange(-radius, radius + 1)
    squared = (offset[:, None] ** 2 + offset[None, :] ** 2).flatten()
    return torch.argsort(squared, stable=True)


def _find_torch(
    features: Tensor, usable: Tensor, order: Tensor, radius: int, count: int, limit: float
) -> Neighbours:
    size = 2 * radius + 1
    rows, cols = usable.shape[0] - 2 * radius, usable.shape[1] - 2 * radius
    places, scores = [], []
    for first in range(0, rows, _TORCH_ROWS):
        height = min(_TORCH_ROWS, rows - first)
        centre = features[:, first + radius : first + radius + height, radius : radius + cols]
        table = features.new_full((len(order), height, cols), torch.inf)
        for rank, place in enumerate(order.tolist()):
            dy, dx = divmod(place, size)
            down, across = slice(first + dy, first + dy + height), slice(dx, dx + cols)
            apart = (features[:, down, across] - centre).abs()
            counts = usable[down, across] & (apart.amax(dim=0) < limit)
            table[rank] = apart.sum(dim=0).where(counts, torch.inf)
        # A stable sort keeps the nearer of two equally similar pixels, as the definition says.
        score, ranks = torch.sort(table, dim=0, stable=True)
        score, ranks = score[:count], ranks[:count]
        place = order.to(ranks.device)[ranks].int().masked_fill(torch.isinf(score), -1)
        places.append(place)
        scores.append(score.masked_fill(torch.isinf(score), 0.0))
    place, score = torch.cat(places, dim=1), torch.cat(scores, dim=1)
    centre = usable[radius : radius + rows, radius : radius + cols]
    return Neighbours(place.masked_fill(~centre, -1), score.masked_fill(~centre, 0.0), radius)


def _find_numba(
    features: Tensor, usable: Tensor, order: Tensor, radius: int, count: int, limit: float
) -> Neighbours:
    rows, cols = usable.shape[0] - 2 * radius, usable.shape[1] - 2 * radius
    count = min(count, len(order))
    place = torch.full((rows, cols, count), -1, dtype=torch.int32)
    score = torch.zeros(rows, cols, count)
    compiled_search()(
        features.contiguous().numpy(),
        usable.contiguous().numpy(),
        order.numpy(),
        radius,
        min(limit, 3e38),
        place.numpy(),
        score.numpy(),
    )
    return Neighbours(place.permute(2, 0, 1), score.permute(2, 0, 1), radius)


_compiled: Any = None


def compiled_search() -> Any:
    """The compiled search, or None where numba is not installed."""
    global _compiled  # noqa: PLW0603
    if _compiled is None:
        try:
            from .neighbours_numba import search_kernel
        except ImportError:
            return None
        _compiled = search_kernel
    return _compiled
