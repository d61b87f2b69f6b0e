"""Simulated farmed land: who grows what where, and what it looks like on a day of the year.

Fields in blocks of one direction, roads, villages, forest, lakes and a river. Reflectance follows
from the share of green leaves, dry straw and bare soil in every field, each on its own calendar.
Pure numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Labels = NDArray[Any]
Rng = np.random.Generator

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")

# Reflectances in the order of BANDS.
SOIL = (0.08, 0.12, 0.17, 0.24, 0.32, 0.27)
STRAW = (0.09, 0.14, 0.20, 0.32, 0.38, 0.28)
LEAVES = {
    "crop": (0.025, 0.060, 0.030, 0.45, 0.20, 0.09),
    "grass": (0.035, 0.075, 0.050, 0.34, 0.22, 0.12),
    "broadleaf": (0.020, 0.050, 0.025, 0.40, 0.18, 0.08),
    "conifer": (0.020, 0.035, 0.025, 0.22, 0.10, 0.05),
    "water": (0.050, 0.050, 0.030, 0.015, 0.008, 0.005),
    "built": (0.130, 0.150, 0.170, 0.22, 0.25, 0.22),
}


@dataclass(frozen=True)
class Cover:
    """A land cover and its year: days of the year at which it greens, dries and is harvested."""

    leaves: str
    greens: float = 0
    dries: float = 400
    harvest: float = 400
    least: float = 0.0  # share of the ground that is always green
    most: float = 0.95
    texture: float = 0.05


COVERS = (
    Cover("crop", 85, 202, 226),  # winter wheat
    Cover("crop", 84, 196, 220),  # winter barley
    Cover("crop", 152, 262, 285),  # maize
    Cover("crop", 140, 290, 300),  # sugar beet
    Cover("grass", 95, 310, 400, least=0.35, most=0.85, texture=0.07),
    Cover("broadleaf", 118, 290, 400, least=0.15, texture=0.10),
    Cover("conifer", least=1.0, most=1.0, texture=0.10),
    Cover("water", least=1.0, most=1.0, texture=0.03),
    Cover("built", least=1.0, most=1.0, texture=0.18),
)
FIELD_COVERS = 5  # the first ones grow on fields
_MIX = (0.5, 0.3, 0.2, 0.15, 0.6)  # Dirichlet weights of the crops in a block; small: few crops
BROADLEAF, CONIFER, WATER, BUILT = 5, 6, 7, 8
_LATTICE = 64  # parcels repeat their shape after so many lattice cells; nobody sees it


@dataclass(frozen=True)
class Land:
    """The ground: units (fields, stands, lakes) and what is constant over time.

    Attributes:
        units: (n, n) number of the unit of every pixel.
        cover: Cover of every unit.
        shift: Days by which a unit is late.
        vigour: Factor on a unit's green share.
        ground: (n, n) brightness of the soil, about 1.
        texture: (3, n, n) texture common to the dates, of the reference and of the target alone.
        flood: (n, n) bool, under water at the target date.
    """

    units: Labels
    cover: Labels
    shift: Array
    vigour: Array
    ground: Array
    texture: Array
    flood: NDArray[np.bool_]


def fractal(n: int, slope: float, rng: Rng) -> Array:
    """(n, n) noise of mean 0 and deviation 1 whose power falls with frequency ** -slope."""
    frequency = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((n, n))) * frequency ** (-slope / 2)
    noise = np.fft.irfft2(spectrum, s=(n, n))
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


def parcels(rows: NDArray[Any], cols: NDArray[Any], rng: Rng) -> Labels:
    """Voronoi parcels around one jittered seed per unit cell of the positions given."""
    jitter = rng.uniform(0.1, 0.9, (2, _LATTICE, _LATTICE)).astype(np.float32)
    seed_rows, seed_cols = (table.ravel().astype(np.float64) for table in jitter)
    cell_row, cell_col = np.floor(rows).astype(np.int64), np.floor(cols).astype(np.int64)
    nearest = np.full(rows.shape, np.inf, dtype=np.float32)
    labels = np.zeros(rows.shape, dtype=np.int64)
    for row in (cell_row - 1, cell_row, cell_row + 1):
        number_row = (row % _LATTICE) * _LATTICE
        for col in (cell_col - 1, cell_col, cell_col + 1):
            number = number_row + col % _LATTICE
            down, across = row + seed_rows[number] - rows, col + seed_cols[number] - cols
            distance = down * down + across * across
            closer = distance < nearest
            np.copyto(nearest, distance, where=closer, casting="same_kind")
            np.copyto(labels, number, where=closer)
    return labels


def blocks_of_parcels(
    rows: Array, cols: Array, block: float, width: float, lengths: tuple[float, float], rng: Rng
) -> tuple[Labels, Labels]:
    """Parcels of one direction and length within a block: numbers in the block, and of the block.

    Args:
        rows: Positions in pixels.
        cols: Likewise.
        block: Side of the blocks.
        width: Of the parcels.
        lengths: From which each block draws that of its parcels.
        rng: Source of randomness.
    """
    blocks = parcels(rows / block, cols / block, rng)
    angle = rng.uniform(0, math.pi, _LATTICE**2).astype(np.float32)[blocks]
    across = np.cos(angle) * rows + np.sin(angle) * cols
    along = np.cos(angle) * cols - np.sin(angle) * rows
    length = rng.uniform(*lengths, _LATTICE**2).astype(np.float32)[blocks]
    return parcels(across / width, along / length, rng), blocks


def make_land(n: int, rng: Rng) -> Land:
    """Fields in blocks of one direction, roads between blocks, forest, water and villages."""
    rows, cols = np.mgrid[0:n, 0:n].astype(np.float32)
    rows += 3 * fractal(n, 3, rng)
    cols += 3 * fractal(n, 3, rng)
    within, blocks = blocks_of_parcels(rows, cols, 150, 24, (26, 60), rng)
    farmed = within + _LATTICE**2 * blocks
    wet = fractal(n, 3.2, rng)
    units = np.unique(_nature(farmed, blocks, wet, rng), return_inverse=True)
    cover = _covers(units[0], rng)
    return Land(
        units=units[1].reshape(n, n),
        cover=cover,
        shift=rng.normal(0, 4, len(cover)).astype(np.float32),
        vigour=rng.uniform(0.85, 1.05, len(cover)).astype(np.float32),
        ground=1 + 0.15 * fractal(n, 2.6, rng),
        texture=np.stack([fractal(n, slope, rng) for slope in (1.8, 1.4, 1.4)]),
        flood=wet > np.quantile(wet, 0.965),
    )


def _nature(farmed: Labels, blocks: Labels, wet: Array, rng: Rng) -> Labels:
    """Cut forest, water, villages and roads out of the fields: unit = -(stand * 9 + cover) - 1."""
    n = len(farmed)
    units = farmed.copy()
    rows, cols = np.mgrid[0:n, 0:n].astype(np.float32) / 24
    stands = parcels(rows, cols, rng)

    def cut(where: NDArray[np.bool_], cover: int) -> None:
        units[where] = -(stands[where] * len(COVERS) + cover) - 1

    woods, mixed = fractal(n, 2.8, rng), fractal(n, 2.4, rng)
    forest = woods > np.quantile(woods, 0.82)
    cut(forest & (mixed > 0), BROADLEAF)
    cut(forest & (mixed <= 0), CONIFER)
    edge = np.zeros_like(forest)
    edge[:-1] |= blocks[:-1] != blocks[1:]
    edge[:, :-1] |= blocks[:, :-1] != blocks[:, 1:]
    people = fractal(n, 2.2, rng)
    cut((edge & ~forest) | (people > np.quantile(people, 0.975)), BUILT)
    river = np.abs(fractal(n, 5, rng)) < 0.012
    cut((wet > np.quantile(wet, 0.975)) | river, WATER)
    return units


def _covers(units: Labels, rng: Rng) -> Labels:
    """The cover of every unit; the crops of a block lean to two or three of all."""
    mix = rng.dirichlet(_MIX, _LATTICE**2).cumsum(axis=1)
    block = np.where(units >= 0, units // _LATTICE**2, 0)
    crop = (rng.random(len(units))[:, None] > mix[block]).sum(axis=1).clip(0, FIELD_COVERS - 1)
    return np.where(units >= 0, crop, (-units - 1) % len(COVERS)).astype(np.int64)


def reflectance(land: Land, day: int, bands: int, late: bool) -> Array:
    """(bands, n, n) reflectance of the land on a day of the year.

    ``late`` is the target date: the flood is there, and a fifth of the texture's variance is new.
    """
    green, dry = (share[land.units] for share in phenology(land, day))
    leaves = np.array([LEAVES[cover.leaves] for cover in COVERS], dtype=np.float32)[land.cover]
    grain = np.array([cover.texture for cover in COVERS], dtype=np.float32)[land.cover]
    shared, own = land.texture[0], land.texture[2 if late else 1]
    texture = 1 + grain[land.units] * (0.9 * shared + 0.45 * own)
    images = []
    for band in range(bands):
        bare = SOIL[band] * land.ground * (1 - green - dry)
        image = (bare + STRAW[band] * dry + leaves[:, band][land.units] * green) * texture
        if late:
            image[land.flood] = LEAVES["water"][band] * texture[land.flood] * 1.3
        images.append(_soften(image))
    return np.stack(images).clip(0.001, 1).astype(np.float32)


def phenology(land: Land, day: int) -> tuple[Array, Array]:
    """Share of every unit's ground that is green and that is dry (ripe, not yet harvested)."""

    def of_units(name: str) -> Array:
        return np.array([getattr(cover, name) for cover in COVERS], dtype=np.float32)[land.cover]

    days = [of_units(name) for name in ("greens", "dries", "harvest")]
    return season(day, days, land.shift, of_units("least"), of_units("most") * land.vigour)


