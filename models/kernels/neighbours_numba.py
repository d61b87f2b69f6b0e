"""The search of ``neighbours`` for numba: rows in parallel, SIMD along a row."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(parallel=True, cache=True, fastmath={"contract", "reassoc", "nsz", "nnan"})
def search_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0912
    features, usable, order, radius, limit, places, scores
):
    """See ``neighbours.find_neighbours``; the last two arrays, (rows, cols, N), are filled in."""
    rows, cols, count = places.shape
    size = 2 * radius + 1
    most = np.float32(limit)
    far = np.float32(3.4e38)
    for row in numba.prange(rows):
        centre = features[:, row + radius, radius : radius + cols]
        total = np.empty(cols, dtype=np.float32)
        largest = np.empty(cols, dtype=np.float32)
        worst = np.full(cols, far, dtype=np.float32)  # score that a new neighbour has to beat
        slot = np.zeros(cols, dtype=np.int32)  # where the worst one is kept
        held = np.zeros(cols, dtype=np.int32)
        for rank in range(len(order)):
            place = order[rank]
            dy, dx = place // size, place % size
            total[:] = 0
            largest[:] = 0
            for k in range(len(features)):
                there = features[k, row + dy]
                here = centre[k]
                for x in range(cols):
                    apart = abs(there[x + dx] - here[x])
                    total[x] += apart
                    largest[x] = max(largest[x], apart)
            free = usable[row + dy]
            for x in range(cols):
                if total[x] < worst[x] and largest[x] < most and free[x + dx]:
                    if held[x] < count:
                        at = held[x]
                        held[x] += 1
                    else:
                        at = slot[x]
                    scores[row, x, at] = total[x]
                    places[row, x, at] = place
                    if held[x] == count:
                        # Of equal scores the one that came last leaves first: it is farther away.
                        top = np.float32(-1.0)
                        for n in range(count):
                            if scores[row, x, n] >= top:
                                top = scores[row, x, n]
                                slot[x] = n
                        worst[x] = top
        for x in range(cols):
            if not usable[row + radius, x + radius]:
                places[row, x] = -1
                scores[row, x] = 0
