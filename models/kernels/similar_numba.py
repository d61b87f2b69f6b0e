"""The loop of ``similar`` for numba: rows in parallel, SIMD along a row."""

from __future__ import annotations

import numba
import numpy as np

_FLAGS = {"contract", "reassoc", "nsz", "nnan", "ninf"}


@numba.njit(parallel=True, nogil=True, cache=True, fastmath=_FLAGS)
def similar_sums_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913, PLR0917
    feature, spectral, temporal, weight, weighted, spectral_limit, temporal_limit,
    kernel, weights, sums,
):  # fmt: skip
    """See ``similar.similar_sums``; all arrays float32, the last two are filled in."""
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