def season(
    day: float, days: Sequence[Array], shift: Array, least: Array, most: Array
) -> tuple[Array, Array]:
    """Green and dry shares of units of the ground on a day.

    Args:
        day: Of the year.
        days: At which the units green, dry and are harvested.
        shift: Days by which they are late.
        least: Share that is always green.
        most: Share that is green in season.
    """

    def rises(at: Array, days: float) -> Array:
        return (0.5 + 0.5 * np.tanh((day - at) / (2 * days))).astype(np.float32)

    greens, ripens, harvest = days
    dries = rises(ripens + shift, 8.0)
    grown = rises(greens + shift, 12.0) * (1 - dries)
    green = least + (most - least).clip(0) * grown
    ripe = dries * (1 - rises(harvest + 1.5 * shift, 1.5))
    return green.astype(np.float32), (0.8 * ripe * (1 - green)).astype(np.float32)


def _soften(image: NDArray[Any]) -> NDArray[Any]:
    """Blur by the fine sensor's own small point spread function."""
    padded = np.pad(image, 1, mode="edge")
    rows = 0.15 * (padded[:-2] + padded[2:]) + 0.7 * padded[1:-1]
    return 0.15 * (rows[:, :-2] + rows[:, 2:]) + 0.7 * rows[:, 1:-1]
