"""``gauss_transform`` for numba, in one thread: several may call it at once."""

from __future__ import annotations

import numba
import numpy as np

from .gauss_transform import FARTHEST

_FARTHEST = np.float32(FARTHEST)


@numba.njit(nogil=True, cache=True)
def _apart(points, one, other):  # type: ignore[no-untyped-def]
    """Squared distance of two points, or any number beyond the farthest."""
    total = np.float32(0)
    for part in range(points.shape[1]):
        off = points[one, part] - points[other, part]
        total += off * off
        if total > _FARTHEST * _FARTHEST:
            break
    return total


@numba.njit(nogil=True, cache=True)
def gauss_kernel(points, starts, of_set, weights, found):  # type: ignore[no-untyped-def]
    """See ``gauss_transform.gauss_transform``; the last array, (points, sets), is filled in.

    Points are in order of their first coordinate; the weights of point i are those from
    ``starts[i]`` on, and ``of_set`` says of which sets they are.
    """
    count = len(points)
    for one in range(count):
        for other in range(one, count):
            if points[other, 0] - points[one, 0] > _FARTHEST:
                break
            squared = _apart(points, one, other)
            if squared > _FARTHEST * _FARTHEST:
                continue
            size = np.exp(np.float32(-0.5) * squared)
            for at in range(starts[one], starts[one + 1]):
                found[other, of_set[at]] += size * weights[at]
            if other > one:
                for at in range(starts[other], starts[other + 1]):
                    found[one, of_set[at]] += size * weights[at]
