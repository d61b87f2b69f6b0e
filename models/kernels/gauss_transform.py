"""Sums of Gaussians around many points: torch everywhere, numba on the CPU.

The discrete Gauss transform (Greengard & Strain 1991, doi:10.1137/0912004) of several sets of
weights, for points of which each has few others near.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .backend import can_compile

FARTHEST = 4.0  # standard deviations beyond which a Gaussian is 0


def gauss_transform(weights: Tensor, points: Tensor, wanted: str) -> Tensor:
    """(sets, points) sums over all points j of weight_j exp(-|x_i - x_j|^2 / 2).

    Args:
        weights: (sets, points), most of them 0.
        points: (points, coordinates) in standard deviations; by the first one most are told apart.
        wanted: Back-end, as in a job.
    """
    if not can_compile(wanted, points.device):
        squared = torch.cdist(points, points).square()
        return weights @ torch.exp(-squared / 2).where(squared <= FARTHEST**2, 0.0)
    from .gauss_transform_numba import gauss_kernel

    order = points[:, 0].argsort()
    point, of_set = weights.T[order].nonzero(as_tuple=True)
    starts = torch.searchsorted(point, torch.arange(len(points) + 1))
    found = torch.zeros(len(points), len(weights))
    gauss_kernel(
        points[order].numpy(), starts.numpy(), of_set.numpy(),
        weights[of_set, order[point]].numpy(), found.numpy(),
    )  # fmt: skip
    return torch.empty_like(weights).index_copy_(1, order, found.T)
