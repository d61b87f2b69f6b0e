"""What the network is trained to make small."""

from __future__ import annotations

import torch
from torch import Tensor

from ....models.spatiotemporal.gated_network import experts
from ....models.spatiotemporal.network_inputs import EXPERTS, doubled
from .batches import Batch

TRIVIAL = ("no change", "mean", "change", "D2")
_USUAL = ("D2", "process")
_LIKELIHOOD = 0.1  # weight beside the error's
_KNEE = 3.0  # of the usual error, from which an error counts less than by its square
_LEAST, _MOST = 0.05, 1.5  # standard deviations within which the experts' error counts
_EDGE = 4  # pixels along the border of a patch, where the network sees less


def loss(answer: Tensor, batch: Batch) -> Tensor:
    """Pseudo-Huber loss relative to the error of the better of two experts, and the likelihood.

    Args:
        answer: (samples, 2, rows, cols) from the network.
        batch: What it was given.
    """
    inner = slice(_EDGE, -_EDGE)
    known = batch.known[:, inner, inner]
    change, doubt = answer[:, 0, inner, inner], answer[:, 1, inner, inner]
    off = (change - batch.change[:, inner, inner]) * known
    error = off / (_KNEE * usual_error(batch).clamp(_LEAST, _MOST)[:, None, None])
    count = known.sum().clamp(min=1)
    total = 2 * _KNEE**2 * ((error.square() + 1).sqrt() - 1).sum() / count
    likelihood = 0.5 * (doubt + off.detach().square() * torch.exp(-doubt)) * known
    return total + _LIKELIHOOD * likelihood.sum() / count


def usual_error(batch: Batch) -> Tensor:
    """(samples,) root mean square error of the smoothed coarse change or the process, the smaller.

    So scenes whose coarse images are good count as much as others. Relative to the best trivial
    answer, those where nothing changed would count most, and the network would expect that.
    """
    count = batch.known.sum(dim=(1, 2)).clamp(min=1)
    off = (_answers(batch.planes, _USUAL) - batch.change[:, None]) * batch.known[:, None]
    return (off.square().sum(dim=(2, 3)) / count[:, None]).sqrt().amin(dim=1)


def trivial_answers(planes: Tensor) -> Tensor:
    """(samples, trivial answers, rows, cols) as TRIVIAL names them."""
    return _answers(planes, TRIVIAL)


def _answers(planes: Tensor, names: tuple[str, ...]) -> Tensor:
    """(samples, names, rows, cols) what those experts answer."""
    return doubled(experts(planes)[:, [EXPERTS.index(name) for name in names]])
