"""Cubic interpolation between grids that lie straight in one CRS: GDAL's result, much sooner.

Then columns and rows can be interpolated one after the other. Where GDAL would do something else
than the plain formula, this module gives no answer and GDAL is asked.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..grid import Transform, Window

Array = NDArray[np.float32]
_REACH = 2  # source pixels that the cubic kernel needs on either side
_ROWS = 8  # at a time, so that what is added up stays in the cache


def lies_straight(source: Transform, target: Transform) -> bool:
    """Whether no grid is turned or mirrored and the source's pixels are at least twice as large.

    Of smaller ones GDAL's kernel may be wider, and little would be gained.
    """
    (a, b, _, d, e, _), (p, q, _, s, t, _) = source, target
    return b == d == q == s == 0 and a >= 2 * p > 0 and e <= 2 * t < 0


def interpolated(
    read: Callable[[Window], Array],
    source: Transform,
    target: Transform,
    shape: tuple[int, int],
    window: Window,
) -> Array | None:
    """A window of the target grid; None where a source pixel is missing, which GDAL weighs up.

    Args:
        read: Gives (bands, rows, cols) of a window of the source, NaN for nodata.
        source: Of grids that lie straight.
        target: Likewise.
        shape: Rows and columns of the source.
        window: What is wanted.
    """
    (x, _, x0, _, y, y0), (p, _, p0, _, q, q0) = source, target
    rows = positions(window.row, window.rows, (q0 - y0) / y, q / y)
    cols = positions(window.col, window.cols, (p0 - x0) / x, p / x)
    down, across = needed(rows, shape[0]), needed(cols, shape[1])
    part = Window(down.start, across.start, down.stop - down.start, across.stop - across.start)
    if not (part.rows and part.cols):
        return None
    values = read(part)
    if not np.isfinite(values).all():
        return None
    return interpolate(values, rows, cols, shape, (down, across))


def positions(first: int, count: int, start: float, step: float) -> NDArray[np.float64]:
    """Where target pixels' centres lie along an axis of the source; 0 is its first pixel's edge."""
    return start + step * (np.arange(first, first + count, dtype=np.float64) + 0.5)


def needed(at: NDArray[np.float64], size: int) -> slice:
    """The source pixels from which values at these places are interpolated; may be none."""
    inside = at[(at >= 0) & (at <= size)]
    if not len(inside):
        return slice(0, 0)
    first, last = int(inside.min() - 0.5) - _REACH, int(inside.max() - 0.5) + _REACH
    return slice(max(first, 0), min(last + 1, size))


def interpolate(
    values: Array,
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    shape: tuple[int, int],
    part: tuple[slice, slice],
) -> Array:
    """Interpolate a source image as GDAL does.

    Cubic convolution with a = -0.5 (Keys 1981, doi:10.1109/TASSP.1981.1163711), bilinear within
    two pixels of the source's edge.

    Args:
        values: (bands, rows, cols) of the needed part of the source, no NaN.
        rows: Places along the source's rows, from ``positions``.
        cols: Likewise along its columns.
        shape: Rows and columns of the whole source.
        part: Which of them ``values`` holds.

    Returns:
        (bands, len(rows), len(cols)); NaN outside the source.
    """
    found = _both_ways(values, _cubic(rows), _cubic(cols), part)
    edge = [_at_edge(at, size) for at, size in zip((rows, cols), shape)]
    if edge[0].any() or edge[1].any():
        linear = _both_ways(values, _linear(rows, shape[0]), _linear(cols, shape[1]), part)
        found = np.where(edge[0][:, None] | edge[1][None, :], linear, found)
    for axis, (at, size) in enumerate(zip((rows, cols), shape)):
        outside = (at < 0) | (at > size)
        found[(slice(None), outside) if axis == 0 else (slice(None), slice(None), outside)] = np.nan
    return found


Taps = list[tuple[NDArray, NDArray]]  # source pixels and their weights


def _both_ways(values: Array, down: Taps, across: Taps, part: tuple[slice, slice]) -> Array:
    """Interpolate along columns, then rows: (bands, rows, cols) float32."""
    wide = _along(values, across, part[1], 2)
    rows = len(down[0][0])
    out = np.empty((len(values), rows, wide.shape[2]), dtype=np.float32)
    for first in range(0, rows, _ROWS):
        piece = slice(first, first + _ROWS)
        taps = [(at[piece], weight[piece]) for at, weight in down]
        out[:, piece] = _along(wide, taps, part[0], 1)
    return out


def _along(values: NDArray, taps: Taps, part: slice, axis: int) -> NDArray[np.float64]:
    """Interpolate along one axis of (bands, rows, cols), in double precision as GDAL does."""
    # Where the kernel reaches beyond the part, the result is replaced or outside.
    last = values.shape[axis] - 1
    return along(values, [(np.clip(at - part.start, 0, last), w) for at, w in taps], axis)


def along(values: NDArray, taps: Taps, axis: int) -> NDArray:
    """Weighted sums of pixels along axis 1 or 2 of (bands, rows, cols).

    Always in the same order, so that a pixel does not depend on the window it is read with.

    Args:
        values: The pixels.
        taps: Numbers of pixels along the axis and their weights, for every place each.
        axis: Which.
    """

    def share(places: NDArray, weights: NDArray) -> NDArray:
        return np.take(values, places, axis) * (weights[:, None] if axis == 1 else weights)

    first, *others = taps
    total = share(*first)
    for tap in others:
        total += share(*tap)
    return total


def _at_edge(at: NDArray[np.float64], size: int) -> NDArray[np.bool_]:
    """Where the cubic kernel would reach beyond the source."""
    first = np.floor(at - 0.5)
    return (first - 1 < 0) | (first + 2 >= size)


def _cubic(at: NDArray[np.float64]) -> Taps:
    """Of the cubic kernel: the four pixels around every place."""
    first = np.floor(at - 0.5).astype(np.int64)
    taps = []
    for step in (-1, 0, 1, 2):
        apart = np.abs(at - 0.5 - first - step)
        near = (1.5 * apart - 2.5) * apart**2 + 1
        far = ((-0.5 * apart + 2.5) * apart - 4) * apart + 2
        taps.append((first + step, near if step in (0, 1) else far))
    return taps


def _linear(at: NDArray[np.float64], size: int) -> Taps:
    """Between the two nearest pixels; the outermost go on."""
    place = np.clip(at - 0.5, 0, size - 1)
    first = np.floor(place).astype(np.int64)
    return [(first, 1 - (place - first)), (first + 1, place - first)]
