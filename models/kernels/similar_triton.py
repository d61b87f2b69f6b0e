"""The loop of ``similar`` for Triton: a program per 128 pixels of a row, a thread per pixel.

All sums stay in registers. A pixel that fails a test is not loaded any further.

Tested through Triton's interpreter only, not on a GPU yet; ``backend`` compares small sums with
those of torch before it chooses these kernels.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 128


@triton.jit
def sums_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913, PLR0917
    feature, spectral, temporal, weight, weighted, spectral_limit, temporal_limit,
    shifts, shares, weights, sums, window, width, radius, cols,
    BLOCK: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """See ``similar_sums``; ``shifts`` are steps in the plane from the window's corner, ``shares``
    the kernel's weights there.
    """
    row = tl.program_id(0)
    col = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = col < cols
    corner = row * width + col
    here = corner + radius * width + radius
    centre = tl.load(feature + here, mask=inside, other=0.0)
    most_spectral = tl.load(spectral_limit + here, mask=inside, other=0.0)
    most_temporal = tl.load(temporal_limit + here, mask=inside, other=0.0)
    total = tl.zeros((BLOCK,), tl.float32)
    total_weighted = tl.zeros((BLOCK,), tl.float32)
    for number in range(window):
        there = corner + tl.load(shifts + number)
        share = tl.load(shares + number)
        other = tl.load(feature + there, mask=inside, other=0.0)
        counts = inside & (tl.abs(other - centre) <= 1.0)
        counts = counts & (tl.load(spectral + there, mask=counts, other=0.0) < most_spectral)
        counts = counts & (tl.load(temporal + there, mask=counts, other=0.0) < most_temporal)
        total += share * tl.load(weight + there, mask=counts, other=0.0)
        total_weighted += share * tl.load(weighted + there, mask=counts, other=0.0)
    tl.store(weights + row * cols + col, total, mask=inside)
    tl.store(sums + row * cols + col, total_weighted, mask=inside)


def sums(planes: tuple[Tensor, ...], kernel: Tensor) -> tuple[Tensor, Tensor]:
    """W and S of ``similar_sums``.

    Args:
        planes: Feature, spectral, temporal, weight, weight * value, spectral limit and temporal
            limit; (rows + 2 radius, cols + 2 radius) float32 each.
        kernel: (2 radius + 1, 2 radius + 1); places of weight 0 are left out.
    """
    radius = len(kernel) // 2
    height, width = planes[0].shape
    rows, cols = height - 2 * radius, width - 2 * radius
    weights, weighted_sums = (planes[0].new_empty((rows, cols)) for _ in range(2))
    if not weights.numel():
        return weights, weighted_sums
    down, across = kernel.nonzero().unbind(dim=1)
    sums_kernel[(rows, triton.cdiv(cols, _BLOCK))](
        *(plane.contiguous() for plane in planes), (down * width + across).to(torch.int32),
        kernel[down, across].contiguous(), weights, weighted_sums,
        len(down), width, radius, cols, BLOCK=_BLOCK,
    )  # fmt: skip
    return weights, weighted_sums
