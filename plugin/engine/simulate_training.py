"""Draw scenes to train networks on: pairs of which the truth is known, as imperfect as real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .land import Array, Rng
from .simulation.change import changed
from .simulation.fields import Fields, between, between_log
from .simulation.ground import real_ground, simulated_ground
from .simulation.ranges import Ranges
from .simulation.sensor import coarse_images, draw_grid, on_fine_grid, sampled


@dataclass(frozen=True)
class TrainingScene:
    """A scene to train on, (bands, n, n) float32 images; NaN is hidden.

    Values are in about standard deviations of the fine reference, around 0.

    Attributes:
        fine_reference: Fine image of the reference date.
        fine_target: The truth, complete and without noise.
        coarse_reference: Coarse image of the reference date, on the fine grid.
        coarse_target: Of the target date, likewise.
        ratio: Coarse over fine pixel size.
        fine_second: Fine image of a second reference date, beyond the target date; or None.
        coarse_second: Its coarse image; or None.
    """

    fine_reference: Array
    fine_target: Array
    coarse_reference: Array
    coarse_target: Array
    ratio: float
    fine_second: Array | None = None
    coarse_second: Array | None = None


def draw_scene(
    rng: Rng, size: int = 256, textures: Sequence[Array] = (), **ranges: Any
) -> TrainingScene:
    """Draw a training scene; the same state of the generator gives the same scene.

    Args:
        rng: Source of all randomness.
        size: Rows and columns in fine pixels.
        textures: Real fine images, (bands, rows, cols) or (dates, bands, rows, cols), without NaN.
        ranges: Other ranges than those of ``simulation.ranges.Ranges``.

    Raises:
        ValueError: A range or the size makes no sense.
    """
    chosen = Ranges(**ranges)
    if size < 2 * chosen.ratio[0]:
        raise ValueError(f"size is {size}, less than 2 cells. Give a larger one.")
    fields = Fields(size, rng)
    ratio = min(between_log(rng, chosen.ratio), size / 2)
    ratio = float(round(ratio)) if rng.random() < 1 / 3 else ratio
    if textures and rng.random() < chosen.textured:
        ground = real_ground(textures, fields, rng, chosen)
    else:
        bands = int(rng.integers(chosen.bands[0], chosen.bands[1] + 1))
        ground = simulated_ground(bands, fields, rng, chosen)
    first = ground.image
    if ground.dated is None:
        target = changed(ground, first, fields, rng, chosen)
    else:
        target = first + between(rng, (0.3, 1.1)) * (ground.dated - first)
    fine = [first, target]
    if rng.random() < chosen.second:
        fine.append(changed(ground, target, fields, rng, chosen))
    fine = [first, *(_shifted(image, rng, chosen) for image in fine[1:])]
    grid = draw_grid(size, ratio, rng, chosen)
    coarse = on_fine_grid(coarse_images(fine, grid, rng, chosen), grid)
    noise = between_log(rng, chosen.fine_noise)
    fine = [
        image if number == 1 else _with_noise(image, noise, rng) for number, image in enumerate(fine)
    ]
    second = (fine[2], coarse[2]) if len(fine) > 2 else (None, None)
    return TrainingScene(fine[0], fine[1], coarse[0], coarse[1], ratio, *second)


def _shifted(image: Array, rng: Rng, ranges: Ranges) -> Array:
    """A fine image that does not lie quite where the reference lies."""
    if rng.random() >= ranges.fine_shifted:
        return image
    far = between(rng, ranges.fine_shift)
    at = np.arange(image.shape[-1], dtype=np.float32)
    down, across = rng.uniform(-far, far, 2)
    return sampled(image, at[:, None] + down, at[None] + across, order=1)


def _with_noise(image: Array, noise: float, rng: Rng) -> Array:
    return image + noise * rng.standard_normal(image.shape, dtype=np.float32)
