"""The search of ``neighbours`` and sums over what it found, for numba: strips of rows in parallel.

Selecting the N smallest of thousands of scores one by one would cost more than the scores, which
SIMD sums along a window (see ``ring_numba``). So a window is folded into some hundred groups: the
N-th smallest of the groups' minima bounds the N-th smallest score from above, hardly more than N
pixels stay within it, and only those are looked at one by one.
"""

from __future__ import annotations

import numba
import numpy as np

from .ring_numba import STRIP, WIDTH, load_row

_GROUPS = 256  # a window is folded until it has no more
# No "reassoc": a score must not depend on where in a run of memory its pixel lies.
_FLAGS = {"contract", "nsz"}
FAR = np.float32(1e38)  # a score or feature that is never counted
_MOST = np.int32(0x7E000000)  # bits of 4.3e37: what counts stays below


@numba.njit(cache=True, fastmath=_FLAGS)
def _add_one(total, there, here, most):  # type: ignore[no-untyped-def]
    for i in range(len(total)):
        apart = abs(there[i] - here)
        total[i] = total[i] + apart if apart < most else FAR


@numba.njit(cache=True, fastmath=_FLAGS)
def _add_three(total, there, here, most):  # type: ignore[no-untyped-def]
    """Three features at a time: the scores are loaded and stored a third as often."""
    (a, b, c), (p, q, r) = there, here
    if most >= FAR:
        for i in range(len(total)):
            total[i] += abs(a[i] - p) + abs(b[i] - q) + abs(c[i] - r)
        return
    for i in range(len(total)):
        one, two, three = abs(a[i] - p), abs(b[i] - q), abs(c[i] - r)
        total[i] = total[i] + one + two + three if max(one, two, three) < most else FAR


@numba.njit(cache=True, fastmath=_FLAGS)
def _add_scores(total, columns, first, here, most):  # type: ignore[no-untyped-def]
    """Add the differences of all features from a run of pixels that begins at ``first``."""
    last = first + len(total)
    single = len(columns) % 3
    for k in range(single):
        _add_one(total, columns[k, first:last], here[k], most)
    for k in range(single, len(columns), 3):
        there = columns[k, first:last], columns[k + 1, first:last], columns[k + 2, first:last]
        _add_three(total, there, (here[k], here[k + 1], here[k + 2]), most)


@numba.njit(cache=True, fastmath=_FLAGS)
def _minima(total, groups):  # type: ignore[no-untyped-def]
    """Fold scores into groups and keep the smallest of each; how many groups."""
    size = len(total)
    half = (size + 1) // 2
    # Slices, since SIMD needs to see that no index is negative.
    first, second = total[:half], total[half:]
    groups[half - 1] = first[half - 1]
    for i in range(size - half):
        groups[i] = min(first[i], second[i])
    size = half
    while size > _GROUPS:
        half = (size + 1) // 2
        second = groups[half:size]
        for i in range(size - half):
            groups[i] = min(groups[i], second[i])
        size = half
    return size


@numba.njit(cache=True, fastmath=_FLAGS)
def _bound(bits, count):  # type: ignore[no-untyped-def]
    """A value that ``count`` of ``bits`` do not exceed, more only if equal; never above _MOST."""
    low, high = _MOST, np.int32(0)
    for i in range(len(bits)):
        low, high = min(low, bits[i]), max(high, bits[i])
    low, high = np.int32(low - 1), min(high, _MOST)
    wanted = np.int32(count)
    while high - low > 1:
        middle = np.int32(low + ((high - low) >> 1))
        below = np.int32(0)
        for i in range(len(bits)):
            below += np.int32(1) if bits[i] <= middle else np.int32(0)
        if below < wanted:
            low = middle
            continue
        high = middle
        if below == wanted:
            break
    return high


@numba.njit(cache=True, fastmath=_FLAGS)
def _collect(bits, bound, flags, hits):  # type: ignore[no-untyped-def]
    """Put the numbers of the pixels whose score is within the bound into ``hits``; how many."""
    for i in range(len(bits)):
        flags[i] = np.uint8(1) if bits[i] <= bound else np.uint8(0)
    found = 0
    eights = flags.view(np.uint64)
    for word in range(len(eights)):
        if eights[word] != np.uint64(0):
            for i in range(8 * word, 8 * word + 8):
                hits[found] = i
                found += flags[i]
    return found


