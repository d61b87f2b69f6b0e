"""Rough scores of a window's pixels for ``neighbours_numba``: sums of 16-bit differences by SIMD.

Rough features are features in steps, rounded, modulo 65536. Their difference on that circle is at
most one step more than the true one, so a rough score is never much above the true one.
"""

from __future__ import annotations

import numba
import numpy as np

END = np.uint16(20000)  # the rough score of what does not count
OFF = 1.01  # steps that a rough difference may be above the true one, rounding included
# Differences are cut off here, so that three of them and a sum at its end fit into 16 bits.
_LARGEST = 3500
_SPAN = 1.6  # feature difference that is told apart from greater ones


def rough_limits(features: int, limit: float) -> tuple[float, int]:
    """Steps per unit of a feature, and the largest rough difference that is told apart.

    What is usable and no farther than the limit then stays below the end.
    """
    room = (int(END) - 1) // features
    largest = min(_LARGEST, room)
    if limit == float("inf"):
        return largest / _SPAN, largest
    return min(largest / _SPAN, (room - 2) / limit), _LARGEST


@numba.njit(parallel=True, nogil=True, cache=True)
def rough_kernel(features, steps, rough):  # type: ignore[no-untyped-def]
    """Rough features, (features, rows, cols) uint16, into the last array."""
    for row in numba.prange(features.shape[1]):
        for k in range(len(features)):
            for col in range(features.shape[2]):
                step = np.int64(np.rint(np.float64(features[k, row, col]) * steps))
                rough[k, row, col] = np.uint16(step & 0xFFFF)


@numba.njit(cache=True)
def _apart(one, other):  # type: ignore[no-untyped-def]
    """Difference on the circle."""
    return np.uint16(abs(np.int16(one - other)))


@numba.njit(cache=True)
def _add_one(total, there, here, cuts):  # type: ignore[no-untyped-def]
    most, largest = cuts
    for i in range(len(total)):
        apart = _apart(there[i], here)
        more = np.uint16(total[i] + min(apart, largest))
        total[i] = min(more, END) if apart < most else END


@numba.njit(cache=True)
def _add_three(total, there, here, cuts):  # type: ignore[no-untyped-def]
    """Three features at a time: the scores are loaded and stored a third as often."""
    (a, b, c), (p, q, r), (most, largest) = there, here, cuts
    if most <= largest:  # what is farther does not count at all
        for i in range(len(total)):
            one, two, three = _apart(a[i], p), _apart(b[i], q), _apart(c[i], r)
            more = np.uint16(np.uint16(total[i] + one) + np.uint16(two + three))
            total[i] = min(more, END) if max(one, two, three) < most else END
        return
    for i in range(len(total)):
        one, two = min(_apart(a[i], p), largest), min(_apart(b[i], q), largest)
        three = min(_apart(c[i], r), largest)
        more = np.uint16(np.uint16(total[i] + one) + np.uint16(two + three))
        total[i] = min(more, END)


@numba.njit(cache=True)
def add_scores(total, columns, first, here, cuts):  # type: ignore[no-untyped-def]
    """Add the differences of all features from a run of pixels.

    Args:
        total: Rough scores, at most ``END``.
        columns: (features, pixels) rough features.
        first: The pixel at which the run begins.
        here: (features,) of the pixel itself.
        cuts: What differs so much or more does not count; where differences are cut off.
    """
    last = first + len(total)
    single = len(columns) % 3
    for k in range(single):
        _add_one(total, columns[k, first:last], here[k], cuts)
    for k in range(single, len(columns), 3):
        there = columns[k, first:last], columns[k + 1, first:last], columns[k + 2, first:last]
        _add_three(total, there, (here[k], here[k + 1], here[k + 2]), cuts)
