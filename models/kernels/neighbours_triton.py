"""The search of ``neighbours`` for Triton: a program per 32 pixels of a row, a thread per pixel.

What a pixel has found stays in registers. A find is one integer: the bits of its score, which sort
like the number as it is not negative, above its rank among the places. So the largest integer is
the find that the definition drops first: the least similar one, of equal ones the farthest.

Tested through Triton's interpreter only, not on a GPU yet; ``backend`` compares a small search with
the one in torch before it chooses these kernels.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .window import Window

_BLOCK = 32  # a warp: whether any pixel has a new find is then known without waiting for others
_SLOTS_PER_WARP = 32  # more would not fit into registers


@triton.jit
def search_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913, PLR0917
    features, usable, shifts, places, place, score,
    bands, plane, width, radius, limit, window, rows, cols, count,
    SLOTS: tl.constexpr, BLOCK: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """See ``find``; ``shifts`` are the places as steps from the window's corner in the plane."""
    row = tl.program_id(0)
    col = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = col < cols
    corner = row * width + col
    here = corner + radius * width + radius
    nothing = tl.full((BLOCK,), 0x7FFFFFFFFFFFFFFF, tl.int64)
    slot = tl.arange(0, SLOTS)[:, None]
    # Empty slots differ, so that one find fills one of them; slots beyond the count stay full.
    found = tl.where(slot < count, nothing[None, :] - slot, -1)
    worst = tl.max(found, axis=0)
    for rank in range(window):
        there = corner + tl.load(shifts + rank)
        counts = inside & (tl.load(usable + there, mask=inside, other=0) != 0)
        apart = tl.zeros((BLOCK,), tl.float32)
        band = features
        for _ in range(bands):
            off = tl.abs(tl.load(band + there, mask=counts, other=0.0)
                         - tl.load(band + here, mask=counts, other=0.0))  # fmt: skip
            counts = counts & (off < limit)
            apart += off
            band += plane
        counts = counts & (apart < float("inf"))
        find = (apart.to(tl.int32, bitcast=True).to(tl.int64) << 32) + rank
        better = counts & (find < worst)
        # Once where any pixel has a better find; Triton 3.7 cannot compile it as `if` for AMD.
        for _ in range(tl.max(better.to(tl.int32), axis=0)):
            leaves = (found == worst[None, :]) & better[None, :]
            found = tl.where(leaves, find[None, :], found)
            worst = tl.max(found, axis=0)
    held = (found >= 0) & (found < nothing[None, :] - SLOTS)
    at = slot.to(tl.int64) * rows * cols + row * cols + col[None, :]
    written = (slot < count) & inside[None, :]
    rank_found = (found & 0xFFFFFFFF).to(tl.int32)
    which = tl.load(places + rank_found, mask=held, other=-1)
    value = (found >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    tl.store(place + at, which, mask=written)
    tl.store(score + at, tl.where(held, value, 0.0), mask=written)


def find(
    features: Tensor, usable: Tensor, window: Window, count: int, limit: float
) -> tuple[Tensor, Tensor]:
    """Places and scores, (count, rows, cols) int32 and float32; see ``find_neighbours``.

    Places are -1 and scores 0 where there is no neighbour.
    """
    rows, cols = (side - 2 * window.radius for side in usable.shape)
    place = features.new_empty((count, rows, cols), dtype=torch.int32)
    score = features.new_empty((count, rows, cols))
    if not place.numel():
        return place, score
    down, across = window.offsets
    width = usable.shape[1]
    shifts = (down * width + across).int().to(features.device)
    slots = triton.next_power_of_2(count)
    search_kernel[(rows, triton.cdiv(cols, _BLOCK))](
        features.contiguous(), usable.to(torch.int8).contiguous(), shifts,
        window.places.int().to(features.device), place, score,
        len(features), usable.numel(), width, window.radius, float(limit),
        len(shifts), rows, cols, count, SLOTS=slots, BLOCK=_BLOCK,
        num_warps=max(slots // _SLOTS_PER_WARP, 1),
    )  # fmt: skip
    return place, score
