"""What a coarse sensor makes of fine images, brought back to the fine grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..land import Array, Rng
from .fields import Fields, between, between_log
from .ranges import Ranges

_LATTICE = 8  # places per cell between which turned cells are interpolated


@dataclass(frozen=True)
class CoarseGrid:
    """Where the cells lie on the fine image.

    Attributes:
        ratio: Side of a cell in fine pixels.
        origin: Row and column of the first cell's corner, before turning.
        count: Cells along an axis.
        angle: By which the grid is turned around the image's centre.
        size: Rows and columns of the fine image.
        order: 0, 1 or 3: nearest, bilinear or cubic interpolation back to the fine grid.
    """

    ratio: float
    origin: tuple[float, float]
    count: int
    angle: float
    size: int
    order: int

    def centres(self) -> tuple[Array, Array]:
        """(count, count) rows and columns of the cells' centres, in fine pixels from the corner."""
        down, across = (start + (np.arange(self.count) + 0.5) * self.ratio for start in self.origin)
        return self._turned(down[:, None], across[None], self.angle)

    def places(self) -> tuple[Array, Array]:
        """(size, size) rows and columns in cells, from the first one's centre, of the pixels."""
        at = np.arange(self.size) + 0.5
        rows, cols = self._turned(at[:, None], at[None], -self.angle)
        return tuple((part - start) / self.ratio - 0.5 for part, start in zip((rows, cols), self.origin))

    def _turned(self, rows: Array, cols: Array, angle: float) -> tuple[Array, Array]:
        middle, sine, cosine = self.size / 2, math.sin(angle), math.cos(angle)
        down, across = rows - middle, cols - middle
        return middle + down * cosine - across * sine, middle + down * sine + across * cosine


def draw_grid(size: int, ratio: float, rng: Rng, ranges: Ranges) -> CoarseGrid:
    """A coarse grid that covers the fine image."""
    turned = rng.random() < ranges.turned
    angle = rng.uniform(-0.35, 0.35) if turned else 0.0
    offset = rng.uniform(0, 1, 2) if ranges.psf[1] else np.zeros(2)
    reach = size * (abs(math.sin(angle)) + math.cos(angle)) / ratio
    count = math.ceil(reach) + 2
    start = size / 2 - (count * ratio) / 2
    order = int(rng.choice([0, 1, 3], p=[0.25, 0.15, 0.6]))
    origin = tuple(start + (offset - 0.5) * ratio) if offset.any() else (-ratio, -ratio)
    return CoarseGrid(ratio, (float(origin[0]), float(origin[1])), count, angle, size, order)


def weights(centres: Array, size: int, width: float, sigma: float) -> Array:
    """(centres, size): how cells see the pixels of an axis: a box blurred by a Gaussian.

    Args:
        centres: Of the cells, in pixels from the first one's edge.
        size: Pixels of the axis.
        width: Of the box in pixels.
        sigma: Of the Gaussian in pixels; 0 is the box alone.
    """
    edges = (np.arange(size + 1)[None] - centres[:, None]) / width  # -0.5 and 0.5 are the box's
    if sigma:
        away = np.linspace(-6, 6, 1201)
        table = _box_integral(away, sigma / width)
        seen = np.interp(edges, away, table)
    else:
        seen = edges.clip(-0.5, 0.5)
    weight = np.diff(seen, axis=1).clip(0)
    total = weight.sum(axis=1, keepdims=True)
    nothing = total[:, 0] <= 1e-9
    weight[nothing, np.clip(centres[nothing].astype(int), 0, size - 1)] = 1
    return (weight / np.where(total <= 1e-9, 1, total)).astype(np.float32)


def _box_integral(away: NDArray, sigma: float) -> NDArray:
    """Integral, up to some places, of a box from -0.5 to 0.5 blurred by a Gaussian."""

    def ramp(at: NDArray) -> NDArray:  # the integral of the Gaussian's own integral
        scaled = at / sigma
        below = 0.5 * (1 + np.array([math.erf(value / math.sqrt(2)) for value in scaled]))
        return at * below + sigma * np.exp(-0.5 * scaled**2) / math.sqrt(2 * math.pi)

    return ramp(away + 0.5) - ramp(away - 0.5)


def seen(
    image: Array, grid: CoarseGrid, shift: Sequence[float], sigma: Sequence[float],
    width: Sequence[float],
) -> Array:  # fmt: skip
    """(bands, count, count) what the cells see of a fine image.

    Args:
        image: (bands, n, n).
        grid: Where the cells lie.
        shift: Rows and columns by which they look beside their place, in fine pixels.
        sigma: Of the Gaussian along rows and columns, in fine pixels.
        width: Of the cells likewise.
    """
    size = image.shape[-1]
    rows, cols = grid.centres()
    rows, cols = (np.clip(part + by, 0, size) for part, by in zip((rows, cols), shift))
    if not grid.angle:
        down = weights(rows[:, 0], size, width[0], sigma[0])
        across = weights(cols[0], size, width[1], sigma[1])
        return down @ image @ across.T
    step = max(grid.ratio / _LATTICE, 1.0)
    lattice = np.arange(0, size + step, step)
    down = weights(lattice, size, width[0], sigma[0])
    across = weights(lattice, size, width[1], sigma[1])
    return sampled(down @ image @ across.T, rows / step, cols / step, order=1)


