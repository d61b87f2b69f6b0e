"""``bilateral`` for numba: rows in parallel."""

from __future__ import annotations

import numba
import numpy as np

from .bilateral import LEAST

_LEAST = np.float32(LEAST)


@numba.njit(cache=True)
def _load(scaled, known, row, line, usable):  # type: ignore[no-untyped-def]
    """A row of the image with its ends repeated, and which of its pixels are known."""
    bands, _, cols = scaled.shape
    radius = (len(usable) - cols) // 2
    for at in range(len(usable)):
        col = min(max(at - radius, 0), cols - 1)
        usable[at] = known[row, col]
        for band in range(bands):
            line[band, at] = scaled[band, row, col]


@numba.njit(parallel=True, nogil=True, cache=True, fastmath={"contract", "nsz"})
def bilateral_kernel(scaled, known, near, unlike, found):  # type: ignore[no-untyped-def]
    """See ``bilateral.bilateral``; the last array, (bands, rows, cols), is filled in, scaled.

    Pixels with no known and similar one around them become NaN.
    """
    bands, rows, cols = scaled.shape
    size = len(near)
    radius = size // 2
    by = np.float32(unlike)
    for row in numba.prange(rows):
        total = np.zeros((bands, cols), dtype=np.float32)
        weights = np.zeros(cols, dtype=np.float32)
        line = np.empty((bands, cols + 2 * radius), dtype=np.float32)
        usable = np.empty(cols + 2 * radius, dtype=np.float32)
        apart = np.empty(cols, dtype=np.float32)
        for dy in range(size):
            _load(scaled, known, min(max(row + dy - radius, 0), rows - 1), line, usable)
            for dx in range(size):
                apart[:] = 0
                for band in range(bands):
                    for col in range(cols):
                        off = line[band, col + dx] - scaled[band, row, col]
                        apart[col] += off * off
                share = np.float32(near[dy, dx])
                for col in range(cols):
                    apart[col] = share * usable[col + dx] * np.exp(by * apart[col])
                for col in range(cols):
                    weights[col] += apart[col]
                for band in range(bands):
                    for col in range(cols):
                        total[band, col] += apart[col] * line[band, col + dx]
        for band in range(bands):
            for col in range(cols):
                weight = weights[col]
                found[band, row, col] = total[band, col] / weight if weight > _LEAST else np.nan
