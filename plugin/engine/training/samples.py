"""From a scene of which the truth is known to what the network learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....models.spatiotemporal.gated_network import ALIGNED
from ....models.spatiotemporal.network_inputs import learn
from ....models.spatiotemporal.reduced_pair import block_side, displaced, reduce_images
from ..observation import FineView, estimate
from ..simulate_training import TrainingScene

LEAST_SIDE = 16  # fine pixels along a side of what can be learnt from
_FEWEST_CELLS = 9  # of a scene along one side in all; fewer say nothing
_LEAST_KNOWN = 0.1  # share of a scene's pixels that must be known in all images


@dataclass(frozen=True)
class Sample:
    """One reference pair and target over an area, in standard deviations of the fine reference.

    Attributes:
        planes: (bands, channels, rows / 2, cols / 2) float16, as a network sees them.
        scalars: (bands, scalars).
        change: (bands, rows, cols) float16, the truth less the fine reference.
        known: (rows, cols) bool, where both are known.
        scale: (bands,) what 1 is in the images' unit.
    """

    planes: Tensor
    scalars: Tensor
    change: Tensor
    known: Tensor
    scale: Tensor

    @property
    def bands(self) -> int:
        return len(self.scalars)


def samples_of(scene: TrainingScene) -> list[Sample]:
    """The samples of a scene: one for every reference pair that knows enough; maybe none."""
    pairs = [(scene.fine_reference, scene.coarse_reference)]
    if scene.fine_second is not None and scene.coarse_second is not None:
        pairs.append((scene.fine_second, scene.coarse_second))
    found = (_sample(fine, coarse, scene) for fine, coarse in pairs)
    return [sample for sample in found if sample is not None]


def _sample(fine: np.ndarray, coarse: np.ndarray, scene: TrainingScene) -> Sample | None:
    rows, cols = (size // ALIGNED * ALIGNED for size in fine.shape[1:])
    if min(rows, cols) < LEAST_SIDE:
        return None
    images = (fine, coarse, scene.coarse_target, scene.fine_target)
    reference, before, after, truth = (
        torch.from_numpy(np.ascontiguousarray(image[:, :rows, :cols], dtype=np.float32))
        for image in images
    )
    valid = torch.isfinite(reference).all(dim=0)
    known = valid & torch.isfinite(truth).all(dim=0)
    seen = known & torch.isfinite(before).all(dim=0) & torch.isfinite(after).all(dim=0)
    if float(seen.float().mean()) < _LEAST_KNOWN:
        return None
    side = block_side(scene.ratio, (rows, cols))
    pair = reduce_images(reference, before, after, scene.ratio, side)
    learnt = learn(displaced(pair, found_shift(reference, before, scene.ratio)))
    planes, scalars = learnt.at(reference, valid, after - before, 0, 0)
    change = (truth - reference) / learnt.scale[:, None, None]
    change = change.where(known, 0.0).clamp(-100, 100)
    return Sample(planes.half(), scalars, change.half(), known, learnt.scale)


def found_shift(fine: Tensor, coarse: Tensor, ratio: float) -> tuple[float, float]:
    """How far a coarse image lies off, (rows, cols) in fine pixels, as the engine estimates it.

    Args:
        fine: (bands, rows, cols), NaN where hidden.
        coarse: The same on the fine grid.
        ratio: Fine pixels per cell.
    """
    rows, cols = fine.shape[1:]
    down, across = (torch.arange(ratio / 2, size - ratio / 2 + 1, ratio) for size in (rows, cols))
    if len(down) * len(across) < _FEWEST_CELLS:
        return 0.0, 0.0
    centres = torch.cartesian_prod(down, across).T
    at = centres.long()
    found = estimate(FineView(fine, ratio), coarse[:, at[0], at[1]], centres)
    return found.shift if found.reliable else (0.0, 0.0)
