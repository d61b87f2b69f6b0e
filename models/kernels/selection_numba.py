"""The N pixels of the smallest scores among those of a window, for ``neighbours_numba``.

Selecting them one by one would cost more than the scores. So a window is folded into some hundred
groups: the N-th smallest of the groups' minima bounds the N-th smallest rough score from above, and
what a rough score can be off is known. Hardly more than N pixels stay within that; only of those
are the true scores computed.
"""

from __future__ import annotations

import numba
import numpy as np

from .rough_numba import END, OFF

GROUPS = 192  # at most
_FEW = 4  # hits more than wanted that are dropped one by one
_NEVER = np.int32(0x7FFFFFFF)


@numba.njit(cache=True)
def _fold(total, groups):  # type: ignore[no-untyped-def]
    """The smallest score of every group; pixel i is in group ``i % len(groups)``."""
    several = len(groups)
    groups[:] = total[:several]
    for first in range(several, len(total), several):
        part = total[first : first + several]
        for i in range(len(part)):
            groups[i] = min(groups[i], part[i])


@numba.njit(cache=True)
def _bound(values, count):  # type: ignore[no-untyped-def]
    """A value that ``count`` of some whole numbers do not exceed, more only if equal."""
    kind = values.dtype.type
    low, high = np.int64(values[0]), np.int64(values[0])
    for i in range(len(values)):
        low, high = min(low, np.int64(values[i])), max(high, np.int64(values[i]))
    low -= 1
    while high - low > 1:
        middle = low + ((high - low) >> 1)
        cut = kind(middle)
        below = kind(0)
        for i in range(len(values)):
            below = kind(below + (kind(1) if values[i] <= cut else kind(0)))
        if below < count:
            low = middle
            continue
        high = middle
        if below == count:
            break
    return high


@numba.njit(cache=True)
def _collect(rough, bound, flags, hits):  # type: ignore[no-untyped-def]
    """Put the numbers of the pixels whose score is within the bound into ``hits``; how many."""
    for i in range(len(rough)):
        flags[i] = np.uint8(1) if rough[i] <= bound else np.uint8(0)
    found = np.uint32(0)  # an index without a sign needs no look whether it counts from the end
    eights = flags.view(np.uint64)
    for word in range(len(eights)):
        if eights[word] != 0:
            for i in range(8 * word, 8 * word + 8):
                hits[found] = i
                found += np.uint32(flags[i])
    return np.int64(found)


@numba.njit(cache=True, fastmath={"contract", "nsz"})
def _measure(around, ahead, limit, found, hits, scores):  # type: ignore[no-untyped-def]
    """True scores of the hits; those beyond the limit are dropped. How many are left."""
    features, corner, here = around
    kept = np.uint32(0)
    for n in range(found):
        there = features[corner + ahead[hits[n]]]
        total, most = np.float32(0), np.float32(0)
        for k in range(len(here)):
            apart = abs(there[k] - here[k])
            total += apart
            most = max(most, apart)
        hits[kept], scores[kept] = hits[n], total
        kept += np.uint32(most < limit)
    return np.int64(kept)


@numba.njit(cache=True)
def _keep_best(hits, scores, found, count, ranks):  # type: ignore[no-untyped-def]
    """Keep the ``count`` hits of the smallest scores, of equal ones the nearer; how many."""
    if found > count + _FEW:
        found = _keep_lowest(hits, scores, found, count, ranks)
    while found > count:
        worst = 0
        for n in range(1, found):
            same = scores[n] == scores[worst]
            if scores[n] > scores[worst] or (same and ranks[hits[n]] > ranks[hits[worst]]):
                worst = n
        found -= 1
        hits[worst], scores[worst] = hits[found], scores[found]
    return found


@numba.njit(cache=True)
def _keep_lowest(hits, scores, found, count, ranks):  # type: ignore[no-untyped-def]
    """The same where many are to go, as in flat parts of an image."""
    bits = scores[:found].view(np.int32)
    last = _bound(bits, count)
    order = np.empty(found, dtype=np.int32)
    for n in range(found):  # among equals the nearer ones stay
        equal = ranks[hits[n]] if bits[n] == last else _NEVER
        order[n] = np.int32(-1) if bits[n] < last else equal
    farthest = _bound(order, count)
    kept = 0
    for n in range(found):
        if order[n] <= farthest:
            hits[kept], scores[kept] = hits[n], scores[n]
            kept += 1
    return kept


@numba.njit(cache=True)
def select(rough, around, count, limits, elements, work):  # type: ignore[no-untyped-def]
    """Put the neighbours of one pixel and their scores into hits and scores; how many.

    Args:
        rough: Rough score of every element of the window.
        around: (pixels, features) of the tile row by row, the pixel at the window's corner, and the
            features of the one at its centre.
        count: N.
        limits: Largest difference in any feature, and steps per unit of a feature.
        elements: How many pixels after the corner an element lies, and its rank in distance.
        work: Room for groups and flags, and for the answer: hits and scores.
    """
    (limit, steps), (ahead, ranks), (groups, flags, hits, scores) = limits, elements, work
    end, off = np.int64(END), OFF * len(around[2])
    _fold(rough, groups)
    bound = end
    if len(groups) >= count:
        bound = _bound(groups, count) + np.int64(2 * off)
    while True:
        bound = min(bound, end - 1)
        found = _collect(rough, np.uint16(bound), flags, hits)
        found = _measure(around, ahead, limit, found, hits, scores)
        found = _keep_best(hits, scores, found, count, ranks)
        if bound == end - 1:
            return found
        needed = end
        if found == count:  # who scores no more than these has a rough score of no more than …
            farthest = scores[:found].max() * steps + off
            needed = np.int64(min(farthest, np.float64(end)))
        if needed <= bound:
            return found
        bound = needed
