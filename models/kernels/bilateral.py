"""Smoothing where the bands are alike: torch everywhere, numba on the CPU.

Tomasi & Manduchi (1998), doi:10.1109/ICCV.1998.710815, over all bands at once.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .backend import can_compile

LEAST = 1e-30  # weight below which nothing was seen


def bilateral(
    image: Tensor, known: Tensor, spread: Tensor, radius: int, widths: tuple[float, float],
    wanted: str,
) -> Tensor:  # fmt: skip
    """Smooth an image where its bands are alike.

    Args:
        image: (bands, rows, cols), any finite value where not known.
        known: (rows, cols) bool; other pixels are not used.
        spread: (bands,) what counts as a difference of one.
        radius: Of the window in pixels.
        widths: Standard deviations of the weights, in pixels and in ``spread``.
        wanted: Back-end, as in a job.

    Returns:
        (bands, rows, cols); the border is repeated outwards.
    """
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    near = -(offsets[:, None].square() + offsets.square()) / (2 * widths[0] ** 2)
    unlike = -1 / (2 * widths[1] ** 2 * len(image))
    scaled = image / spread[:, None, None]
    if not can_compile(wanted, image.device):
        return _eager(image, scaled, known, near, unlike)
    from .bilateral_numba import bilateral_kernel

    found = torch.empty_like(image, memory_format=torch.contiguous_format)
    bilateral_kernel(
        scaled.contiguous().numpy(), known.contiguous().numpy(), near.exp().numpy(), unlike,
        found.numpy(),
    )  # fmt: skip
    return found.mul_(spread[:, None, None]).where(torch.isfinite(found), image)


def _eager(image: Tensor, scaled: Tensor, known: Tensor, near: Tensor, unlike: float) -> Tensor:
    rows, cols = known.shape
    bands, size = len(image), len(near)
    radius = size // 2
    stack = torch.cat([image, scaled, known.to(image)[None]])
    padded = functional.pad(stack[None], (radius,) * 4, mode="replicate")[0]
    total, weights = torch.zeros_like(image), torch.zeros_like(image[:1])
    for dy in range(size):
        for dx in range(size):
            there = padded[:, dy : dy + rows, dx : dx + cols]
            apart = (there[bands:-1] - scaled).square().sum(dim=0, keepdim=True)
            weight = torch.exp(unlike * apart + near[dy, dx]) * there[-1:]
            weights += weight
            total += weight * there[:bands]
    return torch.where(weights > LEAST, total / weights.clamp(min=LEAST), image)
