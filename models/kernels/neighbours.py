"""The N most similar pixels of a window, and weighted sums over them: the heavy step of ESTARFM,
Fit-FC and FSDAF.

One definition, three back-ends: Triton on GPUs, numba on the CPU, an eager torch loop everywhere.
For a pixel p and every pixel i of the window around it, with features scaled to a common tolerance:

    i counts  when  i is usable and every |feature_k,i - feature_k,p| < limit
    score_i   = sum over k of |feature_k,i - feature_k,p|

Kept are the N counting pixels of the smallest score; of equal ones those nearer to p, then those
that come first row by row. A usable pixel always keeps itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .window import Window

_LEAST = 1e-7  # keeps the weight of what is alike in all finite
_TORCH_ROWS = 16  # rows at a time in the fallback: keeps window x row buffers small


@dataclass(frozen=True)
class Neighbours:
    """The most similar pixels around every pixel of a tile's core.

    Attributes:
        place: (N, rows, cols) int32: number of the place in the window, row by row; -1 for none.
        score: (N, rows, cols) float32: sum of scaled feature differences; 0 where there is none.
        radius: Half the window without its centre.
        backend: What found them and sums over them.
    """

    place: Tensor
    score: Tensor
    radius: int
    backend: str

    @property
    def found(self) -> Tensor:
        """(N, rows, cols) bool: where there is a neighbour."""
        return self.place >= 0

    def distance(self) -> Tensor:
        """(N, rows, cols) distance from the pixel, in pixels; 0 where there is no neighbour."""
        table = self._distances()
        # The place -1 takes the last entry.
        return torch.cat([table, table.new_zeros(1)])[self.place]

    def _distances(self) -> Tensor:
        """(size * size,) distance of every place of the window from its centre."""
        offset = torch.arange(-self.radius, self.radius + 1.0, device=self.place.device)
        return torch.hypot(offset[:, None], offset[None, :]).flatten()

    def shares(self, unlike: Tensor) -> Tensor:
        """(N, rows, cols): a weight of every neighbour, 0 where there is none, 1 in all.

        They go as 1 / (u (1 + d / radius)), u the value of ``unlike`` at the neighbour and d its
        distance from the pixel.

        Args:
            unlike: (rows + 2 radius, cols + 2 radius) 0 or more, halo included.
        """
        reach = max(self.radius, 1)
        if self.backend == "numba":
            from .neighbours_numba import share_kernel

            shares = torch.zeros(self.place.permute(1, 2, 0).shape)
            places = self.place.permute(1, 2, 0).contiguous().numpy()
            farther = (1 + self._distances() / reach).numpy()
            share_kernel(places, unlike.contiguous().numpy(), farther, _LEAST, shares.numpy())
            return shares.permute(2, 0, 1)
        flat, width = unlike.flatten(), unlike.shape[-1]
        values = torch.stack([flat[self.index(place, width)] for place in self.place])
        return self.normalised(1 / (values * (1 + self.distance() / reach) + _LEAST))

    def normalised(self, weights: Tensor) -> Tensor:
        """(N, rows, cols) the weights, 0 where there is no neighbour, 1 in all."""
        weights = weights.where(self.found, 0.0)
        return weights / weights.sum(dim=0).clamp(min=1e-30)

    def weighted_sum(self, values: Tensor, weights: Tensor) -> Tensor:
        """Sum of weight * value over the neighbours of every pixel.

        Args:
            values: (bands, rows + 2 radius, cols + 2 radius), halo included, no NaN.
            weights: (N, rows, cols), 0 where there is no neighbour.

        Returns:
            (bands, rows, cols).
        """
        if self.backend == "numba":
            return self._weighted_sum_numba(values, weights)
        _, rows, cols = self.place.shape
        total = values.new_zeros(len(values), rows, cols)
        flat = values.reshape(len(values), -1)
        for place, weight in zip(self.place, weights):
            total += weight * flat[:, self.index(place, values.shape[-1])]
        return total

    def _weighted_sum_numba(self, values: Tensor, weights: Tensor) -> Tensor:
        from .neighbours_numba import weighted_sum_kernel

        sums = torch.empty(len(values), *self.place.shape[1:])
        # numpy turns many bands around in half the time that torch takes.
        arrays = (array.numpy().transpose(1, 2, 0) for array in (self.place, weights, values))
        weighted_sum_kernel(*map(np.ascontiguousarray, arrays), sums.numpy())  # type: ignore[call-arg]
        return sums

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
    features: Tensor, usable: Tensor, window: Window, count: int, limit: float, backend: str
) -> Neighbours:
    """Find the most similar pixels.

    Args:
        features: (features, rows + 2 radius, cols + 2 radius) float32, scaled, no NaN.
        usable: (rows + 2 radius, cols + 2 radius) bool.
        window: Where to look.
        count: N.
        limit: Largest difference in any feature; infinity for none.
        backend: ``numba``, ``torch`` or ``triton``.
    """
    search = {"numba": _find_numba, "triton": _find_triton}.get(backend, _find_torch)
    place, score = search(features, usable, window, min(count, len(window.places)), limit)
    core = (
        slice(window.radius, usable.shape[0] - window.radius),
        slice(window.radius, usable.shape[1] - window.radius),
    )
    lost = ~usable[core]
    return Neighbours(
        place.masked_fill_(lost, -1), score.masked_fill_(lost, 0.0), window.radius, backend
    )


def _find_torch(
    features: Tensor, usable: Tensor, window: Window, count: int, limit: float
) -> tuple[Tensor, Tensor]:
    radius = window.radius
    rows, cols = usable.shape[0] - 2 * radius, usable.shape[1] - 2 * radius
    offsets = list(zip(*(offset.tolist() for offset in window.offsets)))
    order = window.places.to(features.device)
    places, scores = [], []
    for first in range(0, rows, _TORCH_ROWS):
        height = min(_TORCH_ROWS, rows - first)
        centre = features[:, first + radius : first + radius + height, radius : radius + cols]
        table = features.new_full((len(order), height, cols), torch.inf)
        for rank, (dy, dx) in enumerate(offsets):
            down, across = slice(first + dy, first + dy + height), slice(dx, dx + cols)
            apart = (features[:, down, across] - centre).abs()
            counts = usable[down, across] & (apart.amax(dim=0) < limit)
            table[rank] = apart.sum(dim=0).where(counts, torch.inf)
        # A stable sort keeps the nearer of two equally similar pixels, as the definition says.
        score, ranks = torch.sort(table, dim=0, stable=True)
        score, ranks = score[:count], ranks[:count]
        places.append(order[ranks].int().masked_fill(torch.isinf(score), -1))
        scores.append(score.masked_fill(torch.isinf(score), 0.0))
    return torch.cat(places, dim=1), torch.cat(scores, dim=1)


def _find_numba(
    features: Tensor, usable: Tensor, window: Window, count: int, limit: float
) -> tuple[Tensor, Tensor]:
    from .neighbours_numba import search_kernel
    from .rough_numba import END, rough_kernel, rough_limits

    size = 2 * window.radius + 1
    core = (usable.shape[0] - size + 1, usable.shape[1] - size + 1, count)
    place, score = torch.full(core, -1, dtype=torch.int32), torch.zeros(core)
    rank_of = torch.zeros(size * size, dtype=torch.int32)
    rank_of[window.places] = torch.arange(len(window.places), dtype=torch.int32)
    limits = (np.float32(limit), *rough_limits(len(features), limit))
    values, rough = features.numpy(), np.empty(features.shape, dtype=np.uint16)
    rough_kernel(values, limits[1], rough)
    lost = np.where(usable.numpy(), np.uint16(0), END)[None]
    search_kernel(
        np.ascontiguousarray(values.reshape(len(values), -1).T), rough, lost, rank_of.numpy(),
        np.array(window.lattices), limits, (place.numpy(), score.numpy()),
    )  # fmt: skip
    return place.permute(2, 0, 1), score.permute(2, 0, 1)


def _find_triton(
    features: Tensor, usable: Tensor, window: Window, count: int, limit: float
) -> tuple[Tensor, Tensor]:
    from .neighbours_triton import find

    return find(features, usable, window, count, limit)