@numba.njit(cache=True, fastmath=_FLAGS)
def _drop_worst(hits, found, count, bits, ranks):  # type: ignore[no-untyped-def]
    """Drop the farthest of the highest score until ``count`` are left."""
    while found > count:
        worst = 0
        for i in range(1, found):
            one, other = hits[i], hits[worst]
            if bits[one] > bits[other] or (bits[one] == bits[other] and ranks[one] > ranks[other]):
                worst = i
        found -= 1
        hits[worst] = hits[found]
    return found


@numba.njit(cache=True, fastmath=_FLAGS)
def _thin_out(hits, found, count, bits, ranks):  # type: ignore[no-untyped-def]
    """The same where many scores are equal, as in flat parts of an image."""
    order = np.empty(found, dtype=np.int32)
    for i in range(found):
        order[i] = bits[hits[i]]
    last = _bound(order, count)
    for i in range(found):  # among equals the nearer ones stay
        equal = np.int32(ranks[hits[i]]) if order[i] == last else _MOST
        order[i] = np.int32(-1) if order[i] < last else equal
    farthest = _bound(order, count)
    kept = 0
    for i in range(found):
        if order[i] <= farthest:
            hits[kept] = hits[i]
            kept += 1
    return kept


@numba.njit(cache=True)
def _lay_out(lattices):  # type: ignore[no-untyped-def]
    """Where the rings of each lattice begin, one per phase of its columns, and the window's parts.

    Returns:
        Columns of a ring, where a lattice's first ring begins, and where its part of the window
        does; the last two have one entry more, the end.
    """
    several = len(lattices)
    wide = np.empty(several, dtype=np.int64)
    rings, parts = np.zeros(several + 1, dtype=np.int64), np.zeros(several + 1, dtype=np.int64)
    for n in range(several):
        step, side = lattices[n, 0], 2 * lattices[n, 1] + 1
        wide[n] = (WIDTH + step - 1) // step + side - 1
        rings[n + 1] = rings[n] + step * wide[n] * side
        parts[n + 1] = parts[n] + side * side
    return wide, rings, parts


