"""Draw scenes to train networks on: the truth is known, the pairs are as imperfect as real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .land import Array, Rng
from .simulation.change import series
from .simulation.coarse_grid import CoarseGrid, draw_grid, on_fine_grid
from .simulation.fields import Fields, between_log
from .simulation.ground import simulated_ground
from .simulation.hiding import hide
from .simulation.ranges import Ranges
from .simulation.real_ground import real_ground
from .simulation.sensor import coarse_images, fine_images


@dataclass(frozen=True)
class CoarseCells:
    """The cells of the coarse images as they are, before they are interpolated.

    Attributes:
        reference: (bands, rows, cols) of the reference date; NaN is hidden.
        target: Of the target date, likewise.
        second: Of the second reference date; or None.
        centres: (2, rows, cols) row and column of their centres in fine pixels.
        places: (2, n, n) where the fine pixels lie, as row and column; cell (i, j) reaches from
            (i, j) to (i + 1, j + 1).
    """

    reference: Array
    target: Array
    second: Array | None
    centres: Array
    places: Array


@dataclass(frozen=True)
class TrainingScene:
    """A scene to train on, (bands, n, n) float32 images; NaN is hidden.

    Values lie around 0 and are about standard deviations of the fine reference.

    Attributes:
        fine_reference: Fine image of the reference date.
        fine_target: The truth, complete and without noise.
        coarse_reference: Coarse image of the reference date, on the fine grid.
        coarse_target: Of the target date, likewise.
        ratio: Coarse over fine pixel size.
        cells: The coarse images before they were interpolated.
        fine_second: Fine image of a second reference date, beyond the target date; or None.
        coarse_second: Its coarse image; or None.
    """

    fine_reference: Array
    fine_target: Array
    coarse_reference: Array
    coarse_target: Array
    ratio: float
    cells: CoarseCells
    fine_second: Array | None = None
    coarse_second: Array | None = None


def draw_scene(
    rng: Rng, size: int = 256, textures: Sequence[Array] = (), **ranges: Any
) -> TrainingScene:
    """Draw a training scene; the same state of the generator gives the same scene.

    Args:
        rng: Source of all randomness.
        size: Rows and columns in fine pixels.
        textures: Real fine images, (bands, rows, cols) or (dates, bands, rows, cols), in
            any unit, NaN for nodata; clouds should be nodata. Of images of several dates the real
            change may be used.
        ranges: Other ranges than the usual ones, by the names of ``simulation.ranges.Ranges``.

    Raises:
        ValueError: A range or the size makes no sense.
    """
    chosen = Ranges(**ranges)
    if size < 2 * chosen.ratio[0]:
        raise ValueError(f"size is {size}, less than 2 cells. Give a larger one.")
    fields = Fields(size, rng)
    ratio = min(between_log(rng, chosen.ratio), size / 2)
    if rng.random() < 1 / 3:
        ratio = float(round(ratio))
    ground = None
    if textures and rng.random() < chosen.textured:
        ground = real_ground(textures, fields, rng, chosen)
    ground = ground or simulated_ground(fields, rng, chosen)
    dates = 3 if rng.random() < chosen.second else 2
    images = series(ground, dates, fields, rng, chosen)
    grid = draw_grid(size, ratio, rng, chosen)
    fine = fine_images(images, fields, rng, chosen)
    if rng.random() < chosen.misled:
        images[1] = _misleading(images, rng)
    cells = coarse_images(images, grid, fields, rng, chosen)
    truth = fine[1]
    fine, cells = hide(fine, cells, grid, fields, rng, chosen)
    coarse = on_fine_grid(cells, grid)
    second = (fine[2], coarse[2]) if dates > 2 else (None, None)
    return TrainingScene(fine[0], truth, coarse[0], coarse[1], ratio, _cells(cells, grid), *second)


def _cells(images: Sequence[Array], grid: CoarseGrid) -> CoarseCells:
    rows, cols = grid.places()
    places = np.stack(np.broadcast_arrays(rows + 0.5, cols + 0.5))
    centres = np.stack(np.broadcast_arrays(*grid.centres()))
    return CoarseCells(
        images[0], images[1], images[2] if len(images) > 2 else None, centres, places
    )


def _misleading(images: Sequence[Array], rng: Rng) -> Array:
    """The target, but with the change of another place, with none, or with the opposite one."""
    change = images[1] - images[0]
    size = change.shape[-1]
    elsewhere = np.roll(change, rng.integers(size // 4, size, 2), (1, 2))
    factor = rng.choice([1, 0, -1], p=[0.6, 0.2, 0.2]) * rng.uniform(0.5, 1.5)
    return images[0] + np.float32(factor) * (elsewhere if factor > 0 else change)
