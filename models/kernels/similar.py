"""Windowed weighting of similar pixels by thresholds: the hot loop of STARFM.

One definition, three back-ends behind ``similar_sums``: Triton compiles it for GPUs, numba for all
cores of the CPU, an eager torch loop runs everywhere. For a pixel p and every pixel i of the window
around it:

    i counts  when  |feature_i - feature_p| <= 1  and  spectral_i < spectral_limit_p
                    and  temporal_i < temporal_limit_p
    weight    W_p = sum of  kernel(i - p) * weight_i        over all i that count
    sum       S_p = sum of  kernel(i - p) * weight_i * value_i

A pixel that must never count (nodata) has weight 0 and a feature far from all others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FAR = 1e9  # feature of a pixel that is similar to none
_MANY = 0.3  # share of the window above which numba's loop over whole windows is the faster one


@dataclass(frozen=True)
class Candidates:
    """What is known of every pixel of a tile, (rows, cols) float32 each, halo included.

    Attributes:
        feature: Fine value over the tolerance for similarity.
        spectral: |fine - coarse|.
        temporal: |coarse reference - coarse target|.
        weight: Weight apart from the distance; 0 for nodata.
        value: What is averaged.
        spectral_limit: Largest spectral difference of a neighbour, seen from this pixel.
        temporal_limit: Largest temporal difference, likewise.
    """

    feature: Tensor
    spectral: Tensor
    temporal: Tensor
    weight: Tensor
    value: Tensor
    spectral_limit: Tensor
    temporal_limit: Tensor


def similar_sums(candidates: Candidates, kernel: Tensor, backend: str) -> tuple[Tensor, Tensor]:
    """Weights and weighted sums over similar pixels of a window.

    Args:
        candidates: A tile with a halo of ``radius`` pixels.
        kernel: (2 * radius + 1, 2 * radius + 1) weight of every place in the window;
            where it is 0, no pixel counts.
        backend: ``numba``, ``torch`` or ``triton``.

    Returns:
        W and S of the tile without its halo, (rows - 2 radius, cols - 2 radius) each.
    """
    if backend == "numba":
        return _sums_numba(candidates, kernel)
    if backend == "triton":
        from .similar_triton import sums

        return sums(_planes(candidates), kernel)
    return _sums_torch(candidates, kernel)


def _sums_torch(c: Candidates, kernel: Tensor) -> tuple[Tensor, Tensor]:
    radius = len(kernel) // 2
    rows, cols = c.feature.shape[0] - 2 * radius, c.feature.shape[1] - 2 * radius
    core = (slice(radius, radius + rows), slice(radius, radius + cols))
    feature = c.feature[core].clone()
    spectral, temporal = c.spectral_limit[core].clone(), c.temporal_limit[core].clone()
    weighted = c.weight * c.value
    weights, sums = torch.zeros_like(feature), torch.zeros_like(feature)
    # Masks stay float and in place: products of bool and float are several times slower.
    mask, other = torch.empty_like(feature), torch.empty_like(feature)
    for dy, dx in kernel.nonzero().tolist():
        place = (slice(dy, dy + rows), slice(dx, dx + cols))
        torch.sub(c.feature[place], feature, out=mask).abs_().le_(1.0)
        mask.mul_(torch.sub(c.spectral[place], spectral, out=other).lt_(0.0))
        mask.mul_(torch.sub(c.temporal[place], temporal, out=other).lt_(0.0))
        mask.mul_(kernel[dy, dx])
        weights.addcmul_(mask, c.weight[place])
        sums.addcmul_(mask, weighted[place])
    return weights, sums


def _planes(c: Candidates) -> tuple[Tensor, ...]:
    """What the compiled loops take, in their order."""
    return (
        c.feature, c.spectral, c.temporal, c.weight, c.weight * c.value,
        c.spectral_limit, c.temporal_limit,
    )  # fmt: skip


def _sums_numba(c: Candidates, kernel: Tensor) -> tuple[Tensor, Tensor]:
    from .similar_numba import sums_by_pixel, sums_by_place

    radius = len(kernel) // 2
    rows, cols = c.feature.shape[0] - 2 * radius, c.feature.shape[1] - 2 * radius
    weights, sums = torch.zeros(rows, cols), torch.zeros(rows, cols)
    arrays = [plane.contiguous().numpy() for plane in _planes(c)]
    last = (kernel.contiguous().numpy(), weights.numpy(), sums.numpy())
    places = int(torch.count_nonzero(kernel))
    loop = sums_by_pixel if places > _MANY * kernel.numel() else sums_by_place
    loop(*arrays, *last)  # type: ignore[call-arg]
    return weights, sums
