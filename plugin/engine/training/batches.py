"""Batches of patches from samples, turned and mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ....models.spatiotemporal.gated_network import ALIGNED
from ....models.spatiotemporal.network_inputs import PLACE, SIGNED, SIGNED_SCALAR
from .samples import Sample

_GROUPS = (1, 2, 3, 4, 6)  # bands of one scene in a batch; drawn anew for every batch
_QUARTERS = (slice(0, 4), slice(4, 8))  # planes that hold 2 x 2 fine pixels each
_COMPONENTS = (PLACE["component 1"], PLACE["component 2"])
_TRIES = 8  # patches that are looked at for one with enough known pixels
_LEAST_KNOWN = 0.25


@dataclass(frozen=True)
class Batch:
    """Patches of several scenes, ``bands`` successive ones of one scene each.

    Attributes:
        planes: (samples, channels, rows / 2, cols / 2).
        scalars: (samples, scalars).
        change: (samples, rows, cols).
        known: (samples, rows, cols), 1 where the truth is known, else 0.
        bands: Of one scene.
    """

    planes: Tensor
    scalars: Tensor
    change: Tensor
    known: Tensor
    bands: int

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.planes.to(device), self.scalars.to(device), self.change.to(device),
            self.known.to(device), self.bands,
        )  # fmt: skip


def draw_batch(samples: Sequence[Sample], size: int, patch: int, rng: np.random.Generator) -> Batch:
    """Draw a batch.

    Args:
        samples: To draw from, each as likely.
        size: About how many patches, of one band each.
        patch: Side in fine pixels; that of the smallest sample where it is less.
        rng: Source of all randomness.
    """
    bands = int(rng.choice(_GROUPS))
    # All patches of a batch are squares of one size: areas differ, and patches are transposed.
    side = min(patch, *(min(sample.known.shape) for sample in samples)) // ALIGNED * ALIGNED
    parts = []
    for _ in range(max(size // bands, 1)):
        sample = samples[int(rng.integers(len(samples)))]
        # A scene of fewer bands lends some of them twice.
        chosen = np.resize(rng.permutation(sample.bands), bands)
        parts.append(_turned(*_patch(sample, chosen, side, rng), rng))
    planes, scalars, change, known = (torch.cat(tensors) for tensors in zip(*parts))
    return Batch(planes, scalars, change, known, bands)


def _patch(
    sample: Sample, bands: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    row = col = 0
    for _ in range(_TRIES):
        row, col = (
            ALIGNED * int(rng.integers((size - side) // ALIGNED + 1)) for size in sample.known.shape
        )
        known = sample.known[row : row + side, col : col + side]
        if float(known.float().mean()) >= _LEAST_KNOWN:
            break
    at = torch.from_numpy(bands)
    half, full = (
        tuple(slice(start // by, (start + side) // by) for start in (row, col)) for by in (2, 1)
    )
    known = sample.known[full].float().expand(len(bands), -1, -1)
    return (
        sample.planes[at][:, :, half[0], half[1]].float(),
        sample.scalars[at].clone(),
        sample.change[at][:, full[0], full[1]].float(),
        known,
    )


def _turned(
    planes: Tensor, scalars: Tensor, change: Tensor, known: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The patch mirrored, transposed and with other signs, all at random."""
    quarters = [functional.pixel_shuffle(planes[:, part], 2) for part in _QUARTERS]
    images = [planes[:, 8:], change[:, None], known[:, None], *quarters]
    if rng.random() < 0.5:
        images = [image.flip(3) for image in images]
    if rng.random() < 0.5:
        images = [image.flip(2) for image in images]
    if rng.random() < 0.5:
        images = [image.transpose(2, 3) for image in images]
    rest, change, known, *quarters = images
    planes = torch.cat([*(functional.pixel_unshuffle(q, 2) for q in quarters), rest], dim=1)
    signs = rng.choice([-1.0, 1.0], (len(planes), 3))
    whole, *others = torch.from_numpy(signs.astype(np.float32).T)
    factors = torch.ones(planes.shape[:2])
    factors[:, SIGNED] = whole[:, None]
    for place, sign in zip(_COMPONENTS, others):
        factors[:, place] = sign  # the sign of a component means nothing
    scalars[:, SIGNED_SCALAR] *= whole
    return (
        planes * factors[:, :, None, None],
        scalars,
        change[:, 0] * whole[:, None, None],
        known[:, 0],
    )
