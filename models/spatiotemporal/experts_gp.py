"""E8: the coarse change explained by waves over the fine bands, a cheap Gaussian process.

A ridge on random Fourier features is a Gaussian process with a Gaussian kernel (Rahimi & Recht,
2007, "Random features for large-scale kernel machines"), fitted to all of the scene by one small
system of equations. With the strengths that ``gaussian_process.py`` takes as its prior it is what
GPX's fast quality does, but for coefficients that vary over the scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .change_model import REST, Bank
from .filter_bank import Map, weighted_mean
from .fine_look import FineLook
from .reduced_pair import ReducedPair

_WAVES = 48
_LENGTH = 1.5  # of the waves, in standard deviations of the whitened bands
_LINEAR, _CURVED = math.exp(-3.0), math.exp(-1.0)  # prior variances in shares of the change's
_NOISE, _MISMATCH = math.exp(-3.0), 0.5  # of a cell; share of the reference's own mismatch
_BELIEF = 0.7  # in what is left unexplained
_LEAST_SHARE = 2e-3  # of the largest component's variance
_FARTHEST = 4.0  # standard deviations
_TINY = 1e-6


@dataclass(frozen=True)
class Waves:
    """change = strengths x (whitened bands, waves) + intercept + what is left, smoothed.

    Attributes:
        look: Scales the bands.
        whitening: (bands, bands) for scaled bands.
        frequencies: (waves, bands).
        phases: (waves,).
        strengths: (bands of the change, bands + waves).
        intercept: (bands,).
        rest: Map of what is left unexplained.
        explained: (bands,) share of the variance of the change that the waves explain.
    """

    look: FineLook
    whitening: Tensor
    frequencies: Tensor
    phases: Tensor
    strengths: Tensor
    intercept: Tensor
    rest: Map
    explained: Tensor

    def line(self, fine: Tensor) -> Tensor:
        """(bands, rows, cols) change by the features of scaled bands alone."""
        seen = _features(fine, self.whitening, self.frequencies, self.phases)
        return torch.tensordot(self.strengths, seen, dims=1) + self.intercept[:, None, None]

    def at(self, fine: Tensor, row: int, col: int) -> Tensor:
        """(bands, rows, cols) change in a window of the scene that starts at (row, col)."""
        return self.line(fine) + self.rest.at(row, col, (fine.shape[1], fine.shape[2]))

    def to(self, device: torch.device) -> Waves:
        """The same on another device."""
        return Waves(*(getattr(self, name).to(device) for name in self.__annotations__))


def learn_waves(bank: Bank, pair: ReducedPair) -> Waves:
    """Fit the waves to a pair, of which ``bank`` has the filters."""
    bands = len(bank.fine)
    weight = bank.both
    whitening = _whitening(bank, pair.variance)
    frequencies, phases = _random_waves(bands)
    seen = bank.smooth(_features(bank.fine, whitening, frequencies, phases), bank.fine_known, 0.55)
    middle = weighted_mean(seen, weight)
    middle[:bands] = 0
    off = (seen - middle) * weight
    goal = bank.change * weight
    strengths = _solve(off, goal, _noise(bank, pair.coarse_reference), bank, bands)
    left = bank.change - torch.tensordot(strengths, seen - middle, dims=1)
    rest = bank.map(left, weight, REST)
    intercept = (bank.mean - torch.tensordot(strengths, middle, dims=1)).flatten()
    quiet = weighted_mean((bank.quiet * weight).square(), weight).flatten()
    rough = bank.smooth(left * weight, weight, 0.35)
    explained = 1 - weighted_mean(rough.square(), weight).flatten() / (quiet + _TINY)
    return Waves(
        pair.look, whitening, frequencies, phases, strengths, intercept,
        Map(_BELIEF * rest.values, rest.pixel), explained.clamp(-1, 1),
    )  # fmt: skip


def _solve(seen: Tensor, goal: Tensor, noise: Tensor, bank: Bank, bands: int) -> Tensor:
    """(bands, features) of a ridge whose strength every band's own noise tells."""
    prior = seen.new_full((len(seen),), _CURVED, dtype=torch.float64)
    prior[:bands] = _LINEAR
    independent = (bank.step / bank.ratio) ** 2  # cells that a reduced pixel counts for
    x, y = seen.flatten(1), goal.flatten(1)
    matrix, vectors = (x @ x.T).double() * independent, (x @ y.T).double() * independent
    size = goal.square().sum(dim=(1, 2)) / bank.both.sum().clamp(min=1)
    found = []
    for band in range(len(goal)):
        variance = size[band].double() + _TINY
        ridge = (_NOISE * variance + noise[band]) / (prior * variance)
        found.append(torch.linalg.solve(matrix + torch.diag(ridge), vectors[:, band]))
    return torch.stack(found).float()


def _noise(bank: Bank, coarse: Tensor) -> Tensor:
    """(bands,) share of the variance of what the coarse reference shows otherwise than the fine."""
    known = torch.isfinite(coarse).all(dim=0, keepdim=True)
    weight = bank.fine_known * known
    off = (coarse.where(known, 0.0) - bank.view) * weight
    off = (off - weighted_mean(off, weight)) * weight
    return _MISMATCH * weighted_mean(off.square(), weight).flatten().double()


def _whitening(bank: Bank, inside: Tensor) -> Tensor:
    """(bands, bands) that makes the bands uncorrelated with variance about 1.

    Pixels vary more than the blocks that they were averaged to; half of that remains in those of
    half the resolution, where the waves are used.
    """
    flat = (bank.fine * bank.fine_known).flatten(1).double()
    covariance = flat @ flat.T / bank.fine_known.sum().clamp(min=1)
    within = inside.where(torch.isfinite(inside), 0.0) * bank.fine_known
    covariance += torch.diag(0.5 * weighted_mean(within, bank.fine_known).flatten().double())
    sizes, vectors = torch.linalg.eigh(covariance)
    sizes = sizes.clamp(min=max(float(sizes.max()) * _LEAST_SHARE, _TINY))
    return (vectors / sizes.sqrt()).T.float()


def _random_waves(bands: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    frequencies = torch.randn(_WAVES, bands, generator=generator) / _LENGTH
    phases = 2 * math.pi * torch.rand(_WAVES, generator=generator)
    return frequencies / math.sqrt(bands / 3), phases


def _features(fine: Tensor, whitening: Tensor, frequencies: Tensor, phases: Tensor) -> Tensor:
    """(bands + waves, rows, cols) of scaled bands."""
    linear = torch.tensordot(whitening, fine, dims=1).clamp(-_FARTHEST, _FARTHEST)
    waves = torch.tensordot(frequencies, linear, dims=1) + phases[:, None, None]
    return torch.cat([linear, torch.cos(waves) * math.sqrt(2 / len(phases))])
