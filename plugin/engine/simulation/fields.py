"""What ground, change and sensors are drawn with: numbers, random fields, parcels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..land import Labels, Rng, fractal, parcels

Values = NDArray[Any]  # of single precision, or double on the way

_SLOPES = (0.8, 1.6, 2.2, 2.9, 3.5)  # of the fields that are made; others take the nearest


def between(rng: Rng, ends: Sequence[float]) -> float:
    """A number from a range, evenly."""
    low, high = ends
    return float(rng.uniform(low, high))


def between_log(rng: Rng, ends: Sequence[float]) -> float:
    """A number from a range, evenly in the logarithm; where the range begins at 0, its end."""
    low, high = ends
    if not low:
        return float(high)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))).clip(low, high))


class Fields:
    """Fractal fields of one scene.

    Of every kind one is made; later ones are the same turned, mirrored and rolled, which takes a
    tenth of the time. They are periodic, so that nothing shows where they were rolled.
    """

    def __init__(self, size: int, rng: Rng) -> None:
        self.size = size
        self._rng = rng
        self._made: dict[float, Values] = {}

    def draw(self, slope: float) -> Values:
        """(size, size) noise of mean 0 and deviation 1, power about frequency ** -slope."""
        slope = min(_SLOPES, key=lambda made: abs(made - slope))
        if slope not in self._made:
            self._made[slope] = fractal(self.size, slope, self._rng)
        field = np.rot90(self._made[slope], int(self._rng.integers(4)))
        if self._rng.random() < 0.5:
            field = field.T
        return np.roll(field, self._rng.integers(self.size, size=2), (0, 1))


def warped_positions(fields: Fields, warp: float) -> tuple[Values, Values]:
    """Rows and columns of the pixels, moved about by ``warp`` pixels."""
    at = np.arange(fields.size, dtype=np.float32)
    shape = (fields.size, fields.size)
    rows, cols = np.broadcast_to(at[:, None], shape), np.broadcast_to(at[None], shape)
    if not warp:
        return rows, cols
    return rows + warp * fields.draw(3.5), cols + warp * fields.draw(3.5)


def voronoi(fields: Fields, area: float, warp: float, rng: Rng) -> Labels:
    """(size, size) parcels, numbered from 0: elongated, in any direction, with warped borders.

    Args:
        fields: Of the scene.
        area: Mean area in pixels.
        warp: How far borders wander, in pixels.
        rng: Source of randomness.
    """
    rows, cols = warped_positions(fields, warp)
    angle, side = rng.uniform(0, math.pi), math.sqrt(area)
    stretch = float(np.exp(rng.normal(0, 0.35)))
    along = math.cos(angle) * cols - math.sin(angle) * rows
    across = math.cos(angle) * rows + math.sin(angle) * cols
    return renumbered(parcels(across / (side / stretch), along / (side * stretch), rng))


def renumbered(labels: Labels) -> Labels:
    """The same regions numbered from 0 without gaps; the numbers given must not be huge."""
    present = np.bincount(labels.ravel()) > 0
    return (np.cumsum(present) - 1)[labels]


def placed(values: Values, labels: Labels) -> Values:
    """(bands, n, n) image of values (units, bands) of the units that ``labels`` gives."""
    return np.take(values.T.astype(np.float32), labels, axis=1)
