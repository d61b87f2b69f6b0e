"""The search of ``neighbours`` and sums over what it found, for numba: rows in parallel.

The search goes along a row in blocks that stay in the nearest cache. Differences are summed with
SIMD; only where one of them beats what a pixel holds are pixels looked at one by one.
"""

from __future__ import annotations

import numba
import numpy as np

_BLOCK = 64  # pixels; 32 and 128 are slower
_FLAGS = {"contract", "reassoc", "nsz"}


@numba.njit(cache=True, fastmath=_FLAGS)
def _insert(kept, where, shifted, moved, score, place):  # type: ignore[no-untyped-def]
    """Put a neighbour into lists sorted by score, behind its equals; the last one drops out.

    The lists begin with a sentinel of score -1. No branch, so that SIMD does it.
    """
    for n in range(len(shifted)):
        here, before = kept[n + 1], kept[n]
        shifted[n] = min(here, max(before, score))
        moved[n] = where[n + 1] if here <= score else (place if before <= score else where[n])
    for n in range(len(shifted)):
        kept[n + 1] = shifted[n]
        where[n + 1] = moved[n]


@numba.njit(parallel=True, nogil=True, cache=True, fastmath=_FLAGS)
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
        kept = np.empty((_BLOCK, count + 1), dtype=np.float32)
        where = np.empty((_BLOCK, count + 1), dtype=np.int32)
        centre = np.empty((len(features), _BLOCK), dtype=np.float32)
        shifted = np.empty(count, dtype=np.float32)
        moved = np.empty(count, dtype=np.int32)
        for left in range(0, cols, _BLOCK):
            width = min(_BLOCK, cols - left)
            worst[:] = far
            kept[:, 0] = -1
            for k in range(len(features)):
                for x in range(width):
                    centre[k, x] = features[k, row + radius, left + radius + x]
            kept[:, 1:] = far
            where[:] = -1
            for rank in range(len(down)):
                dy, dx = down[rank], left + across[rank]
                total[:] = 0
                for k in range(len(features)):
                    there = features[k, row + dy, dx : dx + width]
                    here = centre[k]
                    for x in range(width):
                        apart = abs(there[x] - here[x])
                        total[x] = total[x] + apart if apart < most else far
                hits = 0
                for x in range(width):
                    hits += total[x] < worst[x]
                if hits == 0:
                    continue
                place = np.int32(dy * size + across[rank])
                for x in range(width):
                    if total[x] < worst[x]:
                        _insert(kept[x], where[x], shifted, moved, total[x], place)
                        worst[x] = kept[x, count]
                        hits -= 1
                        if hits == 0:
                            break
            for x in range(width):
                for n in range(count):
                    found = where[x, n + 1] >= 0
                    places[row, left + x, n] = where[x, n + 1]
                    scores[row, left + x, n] = kept[x, n + 1] if found else np.float32(0)


@numba.njit(parallel=True, nogil=True, cache=True, fastmath=_FLAGS)
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