@numba.njit(cache=True)
def _load(features, row, fresh, left, radius, step, reach, wide, rings):  # type: ignore[no-untyped-def]
    """Put the last ``fresh`` rows of a lattice around ``row`` into its rings.

    The columns of every phase are a ring of their own, so that those a pixel looks at are
    neighbours in memory.
    """
    side = 2 * reach + 1
    for k in range(len(features)):
        for i in range(side - fresh, side):
            values = features[k, row + radius + step * (i - reach)]
            for phase in range(step):
                first = left + radius - step * reach + phase
                ring = rings[k, phase * wide * side : (phase + 1) * wide * side]
                there = values[first::step]
                load_row(there[: min(wide, len(there))], (row // step + i) % side, side, ring)


@numba.njit(cache=True)
def _number(  # type: ignore[no-untyped-def]
    row, lattices, parts, radius, rank_of, places, ranks, penalty
):
    """What the elements of a window are while its rows lie in the rings as they do at ``row``."""
    size, dense = 2 * radius + 1, lattices[0, 1]
    for n in range(len(lattices)):
        step, reach = lattices[n]
        side = 2 * reach + 1
        for i in range(side * side):
            column, at = i // side, i % side
            dy, dx = step * ((at - row // step) % side - reach), step * (column - reach)
            e = parts[n] + i
            places[e] = (radius + dy) * size + radius + dx
            ranks[e] = rank_of[places[e]]
            # The places near the centre belong to the first lattice.
            penalty[e] = FAR if n > 0 and max(abs(dy), abs(dx)) <= dense else np.float32(0)


@numba.njit(parallel=True, nogil=True, cache=True, fastmath=_FLAGS)
def search_kernel(  # type: ignore[no-untyped-def]
    features, rank_of, lattices, limit, places, scores
):
    """See ``neighbours.find_neighbours``; the last two arrays, (rows, cols, N), are filled in.

    Args:
        features: (features, rows + 2 radius, cols + 2 radius); a pixel that is not usable has a
            first feature of ``FAR``.
        rank_of: (size * size,) int32: order of the places of the window, nearest first.
        lattices: (lattices, 2): see ``Window``; the first has a step of 1.
        limit: Largest difference in any feature; ``FAR`` for none.
        places: -1 where there is no neighbour, as before.
        scores: 0 there.
    """
    rows, cols, count = places.shape
    radius = (features.shape[1] - rows) // 2
    wide, begins, parts = _lay_out(lattices)
    stride = lattices[-1, 0]  # rows apart that share the rows of the last lattice
    across = (cols + WIDTH - 1) // WIDTH
    for piece in numba.prange((rows + STRIP - 1) // STRIP * across):
        first, left = piece // across * STRIP, piece % across * WIDTH
        rings = np.empty((len(features), begins[-1]), dtype=np.float32)
        total = np.empty(parts[-1], dtype=np.float32)
        groups, penalty = np.empty_like(total), np.empty_like(total)
        number = np.empty(len(total), dtype=np.int32)
        ranks, hits = np.empty_like(number), np.empty(len(total) + 8, dtype=np.int32)
        flags = np.zeros((len(total) + 7) // 8 * 8, dtype=np.uint8)
        bits = total.view(np.int32)
        last = min(first + STRIP, rows)
        for start in range(first, min(first + stride, last)):
            for row in range(start, last, stride):
                for n in range(len(lattices)):
                    step, reach = lattices[n]
                    fresh = 2 * reach + 1 if row == start else min(2 * reach + 1, stride // step)
                    own = rings[:, begins[n] : begins[n + 1]]
                    _load(features, row, fresh, left, radius, step, reach, wide[n], own)
                _number(row, lattices, parts, radius, rank_of, number, ranks, penalty)
                for col in range(left, min(left + WIDTH, cols)):
                    here = features[:, row + radius, col + radius]
                    if here[0] >= FAR:
                        continue
                    total[:] = penalty
                    for n in range(len(lattices)):
                        step, side = lattices[n, 0], 2 * lattices[n, 1] + 1
                        column = (col - left) % step * wide[n] + (col - left) // step
                        part = total[parts[n] : parts[n + 1]]
                        _add_scores(part, rings, begins[n] + column * side, here, limit)
                    minima = groups[: _minima(total, groups)].view(np.int32)
                    bound = _bound(minima, count) if len(minima) >= count else _MOST
                    found = _collect(bits, bound, flags, hits)
                    if found > 2 * count:
                        found = _thin_out(hits, found, count, bits, ranks)
                    found = _drop_worst(hits, found, count, bits, ranks)
                    for n in range(found):
                        places[row, col, n] = number[hits[n]]
                        scores[row, col, n] = total[hits[n]]


@numba.njit(parallel=True, nogil=True, cache=True)
def gather_kernel(places, image, values):  # type: ignore[no-untyped-def]
    """See ``neighbours.Neighbours.gather``; the last array, (rows, cols, N), is filled in."""
    rows, cols, count = places.shape
    size = image.shape[0] - rows + 1
    for row in numba.prange(rows):
        for col in range(cols):
            for n in range(count):
                place = max(places[row, col, n], 0)
                values[row, col, n] = image[row + place // size, col + place % size]


@numba.njit(parallel=True, nogil=True, cache=True, fastmath=_FLAGS)
def weighted_sum_kernel(places, weights, values, sums):  # type: ignore[no-untyped-def]
    """See ``neighbours.Neighbours.weighted_sum``.

    Args:
        places: (rows, cols, N); -1 for none.
        weights: Likewise.
        values: (rows + 2 radius, cols + 2 radius, bands).
        sums: (bands, rows, cols), filled in.
    """
    rows, cols, count = places.shape
    size = values.shape[0] - rows + 1
    for row in numba.prange(rows):
        totals = np.zeros((cols, len(sums)), dtype=np.float32)
        for col in range(cols):
            total = totals[col]
            for n in range(count):
                place = places[row, col, n]
                if place < 0:
                    continue
                weight = weights[row, col, n]
                there = values[row + place // size, col + place % size]
                for band in range(len(total)):
                    total[band] += weight * there[band]
        # One band after the other: pixels of many bands side by side share places in the cache.
        for band in range(len(sums)):
            sums[band, row] = totals[:, band]
