"""Where coarse cells lie on a fine image, what they see of it, and the way back to its pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..interpolate import Taps, along
from ..land import Rng
from .fields import Values
from .filters import blurred
from .ranges import Ranges

_LATTICE = 8  # places per cell between which turned cells are interpolated
_TURN = 0.35  # radians: the strongest turn of a grid, 20 degrees
_TAIL = 3.5  # a Gaussian ends here, in deviations


@dataclass(frozen=True)
class CoarseGrid:
    """Where the cells lie.

    Attributes:
        ratio: Side of a cell in fine pixels.
        origin: Row and column of the first cell's corner, before turning.
        count: Cells along an axis.
        angle: By which the grid is turned around the image's centre, in radians.
        size: Rows and columns of the fine image.
        order: 0, 1 or 3: nearest, bilinear or cubic interpolation back to the fine grid.
    """

    ratio: float
    origin: tuple[float, float]
    count: int
    angle: float
    size: int
    order: int

    def centres(self) -> tuple[Values, Values]:
        """Rows and columns of the cells' centres in fine pixels, which broadcast."""
        down, across = (start + (np.arange(self.count) + 0.5) * self.ratio for start in self.origin)
        return self._turned(down[:, None], across[None], self.angle)

    def places(self) -> tuple[Values, Values]:
        """Rows and columns of the fine pixels in cells from the first one's centre, likewise."""
        at = np.arange(self.size) + 0.5
        rows, cols = self._turned(at[:, None], at[None], -self.angle)
        down, across = (
            (part - start) / self.ratio for part, start in zip((rows, cols), self.origin)
        )
        return down - 0.5, across - 0.5

    def _turned(self, rows: Values, cols: Values, angle: float) -> tuple[Values, Values]:
        if not angle:
            return rows, cols
        middle, sine, cosine = self.size / 2, math.sin(angle), math.cos(angle)
        down, across = rows - middle, cols - middle
        return middle + down * cosine - across * sine, middle + down * sine + across * cosine


def draw_grid(size: int, ratio: float, rng: Rng, ranges: Ranges) -> CoarseGrid:
    """A coarse grid that covers the fine image."""
    angle = rng.uniform(-_TURN, _TURN) if rng.random() < ranges.turned else 0.0
    count = math.ceil(size * (abs(math.sin(angle)) + math.cos(angle)) / ratio) + 1
    start = 0.0 if not angle else size / 2 - (count - 1) * ratio / 2
    part = rng.uniform(-1, 0, 2) if rng.random() < ranges.offset_grid else (0.0, 0.0)
    # Files may come resampled already; else the engine interpolates by cubic convolution.
    order = int(rng.choice([0, 1, 3], p=[0.25, 0.15, 0.6]))
    origin = start + part[0] * ratio, start + part[1] * ratio
    return CoarseGrid(ratio, origin, count, angle, size, order)


def seen(
    image: Values,
    grid: CoarseGrid,
    shift: Sequence[float],
    sigma: Sequence[float],
    width: Sequence[float],
) -> Values:
    """(bands, count, count) what the cells see of a fine image.

    Args:
        image: (bands, n, n).
        grid: Where the cells lie.
        shift: Rows and columns by which they look beside their place, in fine pixels.
        sigma: Of the Gaussian by which their box is blurred, along rows and columns, likewise.
        width: Of their box, likewise.
    """
    size = image.shape[-1]
    rows, cols = (part + by for part, by in zip(grid.centres(), shift))
    if not grid.angle:
        down = _view(rows[:, 0], size, width[0], sigma[0])
        return along(along(image, down, 1), _view(cols[0], size, width[1], sigma[1]), 2)
    step = max(grid.ratio / _LATTICE, 1.0)
    lattice = np.arange(0, size + step, step)
    down, across = (_view(lattice, size, wide, blur) for wide, blur in zip(width, sigma))
    return sampled(along(along(image, down, 1), across, 2), rows / step, cols / step, order=1)


