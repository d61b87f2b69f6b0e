"""The ground at the reference date: simulated parcels and nature, or a real fine image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..land import Array, Labels, Rng, blocks_of_parcels
from .calendar import Calendar, draw_calendar
from .fields import Fields, between_log, blurred, placed, renumbered, voronoi, warped_positions
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

    image: Array
    classes: Labels
    parcels: Labels
    calendar: Calendar | None = None
    dated: Array | None = None


def standardised(image: Array, like: Array | None = None) -> Array:
    """Per band less the mean and over the deviation of ``like``, which is the image by default."""
    like = image if like is None else like
    spread = like.std(axis=(1, 2), keepdims=True)
    scaled = (image - like.mean(axis=(1, 2), keepdims=True)) / np.where(spread > 0, spread, 1)
    return scaled.astype(np.float32)


def simulated_ground(bands: int, fields: Fields, rng: Rng, ranges: Ranges) -> Ground:
    """Parcels in blocks that differ in their mix of classes, and nature, roads and rivers."""
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
    image = image + spread * _texture(bands, classes, fields, rng)
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


def band_mixing(bands: int, rng: Rng) -> Array:
    """(bands, bands) matrix that makes independent bands alike to a random degree."""
    alike = rng.uniform(0, 1.5) * rng.normal(0, 1, (1, bands))  # brightness, common to all
    mixing = 0.5 * rng.normal(0, 1, (bands, bands)) + 0.6 * np.eye(bands)
    mixing[:1] += alike
    return mixing


def _nature(fields: Fields, rng: Rng) -> list[Array]:
    """Where natural regions and lines (roads, rivers) cut the parcels."""
    cut = []
    if rng.random() < 0.5:
        cut.append(fields.draw(rng.uniform(2.6, 3.2)) > rng.uniform(0.8, 2))
    if rng.random() < 0.3:
        cut.append(np.abs(fields.draw(3.5)) < rng.uniform(0.01, 0.03))
    return cut


def _texture(bands: int, classes: Labels, fields: Fields, rng: Rng) -> Array:
    """(bands, n, n) texture, of a strength that depends on the class."""
    strength = rng.uniform(0.03, 0.35) * np.exp(rng.normal(0, 0.5, int(classes.max()) + 1))
    rough, other = (fields.draw(rng.uniform(1.2, 2.6)) for _ in range(2))
    weights = rng.normal(0, 1, (3, bands, 1, 1)).astype(np.float32)
    mixed = weights[0] * rough + 0.4 * weights[1] * other
    smooth = np.stack([fields.draw(3.4) for _ in range(bands)])
    return strength.astype(np.float32)[classes] * mixed + 0.1 * weights[2] * smooth


def real_ground(textures: Sequence[Array], fields: Fields, rng: Rng, ranges: Ranges) -> Ground:
    """A crop of a real fine image, zoomed and turned; classes by k-means of its bands."""
    texture = textures[int(rng.integers(len(textures)))]
    image, dated = _crop(texture, fields.size, rng, ranges)
    kinds = int(rng.integers(3, 12))
    classes = _nearest(image.reshape(len(image), -1).T, _centres(image, kinds, rng))
    classes = classes.reshape(image.shape[1:])
    stands = voronoi(fields, between_log(rng, ranges.parcel), 5, rng)
    if dated is not None or rng.random() >= ranges.seasonal:
        return Ground(image, classes, stands, None, dated)
    units = renumbered(stands * kinds + classes)
    kind = np.zeros(int(units.max()) + 1, dtype=np.int64)
    kind[units.ravel()] = classes.ravel()
    calendar = draw_calendar(kind, len(image), rng)
    spread = placed(calendar.start(), units).std(axis=(1, 2))
    return Ground(image, classes, units, calendar.in_units_of(spread))


def _crop(texture: Array, size: int, rng: Rng, ranges: Ranges) -> tuple[Array, Array | None]:
    """(bands, size, size) of one date, and of another one if there is and chance will."""
    dates = texture if texture.ndim == 4 else texture[None]
    first, other = rng.permutation(len(dates))[:2] if len(dates) > 1 else (0, 0)
    width = min(round(size / between_log(rng, (0.75, 1.6))), *dates.shape[2:])
    top, left = (int(rng.integers(0, side - width + 1)) for side in dates.shape[2:])
    fewest, most = (min(end, dates.shape[1]) for end in ranges.bands)
    chosen = rng.permutation(dates.shape[1])[: rng.integers(fewest, most + 1)]
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    matrix = _zoom(width, size)

    def part(date: int) -> Array:
        piece = dates[date][chosen, top : top + width, left : left + width].astype(np.float32)
        piece = np.rot90(matrix @ piece @ matrix.T, turns, (1, 2))
        return np.ascontiguousarray(piece[:, :, ::-1] if mirrored else piece)

    image = part(first)
    use = len(dates) > 1 and rng.random() < ranges.dated
    return standardised(image), standardised(part(other), image) if use else None


def _zoom(old: int, new: int) -> Array:
    """(new, old) matrix that interpolates an axis of another number of pixels."""
    at = (np.arange(new) + 0.5) * old / new - 0.5
    reach = max(old / new, 1.0)
    weights = np.clip(1 - np.abs(at[:, None] - np.arange(old)) / reach, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _centres(image: Array, kinds: int, rng: Rng) -> Array:
    """(kinds, bands) centres by a few steps of k-means on a sample of the pixels."""
    pixels = image.reshape(len(image), -1).T
    sample = pixels[rng.integers(0, len(pixels), 3000)]
    centres = sample[:kinds].copy()
    for _ in range(6):
        nearest = _nearest(sample, centres)
        for kind in np.unique(nearest):
            centres[kind] = sample[nearest == kind].mean(axis=0)
    return centres


def _nearest(pixels: Array, centres: Array) -> Labels:
    """The centre nearest to every pixel."""
    return ((centres**2).sum(axis=1) - 2 * pixels @ centres.T).argmin(axis=1)
