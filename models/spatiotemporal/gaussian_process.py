"""Gaussian process regression of the coarse change on features of the fine image.

The kernel between cells i and j, in units of the mean square of the values, d in cells:

    4 + a1 z_i.z_j + a2 f_i.f_j + a3 (z_i.z_j + f_i.f_j) exp(-d^2 / 2 l^2) + a4 exp(-d^2 / 2 r^2)
      + a5 s_ij

with z the whitened bands and f random Fourier features as the cells see them, and s, which may be
left out, what they share of the ``patches`` of the fine image. Since the kernel is linear in
features and patches, the change at a fine pixel is a sum of its own features times coefficients
that vary smoothly over the cells, and of what its patch changes: those are what a fit gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .patches import PatchView, Sight

CONSTANT = 4.0
FEWEST = 6  # cells that anything can be learnt from
MISMATCH = 0.5  # share of the reference's own mismatch with the fine image that counts as noise
_RAREST = 1e-4  # quantile beyond which no frequency lies
_FEW = 4.0  # cells at which the pattern of change is half believed
_LEAST_SHARE, _LEAST = 2e-3, 1e-6  # of the largest component's variance; of a variance
_WHOLE = 30  # cells across up to which a scene is fitted in one go
_BLOCK, _MARGIN = 8, 3  # cells of a block's core and around it; larger systems gain little


@dataclass(frozen=True)
class Views:
    """What the cells see: rows are cells.

    Attributes:
        linear: (cells, bands) whitened bands; the precision of all is that of the fit.
        fourier: (cells, features) random Fourier features without their mean.
        means: (features,) that mean.
        places: (cells, 2) row and column of the cells.
    """

    linear: Tensor
    fourier: Tensor
    means: Tensor
    places: Tensor

    @classmethod
    def of(cls, seen: Tensor, bands: int, usable: Tensor, shape: tuple[int, int]) -> Views:
        """What all cells of a lattice see.

        Args:
            seen: (bands + features, cells), NaN where hidden.
            bands: How many.
            usable: (cells,) bool, those whose mean counts.
            shape: Rows and columns of the lattice.
        """
        linear, fourier = seen[:bands], seen[bands:]
        means = fourier[:, usable].mean(dim=1)
        rows, cols = (torch.arange(n, dtype=seen.dtype) for n in shape)
        return cls(linear.T, (fourier - means[:, None]).T, means, torch.cartesian_prod(rows, cols))

    def take(self, cells: Tensor) -> Views:
        """Some of the cells."""
        return Views(self.linear[cells], self.fourier[cells], self.means, self.places[cells])


def shrinkage(cells: int) -> float:
    """How far the pattern of change is believed: little in a scene of few cells."""
    return cells / (cells + _FEW)


def whitening_of(covariance: Tensor) -> Tensor:
    """(bands, bands) float32 that gives bands of a covariance, float64, a variance of 1 each.

    Components that hardly vary are not blown up to that.
    """
    sizes, vectors = torch.linalg.eigh(covariance)
    sizes = sizes.clamp(min=max(float(sizes.max()) * _LEAST_SHARE, _LEAST))
    return (vectors / sizes.sqrt()).T.float()


def random_waves(bands: int, count: int, length: float, seed: int) -> tuple[Tensor, Tensor]:
    """(count, bands) frequencies and (count,) phases of random Fourier features.

    They come from a Sobol sequence: spread more evenly, fewer do.

    Args:
        bands: Of the image.
        count: Of the waves.
        length: Of the Gaussian kernel that they stand for, in standard deviations of three bands.
        seed: Of the draw.

    Source: Rahimi & Recht (2007), "Random features for large-scale kernel machines"; Avron,
    Sindhwani, Yang & Mahoney (2016), "Quasi-Monte Carlo feature maps for shift-invariant kernels".
    """
    drawn = torch.quasirandom.SobolEngine(bands + 1, scramble=True, seed=seed).draw(count)
    drawn = drawn.double().clamp(_RAREST, 1 - _RAREST)
    frequencies = math.sqrt(2) * torch.erfinv(2 * drawn[:, :-1] - 1) / length
    phases = 2 * math.pi * drawn[:, -1]
    return (frequencies / math.sqrt(bands / 3)).float(), phases.float()


def parts_of(one: Views, other: Views) -> tuple[Tensor, Tensor, Tensor]:
    """Of what the kernel is made, (cells, cells) each: z_i.z_j, f_i.f_j and d^2."""
    linear = one.linear @ other.linear.T
    fourier = one.fourier @ other.fourier.T
    return linear, fourier, torch.cdist(one.places, other.places).square()


def kernel_of(
    log: Tensor, parts: tuple[Tensor, Tensor, Tensor], sight: Sight | None = None
) -> Tensor:
    """(cells, cells) the kernel, of (7,) logarithms of a1, a2, a3, l, a4, r and noise.

    Without the noise. With what the cells see of patches there is an eighth, that of a5.
    """
    linear, fourier, squared = parts
    a1, a2, a3, length, a4, reach = log[:6].exp()
    near = torch.exp(-squared / (2 * length.square()))
    far = torch.exp(-squared / (2 * reach.square()))
    kernel = CONSTANT + a1 * linear + a2 * fourier + a3 * (linear + fourier) * near + a4 * far
    return kernel if sight is None else kernel + log[7].exp() * sight.shared


@dataclass(frozen=True)
class Fit:
    """What a fit gives.

    Attributes:
        fields: (bands, linear + features + 1, rows, cols) float32, coefficients at every cell: of
            each z, of each Fourier feature with its mean, and the rest that needs no feature.
        missed: (bands, rows, cols) by how much a cell's value is above what the others of its block
            tell of it, NaN where that is not known.
        patches: (bands, patches) what each one changes, 0 where no cell sees it.
    """

    fields: Tensor
    missed: Tensor
    patches: Tensor


def coefficient_fields(
    views: Views, shape: tuple[int, int], values: Tensor, noise: Tensor, logs: Sequence[Tensor],
    patches: PatchView | None = None,
) -> Fit:  # fmt: skip
    """Fit in overlapping blocks of cells and evaluate the coefficients at every cell.

    Args:
        views: All cells of a (rows, cols) lattice; rows with NaN are not used.
        shape: Rows and columns of the lattice.
        values: (bands, cells) what to explain, without its mean; NaN where missing, in all bands
            alike.
        noise: (bands,) least noise variance, in units of the values squared.
        logs: (7,) hyperparameters of every band; (8,) with patches.
        patches: Of the fine image, if they are to be told.
    """
    bands, wide = len(values), views.linear.shape[1]
    width = wide + views.fourier.shape[1] + 1
    total = torch.zeros(bands, width, *shape)
    missed = torch.zeros(bands, *shape)
    weights = torch.zeros(shape)
    told = None if patches is None else _PatchSums(bands, patches)
    number = torch.arange(shape[0] * shape[1]).reshape(shape)
    usable = usable_cells(views, values).reshape(shape)
    for rows, cols, weight in blocks_of(shape):
        inside, known = number[rows, cols], usable[rows, cols]
        if int(known.sum()) < 2:
            continue
        data, places = inside[known], views.places[inside.flatten()]
        sight = None if patches is None else patches.of(data)
        fields, off, alpha = _fit(views.take(data), values[:, data], noise, logs, places, sight)
        total[:, :, rows, cols] += weight * fields.mT.reshape(bands, width, *weight.shape)
        missed[:, rows, cols] += weight * _spread(off.float(), known)
        weights[rows, cols] += weight
        if told is not None and sight is not None:
            told.add(sight, alpha, logs, weight[known])
    total /= weights.clamp(min=1e-30)
    total[:, -1] -= (views.means.float()[:, None, None] * total[:, wide:-1]).sum(dim=1)
    known = usable & (weights > 0)
    means = torch.zeros(bands, 0) if told is None else told.means()
    return Fit(total, (missed / weights).where(known, torch.nan), means)


class _PatchSums:
    """What patches change, from all blocks that see them."""

    def __init__(self, bands: int, patches: PatchView) -> None:
        count = patches.patches.number
        self._total, self._weights = torch.zeros(bands, count), torch.zeros(count)

    def add(self, sight: Sight, alpha: Tensor, logs: Sequence[Tensor], weight: Tensor) -> None:
        """Take up a block: (bands, cells) dual coefficients and how much its cells count there."""
        strengths = torch.stack([log[7] for log in logs]).exp().float()
        change = strengths[:, None] * (alpha.float() @ sight.reached)
        heavy = weight @ sight.reached
        self._total.index_add_(1, sight.index, heavy * change)
        self._weights.index_add_(0, sight.index, heavy)

    def means(self) -> Tensor:
        """(bands, patches)."""
        return self._total / self._weights.clamp(min=1e-12)


def _fit(
    views: Views, values: Tensor, noise: Tensor, logs: Sequence[Tensor], places: Tensor,
    sight: Sight | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """From the cells of one block.

    Returns:
        (bands, places, linear + features + 1) coefficients; (bands, cells) by how much each cell is
        missed when it is told from the others (Rasmussen & Williams, 5.12); and (bands, cells) dual
        coefficients.
    """
    parts, squared = parts_of(views, views), torch.cdist(places, views.places).square()
    scale = values.square().mean(dim=1).clamp(min=1e-24)
    features, eye = torch.cat([views.linear, views.fourier], dim=1), torch.eye(len(views.linear))
    eye, known = eye.to(values), None
    fields, off, alphas = [], [], []
    for band, own, log in zip(values, noise / scale, logs):
        if log is not known:  # bands may share theirs
            known, covariance = log, kernel_of(log, parts, sight)
            strengths, near, far = _reach(log, views, squared)
        factor = torch.linalg.cholesky(covariance + (log[6].exp() + own + 1e-6) * eye)
        inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
        alpha = inverse.T @ (inverse @ band[:, None])
        weighted = features * alpha
        varying = strengths * weighted.sum(dim=0) + near @ weighted
        fields.append(torch.cat([varying, far @ alpha + CONSTANT * alpha.sum()], dim=1))
        off.append(alpha[:, 0] / inverse.square().sum(dim=0))
        alphas.append(alpha[:, 0])
    return torch.stack(fields), torch.stack(off), torch.stack(alphas)


def _reach(log: Tensor, views: Views, squared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How far cells count at places, of which (places, cells) squared distances are given.

    Returns:
        (features,) everywhere, (places, cells) for features nearby, and for what needs none.
    """
    a1, a2, a3, length, a4, reach = log[:6].exp()
    strengths = torch.cat([a1.expand(views.linear.shape[1]), a2.expand(views.fourier.shape[1])])
    near = a3 * torch.exp(-squared / (2 * length.square()))
    return strengths.to(squared), near, a4 * torch.exp(-squared / (2 * reach.square()))


