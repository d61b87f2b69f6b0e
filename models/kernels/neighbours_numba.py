"""The search of ``neighbours`` and sums over what it found, for numba: strips of rows in parallel.

SIMD sums rough scores along a window (``ring_numba``, ``rough_numba``), of which the true scores of
the best are computed (``selection_numba``).
"""

from __future__ import annotations

import numba
import numpy as np

from .ring_numba import STRIP, WIDTH, load_row
from .rough_numba import END, OFF, add_scores
from .selection_numba import GROUPS, select


@numba.njit(cache=True)
def _lay_out(lattices):  # type: ignore[no-untyped-def]
    """Where the rings of each lattice begin, one per phase of its columns, and the window's parts.

    Returns:
        The lattices, columns of a ring, where a lattice's first ring begins, and where its part of
        the window does; the last two have one entry more, the end.
    """
    several = len(lattices)
    wide = np.empty(several, dtype=np.int64)
    rings, parts = np.zeros(several + 1, dtype=np.int64), np.zeros(several + 1, dtype=np.int64)
    for n in range(several):
        step, side = lattices[n, 0], 2 * lattices[n, 1] + 1
        wide[n] = (WIDTH + step - 1) // step + side - 1
        rings[n + 1] = rings[n] + step * wide[n] * side
        parts[n + 1] = parts[n] + side * side
    return lattices, wide, rings, parts


