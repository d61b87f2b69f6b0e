"""The ground at the reference date: parcels of some classes, cut by nature, roads and rivers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..land import Labels, Rng, blocks_of_parcels
from .calendar import Calendar, draw_calendar
from .fields import Fields, Values, between_log, placed, renumbered, voronoi, warped_positions
from .filters import blurred
from .ranges import Ranges


@dataclass(frozen=True)
class Ground:
    """What is where.

    Attributes:
        image: (bands, n, n) fine image of mean 0 and deviation 1 per band.
        classes: (n, n) class of every pixel, from 0.
        parcels: (n, n) parcel of every pixel, from 0.
        calendar: How the parcels change over the year; None where they have no seasons.
        dated: (bands, n, n) the same ground at another date, from real images; else None.
    """

    image: Values
    classes: Labels
    parcels: Labels
    calendar: Calendar | None = None
    dated: Values | None = None


def standardised(image: Values, like: Values | None = None) -> Values:
    """Per band less the mean and over the deviation of ``like``, which is the image by default."""
    like = image if like is None else like
    spread = like.std(axis=(1, 2), keepdims=True)
    scaled = (image - like.mean(axis=(1, 2), keepdims=True)) / np.where(spread > 0, spread, 1)
    return scaled.astype(np.float32)


def simulated_ground(fields: Fields, rng: Rng, ranges: Ranges) -> Ground:
    """Parcels in blocks that differ in their mix of classes, and nature, roads and rivers."""
    fewest, most = ranges.bands
    bands = int(rng.integers(fewest, most + 1))
    stands, blocks = _parcels(fields, rng, ranges)
    kinds = int(rng.integers(3, 11))
    kind = _kinds(stands, blocks, kinds, rng)
    for where in _nature(fields, rng):
        stands = np.where(where, len(kind), stands)
        kind = np.append(kind, rng.integers(kinds))
    calendar = draw_calendar(kind, bands, rng) if rng.random() < ranges.seasonal else None
    if calendar:
        values = calendar.start()
    else:
        values = (rng.normal(0, 1, (kinds, bands)) @ band_mixing(bands, rng))[kind]
        values = values + rng.normal(0, rng.uniform(0.02, 0.25), values.shape)
    image, classes = placed(values, stands), kind[stands]
    spread = image.std(axis=(1, 2), keepdims=True) + 1e-3 * np.abs(image).max()
    image = image + spread * _texture(bands, classes, fields, rng, ranges)
    image = blurred(image.astype(np.float32), rng.uniform(0.4, 0.8))
    if calendar:
        calendar = calendar.in_units_of(image.std(axis=(1, 2)))
    return Ground(standardised(image), classes, stands, calendar)


def _parcels(fields: Fields, rng: Rng, ranges: Ranges) -> tuple[Labels, Labels]:
    """Parcels, and the blocks they lie in: farmed in straight rows, or grown."""
    area = between_log(rng, ranges.parcel)
    block = max(between_log(rng, ranges.block), 4 * area)
    if rng.random() < 0.4:
        small = voronoi(fields, area, rng.uniform(0, 8), rng)
        return small, voronoi(fields, block, 5, rng)
    rows, cols = warped_positions(fields, rng.uniform(0, 4))
    width = math.sqrt(area / rng.uniform(1, 3))
    lengths = (0.7 * area / width, 1.4 * area / width)
    small, blocks = blocks_of_parcels(rows, cols, math.sqrt(block), width, lengths, rng)
    blocks = renumbered(blocks)
    return renumbered(small + (int(small.max()) + 1) * blocks), blocks


def _kinds(stands: Labels, blocks: Labels, kinds: int, rng: Rng) -> Labels:
    """The class of every parcel; a block leans to some of them."""
    count = int(stands.max()) + 1
    block = np.zeros(count, dtype=np.int64)
    block[stands.ravel()] = blocks.ravel()
    mix = rng.dirichlet(np.full(kinds, rng.uniform(0.3, 1.2)), int(blocks.max()) + 1)
    drawn = rng.random(count)[:, None] > mix.cumsum(axis=1)[block]
    return drawn.sum(axis=1).clip(0, kinds - 1)


def band_mixing(bands: int, rng: Rng) -> Values:
    """(bands, bands) matrix that makes independent bands alike to a random degree."""
    alike = rng.uniform(0, 1.5) * rng.normal(0, 1, (1, bands))  # brightness, common to all
    mixing = 0.5 * rng.normal(0, 1, (bands, bands)) + 0.6 * np.eye(bands)
    mixing[:1] += alike
    return mixing


def _nature(fields: Fields, rng: Rng) -> list[Values]:
    """Where natural regions and lines (roads, rivers) cut the parcels."""
    cut = []
    if rng.random() < 0.5:
        cut.append(fields.draw(rng.uniform(2.6, 3.2)) > rng.uniform(0.8, 2))
    if rng.random() < 0.3:
        cut.append(np.abs(fields.draw(3.5)) < rng.uniform(0.01, 0.03))
    return cut


def _texture(bands: int, classes: Labels, fields: Fields, rng: Rng, ranges: Ranges) -> Values:
    """(bands, n, n) texture, of a strength that depends on the class."""
    strength = between_log(rng, ranges.texture) * np.exp(rng.normal(0, 0.5, int(classes.max()) + 1))
    rough, other = (fields.draw(rng.uniform(1.2, 2.6)) for _ in range(2))
    weights = rng.normal(0, 1, (3, bands, 1, 1)).astype(np.float32)
    mixed = weights[0] * rough + 0.4 * weights[1] * other
    smooth = np.stack([fields.draw(3.4) for _ in range(bands)])
    return strength.astype(np.float32)[classes] * mixed + 0.1 * weights[2] * smooth
