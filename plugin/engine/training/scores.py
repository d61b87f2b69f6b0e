"""How well a network does on samples that it did not learn from, beside the trivial answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....models.spatiotemporal.gated_network import GatedNetwork
from .losses import TRIVIAL, trivial_answers
from .samples import Sample

_BORDER = 16  # pixels along the border of an area that do not count
_FLOOR = 0.05  # standard deviations: smaller errors of the trivial answers count as this
_NORMAL_90 = 1.645  # standard deviations within which 90 % of a normal distribution lie


# The trivial answers by the ids of the methods that they are.
_METHODS = {
    "no change": "copy_fine",
    "mean": "fine_plus_mean_change",
    "change": "fine_plus_change",
    "D2": "smoothed_change",
}


@dataclass(frozen=True)
class Score:
    """Figures over samples.

    Attributes:
        relative: Error of the network over that of the best trivial answer, mean over the bands of
            all samples.
        rmse: (samples, answers): root mean square error in the fine images' unit, mean over the
            bands; the network's, then those of the trivial answers.
        covered: Share of the pixels within the interval that should hold 90 % of them.
        calibration: What added to the log-variance would make it so.
    """

    relative: float
    rmse: Tensor
    covered: float
    calibration: float

    def figures(self) -> dict[str, dict[str, float]]:
        """By answer its error in the fine images' unit, mean over the samples."""
        names = ("model", *(_METHODS.get(name, name) for name in TRIVIAL))
        means = self.rmse.double().mean(dim=0).tolist()
        return {name: {"rmse": value} for name, value in zip(names, means)}


@torch.no_grad()
def score(network: GatedNetwork, samples: Sequence[Sample]) -> Score:
    """Run the network on whole samples."""
    network.eval()
    device = next(network.parameters()).device
    relative, errors, ratios = [], [], []
    for sample in samples:
        planes = sample.planes.float().to(device)
        answer = network(planes, sample.scalars.to(device)).cpu()
        edges = [min(_BORDER, size // 4) for size in sample.known.shape]
        inner = tuple(slice(edge, size - edge) for edge, size in zip(edges, sample.known.shape))
        known = sample.known[inner].float()
        if not known.any():
            known = torch.ones_like(known)
        truth = sample.change[:, inner[0], inner[1]].float()
        answers = torch.cat([answer[:, :1], trivial_answers(sample.planes.float())], dim=1)
        off = (answers[:, :, inner[0], inner[1]] - truth[:, None]) * known
        rms = (off.square().sum(dim=(2, 3)) / known.sum()).sqrt()
        relative.append(rms[:, 0] / rms[:, 1:].amin(dim=1).clamp(min=_FLOOR))
        errors.append((rms * sample.scale[:, None]).mean(dim=0))
        sigma = torch.exp(0.5 * answer[:, 1, inner[0], inner[1]])
        ratios.append((off[:, 0].abs() / sigma)[:, known > 0].flatten()[::7])
    network.train()
    inside = torch.cat(ratios)
    within = float(np.quantile(inside.numpy(), 0.9)) / _NORMAL_90
    return Score(
        float(torch.cat(relative).mean()),
        torch.stack(errors),
        float((inside <= _NORMAL_90).float().mean()),
        2 * float(np.log(max(within, 1e-3))),
    )
