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
_MOST = 0.9  # a coarse image of which clouds hide more is none


def hide_fine(image: Values, fields: Fields, rng: Rng, ranges: Ranges) -> Values:
    """A fine image without what clouds, shadows and stripes hide."""
    hidden = np.zeros(image.shape[1:], dtype=bool)
    if rng.random() < ranges.clouded:
        clouds = _clouds(fields, rng, ranges)
        far = rng.uniform(3, 0.15 * fields.size)
        angle = rng.uniform(0, 2 * math.pi)
        move = round(far * math.sin(angle)), round(far * math.cos(angle))
        hidden |= clouds | np.roll(clouds, move, (0, 1))
    if rng.random() < ranges.striped:
        hidden |= _stripes(fields.size, rng)
    return np.where(hidden, np.float32(np.nan), image)


def hide_coarse(
    cells: Sequence[Values], grid: CoarseGrid, fields: Fields, rng: Rng, ranges: Ranges
) -> list[Values]:
    """Coarse images without the cells under clouds; cells beside them are too bright."""
    return [
        _clouded(image, grid, fields, rng, ranges) if rng.random() < ranges.clouded else image
        for image in cells
    ]


def _clouded(cells: Values, grid: CoarseGrid, fields: Fields, rng: Rng, ranges: Ranges) -> Values:
    clouds = _clouds(fields, rng, ranges)[None].astype(np.float32)
    blur, side = (0.3 * grid.ratio,) * 2, (grid.ratio,) * 2
    share = seen(clouds, grid, (0, 0), blur, side)[0]
    brighter = rng.uniform(0.5, 4, (len(cells), 1, 1)).astype(np.float32)
    hidden = share > rng.uniform(*_THIN)
    if hidden.mean() > _MOST:
        return cells
    return np.where(hidden, np.float32(np.nan), cells + share * brighter)


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
