"""Seasons of a training scene: its parcels green, dry and are harvested, each at its own time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..land import BANDS, LEAVES, SOIL, STRAW, Labels, Rng, season
from .fields import Values

_SPECTRA = np.array([SOIL, STRAW, *LEAVES.values()])
_STRONGEST = 2.5  # deviations of the reference image; beyond, no two images are alike


@dataclass(frozen=True)
class Calendar:
    """What every parcel looks like on the days of a scene.

    Attributes:
        days: Of the year: reference, target, second reference.
        values: (days, parcels, bands).
    """

    days: tuple[float, float, float]
    values: Values

    def start(self) -> Values:
        """(parcels, bands) at the reference date."""
        return self.values[0]

    def change(self, step: int) -> Values:
        """(parcels, bands) by which the parcels differ from the day before."""
        return self.values[step] - self.values[step - 1]

    def in_units_of(self, spread: Values) -> Calendar:
        """The same in other units, and strong changes weakened to those that scenes have.

        Args:
            spread: Per band, what is 1 in the new unit.
        """
        values = self.values / np.maximum(spread, 1e-6)
        strength = np.sqrt(np.mean((values[1:] - values[:-1]) ** 2, axis=1)).max()
        return replace(self, values=values / max(strength / _STRONGEST, 1))


def draw_calendar(kind: Labels, bands: int, rng: Rng) -> Calendar:
    """Random crops and natural covers in random bands.

    Args:
        kind: Class of every parcel.
        bands: Number of bands; each is a random place in the spectrum of ``land``.
        rng: Source of randomness.
    """
    kinds = int(kind.max()) + 1
    at = np.sort(rng.uniform(0, len(BANDS) - 1, bands))
    spectra = np.stack([np.interp(at, np.arange(len(BANDS)), one) for one in _SPECTRA])
    soil, straw = spectra[:2] * np.exp(rng.normal(0, 0.15, (2, bands)))
    leaves = spectra[rng.integers(2, len(spectra), kinds)]
    leaves = leaves * np.exp(rng.normal(0, 0.15, leaves.shape))
    grown = rng.random(kinds) < 0.7  # others are the same all year
    greens = rng.uniform(60, 170, kinds)
    dries = greens + rng.uniform(50, 160, kinds)
    harvest = dries + np.where(rng.random(kinds) < 0.7, rng.uniform(5, 40, kinds), 200)
    least = np.where(grown, rng.uniform(0, 0.4, kinds), 1.0)
    shift: Values = rng.normal(0, rng.uniform(1, 8), len(kind))
    most: Values = rng.uniform(0.7, 0.95, kinds)[kind] * rng.uniform(0.85, 1.05, len(kind))
    ground = np.exp(rng.normal(0, 0.08, (len(kind), 1)))
    days = _draw_days(rng)

    def look(day: float) -> Values:
        when = [part[kind].astype(np.float32) for part in (greens, dries, harvest)]
        green, dry = season(day, when, shift, least[kind], most)
        bare = (1 - green - dry)[:, None] * ground * soil
        return bare + dry[:, None] * straw + green[:, None] * leaves[kind]

    return Calendar(days, np.stack([look(day) for day in days]))


def _draw_days(rng: Rng) -> tuple[float, float, float]:
    """Reference, target and second reference in the time of growth, forwards or backwards."""
    first, gaps = rng.uniform(60, 220), rng.uniform(8, 70, 2)
    days = first, first + gaps[0], first + gaps.sum()
    return days if rng.random() < 0.5 else days[::-1]
