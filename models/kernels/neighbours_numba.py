"""The search of ``neighbours`` and sums over what it found, for numba: rows in parallel.

The search goes along a row in blocks that stay in the nearest cache. Differences are summed with
SIMD; only where one of them beats what a pixel holds are pixels looked at one by one.
"""

from __future__ import annotations

import numba
import numpy as np

_BLOCK = 64  # pixels; 32 and 128 are slower


@numba.njit(parallel=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def search_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0912
    features, down, across, limit, places, scores
):
    """See ``neighbours.find_neighbours``; the last two arrays, (rows, cols, N), are filled in.

    ``down`` and ``across`` are the places of the window, nearest first. A pixel that is not usable
    has a first feature of ``limit`` at least away from all others.
    """
    rows, cols, count = places.shape
    radius = (features.shape[1] - rows) // 2
    size = 2 * radius + 1
    most = np.float32(limit)
    far = np.float32(3.4e38)
    for row in numba.prange(rows):
        total = np.empty(_BLOCK, dtype=np.float32)
        worst = np.empty(_BLOCK, dtype=np.float32)  # score that a new neighbour has to beat
        slot = np.empty(_BLOCK, dtype=np.int32)  # where the worst one is kept
        held = np.empty(_BLOCK, dtype=np.int32)
        for left in range(0, cols, _BLOCK):
            width = min(_BLOCK, cols - left)
            worst[:] = far
            slot[:] = 0
            held[:] = 0
            for rank in range(len(down)):
                dy, dx = down[rank], left + across[rank]
                total[:] = 0
                for k in range(len(features)):
                    there = features[k, row + dy, dx : dx + width]
                    here = features[k, row + radius, left + radius : left + radius + width]
                    for x in range(width):
                        apart = abs(there[x] - here[x])
                        total[x] = total[x] + apart if apart < most else far
                hits = 0
                for x in range(width):
                    hits += total[x] < worst[x]
                if hits == 0:
                    continue
                for x in range(width):
                    if total[x] < worst[x]:
                        kept = scores[row, left + x]
                        if held[x] < count:
                            at = held[x]
                            held[x] += 1
                        else:
                            at = slot[x]
                        kept[at] = total[x]
                        places[row, left + x, at] = dy * size + across[rank]
                        if held[x] == count:
                            # Of equal scores the one that came last leaves first: it is farther.
                            top = np.float32(-1.0)
                            for n in range(count):
                                if kept[n] >= top:
                                    top = kept[n]
                                    slot[x] = n
                            worst[x] = top


@numba.njit(parallel=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def weighted_sum_kernel(places, weights, values, sums):  # type: ignore[no-untyped-def]
    """See ``neighbours.Neighbours.weighted_sum``.

    Args:
        places: (rows, cols, N); -1 for none.
        weights: Likewise.
        values: (rows + 2 radius, cols + 2 radius, bands).
        sums: (rows, cols, bands), filled in.
    """
    rows, cols, count = places.shape
    size = values.shape[0] - rows + 1
    for row in numba.prange(rows):
        for col in range(cols):
            total = sums[row, col]
            total[:] = 0
            for n in range(count):
                place = places[row, col, n]
                if place < 0:
                    continue
                weight = weights[row, col, n]
                there = values[row + place // size, col + place % size]
                for band in range(len(total)):
                    total[band] += weight * there[band]
