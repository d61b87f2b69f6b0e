"""RasterFuse Net: small networks that choose among experts at every place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..base import FusionModel, Progress, SceneReader, Tile
from ..errors import ModelFileError
from ..model_file import read_model_card
from ..network_runtime import Run, layout, runner
from ..weights import load_weights
from .change_process import RADIUS, learn_process, lens_of
from .gated_network import ALIGNED, GatedNetwork
from .network_inputs import Learnt, learn
from .pairs import nearness, notes_on_cells
from .patches import PatchCollector, PatchView
from .reduced_pair import reduce_scene

_LEAST = 0.02  # standard deviations: a smaller change than this is none


class RasterfuseNet(FusionModel):
    """Fine reference + a change chosen among experts by small networks; our own method.

    Experts are estimates of the change computed on the scene itself: none, the mean, the coarse
    one, smoothed ones, regressions on what the fine image shows, and a Gaussian process. From all
    of them each network tells how far to believe each in every place, corrects the sum, and tells
    its own error. Their mean counts, and the process beside it, the more the better it tells coarse
    pixels from the others. Several pairs are weighted by the inverse of the variance so told, of
    their change and their days, in every band with a look at the others.

    Shapes and units:
        coarse_target: (bands, rows, cols), coarse image on the fine grid, the fine image's unit.
        coarse_references, fine_references: (pairs, bands, rows, cols), likewise.
        result: (bands, rows, cols); NaN where every fine reference has nodata.

    Raises:
        InputError: The coarse images of a pair are nowhere known where its fine one is.
        ModelFileError: The weights are damaged or of another network.

    Source: this project.
    """

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Experts of every pair, by two passes over the scene each; the network."""
        self._scene = scene
        self._learnt: list[Learnt] = []
        for number in range(scene.pairs):

            def part(done: float, number: int = number) -> None:
                progress((number + done) / scene.pairs)

            self._learnt.append(self._learn(scene, number, part).to(self.device))
        self._weights = self._belief(scene)
        path = (self.card.weights or {}).get("path")
        if path is None:
            self.notes.append("There are no weights, so mostly smoothed coarse change was added.")
        stamp = os.stat(path).st_mtime_ns if path and os.path.exists(path) else 0
        reduced = self.parameters["precision"] == "reduced"
        self.backend, self._run = _ready(
            path, stamp, self.device, self.wanted_backend, reduced, torch.get_num_threads()
        )

    def _learn(self, scene: SceneReader, number: int, progress: Progress) -> Learnt:
        pair = reduce_scene(scene, number, lambda done: progress(done / 2), moved=True)
        self.notes += notes_on_cells(pair.cells, scene, number)
        look, lens, view = pair.look, lens_of(pair), scene.observation(number)
        patches = PatchCollector(look.centres, lens.waves.whitening, scene.shape, scene.ratio)
        core = slice(RADIUS, -RADIUS)

        def image(tile: Tile) -> tuple[Tensor, Tensor]:
            valid = tile.masks["fine_references"][number].all(dim=0)
            scaled = look.known(tile["fine_references"][number], valid)
            smooth = lens.smooth(scaled, valid, self.wanted_backend)
            patches.add(
                smooth[:, core, core], valid[core, core], tile.row + RADIUS, tile.col + RADIUS
            )
            return lens.planes(scaled, smooth), valid

        seen = scene.observe(image, RADIUS, view, lambda done: progress((1 + done) / 2))
        centres = scene.cell_centres() + torch.tensor(view.shift)[:, None]
        target, reference = (
            scene.cell_samples(name) / look.scale[:, None, None]
            for name in ("coarse_target", f"coarse {number + 1}")
        )
        sights = PatchView(patches.patches(), centres, view.sigma, self.wanted_backend)
        return learn(pair, learn_process(lens, seen, target - reference, reference, sights))

    def _belief(self, scene: SceneReader) -> list[Tensor]:
        """(bands,) weight of every pair: less for a larger change or a longer time."""
        nearest = nearness(scene.days, scene.pairs, self.device)[:, 0, 0, 0]
        sizes = [learnt.size * learnt.experts.look.scale for learnt in self._learnt]
        least = [_LEAST * learnt.experts.look.scale for learnt in self._learnt]
        return [near / torch.maximum(size, few) for near, size, few in zip(nearest, sizes, least)]

    def fuse(self, tile: Tile) -> Tensor:
        return self.fuse_with_error(tile)[0]

    def fuse_with_error(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """Both are NaN beyond the scene, where a halo reaches: nothing is computed there."""
        shape = tile["coarse_target"].shape
        rows, cols = (
            slice(max(-first, 0), min(size - first, length))
            for first, size, length in zip((tile.row, tile.col), self._scene.shape, shape[1:])
        )
        fused, error = torch.full((2, *shape), torch.nan, device=self.device)
        fused[:, rows, cols], error[:, rows, cols] = self._fused(tile.part(rows, cols))
        return fused, error

    def _fused(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """The fused image and its standard error, of a tile inside the scene."""
        total = weights = torch.zeros((), device=self.device)
        doubt = torch.zeros((), device=self.device)
        for number, learnt in enumerate(self._learnt):
            fine = tile["fine_references"][number]
            valid = tile.masks["fine_references"][number].all(dim=0)
            change, variance = self._change(tile, learnt, number, valid)
            weight = valid * pooled(self._weights[number][:, None, None] / variance)
            total = total + weight * (fine + change)
            doubt = doubt + weight * variance.sqrt()
            weights = weights + weight
        return total / weights, doubt / weights

    def _change(
        self, tile: Tile, learnt: Learnt, number: int, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(bands, rows, cols) change since a pair and its variance, in the fine image's unit."""
        rows, cols = valid.shape
        top, left = tile.row % ALIGNED, tile.col % ALIGNED
        around = (left, -(left + cols) % ALIGNED, top, -(top + rows) % ALIGNED)
        fine = tile["fine_references"][number]
        coarse = tile["coarse_target"] - tile["coarse_references"][number]
        seen = tile.masks["coarse_target"] & tile.masks["coarse_references"][number]
        shift = self._scene.observation(number).shift
        places = self._scene.cell_positions(tile, shift).to(self.device)
        planes, scalars = learnt.at(
            functional.pad(fine, around),
            functional.pad(valid, around),
            functional.pad(coarse.where(seen, torch.nan), around, value=torch.nan),
            functional.pad(places[None], around, mode="replicate")[0],
            tile.row - top,
            tile.col - left,
            self.wanted_backend,
        )
        found = self._run(planes, scalars)[:, :, top : top + rows, left : left + cols]
        scale = learnt.scale[:, None, None]
        mean = learnt.mean * learnt.experts.look.scale
        change = torch.where(learnt.plain[:, None, None], mean[:, None, None], found[:, 0] * scale)
        return change, found[:, 1].exp() * scale.square()


def pooled(weight: Tensor) -> Tensor:
    """(bands, ...) weights of a pair, of which half is what their own band says, half what all say.

    Of how far two pairs are to be trusted one band alone tells little.
    """
    log = weight.log()
    return (0.5 * (log + log.mean(dim=0))).exp()


@lru_cache(maxsize=2)
def _ready(
    path: str | None, stamp: int, device: torch.device, wanted: str, reduced: bool, threads: int
) -> tuple[str, Run]:
    """A network ready to run; a worker that does several jobs makes it once.

    ``stamp`` and ``threads`` only tell when another one is needed.
    """
    network = GatedNetwork() if path is None else load_network(path)
    network.to(memory_format=layout(device))  # type: ignore[call-overload]
    return runner(network.to(device), device, wanted, reduced)


def load_network(path: str) -> GatedNetwork:
    """The network of a model file.

    Raises:
        ModelFileError: It is damaged, or of another network.
    """
    settings: Mapping[str, Any] = read_model_card(path).network
    try:
        tensors = {name: tensor.float() for name, tensor in load_weights(path).items()}
        network = _network(settings, tensors)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ModelFileError(
            "The weights do not fit the network of this RasterFuse. Get the model file anew, or "
            "train it again.",
            detail=f"{path}: {error}",
        ) from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ModelFileError(
            "The weights hold values that are no numbers. Get the model file anew.", detail=path
        )
    return network


def _network(settings: Mapping[str, Any], tensors: dict[str, Tensor]) -> GatedNetwork:
    """A network of those tensors; settings of another one are refused before it takes memory.

    Raises:
        ValueError: There are fewer tensors than blocks.
        TypeError, RuntimeError, OverflowError: A name or size is another one.
    """
    blocks = settings.get("blocks", 1) * settings.get("members", 1)
    if blocks > len(tensors):
        raise ValueError(f"There are {len(tensors)} tensors for {blocks} blocks.")
    with torch.device("meta"):  # has sizes, but no memory
        network = GatedNetwork(**settings)
    network.load_state_dict(tensors, assign=True)
    return network