def _view(centres: Values, size: int, width: float, sigma: float) -> Taps:
    """How cells see the pixels of an axis: through a box blurred by a Gaussian.

    What lies beyond the border has no weight; cells that lie there altogether see the border.
    """
    centres = centres.clip(0.01, size - 0.01)
    reach = width / 2 + _TAIL * sigma
    first = np.floor(centres - reach).astype(np.intp)
    pixels = first[:, None] + np.arange(math.ceil(2 * reach) + 2)
    edges = ((pixels - centres[:, None]) / width, (pixels + 1 - centres[:, None]) / width)
    if sigma:
        far = reach / width + 1
        away = np.linspace(-far, far, 801)
        so_far = _box_integral(away, sigma / width)
        weights = np.interp(edges[1], away, so_far) - np.interp(edges[0], away, so_far)
    else:
        weights = edges[1].clip(-0.5, 0.5) - edges[0].clip(-0.5, 0.5)
    weights[(pixels < 0) | (pixels >= size)] = 0
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return list(zip(pixels.clip(0, size - 1).T, weights.T))


def _box_integral(away: Values, sigma: float) -> Values:
    """Integral up to some places of a box from -0.5 to 0.5 that is blurred by a Gaussian."""

    def ramp(at: Values) -> Values:  # the integral of the Gaussian's own integral
        scaled = at / (sigma * math.sqrt(2))
        below = np.array([0.5 + 0.5 * math.erf(value) for value in scaled])
        return at * below + sigma / math.sqrt(2 * math.pi) * np.exp(-(scaled**2))

    return ramp(away + 0.5) - ramp(away - 0.5)


def on_fine_grid(images: Sequence[Values], grid: CoarseGrid) -> list[Values]:
    """Cells, (bands, count, count) with NaN for missing ones, interpolated to the fine pixels.

    A pixel in a missing cell is NaN; beside one its neighbours stand in for it.
    """
    rows, cols = grid.places()
    bands, stack = len(images[0]), np.concatenate(images)
    known = np.isfinite(stack)
    if known.all():
        fine = sampled(stack, rows, cols, grid.order)
    else:
        near = blurred(np.where(known, stack, 0), 1.0)
        around = blurred(known.astype(np.float32), 1.0)
        fill = near / np.maximum(around, 1e-6)
        fine = sampled(np.where(known, stack, fill), rows, cols, grid.order)
        fine[sampled(known.astype(np.float32), rows, cols, 0) < 0.5] = np.nan
    return [fine[first : first + bands] for first in range(0, len(fine), bands)]


def sampled(planes: Values, rows: Values, cols: Values, order: int) -> Values:
    """(planes, n, m) at fractional places of their pixels; beyond the border it goes on.

    Args:
        planes: (planes, rows, cols).
        rows: (n, m) places, or (n, 1).
        cols: (n, m), or (1, m) if ``rows`` is (n, 1).
        order: 0, 1 or 3: nearest, bilinear, cubic convolution.
    """
    height, width = planes.shape[1:]
    downs, acrosses = _taps(rows, height, order), _taps(cols, width, order)
    if rows.shape[1] == 1:  # along the axes one after the other
        downs = [(row[:, 0], weight[:, 0]) for row, weight in downs]
        acrosses = [(col[0], weight[0]) for col, weight in acrosses]
        return along(along(planes, downs, 1), acrosses, 2)
    flat = np.ascontiguousarray(planes.reshape(len(planes), -1).T)
    total = np.zeros((rows.size, len(planes)), dtype=np.float32)
    for row, down in downs:
        for col, across in acrosses:
            weight = (down * across).reshape(-1, 1)
            total += flat[(row * width + col).ravel()] * weight
    return np.ascontiguousarray(total.T).reshape(len(planes), *rows.shape)


def _taps(at: Values, size: int, order: int) -> Taps:
    """Pixels and weights from which values at places are interpolated (Keys 1981, a = -0.5)."""
    if order == 0:
        return [(np.rint(at).astype(np.intp).clip(0, size - 1), np.ones(at.shape, np.float32))]
    first = np.floor(at)
    part = (at - first).astype(np.float32)
    if order == 1:
        kernel = [1 - part, part]
    else:
        kernel = [
            ((-0.5 * part + 1) * part - 0.5) * part,
            (1.5 * part - 2.5) * part**2 + 1,
            ((-1.5 * part + 2) * part + 0.5) * part,
            (0.5 * part - 0.5) * part**2,
        ]
    start = first.astype(np.intp) - (len(kernel) // 2 - 1)
    return [((start + tap).clip(0, size - 1), weight) for tap, weight in enumerate(kernel)]
