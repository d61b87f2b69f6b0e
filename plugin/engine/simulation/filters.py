"""Blurring along the axes of images, in plain numpy loops over the taps.

Not as products of matrices: the library behind them starts threads of its own, which wait for each
other when scenes are drawn in several threads or processes at once.
"""

from __future__ import annotations

import math

import numpy as np

from .fields import Values


def blurred(planes: Values, sigma: float) -> Values:
    """(..., rows, cols) planes blurred by a Gaussian of ``sigma`` pixels; the border goes on."""
    if sigma < 0.2:
        return planes
    reach = math.ceil(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights[0] + 2 * weights[1:].sum()
    for axis in (planes.ndim - 2, planes.ndim - 1):
        planes = _blurred_along(planes, weights, axis)
    return planes


def _blurred_along(planes: Values, weights: Values, axis: int) -> Values:
    reach, size = len(weights) - 1, planes.shape[axis]
    padding = [(0, 0)] * planes.ndim
    padding[axis] = (reach, reach)
    padded = np.pad(planes, padding, mode="edge")

    def moved(by: int) -> Values:
        near = slice(reach + by, reach + by + size)
        return padded[..., near] if axis == planes.ndim - 1 else padded[..., near, :]

    total = moved(0) * weights[0]
    for by, weight in enumerate(weights[1:], 1):
        pair = moved(-by) + moved(by)
        pair *= weight
        total += pair
    return total
