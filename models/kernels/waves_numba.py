"""The sums of ``waves`` for numba: pixel by pixel, so that no feature ever lies in memory."""

from __future__ import annotations

import math

import numba
import numpy as np

from .waves import FARTHEST

# Sums are made in so many parts, in an order that is written down: were the compiler free to choose
# it, the last digit would depend on where arrays happen to lie in memory.
LANES = 16
_FARTHEST = np.float32(FARTHEST)
_TURN = np.float32(2 * math.pi)
# Of the sine's series; up to a quarter of a turn the terms left out stay below 6e-8.
_SERIES = tuple(np.float32((-1) ** k / math.factorial(2 * k + 1)) for k in range(6))


@numba.njit(inline="always")
def _cosine(turns):  # type: ignore[no-untyped-def]
    """Cosine of an angle in turns, in a form that SIMD computes for many angles at once."""
    beyond = abs(turns - np.floor(turns + np.float32(0.5)))
    x = (np.float32(0.25) - beyond) * _TURN
    square = x * x
    total = _SERIES[5]
    for k in (4, 3, 2, 1, 0):
        total = total * square + _SERIES[k]
    return total * x


@numba.njit(parallel=True, nogil=True, cache=True, fastmath={"contract", "nsz"})
def change_kernel(image, whitening, frequencies, phases, fields, places, found):  # type: ignore[no-untyped-def]
    """See ``waves.change_of``.

    Args:
        image: (bands, rows, cols) float32.
        whitening: (bands, bands + 1), the last column is added.
        frequencies: (bands, waves) in turns.
        phases: (waves,) in turns.
        fields: (cell_rows, cell_cols, changes, features), the features bands + waves + 1 and zeros
            up to a multiple of LANES.
        places: (2, rows, cols).
        found: (changes, rows, cols), filled in.
    """
    bands, rows, cols = image.shape
    waves = len(phases)
    down, across, changes, features = fields.shape
    size = features * changes
    flat = fields.reshape(down * across, size)
    strength = np.float32(math.sqrt(2 / waves))
    for row in numba.prange(rows):
        seen = np.ones(features, dtype=np.float32)
        sums = np.empty(LANES, dtype=np.float32)
        turns = np.empty(waves, dtype=np.float32)
        weight = np.empty(size, dtype=np.float32)
        for col in range(cols):
            for wave in range(waves):
                turns[wave] = phases[wave]
            for band in range(bands):
                z = whitening[band, bands]
                for other in range(bands):
                    z += whitening[band, other] * image[other, row, col]
                z = min(max(z, -_FARTHEST), _FARTHEST)
                seen[band] = z
                for wave in range(waves):
                    turns[wave] += z * frequencies[band, wave]
            for wave in range(waves):
                seen[bands + wave] = strength * _cosine(turns[wave])
            y = min(max(places[0, row, col] - np.float32(0.5), np.float32(0)), np.float32(down - 1))
            x = min(
                max(places[1, row, col] - np.float32(0.5), np.float32(0)), np.float32(across - 1)
            )
            top, left = int(y), int(x)
            below = np.float32(y - top)
            beside = np.float32(x - left)
            one = top * across + left
            right = 1 if left + 1 < across else 0
            under = one + (across if top + 1 < down else 0)
            w00 = (np.float32(1) - below) * (np.float32(1) - beside)
            w01, w10 = (np.float32(1) - below) * beside, below * (np.float32(1) - beside)
            w11 = below * beside
            a, b, c, d = flat[one], flat[one + right], flat[under], flat[under + right]
            for k in range(size):
                weight[k] = w00 * a[k] + w01 * b[k] + w10 * c[k] + w11 * d[k]
            for change in range(changes):
                sums[:] = 0
                for first in range(0, features, LANES):
                    at = change * features + first
                    for lane in range(LANES):
                        sums[lane] += weight[at + lane] * seen[first + lane]
                total = np.float32(0)
                for lane in range(LANES):
                    total += sums[lane]
                found[change, row, col] = total