@numba.njit(cache=True)
def _load(images, place, new, layout, rings):  # type: ignore[no-untyped-def]
    """Bring the rings of some images to a row: from the one before, or ``new`` from nothing.

    The columns of every phase are a ring of their own, so that those a pixel looks at are
    neighbours in memory. A place is the row, the first column and the radius.
    """
    (row, left, radius), (lattices, wide, begins, _) = place, layout
    stride = lattices[-1, 0]
    for n in range(len(lattices)):
        step, reach = lattices[n]
        side = 2 * reach + 1
        fresh = side if new else min(side, stride // step)
        for i in range(side - fresh, side):
            for phase in range(step):
                first = left + radius - step * reach + phase
                start = begins[n] + phase * wide[n] * side
                for k in range(len(images)):
                    there = images[k, row + radius + step * (i - reach)][first::step]
                    ring = rings[k, start : start + wide[n] * side]
                    load_row(
                        there[: min(wide[n], len(there))], (row // step + i) % side, side, ring
                    )


@numba.njit(cache=True)
def _number(row, layout, radius, tables, elements):  # type: ignore[no-untyped-def]
    """What the elements of a window are while its rows lie in the rings as they do at ``row``.

    Of every element: its place, its rank, its offset, and ``END`` where another one has its place.
    """
    (lattices, _, _, parts), (rank_of, offset_of) = layout, tables
    places, ranks, ahead, twice = elements
    size, dense = 2 * radius + 1, lattices[0, 1]
    for n in range(len(lattices)):
        step, reach = lattices[n]
        side = 2 * reach + 1
        turned, e = row // step % side, parts[n]
        for column in range(side):
            dx = step * (column - reach)
            for at in range(side):
                dy = step * ((at - turned if at >= turned else at - turned + side) - reach)
                places[e] = (radius + dy) * size + radius + dx
                ranks[e], ahead[e] = rank_of[places[e]], offset_of[places[e]]
                # The places near the centre belong to the first lattice.
                twice[e] = END if n > 0 and max(abs(dy), abs(dx)) <= dense else np.uint16(0)
                e += 1


@numba.njit(cache=True)
def _offsets(size, width):  # type: ignore[no-untyped-def]
    """How many pixels after a window's corner its places lie, row by row, in rows of ``width``."""
    offsets = np.empty(size * size, dtype=np.int32)
    for place in range(size * size):
        offsets[place] = place // size * width + place % size
    return offsets


@numba.njit(cache=True)
def _rough_scores(total, rings, lost, twice, pixel, cuts, layout):  # type: ignore[no-untyped-def]
    """Rough scores of the window of one pixel, into ``total``.

    A pixel is its column in the strip and its rough features.
    """
    (column, here), (lattices, wide, begins, parts) = pixel, layout
    for n in range(len(lattices)):
        step, side = lattices[n, 0], 2 * lattices[n, 1] + 1
        at = begins[n] + (column % step * wide[n] + column // step) * side
        part, away, known = total[parts[n] : parts[n + 1]], twice[parts[n] :], lost[at:]
        for i in range(len(part)):
            part[i] = max(known[i], away[i])
        add_scores(part, rings, at, here, cuts)


@numba.njit(parallel=True, nogil=True, cache=True)
def search_kernel(features, rough, lost, rank_of, lattices, limits, found):  # type: ignore[no-untyped-def]
    """See ``neighbours.find_neighbours``.

    Args:
        features: ((rows + 2 radius) * (cols + 2 radius), features) float32.
        rough: (features, rows + 2 radius, cols + 2 radius): see ``rough_kernel``.
        lost: (1, rows + 2 radius, cols + 2 radius) uint16: 0 where a pixel is usable, else ``END``.
        rank_of: (size * size,) int32: order of the places of the window, nearest first.
        lattices: (lattices, 2): see ``Window``; the first has a step of 1.
        limits: Largest difference in any feature, infinity for none, and what ``rough_limits`` says
            of it.
        found: Filled in: places and scores, (rows, cols, N); before, -1 and 0.
    """
    (places, scores), (limit, steps, largest) = found, limits
    rows, cols, count = places.shape
    width = lost.shape[2]
    radius = (width - cols) // 2
    tables = (rank_of, _offsets(2 * radius + 1, width))
    cuts = (np.uint16(min(limit * steps + OFF + 1, 65535.0)), np.uint16(largest))
    layout = _lay_out(lattices)
    window, stride = layout[3][-1], lattices[-1, 0]  # of so many rows one continues the rings
    across = (cols + WIDTH - 1) // WIDTH
    for piece in numba.prange((rows + STRIP - 1) // STRIP * across):
        first, left = piece // across * STRIP, piece % across * WIDTH
        last = min(first + STRIP, rows)
        rings = np.empty((len(rough), layout[2][-1]), dtype=np.uint16)
        known = np.empty((1, layout[2][-1]), dtype=np.uint16)
        total, twice = np.empty(window, np.uint16), np.empty(window, np.uint16)
        number, ranks = np.empty(window, np.int32), np.empty(window, np.int32)
        ahead, hits = np.empty(window, np.int32), np.empty(window + 8, np.int32)
        sums, flags = np.empty(window + 8, np.float32), np.zeros((window + 7) // 8 * 8, np.uint8)
        work = (np.empty(min(window, GROUPS), np.uint16), flags, hits, sums)
        for start in range(first, min(first + stride, last)):
            for row in range(start, last, stride):
                _load(rough, (row, left, radius), row == start, layout, rings)
                _load(lost, (row, left, radius), row == start, layout, known)
                _number(row, layout, radius, tables, (number, ranks, ahead, twice))
                for col in range(left, min(left + WIDTH, cols)):
                    if lost[0, row + radius, col + radius]:
                        continue
                    pixel = (col - left, rough[:, row + radius, col + radius])
                    _rough_scores(total, rings, known[0], twice, pixel, cuts, layout)
                    corner = row * width + col
                    around = (features, corner, features[corner + radius * width + radius])
                    best = select(total, around, count, (limit, steps), (ahead, ranks), work)
                    for n in range(best):
                        places[row, col, n] = number[hits[n]]
                        scores[row, col, n] = sums[n]


@numba.njit(parallel=True, nogil=True, cache=True)
def share_kernel(places, unlike, farther, least, shares):  # type: ignore[no-untyped-def]
    """See ``neighbours.Neighbours.shares``; the last array, (rows, cols, N) of 0, is filled in.

    Args:
        places: (rows, cols, N); -1 for none.
        unlike: (rows + 2 radius, cols + 2 radius).
        farther: (size * size,) by which every place of the window counts less.
        least: Added to the product of both.
        shares: Filled in.
    """
    rows, cols, count = places.shape
    width = unlike.shape[1]
    offsets, pixels = _offsets(width - cols + 1, width), unlike.ravel()
    for row in numba.prange(rows):
        for col in range(cols):
            total = np.float32(0)
            for n in range(count):
                place = places[row, col, n]
                if place >= 0:
                    value = pixels[row * width + col + offsets[place]]
                    weight = np.float32(1 / (value * farther[place] + least))
                    shares[row, col, n] = weight
                    total += weight
            if total > 0:
                for n in range(count):
                    shares[row, col, n] /= total


@numba.njit(parallel=True, nogil=True, cache=True, fastmath={"contract", "nsz"})
def weighted_sum_kernel(places, weights, values, sums):  # type: ignore[no-untyped-def]
    """See ``neighbours.Neighbours.weighted_sum``.

    Args:
        places: (rows, cols, N); -1 for none.
        weights: Likewise.
        values: (rows + 2 radius, cols + 2 radius, bands).
        sums: (bands, rows, cols), filled in.
    """
    rows, cols, count = places.shape
    width = values.shape[1]
    offsets = _offsets(width - cols + 1, width)
    pixels = values.reshape(-1, values.shape[2])
    for row in numba.prange(rows):
        totals = np.zeros((cols, len(sums)), dtype=np.float32)
        for col in range(cols):
            total = totals[col]
            for n in range(count):
                place = places[row, col, n]
                if place < 0:
                    continue
                weight = weights[row, col, n]
                there = pixels[row * width + col + offsets[place]]
                for band in range(len(total)):
                    total[band] += weight * there[band]
        # One band after the other: pixels of many bands side by side share places in the cache.
        for band in range(len(sums)):
            sums[band, row] = totals[:, band]
