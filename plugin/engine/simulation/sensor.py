"""What the sensors make of the ground: shifts, blur, bias and noise of either."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..land import Rng
from .coarse_grid import CoarseGrid, sampled, seen
from .fields import Fields, Values, between, between_log
from .filters import blurred
from .ranges import Ranges

_BEND_ENDS = (-4.0, 12.0)  # deviations from the mean between which a relation is bent


@dataclass(frozen=True)
class _Sensor:
    """What is the same for a coarse sensor at all dates.

    Attributes:
        gain: (bands, 1, 1), as the others.
        offset: In deviations of the fine reference.
        bend: Curvature of the relation to the fine sensor.
        level: What the zero of the image is to the sensor; a date's gain acts on it too.
        shift: Rows and columns in fine pixels.
        sigma: Of the Gaussian blur in fine pixels.
        noise: (bands, count, count) in deviations of the cells.
        shared: Share of the noise that is the same in all bands.
        correlated: Cells by which noise is blurred.
    """

    gain: Values
    offset: Values
    bend: float
    level: Values
    shift: Values
    sigma: float
    noise: Values
    shared: float
    correlated: float


def coarse_images(
    images: Sequence[Values], grid: CoarseGrid, fields: Fields, rng: Rng, ranges: Ranges
) -> list[Values]:
    """(bands, count, count) cells of every date, with all imperfections of the sensor."""
    shape = (len(images[0]), grid.count, grid.count)
    sensor = _draw_sensor(shape, grid, rng, ranges)
    noise, bias = between_log(rng, ranges.date_noise), between_log(rng, ranges.date_bias)
    drift = between(rng, ranges.date_shift) * grid.ratio
    found: list[Values] = []
    spread: Values | float = 1.0
    for image in images:
        width, sigma = _view(grid.ratio, sensor.sigma, rng, ranges)
        shift = sensor.shift + drift * rng.normal(0, 1, 2)
        looked_at = _hazy(image, fields, rng, ranges)
        cells = seen(looked_at, grid, tuple(shift), sigma, width)
        spread = cells.std(axis=(1, 2), keepdims=True) if not found else spread
        cells = _bent(cells, sensor.bend) * sensor.gain + sensor.offset
        cells = cells + spread * (sensor.noise + noise * _cell_noise(shape, sensor, rng))
        found.append(_biased(cells, bias, sensor.level, rng).astype(np.float32))
    return found


def _draw_sensor(
    shape: tuple[int, int, int], grid: CoarseGrid, rng: Rng, ranges: Ranges
) -> _Sensor:
    bands = (shape[0], 1, 1)
    sensor = _Sensor(
        gain=rng.uniform(*ranges.gain, bands),
        offset=ranges.offset * rng.normal(0, 1, bands),
        bend=between(rng, ranges.bend),
        level=rng.uniform(3, 6, bands),
        shift=between(rng, ranges.common_shift) * grid.ratio * rng.normal(0, 1, 2),
        sigma=between(rng, ranges.psf) * grid.ratio,
        noise=np.zeros(shape),
        shared=rng.uniform(0.2, 0.8),
        correlated=rng.uniform(0.4, 1.5) if rng.random() < 0.3 else 0.0,
    )
    sensor.noise[:] = between_log(rng, ranges.common_noise) * _cell_noise(shape, sensor, rng)
    return sensor


def _view(
    ratio: float, sigma: float, rng: Rng, ranges: Ranges
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Width and blur of a date's cells along rows and columns."""
    wide = between_log(rng, ranges.view) if rng.random() < ranges.oblique else 1.0
    uneven = float(np.exp(rng.normal(0, 0.15)))
    return (ratio * math.sqrt(wide), ratio * wide), (sigma * uneven, sigma / uneven * wide)


def _hazy(image: Values, fields: Fields, rng: Rng, ranges: Ranges) -> Values:
    """An image through thin haze: smooth, brighter in some bands than in others."""
    if rng.random() >= ranges.hazy:
        return image
    strength = between_log(rng, ranges.haze) * rng.uniform(0.2, 1, (len(image), 1, 1))
    haze = fields.draw(3.5) - fields.draw(3.5).min() * rng.random()
    return image + strength.astype(np.float32) * haze.clip(0)


def _bent(cells: Values, bend: float) -> Values:
    """High values saturate; at the mean the slope is 1."""
    return cells if not bend else (1 - np.exp(-bend * cells.clip(*_BEND_ENDS))) / bend


def _cell_noise(shape: tuple[int, int, int], sensor: _Sensor, rng: Rng) -> Values:
    """Noise of deviation 1."""
    same, own = rng.normal(0, 1, (1, *shape[1:])), rng.normal(0, 1, shape)
    noise = math.sqrt(sensor.shared) * same + math.sqrt(1 - sensor.shared) * own
    if not sensor.correlated:
        return noise
    noise = blurred(noise, sensor.correlated)
    return noise / noise.std()


def _biased(cells: Values, bias: float, level: Values, rng: Rng) -> Values:
    """A date's gain and offset, which view angle and atmosphere leave."""
    bands = (len(cells), 1, 1)
    gain = 0.2 * bias * (rng.normal(0, 1) + rng.normal(0, 1, bands)) / math.sqrt(2)
    return cells + gain * (cells + level) + bias * rng.normal(0, 1, bands) / math.sqrt(2)


def fine_images(images: Sequence[Values], fields: Fields, rng: Rng, ranges: Ranges) -> list[Values]:
    """What the fine sensor records of the dates; the target, the second one, without noise."""
    noise = between_log(rng, ranges.fine_noise)
    found = [_shifted(image, rng, ranges) if date else image for date, image in enumerate(images)]
    for date in (0, *range(2, len(images))):
        own = noise * rng.standard_normal(found[date].shape, dtype=np.float32)
        found[date] = _hazy(found[date], fields, rng, ranges) + own
    if rng.random() >= ranges.saturated:
        return found
    level = np.quantile(images[0][:, ::4, ::4], rng.uniform(0.9, 0.995), axis=(1, 2))
    return [np.minimum(image, level.astype(np.float32)[:, None, None]) for image in found]


def _shifted(image: Values, rng: Rng, ranges: Ranges) -> Values:
    """A fine image that does not lie quite where the reference lies."""
    if rng.random() >= ranges.fine_shifted:
        return image
    far = between(rng, ranges.fine_shift)
    at = np.arange(image.shape[-1])
    down, across = rng.uniform(-far, far, 2)
    return sampled(image, at[:, None] + down, at[None] + across, order=1)
