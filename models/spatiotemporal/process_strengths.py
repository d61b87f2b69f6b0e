"""How strong the terms of a Gaussian process's kernel are: learnt, or the best of a few.

The kernel and its seven hyperparameters are those of ``gaussian_process``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .gaussian_process import CONSTANT, Views, blocks_of, kernel_of, parts_of, usable_cells
from .patches import PatchView, Sight

# Prior of the logarithms of a1, a2, a3, l, a4, r and noise: mean and standard deviation. The means,
# and what is tried below, were chosen on BOREAS 2001 and on simulated land.
PRIOR_MEAN = torch.tensor([-3.0, -1.0, -3.0, 1.5, -1.5, 0.2, -2.5], dtype=torch.float64)
_PRIOR_SPREAD = torch.tensor([2.0, 2.0, 2.0, 0.5, 2.0, 0.4, 2.0], dtype=torch.float64)
# Logarithms of the noise, and of a4 and a5 of which the best are taken; and of another a1, taken
# where it is better by so much: where noise hides it, a small difference is luck.
_NOISES = (0.0, -1.5, -3.0, -4.5, -6.0)
_RESTS = tuple((a4, a5) for a4 in (-1.5, 0.0) for a5 in (-30.0, -1.0, 0.0))
_LINEAR, _BETTER = -1.0, 0.02
_TRIED = 16  # blocks that they are tried on


def learn_hyperparameters(views: Views, values: Tensor, noise: float, start: Tensor) -> Tensor:
    """The most probable hyperparameters, by a few steps of L-BFGS.

    Args:
        views: At most some hundred cells.
        values: (cells,) what to explain, without its mean.
        noise: Least noise variance, in units of the values squared.
        start: (7,) where to begin.
    """
    scale = values.square().mean().sqrt().clamp(min=1e-12)
    y, floor = values / scale, noise / scale.square()
    parts = parts_of(views, views)
    place = start.clone().requires_grad_(True)
    search = torch.optim.LBFGS(
        [place], max_iter=12, max_eval=16, history_size=8, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        with torch.no_grad():
            total, place.grad = _posterior(place, parts, y, floor)
        return total

    search.step(loss)
    found = place.detach()
    return found if torch.isfinite(found).all() else start


def _posterior(
    log: Tensor, parts: tuple[Tensor, Tensor, Tensor], y: Tensor, floor: Tensor
) -> tuple[Tensor, Tensor]:
    """Negative log posterior of hyperparameters and its gradient (Rasmussen & Williams, 5.9)."""
    linear, fourier, squared = parts
    a1, a2, a3, length, a4, reach, noise = log.exp()
    local = torch.exp(-squared / (2 * length.square())).mul_(linear + fourier).mul_(a3)
    spatial = torch.exp(-squared / (2 * reach.square())).mul_(a4)
    covariance = (a1 * linear).add_(a2 * fourier).add_(local).add_(spatial).add_(CONSTANT)
    covariance.diagonal().add_(noise + floor + 1e-6)
    factor = torch.linalg.cholesky(covariance)
    alpha = torch.cholesky_solve(y[:, None], factor)
    off = (log - PRIOR_MEAN) / _PRIOR_SPREAD
    total = 0.5 * (y @ alpha[:, 0] + off.square().sum()) + factor.diagonal().log().sum()
    slope = torch.cholesky_inverse(factor).sub_(alpha @ alpha.T).mul_(0.5)
    gradient = torch.stack([
        a1 * (slope * linear).sum(),
        a2 * (slope * fourier).sum(),
        (slope * local).sum(),
        (slope * local).mul_(squared).sum() / length.square(),
        (slope * spatial).sum(),
        (slope * spatial).mul_(squared).sum() / reach.square(),
        noise * slope.diagonal().sum(),
    ])  # fmt: skip
    return total, gradient + off / _PRIOR_SPREAD


def likely_hyperparameters(
    views: Views, shape: tuple[int, int], values: Tensor, noise: Tensor, patches: PatchView
) -> list[Tensor]:
    """(8,) hyperparameters of every band: the prior's, with the best noise, a1, a4 and a5 of a few.

    Best is what tells cells best from the others of their block, over some blocks (leave-one-out
    prediction; Rasmussen & Williams, 5.4.2).

    Args: as of ``coefficient_fields``.
    """
    number = torch.arange(shape[0] * shape[1]).reshape(shape)
    usable = usable_cells(views, values).reshape(shape)
    blocks = list(blocks_of(shape))
    shown = []
    for block in torch.randperm(len(blocks), generator=torch.Generator().manual_seed(0))[:_TRIED]:
        rows, cols, _ = blocks[int(block)]
        data = number[rows, cols][usable[rows, cols]]
        if len(data) > 1:
            shown.append(_Shown.of(views.take(data), values[:, data], noise, patches.of(data)))

    def missed_with(log: Tensor) -> Tensor:
        none = torch.zeros(len(values), len(_NOISES), dtype=torch.float64)
        return sum((part.missed(log) for part in shown), none)

    logs = [_prior(a4, a5) for a4, a5 in _RESTS]
    missed = torch.stack([missed_with(log) for log in logs], dim=1)
    best = missed.amin(dim=2).argmin(dim=1).tolist()
    others = {rest: _with(logs[rest], 0, _LINEAR) for rest in set(best)}
    less = {rest: missed_with(log) for rest, log in others.items()}
    found = []
    for band, rest in enumerate(best):
        log, off = logs[rest], missed[band, rest]
        if less[rest][band].min() < (1 - _BETTER) * off.min():
            log, off = others[rest], less[rest][band]
        found.append(_with(log, 6, _NOISES[int(off.argmin())]))
    return found


@dataclass(frozen=True)
class _Shown:
    """A block that hyperparameters are tried on.

    Attributes:
        parts: Of its kernel.
        values: (bands, cells) float64.
        levels: (bands, noises) variances that are tried.
        sight: What its cells see of patches.
    """

    parts: tuple[Tensor, Tensor, Tensor]
    values: Tensor
    levels: Tensor
    sight: Sight

    @classmethod
    def of(cls, views: Views, values: Tensor, noise: Tensor, sight: Sight) -> _Shown:
        """From what its cells see, as of ``coefficient_fields``."""
        scale = values.square().mean(dim=1).clamp(min=1e-24)
        levels = torch.tensor(_NOISES, dtype=torch.float64).exp() + (noise / scale)[:, None] + 1e-6
        return cls(parts_of(views, views), values.double(), levels, sight)

    def missed(self, log: Tensor) -> Tensor:
        """(bands, noises) sums of squares by which its cells are missed.

        One decomposition serves all bands and noises.
        """
        covariance = kernel_of(log, self.parts, self.sight).double()
        sizes, vectors = torch.linalg.eigh(covariance)
        inverse = 1 / (sizes.clamp(min=0) + self.levels[:, :, None])  # (bands, noises, cells)
        alpha = inverse * (self.values @ vectors)[:, None]
        off = (alpha @ vectors.T) / (inverse @ vectors.square().T)
        return off.square().sum(dim=2)


def _prior(a4: float, a5: float) -> Tensor:
    """(8,) the prior's hyperparameters with others of the rests."""
    log = torch.cat([PRIOR_MEAN, PRIOR_MEAN.new_zeros(1)])
    return _with(_with(log, 4, a4), 7, a5)


def _with(log: Tensor, place: int, value: float) -> Tensor:
    """The same with another value at a place."""
    log = log.clone()
    log[place] = value
    return log
