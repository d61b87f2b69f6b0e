"""How the ground changes between two dates: by class, parcel, index, texture and abruptly."""

from __future__ import annotations

import numpy as np

from ..land import Rng
from .fields import Fields, Values, between, between_log, placed, voronoi
from .filters import blurred
from .ground import Ground, band_mixing
from .ranges import Ranges


def series(ground: Ground, count: int, fields: Fields, rng: Rng, ranges: Ranges) -> list[Values]:
    """(bands, n, n) images of the ground at so many dates, of which the first is known."""
    images = [ground.image]
    for step in range(1, count):
        image = images[-1]
        if step == 1 and ground.dated is not None:
            change = between(rng, (0.3, 1.1)) * (ground.dated - image)
            images.append((image + change).astype(np.float32))
        else:
            images.append(_changed(ground, image, step, fields, rng, ranges))
    return images


def _changed(
    ground: Ground, image: Values, step: int, fields: Fields, rng: Rng, ranges: Ranges
) -> Values:
    amplitude = between_log(rng, ranges.change)
    mixing = band_mixing(len(image), rng)
    mixing /= np.sqrt((mixing**2).sum(axis=0, keepdims=True))
    soft = rng.uniform(0, 1.2)  # pixels over which classes blend
    soft = soft if soft > 0.3 else 0.0
    if ground.calendar:
        change = blurred(placed(ground.calendar.change(step), ground.parcels), soft)
        amplitude = float(np.sqrt(np.mean(change**2)))
    else:
        change = amplitude * _of_classes(ground, mixing, soft, rng)
    change = _uneven(change, amplitude, fields, rng)
    change += _contrast(ground, image, amplitude, soft, rng)
    if rng.random() < 0.5:
        change += amplitude * _of_index(image, mixing, rng)
    change += amplitude * rng.uniform(0, 0.15) * np.stack([fields.draw(3.2) for _ in image])
    later = _other_texture(image + change.astype(np.float32), fields, rng, ranges)
    if rng.random() < ranges.abrupt:
        later = _abrupt(ground, later, fields, rng)
    return later.astype(np.float32)


def _of_classes(ground: Ground, mixing: Values, soft: float, rng: Rng) -> Values:
    """A change common to all and one of every class, for an amplitude of 1."""
    bands, kinds = len(mixing), int(ground.classes.max()) + 1
    common = rng.normal(0, 1, bands) @ mixing * rng.uniform(0, 1.5)
    own = rng.normal(0, 1, (kinds, bands)) @ mixing * rng.uniform(0.2, 1.1)
    return blurred(placed(common + own, ground.classes), soft)


def _uneven(change: Values, amplitude: float, fields: Fields, rng: Rng) -> Values:
    """The change stronger here and weaker there, and parcels with one of their own."""
    small = voronoi(fields, between_log(rng, (60, 1500)), 5, rng)
    count = int(small.max()) + 1
    factor = placed(rng.normal(1, rng.uniform(0, 0.3), (count, 1)), small)
    factor = factor + np.float32(rng.uniform(0, 0.25)) * fields.draw(rng.uniform(2, 3.5))
    added = rng.normal(0, rng.uniform(0, 0.25), (count, len(change)))
    return change * factor + placed(amplitude * added, small)


def _contrast(ground: Ground, image: Values, amplitude: float, soft: float, rng: Rng) -> Values:
    """Contrasts within the classes grow or fade."""
    means = _class_means(ground, image)
    gain = min(amplitude, 1) * rng.normal(0, rng.uniform(0.02, 0.3), means.shape)
    both = blurred(placed(np.concatenate([gain, gain * means], axis=1), ground.classes), soft)
    return both[: len(image)] * image - both[len(image) :]


def _of_index(image: Values, mixing: Values, rng: Rng) -> Values:
    """A change that follows a combination of the bands, whatever the class."""
    bands = len(image)
    direction = rng.normal(0, bands**-0.5, bands).astype(np.float32)
    index = np.tanh((direction[:, None, None] * image).sum(axis=0))
    weight = rng.uniform(0.1, 0.5) * (rng.normal(0, 1, bands) @ mixing)
    return weight.astype(np.float32)[:, None, None] * index


def _class_means(ground: Ground, image: Values) -> Values:
    """(classes, bands) means of the classes; 0 of those that are nowhere."""
    flat, kinds = ground.classes.ravel(), int(ground.classes.max()) + 1
    counts = np.bincount(flat, minlength=kinds).clip(1)
    return np.stack([np.bincount(flat, band.ravel(), kinds) / counts for band in image], axis=1)


def _other_texture(image: Values, fields: Fields, rng: Rng, ranges: Ranges) -> Values:
    """Replace a part of the finest texture by another one of the same local strength."""
    kept = between(rng, ranges.texture_kept)
    fine = image - blurred(image, 1.5)
    strength = np.sqrt(blurred(fine**2, 3).clip(0))
    other = fields.draw(rng.uniform(0.6, 2))
    other = other - blurred(other, 1.5)
    other *= np.float32(0.5 * np.sqrt(1 - kept**2)) / other.std()
    return image - np.float32(1 - kept) * fine + strength * other


def _abrupt(ground: Ground, image: Values, fields: Fields, rng: Rng) -> Values:
    """Flood or snow, harvest, or anything else in a region or some of its parcels."""
    kinds = (_covered, _harvested, _replaced, _replaced)
    where, new = kinds[int(rng.integers(len(kinds)))](ground, image, fields, rng)
    weight = blurred(where.astype(np.float32), 0.5)
    return image * (1 - weight) + new * weight


def _covered(ground: Ground, image: Values, fields: Fields, rng: Rng) -> tuple[Values, Values]:
    """Where low ground is flooded or high ground under snow: all is dark, or bright, and alike."""
    wet = fields.draw(3.5)
    end = rng.choice([0.01, 0.99], p=[0.7, 0.3])
    level = np.quantile(image[:, ::4, ::4], end, axis=(1, 2)) + rng.normal(0, 0.2, len(image))
    new = level.astype(np.float32)[:, None, None] + np.float32(0.1) * fields.draw(1.6)
    return wet > np.quantile(wet[::4, ::4], 1 - rng.uniform(0.01, 0.25)), new


def _harvested(ground: Ground, image: Values, fields: Fields, rng: Rng) -> tuple[Values, Values]:
    """Parcels of one class that all look alike now, some of them not yet."""
    count = int(ground.parcels.max()) + 1
    chosen = (rng.random(count) < rng.uniform(0.2, 0.9))[ground.parcels]
    where = chosen & (ground.classes == rng.integers(int(ground.classes.max()) + 1))
    return where, _bare(ground, image, rng)


def _replaced(ground: Ground, image: Values, fields: Fields, rng: Rng) -> tuple[Values, Values]:
    where = fields.draw(rng.uniform(2.6, 3.6)) > rng.uniform(1, 2.2)
    if rng.random() < 0.6:
        count = int(ground.parcels.max()) + 1
        where = where & (rng.random(count) < rng.uniform(0.3, 0.9))[ground.parcels]
    if rng.random() < 0.4:
        return where, np.roll(image, rng.integers(fields.size // 8, fields.size, 2), (1, 2))
    return where, _bare(ground, image, rng)


def _bare(ground: Ground, image: Values, rng: Rng) -> Values:
    """About the mean of some class everywhere, with weak texture."""
    means = _class_means(ground, image)
    value = means[rng.integers(len(means))] + rng.normal(0, 0.5, len(image))
    texture = image - blurred(image, 1.5)
    return value.astype(np.float32)[:, None, None] + np.float32(0.3) * texture