def usable_cells(views: Views, values: Tensor) -> Tensor:
    """(cells,) bool, those that can be learnt from."""
    return torch.isfinite(values[0]) & torch.isfinite(views.fourier[:, 0])


def _spread(values: Tensor, usable: Tensor) -> Tensor:
    """(bands, rows, cols) values of the usable cells of a block; 0 elsewhere."""
    found = values.new_zeros(len(values), *usable.shape)
    found[:, usable] = values
    return found


def blocks_of(shape: tuple[int, int]) -> Iterator[tuple[slice, slice, Tensor]]:
    """Overlapping blocks of a lattice with weights that fall off towards their borders."""
    for top, bottom in _spans(shape[0]):
        for left, right in _spans(shape[1]):
            down = _ramp(top, bottom, shape[0])
            across = _ramp(left, right, shape[1])
            yield slice(top, bottom), slice(left, right), down[:, None] * across[None, :]


def _spans(length: int) -> list[tuple[int, int]]:
    if length <= _WHOLE:
        return [(0, length)]
    count = -(-length // _BLOCK)
    edges = [round(k * length / count) for k in range(count + 1)]
    return [(max(a - _MARGIN, 0), min(b + _MARGIN, length)) for a, b in zip(edges, edges[1:])]


def _ramp(first: int, last: int, length: int) -> Tensor:
    """1 inside, falling linearly across the overlap with the next block."""
    place = torch.arange(first, last, dtype=torch.float32) + 0.5
    rise = (place - first) / (2 * _MARGIN) if first > 0 else torch.ones_like(place)
    fall = (last - place) / (2 * _MARGIN) if last < length else torch.ones_like(place)
    return torch.minimum(rise, fall).clamp(max=1.0)
