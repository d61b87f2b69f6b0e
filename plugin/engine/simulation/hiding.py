"""What hides parts of the images: clouds and their shadows, stripes without data, missing cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..land import Rng
from .coarse_grid import CoarseGrid, seen
from .fields import Fields, Values, between_log
from .ranges import Ranges

_THIN = (0.05, 0.3)  # cloud cover of a cell up to which it is not masked but brighter
_UNMASKED = (0.3, 2.0)  # the same of an image whose mask misses clouds, some or all of them
_BRIGHTER = (0.5, 4.0)  # deviations by which a cell under thin clouds is brighter, in each band
_BRIGHTEST = (1.0, 12.0)  # the same under clouds that a mask missed, in all bands about alike
_TARGET = 1  # place of its date among all
_MOST = 0.9  # a coarse image of which clouds hide more is none


def hide(
    fine: Sequence[Values], cells: Sequence[Values], grid: CoarseGrid, fields: Fields, rng: Rng,
    ranges: Ranges,
) -> tuple[list[Values], list[Values]]:  # fmt: skip
    """Images of all dates without what clouds, shadows and stripes hide.

    Clouds of a date may be the same in its fine and its coarse image, or others: hours lie between.
    Coarse cells beside hidden ones are too bright; of a reference the mask may miss clouds.
    """

    def clouds() -> Values | None:
        return _clouds(fields, rng, ranges) if rng.random() < ranges.clouded else None

    seen_fine, seen_coarse = [], []
    for date, (image, own) in enumerate(zip(fine, cells)):
        over_fine = clouds()
        over_coarse = over_fine if rng.random() < ranges.same_clouds else clouds()
        seen_fine.append(_hidden(image, over_fine, fields, rng, ranges))
        if over_coarse is None:
            seen_coarse.append(own)
            continue
        missed = date != _TARGET and rng.random() < ranges.unmasked
        seen_coarse.append(_clouded(own, over_coarse, grid, rng, missed))
    return seen_fine, seen_coarse


def _hidden(
    image: Values, clouds: Values | None, fields: Fields, rng: Rng, ranges: Ranges
) -> Values:
    """A fine image without what clouds, their shadows and stripes hide."""
    hidden = np.zeros(image.shape[1:], dtype=bool)
    if clouds is not None:
        far = rng.uniform(3, 0.15 * fields.size)
        angle = rng.uniform(0, 2 * math.pi)
        move = round(far * math.sin(angle)), round(far * math.cos(angle))
        hidden |= clouds | np.roll(clouds, move, (0, 1))
    if rng.random() < ranges.striped:
        hidden |= _stripes(fields.size, rng)
    return np.where(hidden, np.float32(np.nan), image)


def _clouded(cells: Values, clouds: Values, grid: CoarseGrid, rng: Rng, missed: bool) -> Values:
    """Cells under clouds; those that a mask ``missed`` are bright, not hidden."""
    blur, side = (0.3 * grid.ratio,) * 2, (grid.ratio,) * 2
    share = seen(clouds[None].astype(np.float32), grid, (0, 0), blur, side)[0]
    if missed:
        brighter = between_log(rng, _BRIGHTEST) * rng.uniform(0.6, 1, (len(cells), 1, 1))
        masked = rng.uniform(*_UNMASKED)
    else:
        brighter = rng.uniform(*_BRIGHTER, (len(cells), 1, 1))
        masked = rng.uniform(*_THIN)
    hidden = share > masked
    if hidden.mean() > _MOST:
        return cells
    return np.where(hidden, np.float32(np.nan), cells + share * brighter.astype(np.float32))


def _clouds(fields: Fields, rng: Rng, ranges: Ranges) -> Values:
    """(size, size) where clouds are."""
    field = fields.draw(rng.uniform(2.2, 3.5))
    return field > np.quantile(field[::4, ::4], 1 - between_log(rng, ranges.cloud))


def _stripes(size: int, rng: Rng) -> Values:
    """Gaps as those of Landsat 7 since 2003: oblique wedges, wider towards the scene's edge."""
    rows, cols = np.mgrid[0:size, 0:size]
    along = rows + rng.uniform(-0.3, 0.3) * cols + rng.uniform(0, 100)
    wide = np.linspace(rng.uniform(0, 12), rng.uniform(0, 12), size)
    return along % rng.uniform(24, 40) < wide
