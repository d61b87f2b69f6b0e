"""Sums of waves over the bands of an image, with coefficients that vary from cell to cell.

For a pixel with values v and cells around it:

    z = clamp(W (v - m), -4, 4)        whitened bands
    f = sqrt(2 / K) cos(A z + phase)   K waves
    change_b = sum over c of coefficient_b,c * (z, f, 1)_c

where the coefficients lie at the cells' centres and are interpolated bilinearly between them. One
definition, two back-ends: numba on the CPU, torch everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..spatiotemporal.cells import to_fine
from .backend import can_compile

FARTHEST = 4.0  # standard deviations of a whitened band


@dataclass(frozen=True)
class Waves:
    """Features of a pixel.

    Attributes:
        middle: (bands,) m.
        whitening: (bands, bands) W.
        frequencies: (waves, bands) A.
        phases: (waves,).
    """

    middle: Tensor
    whitening: Tensor
    frequencies: Tensor
    phases: Tensor

    @property
    def count(self) -> int:
        """How many features there are but the constant."""
        return len(self.middle) + len(self.phases)

    def features(self, image: Tensor) -> Tensor:
        """(bands + waves, rows, cols) z and f of an image, (bands, rows, cols)."""
        centred = image - self.middle[:, None, None]
        linear = torch.tensordot(self.whitening, centred, dims=1).clamp(-FARTHEST, FARTHEST)
        waves = torch.tensordot(self.frequencies, linear, dims=1) + self.phases[:, None, None]
        return torch.cat([linear, torch.cos(waves).mul_(math.sqrt(2 / len(self.phases)))])

    def to(self, device: torch.device) -> Waves:
        """The same on another device."""
        return Waves(*(getattr(self, name).to(device) for name in self.__annotations__))


def change_of(waves: Waves, image: Tensor, fields: Tensor, places: Tensor, wanted: str) -> Tensor:
    """The sums.

    Args:
        waves: The features.
        image: (bands, rows, cols), no NaN.
        fields: (bands of the change, features + 1, cell_rows, cell_cols) coefficients.
        places: (2, rows, cols), row and column of every pixel among the cells, as of
            ``SceneReader.cell_positions``.
        wanted: Back-end, as in a job.

    Returns:
        (bands of the change, rows, cols).
    """
    fields, places = _around(fields, places)
    if not can_compile(wanted, image.device):
        features = waves.features(image)
        features = torch.cat([features, torch.ones_like(features[:1])])
        return torch.stack([(to_fine(f, places, "bilinear") * features).sum(dim=0) for f in fields])
    from .waves_numba import LANES, change_kernel

    found = image.new_empty(len(fields), *image.shape[1:])
    turn = 2 * math.pi
    offset = -waves.whitening @ waves.middle
    whitening = torch.cat([waves.whitening, offset[:, None]], dim=1)
    fields = functional.pad(fields.permute(2, 3, 0, 1), (0, -fields.shape[1] % LANES))
    change_kernel(
        _array(image), _array(whitening), _array(waves.frequencies.T / turn),
        _array(waves.phases / turn), _array(fields), _array(places),
        found.numpy(),
    )  # fmt: skip
    return found


def _around(fields: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The coefficients of the cells around a window, and its places among them.

    A scene may have many more cells than a window sees. Places that are no numbers, outside of what
    a projection knows, count as the first cell.
    """
    places = torch.nan_to_num(places, nan=0.0)
    corner = torch.zeros_like(places[:, :1, :1])
    for axis, size in enumerate(fields.shape[2:]):
        low, high = (int((part - 0.5).clamp(0, size - 1)) for part in places[axis].aminmax())
        fields = fields.narrow(2 + axis, low, min(high + 2, size) - low)
        corner[axis] = low
    return fields, places - corner


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.contiguous().numpy()
