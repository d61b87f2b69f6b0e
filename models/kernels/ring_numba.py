"""The rows around a row of pixels, column by column: a pixel's window is one run of memory.

SIMD walks such a run without a break. Going down a row replaces one row of the ring: row ``y`` of
the image always lies at ``y % size`` of its column, whatever row comes first in the window.
"""

from __future__ import annotations

import numba

# Rows and columns that a thread takes at a time. Each piece begins with a whole window of rows; the
# ring of a wider one would not stay in a core's own cache.
STRIP, WIDTH = 32, 128


@numba.njit(cache=True)
def load_rows(image, first, last, left, size, ring):  # type: ignore[no-untyped-def]
    """Put rows of an image, (rows, cols), from a column on into a ring, (cols * size,)."""
    cols = min(len(ring) // size, image.shape[1] - left)
    for row in range(first, last):
        load_row(image[row, left : left + cols], row % size, size, ring)


@numba.njit(cache=True)
def load_row(values, at, size, ring):  # type: ignore[no-untyped-def]
    """Put one row, (cols,), into a ring, (cols * size,), as row ``at`` of every column."""
    for col in range(len(values)):
        ring[col * size + at] = values[col]
