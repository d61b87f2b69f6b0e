"""The ground of real fine images: crops of them, with classes found in their bands."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..interpolate import Taps, along
from ..land import Labels, Rng
from .calendar import draw_calendar
from .fields import Fields, Values, between_log, placed, renumbered, voronoi
from .ground import Ground, standardised
from .ranges import Ranges

_ZOOM = (0.75, 1.6)
_TRIES, _HIDDEN = 5, 0.5  # so often another crop is taken where more than this share is nodata


def real_ground(
    textures: Sequence[Values], fields: Fields, rng: Rng, ranges: Ranges
) -> Ground | None:
    """A crop of a real fine image, zoomed, turned and mirrored; None where nothing can be seen.

    Args:
        textures: (bands, rows, cols) images, or (dates, bands, rows, cols); NaN for nodata.
        fields: Of the scene.
        rng: Source of randomness.
        ranges: Of the scene.
    """
    for _ in range(_TRIES):
        dates = _crop(textures[int(rng.integers(len(textures)))], fields.size, rng, ranges)
        hidden = np.any(np.isnan(dates), axis=(0, 1))
        if hidden.mean() <= _HIDDEN and np.nanstd(dates, axis=(2, 3)).all():
            break
    else:
        return None
    dates = _completed(dates, hidden, rng)
    image, later = standardised(dates[0]), standardised(dates[-1], dates[0])
    kinds = int(rng.integers(3, 12))
    classes = _nearest(image, _centres(image, kinds, rng))
    stands = voronoi(fields, between_log(rng, ranges.parcel), 5, rng)
    if len(dates) > 1:
        return Ground(image, classes, stands, None, later)
    if rng.random() >= ranges.seasonal:
        return Ground(image, classes, stands)
    units = renumbered(stands * kinds + classes)
    kind = np.zeros(int(units.max()) + 1, dtype=np.int64)
    kind[units.ravel()] = classes.ravel()
    calendar = draw_calendar(kind, len(image), rng)
    spread = placed(calendar.start(), units).std(axis=(1, 2))
    return Ground(image, classes, units, calendar.in_units_of(spread))


def _crop(texture: Values, size: int, rng: Rng, ranges: Ranges) -> Values:
    """(dates, bands, size, size) of one date, or of two if there are and chance will."""
    dates = texture if texture.ndim == 4 else texture[None]
    use = 2 if len(dates) > 1 and rng.random() < ranges.dated else 1
    fewest, most = (min(end, dates.shape[1]) for end in ranges.bands)
    bands = rng.permutation(dates.shape[1])[: rng.integers(fewest, most + 1)]
    width = round(size / between_log(rng, _ZOOM))
    rows, cols = (_some(side, width, rng) for side in dates.shape[2:])
    piece = dates[np.ix_(rng.permutation(len(dates))[:use], bands, rows, cols)]
    taps = _zoom(width, size)
    planes = along(along(np.concatenate(piece.astype(np.float32)), taps, 1), taps, 2)
    planes = np.rot90(planes, int(rng.integers(4)), (1, 2))
    planes = np.ascontiguousarray(planes[..., ::-1] if rng.random() < 0.5 else planes)
    return planes.reshape(use, -1, size, size)


def _some(side: int, width: int, rng: Rng) -> Values:
    """So many neighbouring pixels of an axis; a short one is mirrored at its ends."""
    mirrored = np.concatenate([np.arange(side), np.arange(side)[::-1]])
    start = int(rng.integers(0, max(side - width, 0) + 1))
    return mirrored[(start + np.arange(width)) % len(mirrored)]


def _completed(dates: Values, hidden: Values, rng: Rng) -> Values:
    """Nodata replaced by what lies elsewhere in the crop, so that the truth is complete."""
    while hidden.any():
        move = tuple(rng.integers(0, hidden.shape[0], 2))
        dates = np.where(hidden, np.roll(dates, move, (2, 3)), dates)
        hidden = hidden & np.roll(hidden, move, (0, 1))
    return dates


def _zoom(old: int, new: int) -> Taps:
    """How an axis is interpolated to another number of pixels."""
    at, reach = (np.arange(new) + 0.5) * old / new - 0.5, max(old / new, 1.0)
    pixels = np.floor(at - reach).astype(np.intp)[:, None] + np.arange(1, math.ceil(2 * reach) + 1)
    weights = np.clip(1 - np.abs(at[:, None] - pixels) / reach, 0, None)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return list(zip(pixels.clip(0, old - 1).T, weights.T))


def _centres(image: Values, kinds: int, rng: Rng) -> Values:
    """(kinds, bands) centres by a few steps of k-means on a sample of the pixels."""
    pixels = image.reshape(len(image), -1).T
    sample = pixels[rng.integers(0, len(pixels), 3000)]
    centres = sample[:kinds].copy()
    for _ in range(6):
        nearest = _nearest(sample.T, centres)
        for kind in np.unique(nearest):
            centres[kind] = sample[nearest == kind].mean(axis=0)
    return centres


def _nearest(image: Values, centres: Values) -> Labels:
    """The centre, (bands,) each, nearest to every pixel of (bands, ...)."""
    apart = np.full(image.shape[1:], np.inf, dtype=np.float32)
    nearest = np.zeros(image.shape[1:], dtype=np.int64)
    for number, centre in enumerate(centres):
        distance = sum((band - value) ** 2 for band, value in zip(image, centre))
        closer = distance < apart
        nearest[closer] = number
        apart = np.where(closer, distance, apart)
    return nearest
