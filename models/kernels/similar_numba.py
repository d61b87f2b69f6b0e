"""The loops of ``similar`` for numba."""

from __future__ import annotations

import numba
import numpy as np

from .ring_numba import STRIP, WIDTH, load_rows

_FLAGS = {"contract", "reassoc", "nsz", "nnan", "ninf"}
_SIDE = 3  # pixels beside the first that are summed with it


@numba.njit(parallel=True, nogil=True, cache=True, fastmath=_FLAGS)
def sums_by_place(  # type: ignore[no-untyped-def]  # noqa: PLR0913, PLR0917
    feature, spectral, temporal, weight, weighted, spectral_limit, temporal_limit,
    kernel, weights, sums,
):  # fmt: skip
    """Place by place of the window, SIMD along a row: the faster way where most places are skipped.

    See ``similar.similar_sums``; all arrays float32, the last two are filled in.
    """
    size = kernel.shape[0]
    radius = size // 2
    rows, cols = weights.shape
    for row in numba.prange(rows):
        centre = feature[row + radius, radius : radius + cols]
        most_spectral = spectral_limit[row + radius, radius : radius + cols]
        most_temporal = temporal_limit[row + radius, radius : radius + cols]
        total = np.zeros(cols, dtype=np.float32)
        total_weighted = np.zeros(cols, dtype=np.float32)
        for dy in range(size):
            f, s, t = feature[row + dy], spectral[row + dy], temporal[row + dy]
            w, v = weight[row + dy], weighted[row + dy]
            for dx in range(size):
                k = kernel[dy, dx]
                if k == 0:
                    continue
                for x in range(cols):
                    i = x + dx
                    similar = abs(f[i] - centre[x]) <= np.float32(1.0)
                    good = (s[i] < most_spectral[x]) & (t[i] < most_temporal[x])
                    share = k if similar & good else np.float32(0.0)
                    total[x] += share * w[i]
                    total_weighted[x] += share * v[i]
        weights[row] = total
        sums[row] = total_weighted


@numba.njit(cache=True, fastmath=_FLAGS)
def _four_pixels(  # type: ignore[no-untyped-def]
    planes, kernels, centres, most_spectral, most_temporal
):
    """Weights and sums of four pixels side by side, over the run that holds all their windows.

    What is known of a candidate is loaded once for all four; a pixel's kernel is 0 outside its own
    window.
    """
    (f, s, t, w, v), (k0, k1, k2, k3) = planes, kernels
    (f0, f1, f2, f3), (s0, s1, s2, s3) = centres, most_spectral
    t0, t1, t2, t3 = most_temporal
    none, one = np.float32(0.0), np.float32(1.0)
    w0 = w1 = w2 = w3 = v0 = v1 = v2 = v3 = none
    for i in range(len(f)):
        a = k0[i] if (abs(f[i] - f0) <= one) & (s[i] < s0) & (t[i] < t0) else none
        b = k1[i] if (abs(f[i] - f1) <= one) & (s[i] < s1) & (t[i] < t1) else none
        c = k2[i] if (abs(f[i] - f2) <= one) & (s[i] < s2) & (t[i] < t2) else none
        d = k3[i] if (abs(f[i] - f3) <= one) & (s[i] < s3) & (t[i] < t3) else none
        w0, w1, w2, w3 = w0 + a * w[i], w1 + b * w[i], w2 + c * w[i], w3 + d * w[i]
        v0, v1, v2, v3 = v0 + a * v[i], v1 + b * v[i], v2 + c * v[i], v3 + d * v[i]
    return (w0, w1, w2, w3), (v0, v1, v2, v3)


@numba.njit(cache=True)
def _four_of(row, left, last):  # type: ignore[no-untyped-def]
    """Four values of a row side by side; beyond the last one it is repeated."""
    second, third, fourth = min(left + 1, last), min(left + 2, last), min(left + 3, last)
    return row[left], row[second], row[third], row[fourth]


@numba.njit(cache=True)
def _turn(kernel, row, shares):  # type: ignore[no-untyped-def]
    """Lay the kernel as the rings lie at ``row``, behind ``_SIDE`` empty columns."""
    size = len(kernel)
    turned = (np.arange(size) - row) % size
    for column in range(size):
        for at in range(size):
            shares[(_SIDE + column) * size + at] = kernel[turned[at], column]


@numba.njit(parallel=True, nogil=True, cache=True, fastmath=_FLAGS)
def sums_by_pixel(  # type: ignore[no-untyped-def]  # noqa: PLR0913, PLR0917
    feature, spectral, temporal, weight, weighted, spectral_limit, temporal_limit,
    kernel, weights, sums,
):  # fmt: skip
    """Pixel by pixel, SIMD along its window: the faster way where most places are looked at.

    See ``sums_by_place``.
    """
    size = kernel.shape[0]
    radius = size // 2
    rows, cols = weights.shape
    wide = (WIDTH + size - 1 + _SIDE) * size
    run = (size + _SIDE) * size
    across = (cols + WIDTH - 1) // WIDTH
    for piece in numba.prange((rows + STRIP - 1) // STRIP * across):
        first, start = piece // across * STRIP, piece % across * WIDTH
        f, s, t, w, v = [np.zeros(wide, dtype=np.float32) for _ in range(5)]
        shares = np.zeros((size + 2 * _SIDE) * size, dtype=np.float32)
        for row in range(first, min(first + STRIP, rows)):
            fresh = row if row == first else row + size - 1
            load_rows(feature, fresh, row + size, start, size, f)
            load_rows(spectral, fresh, row + size, start, size, s)
            load_rows(temporal, fresh, row + size, start, size, t)
            load_rows(weight, fresh, row + size, start, size, w)
            load_rows(weighted, fresh, row + size, start, size, v)
            _turn(kernel, row, shares)
            kernels = (
                shares[3 * size :][:run], shares[2 * size :][:run],
                shares[size:][:run], shares[:run],
            )  # fmt: skip
            centre = feature[row + radius, radius : radius + cols]
            most_spectral = spectral_limit[row + radius, radius : radius + cols]
            most_temporal = temporal_limit[row + radius, radius : radius + cols]
            for left in range(start, min(start + WIDTH, cols), _SIDE + 1):
                here = slice((left - start) * size, (left - start) * size + run)
                total, total_weighted = _four_pixels(
                    (f[here], s[here], t[here], w[here], v[here]), kernels,
                    _four_of(centre, left, cols - 1), _four_of(most_spectral, left, cols - 1),
                    _four_of(most_temporal, left, cols - 1),
                )  # fmt: skip
                for p in range(min(_SIDE + 1, cols - left)):
                    weights[row, left + p] = total[p]
                    sums[row, left + p] = total_weighted[p]
