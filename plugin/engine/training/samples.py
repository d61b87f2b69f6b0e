"""From a scene of which the truth is known to what the network learns from."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from ....models.spatiotemporal.change_process import learn_process, lens_of
from ....models.spatiotemporal.gated_network import ALIGNED
from ....models.spatiotemporal.network_inputs import Learnt, learn
from ....models.spatiotemporal.patches import PatchCollector, PatchView
from ....models.spatiotemporal.reduced_pair import block_side, displaced, reduce_images
from ..observation import FineView, Observation, estimate
from ..simulate_training import TrainingScene

LEAST_SIDE = 16  # fine pixels along a side of what can be learnt from
_compiled_code = Lock()  # several threads make samples; numba may not bear two at once
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


@dataclass(frozen=True)
class _Images:
    """One reference pair and the target.

    Attributes:
        fine: (bands, rows, cols) fine reference, NaN where hidden, as all.
        truth: Fine image of the target date.
        before: Coarse reference on the fine grid.
        after: Coarse target, likewise.
        cells: (2, bands, cell_rows, cell_cols) both as cells.
        centres: (2, cell_rows, cell_cols) of the cells in fine pixels.
        places: (2, rows, cols) fine pixels among the cells, as ``SceneReader.cell_positions``.
    """

    fine: Tensor
    truth: Tensor
    before: Tensor
    after: Tensor
    cells: Tensor
    centres: Tensor
    places: Tensor


def samples_of(scene: TrainingScene) -> list[Sample]:
    """The samples of a scene: one for every reference pair that knows enough; maybe none."""
    cells = scene.cells
    pairs = [(scene.fine_reference, scene.coarse_reference, cells.reference)]
    fine, coarse, own = scene.fine_second, scene.coarse_second, cells.second
    if fine is not None and coarse is not None and own is not None:
        pairs.append((fine, coarse, own))
    found = (_sample(scene, *pair) for pair in pairs)
    return [sample for sample in found if sample is not None]


def _sample(
    scene: TrainingScene, fine: np.ndarray, coarse: np.ndarray, cells: np.ndarray
) -> Sample | None:
    images = _images(scene, fine, coarse, cells)
    if images is None:
        return None
    valid = torch.isfinite(images.fine).all(dim=0)
    known = valid & torch.isfinite(images.truth).all(dim=0)
    change = images.after - images.before
    if float((known & torch.isfinite(change).all(dim=0)).float().mean()) < _LEAST_KNOWN:
        return None
    learnt, shift = _learn(images, valid, scene.ratio)
    places = _moved(images.places, shift)
    with _compiled_code:
        planes, scalars = learnt.at(images.fine, valid, change, places, 0, 0, "auto")
    truth = (images.truth - images.fine) / learnt.scale[:, None, None]
    truth = truth.where(known, 0.0).clamp(-100, 100)
    return Sample(planes.half(), scalars, truth.half(), known, learnt.scale)


def _moved(places: Tensor, shift: tuple[float, float]) -> Tensor:
    """Where pixels lie among cells moved by a shift in fine pixels, along the fine image's axes."""
    down, across = torch.gradient(places, dim=(1, 2))
    return places - shift[0] * down - shift[1] * across


def _images(
    scene: TrainingScene, fine: np.ndarray, coarse: np.ndarray, cells: np.ndarray
) -> _Images | None:
    """The images of a pair; None where they are too small to learn from."""
    rows, cols = (size // ALIGNED * ALIGNED for size in fine.shape[1:])
    if min(rows, cols) < LEAST_SIDE:
        return None
    reference, truth, before, after = (
        torch.from_numpy(np.ascontiguousarray(image[:, :rows, :cols], dtype=np.float32))
        for image in (fine, scene.fine_target, coarse, scene.coarse_target)
    )
    both = torch.from_numpy(np.stack([cells, scene.cells.target])).float()
    centres, places = (torch.from_numpy(a) for a in (scene.cells.centres, scene.cells.places))
    places = places[:, :rows, :cols].float()
    return _Images(reference, truth, before, after, both, centres, places)


def _learn(images: _Images, valid: Tensor, ratio: float) -> tuple[Learnt, tuple[float, float]]:
    """What is learnt of a pair, and its shift."""
    found = _observed(images, ratio)
    rows, cols = valid.shape
    side = block_side(ratio, (rows, cols))
    pair = reduce_images(images.fine, images.before, images.after, ratio, side)
    lens, scale = lens_of(pair), pair.look.scale[:, None, None]
    scaled = pair.look.known(images.fine, valid)
    with _compiled_code:
        smooth = lens.smooth(scaled, valid, "auto")
    planes = lens.planes(scaled, smooth)
    patches = PatchCollector(pair.look.centres, lens.waves.whitening, (rows, cols), ratio)
    patches.add(smooth, valid, 0, 0)
    down, across = (part + by for part, by in zip(images.centres, found.shift))
    inside = (down > 0) & (down < rows) & (across > 0) & (across < cols)
    view = FineView(planes.where(valid, torch.nan), ratio)
    seen = view.look(found.sigma, down.flatten(), across.flatten())
    seen = seen.reshape(-1, *inside.shape).where(inside, torch.nan)
    reference, target = images.cells / scale
    sights = PatchView(
        patches.patches(), torch.stack([down, across]).flatten(1), found.sigma, "auto"
    )
    process = learn_process(lens, seen, target - reference, reference, sights)
    return learn(displaced(pair, found.shift), process), found.shift


def _observed(images: _Images, ratio: float) -> Observation:
    """Width of the PSF and shift of the coarse images, as the engine estimates them."""
    centres, cells = images.centres.flatten(1), images.cells[0].flatten(1)
    return estimate(FineView(images.fine, ratio), cells, centres)
