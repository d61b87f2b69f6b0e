"""How the ground changes between two dates: by class, parcel, index, texture and abruptly."""

from __future__ import annotations

import numpy as np

from ..land import Array, Rng
from .fields import Fields, between, between_log, blurred, voronoi
from .ground import Ground, band_mixing
from .ranges import Ranges


def changed(ground: Ground, image: Array, fields: Fields, rng: Rng, ranges: Ranges) -> Array:
    """(bands, n, n) image of the ground at another date."""
    bands = len(image)
    amplitude = between_log(rng, ranges.change)
    mixing = band_mixing(bands, rng)
    mixing /= np.sqrt((mixing**2).sum(axis=0, keepdims=True))
    later = image + _by_class(ground, image, amplitude, mixing, fields, rng)
    if rng.random() < 0.5:
        index = np.tensordot(rng.normal(0, bands**-0.5, bands), image, 1)
        weight = amplitude * rng.uniform(0.1, 0.5) * (rng.normal(0, 1, bands) @ mixing)
        later += weight[:, None, None] * np.tanh(index)
    later += amplitude * rng.uniform(0, 0.15) * np.stack([fields.draw(3.2) for _ in image])
    later = _other_texture(later.astype(np.float32), fields, rng, ranges)
    if rng.random() < ranges.abrupt:
        later = _abrupt(ground, later, fields, rng)
    return later.astype(np.float32)


def _by_class(
    ground: Ground, image: Array, amplitude: float, mixing: Array, fields: Fields, rng: Rng
) -> Array:
    """A change common to all, one of every class, one of every parcel, and of the contrasts."""
    bands, kinds = len(image), int(ground.classes.max()) + 1
    common = rng.normal(0, 1, bands) @ mixing * rng.uniform(0, 1.5)
    own = rng.normal(0, 1, (kinds, bands)) @ mixing * rng.uniform(0.2, 1.1)
    gain = min(amplitude, 1) * rng.normal(0, rng.uniform(0.02, 0.3), (kinds, bands))
    means = _class_means(ground, image)
    soft = rng.uniform(0, 1.2)

    def spread(values: Array) -> Array:
        placed = np.moveaxis(values.astype(np.float32)[ground.classes], -1, 0)
        return blurred(placed, soft if soft > 0.3 else 0)

    small = voronoi(fields, between_log(rng, (60, 1500)), rng, warp=5)
    count = int(small.max()) + 1
    factor = 1 + rng.normal(0, rng.uniform(0, 0.3), count)[small]
    factor = factor + rng.uniform(0, 0.25) * fields.draw(rng.uniform(2, 3.5))
    added = rng.normal(0, rng.uniform(0, 0.25), (bands, count))[:, small]
    change = amplitude * (spread(common + own) * factor + added)
    return change + spread(gain) * image - spread(gain * means)


def _class_means(ground: Ground, image: Array) -> Array:
    """(classes, bands) means of the classes; 0 of those that are nowhere."""
    flat, kinds = ground.classes.ravel(), int(ground.classes.max()) + 1
    counts = np.bincount(flat, minlength=kinds).clip(1)
    return np.stack([np.bincount(flat, band.ravel(), kinds) / counts for band in image], axis=1)


def _other_texture(image: Array, fields: Fields, rng: Rng, ranges: Ranges) -> Array:
    """Replace a part of the finest texture by another one of the same local strength."""
    kept = between(rng, ranges.texture_kept)
    fine = image - blurred(image, 1.5)
    strength = np.sqrt(blurred(fine**2, 3).clip(0))
    other = fields.draw(rng.uniform(0.6, 2))
    other = other - blurred(other, 1.5)
    other = other / other.std()
    return image - (1 - kept) * fine + 0.5 * np.sqrt(1 - kept**2) * strength * other


def _abrupt(ground: Ground, image: Array, fields: Fields, rng: Rng) -> Array:
    """Something else where a blob lies, or in some of its parcels."""
    where = fields.draw(rng.uniform(2.6, 3.6)) > rng.uniform(1, 2.2)
    if rng.random() < 0.6:
        count = int(ground.parcels.max()) + 1
        where = where & (rng.random(count) < rng.uniform(0.3, 0.9))[ground.parcels]
    if rng.random() < 0.4:
        new = np.roll(image, rng.integers(20, max(fields.size - 20, 21), 2), (1, 2))
    else:
        means = _class_means(ground, image)
        value = means[rng.integers(len(means))] + rng.normal(0, 0.5, len(image))
        new = value[:, None, None] + 0.3 * (image - blurred(image, 1.5))
    weight = blurred(where.astype(np.float32), 0.5)
    return image * (1 - weight) + new * weight
