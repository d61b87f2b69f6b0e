"""The coarse change explained by waves over the fine bands, with coefficients that vary by place.

What GPX does, made cheap for a network that corrects it: one set of fewer waves, and strengths of
which the best of a few is taken. Patches of the fine image may change beyond what the waves tell.
Images are in standard deviations of the fine reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..kernels.bilateral import bilateral
from ..kernels.waves import Waves, change_of
from .cells import to_fine
from .change_model import filled
from .filter_bank import weighted_mean
from .gaussian_process import (
    FEWEST,
    MISMATCH,
    Views,
    coefficient_fields,
    random_waves,
    shrinkage,
    whitening_of,
)
from .patches import PatchChange, PatchView
from .process_strengths import likely_hyperparameters
from .reduced_pair import ReducedPair

RADIUS = 2  # fine pixels around a pixel that are looked at
_WIDTHS = 1.0, 0.4  # of the smoothing, in pixels and in robust standard deviations
_WAVES, _LENGTH = 48, 1.0
_TINY = 1e-6


@dataclass(frozen=True)
class Lens:
    """How the features of the fine image are seen.

    Attributes:
        spread: (bands,) robust standard deviation of the scaled bands.
        waves: The features.
    """

    spread: Tensor
    waves: Waves

    def smooth(self, scaled: Tensor, known: Tensor, wanted: str) -> Tensor:
        """(bands, rows, cols) scaled bands without the noise of single pixels."""
        return bilateral(scaled, known, self.spread, RADIUS, _WIDTHS, wanted)

    def planes(self, scaled: Tensor, smooth: Tensor) -> Tensor:
        """(features + bands, rows, cols) what the cells are to see: features and bands."""
        return torch.cat([self.waves.features(smooth), scaled])

    def to(self, device: torch.device) -> Lens:
        """The same on another device."""
        return Lens(self.spread.to(device), self.waves.to(device))


@dataclass(frozen=True)
class Process:
    """What was learnt.

    Attributes:
        lens: How the fine image is seen.
        fields: (bands, features + 1, cell_rows, cell_cols).
        patches: What patches of the fine image change beyond that; None: nothing.
        missed: (2, bands, cell_rows, cell_cols) by how much cells are above what is told of them
            when they are left out, and how far off cells around are; 0 where not known.
        foretold: (bands,) share of the change's variance that cells left out are told, up to 1.
    """

    lens: Lens
    fields: Tensor
    patches: PatchChange | None
    missed: Tensor
    foretold: Tensor

    def at(
        self, scaled: Tensor, known: Tensor, places: Tensor, row: int, col: int, wanted: str
    ) -> Tensor:
        """(bands, rows, cols) change in a window.

        Args:
            scaled: (bands, rows, cols) fine image, any finite value where not known.
            known: (rows, cols) bool.
            places: (2, rows, cols), where its pixels lie among the cells that were learnt from.
            row: Of the window's first pixel in the scene; may lie outside, as ``col`` may.
            col: Likewise.
            wanted: Back-end, as in a job.
        """
        smooth = self.lens.smooth(scaled, known, wanted)
        change = change_of(self.lens.waves, smooth, self.fields, places, wanted)
        return change if self.patches is None else change + self.patches.at(smooth, row, col)

    def missed_at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Twice (bands, rows, cols), what ``missed`` has at those places."""
        places = torch.nan_to_num(places, nan=0.0)
        one, other = (to_fine(part, places, "bilinear") for part in self.missed)
        return one, other

    def to(self, device: torch.device) -> Process:
        """The same on another device."""
        return Process(
            self.lens.to(device), self.fields.to(device), self.patches and self.patches.to(device),
            self.missed.to(device), self.foretold.to(device),
        )  # fmt: skip


def lens_of(pair: ReducedPair) -> Lens:
    """The features for a pair."""
    bands = len(pair.fine)
    fine, weight = filled(pair.fine)
    flat = fine.flatten(1).double()
    covariance = flat @ flat.T / weight.sum().clamp(min=1)
    # Pixels vary more than the blocks that they were averaged to; much of that is noise.
    inside = weighted_mean(pair.variance.where(weight > 0, 0.0), weight).flatten().double()
    covariance += torch.diag(0.5 * inside)
    random = random_waves(bands, _WAVES, _LENGTH, seed=0)
    waves = Waves(torch.zeros(bands), whitening_of(covariance), *random)
    return Lens(pair.look.spread, waves)


def learn_process(
    lens: Lens, seen: Tensor, change: Tensor, reference: Tensor, patches: PatchView
) -> Process:
    """Explain the change of all cells.

    Args:
        lens: The features.
        seen: (features + bands, cell_rows, cell_cols), ``Lens.planes`` as the cells see it; NaN
            where hidden, as below.
        change: (bands, cell_rows, cell_cols) coarse change.
        reference: Likewise, coarse reference.
        patches: Of the smooth fine image.
    """
    shape, bands = (seen.shape[1], seen.shape[2]), len(change)
    values, fine = seen.flatten(1).double().split([lens.waves.count, bands])
    change, coarse = change.flatten(1).double(), reference.flatten(1).double()
    usable = torch.isfinite(change).all(dim=0) & torch.isfinite(seen).all(dim=0).flatten()
    cells = int(usable.sum())
    fields = torch.zeros(bands, lens.waves.count + 1, *shape)
    nothing = torch.zeros(2, bands, *shape)
    if cells:
        mean = change[:, usable].mean(dim=1)
        fields[:, -1] += mean[:, None, None].float()
    if cells < FEWEST:  # nothing but the mean is told
        return Process(lens, fields, None, nothing, torch.zeros(bands))
    off = (coarse - fine)[:, usable]
    off = off[:, torch.isfinite(off).all(dim=0)]
    noise = MISMATCH * off.var(dim=1) if off.shape[1] > 1 else torch.zeros(bands).double()
    # The least noise that is tried stays above the rounding of single precision.
    views = Views.of(values.float(), bands, usable, shape)
    goal = (change - mean[:, None]).where(usable, torch.nan).float()
    logs = likely_hyperparameters(views, shape, goal, noise, patches)
    fit = coefficient_fields(views, shape, goal, noise, logs, patches)
    fields += shrinkage(cells) * fit.fields
    of_patches = PatchChange.of(patches.patches, shrinkage(cells) * fit.patches)
    known = torch.isfinite(fit.missed[0])
    before = goal[:, known.flatten()].square().mean(dim=1).clamp(min=_TINY)
    foretold = 1 - fit.missed[:, known].square().mean(dim=1) / before
    missed = _with_surroundings(fit.missed)
    return Process(lens, fields, of_patches, missed, foretold.clamp(-1, 1))


def _with_surroundings(missed: Tensor) -> Tensor:
    """(2, bands, rows, cols) the same without NaN, and the root mean square of 3 x 3 cells."""
    known = torch.isfinite(missed).float()
    filled = missed.nan_to_num(0.0)
    squares, share = (
        functional.avg_pool2d(part, 3, stride=1, padding=1) for part in (filled.square(), known)
    )
    return torch.stack([filled, (squares / share.clamp(min=1e-6)).sqrt()])
