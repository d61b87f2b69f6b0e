"""What hides parts of the images: clouds and their shadows, stripes without data, missing cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..land import Array, Rng
from .coarse_grid import CoarseGrid, seen
from .fields import Fields, between_log
from .ranges import Ranges

_THIN = 0.15  # of the clouds of a coarse image: they are not masked but brighten the cells
Mask = NDArray[np.bool_]


def hide_fine(image: Array, fields: Fields, rng: Rng, ranges: Ranges) -> Array:
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
    cells: Sequence[Array], grid: CoarseGrid, fields: Fields, rng: Rng, ranges: Ranges
) -> list[Array]:
    """Coarse images without the cells under clouds; cells beside them are too bright."""
    found = []
    for image in cells:
        if rng.random() < ranges.clouded:
            clouds = _clouds(fields, rng, ranges)[None].astype(np.float32)
            side = (grid.ratio, grid.ratio)
            share = seen(clouds, grid, (0, 0), (0.3 * grid.ratio,) * 2, side)[0]
            brighter = rng.uniform(0.5, 4, (len(image), 1, 1)).astype(np.float32)
            image = np.where(share > _THIN, np.float32(np.nan), image + share * brighter)
        found.append(image)
    return found


def _clouds(fields: Fields, rng: Rng, ranges: Ranges) -> Mask:
    """(size, size) where clouds are."""
    field = fields.draw(rng.uniform(2.2, 3.5))
    return field > np.quantile(field[::4, ::4], 1 - between_log(rng, ranges.cloud))


def _stripes(size: int, rng: Rng) -> Mask:
    """Gaps as those of Landsat 7 since 2003: oblique wedges, wider towards the scene's edge."""
    rows, cols = np.mgrid[0:size, 0:size]
    along = rows + rng.uniform(-0.3, 0.3) * cols + rng.uniform(0, 100)
    wide = np.linspace(rng.uniform(0, 12), rng.uniform(0, 12), size)
    return along % rng.uniform(24, 40) < wide