def sampled(planes: Array, rows: Array, cols: Array, order: int) -> Array:
    """Planes (k, a, b) at fractional places of their pixels; the border goes on beyond it."""
    height, width = planes.shape[1:]
    flat = planes.reshape(len(planes), -1)
    total = np.zeros((len(planes), *np.broadcast(rows, cols).shape), dtype=np.float32)
    for row, down in _taps(rows, height, order):
        for col, across in _taps(cols, width, order):
            total += np.take(flat, row * width + col, axis=1) * (down * across)
    return total


def _taps(at: Array, size: int, order: int) -> list[tuple[Array, Array]]:
    """Pixels and weights from which values at places are interpolated (Keys 1981, a = -0.5)."""
    if order == 0:
        return [(np.rint(at).astype(np.intp).clip(0, size - 1), np.float32(1))]
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


@dataclass(frozen=True)
class _Sensor:
    """What is the same at all dates."""

    gain: Array
    offset: Array
    bend: float
    level: Array
    shift: Array
    sigma: float
    noise: Array


def coarse_images(
    images: Sequence[Array], grid: CoarseGrid, rng: Rng, ranges: Ranges
) -> list[Array]:
    """(bands, count, count) cells of every date, with all imperfections of the sensor."""
    shape = (len(images[0]), grid.count, grid.count)
    sensor = _draw_sensor(shape, grid, rng, ranges)
    noise, bias = between_log(rng, ranges.date_noise), between_log(rng, ranges.date_bias)
    shared = rng.uniform(0.2, 0.8)
    drift = between(rng, ranges.date_shift) * grid.ratio
    found, spread = [], None
    for image in images:
        width, sigma = _view(grid.ratio, sensor.sigma, rng, ranges)
        shift = sensor.shift + rng.normal(0, 1, 2) * drift
        cells = seen(image, grid, shift, sigma, width)
        spread = cells.std(axis=(1, 2), keepdims=True) if spread is None else spread
        cells = _bent(cells, sensor.bend) * sensor.gain + sensor.offset
        cells = cells + spread * (sensor.noise + noise * _cell_noise(shape, shared, rng))
        gain = bias / 4 * (rng.normal(0, 0.8) + rng.normal(0, 1, (shape[0], 1, 1)))
        cells = cells + gain * (cells + sensor.level) + rng.normal(0, bias, (shape[0], 1, 1))
        found.append(cells.astype(np.float32))
    return found


def _draw_sensor(shape: tuple[int, ...], grid: CoarseGrid, rng: Rng, ranges: Ranges) -> _Sensor:
    bands = (shape[0], 1, 1)
    common = between_log(rng, ranges.common_noise) * _cell_noise(shape, rng.uniform(0.2, 0.8), rng)
    return _Sensor(
        gain=rng.uniform(*ranges.gain, bands),
        offset=rng.normal(0, ranges.offset, bands) if ranges.offset else np.zeros(bands),
        bend=between(rng, ranges.bend),
        level=rng.uniform(3, 6, bands),
        shift=rng.normal(0, 1, 2) * between(rng, ranges.common_shift) * grid.ratio,
        sigma=between(rng, ranges.psf) * grid.ratio,
        noise=common,
    )


def _view(
    ratio: float, sigma: float, rng: Rng, ranges: Ranges
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Width and blur of a date's cells along rows and columns."""
    wide = between_log(rng, ranges.view) if rng.random() < ranges.oblique else 1.0
    uneven = float(np.exp(rng.normal(0, 0.15)))
    return (ratio * math.sqrt(wide), ratio * wide), (sigma * uneven, sigma / uneven * wide)


def _bent(cells: Array, bend: float) -> Array:
    """High values saturate; the slope at the mean stays."""
    return cells if not bend else (1 - np.exp(-bend * cells.clip(-6, 30))) / bend


def _cell_noise(shape: tuple[int, ...], shared: float, rng: Rng) -> Array:
    """Noise of deviation 1, of which a share is the same in all bands."""
    same = rng.normal(0, 1, (1, *shape[1:]))
    return math.sqrt(shared) * same + math.sqrt(1 - shared) * rng.normal(0, 1, shape)


def on_fine_grid(images: Sequence[Array], grid: CoarseGrid) -> list[Array]:
    """The cells interpolated to the fine pixels."""
    rows, cols = grid.places()
    bands = len(images[0])
    stack = sampled(np.concatenate(images), rows, cols, grid.order)
    return [stack[first : first + bands] for first in range(0, len(stack), bands)]
