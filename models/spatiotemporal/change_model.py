"""The coarse change of a pair explained by what the fine image shows, over the whole scene.

All images are in units of the fine reference's standard deviation per band, from its mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .filter_bank import Map, coarser, smooth, weighted_mean, widest_step
from .fine_look import FineLook
from .reduced_pair import ReducedPair

# Widths of the filters in coarse pixels: those of a cell's view of the fine image, of the noise of
# a change that is explained, and of what is left unexplained.
VIEW, NOISE, REST = 0.5, 0.35, 0.8
RIDGE, CLASS_RIDGE = 0.02, 0.01
_TINY = 1e-5


@dataclass(frozen=True)
class Bank:
    """Reduced images of one pair, and how their filters are made.

    Attributes:
        ratio: Coarse pixel in fine pixels.
        step: Reduced pixel in fine pixels.
        fine: (bands, rows, cols), 0 where hidden.
        fine_known: (1, rows, cols), 1 where known, else 0.
        change: (bands, rows, cols) coarse change less its mean, 0 where not known.
        both: (1, rows, cols), 1 where change and fine image are known, else 0: under a cloud of the
            fine image the coarse one of that day tells of the cloud, too.
        mean: (bands, 1, 1) mean change.
        view: (bands, rows, cols) the fine image as cells see it.
        quiet: (bands, rows, cols) the change with less noise.
        cells: How many coarse pixels' worth of the scene is known in all images.
    """

    ratio: float
    step: int
    fine: Tensor
    fine_known: Tensor
    change: Tensor
    both: Tensor
    mean: Tensor
    view: Tensor
    quiet: Tensor
    cells: float

    def pixels(self, sigma: float) -> float:
        """A width in reduced pixels from one in coarse pixels."""
        return sigma * self.ratio / self.step

    def smooth(self, values: Tensor, weight: Tensor, sigma: float) -> Tensor:
        """Smooth by a width in coarse pixels, pixel by pixel of the reduced image."""
        return smooth(values, weight, self.pixels(sigma))

    def map(self, values: Tensor, weight: Tensor, sigma: float) -> Map:
        """The same with as large pixels as the width allows."""
        factor = widest_step(self.pixels(sigma))
        few, heavy = coarser(values, weight, factor)
        return Map(smooth(few, heavy, self.pixels(sigma) / factor), self.step * factor)


def bank_of(pair: ReducedPair) -> Bank:
    """Begin with the filters."""
    fine, fine_known = filled(pair.fine)
    change, change_known = filled(pair.change)
    both = fine_known * change_known
    mean = weighted_mean(change, both)
    change = (change - mean) * both
    cell = pair.ratio / pair.step
    return Bank(
        pair.ratio, pair.step, fine, fine_known, change, both, mean,
        smooth(fine, fine_known, VIEW * cell), smooth(change, both, NOISE * cell),
        pair.cells,
    )  # fmt: skip


def filled(image: Tensor) -> tuple[Tensor, Tensor]:
    """Zeros where a band is hidden, and (1, rows, cols) 1 where none is."""
    known = torch.isfinite(image).all(dim=0, keepdim=True)
    return image.where(known, 0.0), known.to(image.dtype)


@dataclass(frozen=True)
class Regression:
    """change = slopes x fine + intercept + what is left of the coarse change, smoothed.

    Attributes:
        slopes: (bands of the change, bands of the fine image).
        intercept: (bands,).
        rest: Map of what the line left unexplained.
        explained: (bands,) share of the variance of the change that the line explains.
    """

    slopes: Tensor
    intercept: Tensor
    rest: Map
    explained: Tensor

    def line(self, fine: Tensor) -> Tensor:
        """(bands, rows, cols) change by the line alone."""
        return torch.tensordot(self.slopes, fine, dims=1) + self.intercept[:, None, None]

    def at(self, fine: Tensor, row: int, col: int) -> Tensor:
        """(bands, rows, cols) change in a window of the scene that starts at (row, col)."""
        return self.line(fine) + self.rest.at(row, col, (fine.shape[1], fine.shape[2]))

    def to(self, device: torch.device) -> Regression:
        """The same on another device."""
        slopes, intercept = self.slopes.to(device), self.intercept.to(device)
        return Regression(slopes, intercept, self.rest.to(device), self.explained.to(device))


@dataclass(frozen=True)
class Unmixing:
    """change = memberships x values of the classes + what is left, smoothed.

    Attributes:
        look: Has the soft classes.
        values: (bands, classes) change of every class.
        rest: Map of what the classes left unexplained.
    """

    look: FineLook
    values: Tensor
    rest: Map

    def at(self, fine: Tensor, row: int, col: int) -> Tensor:
        """(bands, rows, cols) change in a window of the scene that starts at (row, col)."""
        by_class = torch.tensordot(self.values, self.look.memberships(fine), dims=1)
        return by_class + self.rest.at(row, col, (fine.shape[1], fine.shape[2]))

    def to(self, device: torch.device) -> Unmixing:
        """The same on another device."""
        return Unmixing(self.look.to(device), self.values.to(device), self.rest.to(device))


def regress(bank: Bank, ridge: float = RIDGE, width: float = REST) -> Regression:
    """Ridge regression of the change on all bands over the scene.

    Args:
        bank: The pair.
        ridge: In shares of the mean variance of the bands.
        width: Over how many coarse pixels the rest is smoothed.

    Source: Hoerl & Kennard (1970), doi:10.1080/00401706.1970.10488634.
    """
    bands = len(bank.fine)
    weight, count = bank.both, bank.both.sum().clamp(min=1)
    middle = weighted_mean(bank.view, weight)
    off = (bank.view - middle) * weight
    goal = bank.quiet * weight
    matrix = _product(off, off) / count
    pull = _pull(ridge, bands, bank.cells) * matrix.diagonal().mean() + _TINY
    vector = _product(off, goal - weighted_mean(bank.quiet, weight) * weight) / count
    slopes = torch.linalg.solve(matrix + pull * torch.eye(bands, dtype=torch.float64), vector).T
    slopes = slopes.float()
    start = weighted_mean(bank.quiet, weight) - torch.tensordot(slopes, middle, dims=1)
    left = bank.quiet - torch.tensordot(slopes, bank.view, dims=1) - start
    rest = bank.map(left, weight, width)
    before = _variance(bank.quiet, weight).clamp(min=1e-6)
    explained = 1 - _variance(left, weight) / before
    intercept = (start + bank.mean).flatten()
    return Regression(slopes, intercept, rest, explained.flatten())


def unmix(
    bank: Bank, pair: ReducedPair, ridge: float = CLASS_RIDGE, width: float = REST
) -> Unmixing:
    """Change of every soft class by least squares over the scene, with a pull to the mean change.

    Args:
        bank: The filters of the pair.
        pair: Has the classes and their shares.
        ridge: Strength of the pull, in shares of what a class of usual size weighs.
        width: Over how many coarse pixels the rest is smoothed.

    Source: Zhukov, Oertel, Lanzl & Reinhäckel (1999), doi:10.1109/36.763276.
    """
    weight, count = bank.both, bank.both.sum().clamp(min=1)
    classes = len(pair.members)
    known = pair.members.where(bank.fine_known > 0, 0.0)
    shares = bank.smooth(known, bank.fine_known, VIEW)
    usual = weighted_mean(bank.quiet, weight)
    matrix = _product(shares * weight, shares) / count
    pull = _pull(ridge, classes, bank.cells) / classes + _TINY
    vector = _product(shares * weight, bank.quiet - usual) / count
    eye = torch.eye(classes, dtype=torch.float64)
    values = torch.linalg.solve(matrix + pull * eye, vector).T.float()
    left = bank.quiet - usual - torch.tensordot(values, shares, dims=1)
    rest = bank.map(left, weight, width)
    return Unmixing(pair.look, values + (usual + bank.mean)[:, :, 0], rest)


def _pull(ridge: float, unknowns: int, cells: float) -> float:
    """A ridge that is stronger where few cells speak for many unknowns."""
    return ridge * (1 + unknowns**2 / max(cells, 1.0))


def _product(one: Tensor, other: Tensor) -> Tensor:
    """(channels, channels) float64 sums of products over all pixels."""
    return (one.flatten(1) @ other.flatten(1).T).double()


def _variance(values: Tensor, weight: Tensor) -> Tensor:
    return weighted_mean((values - weighted_mean(values, weight)).square(), weight)
