"""The rows around a row of pixels, column by column: a pixel's window is one run of memory.

SIMD walks such a run without a break. Going down a row replaces one row of the ring: row ``y`` of
the image always lies at ``y % size`` of its column, whatever row comes first in the window.
"""

from __future__ import annotations

import numba

STRIP = 32  # rows that a thread takes at a time; each strip begins with a whole window of rows


@numba.njit(cache=True)
def load_rows(image, first, last, size, ring):  # type: ignore[no-untyped-def]
    """Put rows of an image, (rows, cols), into its ring, (cols * size,)."""
    for row in range(first, last):
        at = row % size
        for col in range(image.shape[1]):
            ring[col * size + at] = image[row, col]
