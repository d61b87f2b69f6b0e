"""A reference pair and the target in pixels of about a quarter of a coarse one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..base import Progress, SceneReader, Tile
from .filter_bank import block_means
from .fine_look import CLASSES, FineLook, look_at

_MOST = 2_000_000  # reduced pixels; of larger scenes they span more fine pixels
_SAMPLE = 1_000_000  # fine pixels that are looked at for the figures of the fine image


@dataclass(frozen=True)
class ReducedPair:
    """Block means of a whole scene, NaN where hidden.

    Attributes:
        look: Figures of the fine reference; its scale is the unit of all images here.
        fine: (bands, rows, cols) fine reference from its mean.
        variance: (bands, rows, cols) of the fine reference inside every block.
        members: (classes, rows, cols) memberships of its pixels.
        coarse_reference: (bands, rows, cols).
        coarse_target: Likewise.
        ratio: Coarse pixel in fine pixels.
        step: Side of a block in fine pixels.
    """

    look: FineLook
    fine: Tensor
    variance: Tensor
    members: Tensor
    coarse_reference: Tensor
    coarse_target: Tensor
    ratio: float
    step: int

    @property
    def change(self) -> Tensor:
        """(bands, rows, cols): coarse target less coarse reference."""
        return self.coarse_target - self.coarse_reference

    @property
    def cells(self) -> float:
        """How many coarse pixels' worth of the scene is known in all images."""
        known = torch.isfinite(self.fine).all(dim=0) & torch.isfinite(self.change).all(dim=0)
        return float(known.sum()) * (self.step / self.ratio) ** 2


def block_side(ratio: float, shape: tuple[int, int]) -> int:
    """Side of a block in fine pixels: a quarter of a coarse pixel, more in a huge scene."""
    rows, cols = shape
    return max(1, round(ratio / 4), math.ceil(math.sqrt(rows * cols / _MOST)))


def reduce_scene(
    scene: SceneReader,
    pair: int,
    progress: Progress,
    moved: bool = False,
    classes: int = CLASSES,
) -> ReducedPair:
    """Read a pair and the target of a scene once.

    Args:
        scene: The scene.
        pair: Index of the pair.
        progress: Told how far it is.
        moved: Whether the coarse images are moved by the shift that was seen in the pair.
        classes: How many soft classes to find in the fine reference; 0 for none.
    """
    look = _look_at_scene(scene, pair, classes)
    step = block_side(scene.ratio, scene.shape)

    def image(tile: Tile) -> Tensor:
        return _channels(
            look,
            tile["fine_references"][0].where(tile.masks["fine_references"][0], torch.nan),
            tile["coarse_references"][0].where(tile.masks["coarse_references"][0], torch.nan),
            tile["coarse_target"].where(tile.masks["coarse_target"], torch.nan),
        )

    found = _split(look, scene.reduced(image, pair, step, progress), scene.ratio, step)
    return displaced(found, scene.observation(pair).shift) if moved else found


def reduce_images(
    fine: Tensor, coarse_reference: Tensor, coarse_target: Tensor, ratio: float, side: int
) -> ReducedPair:
    """The same of images in memory, (bands, rows, cols) on the fine grid, NaN where hidden."""
    look = look_at(fine[:, torch.isfinite(fine).all(dim=0)])
    channels = _channels(look, fine, coarse_reference, coarse_target)
    return _split(look, block_means(channels, side), ratio, side)


def _look_at_scene(scene: SceneReader, pair: int, classes: int) -> FineLook:
    pixels = []
    for tile in scene.sample(_SAMPLE):
        valid = tile.masks["fine_references"][pair].all(dim=0)
        pixels.append(tile["fine_references"][pair][:, valid])
    return look_at(torch.cat(pixels, dim=1), classes)


def _channels(look: FineLook, fine: Tensor, reference: Tensor, target: Tensor) -> Tensor:
    """All that is averaged over blocks, NaN in every channel of an image that misses a band."""
    scaled = look.scaled(fine)
    scaled = scaled.where(torch.isfinite(scaled).all(dim=0), torch.nan)
    scale = look.scale[:, None, None]
    images = scaled, scaled.square(), look.memberships(scaled), reference / scale, target / scale
    return torch.cat(images)


def _split(look: FineLook, channels: Tensor, ratio: float, step: int) -> ReducedPair:
    bands, classes = len(look.level), len(look.centres)
    sizes = [bands, bands, classes, bands, bands]
    fine, squares, members, reference, target = channels.split(sizes)
    variance = (squares - fine.square()).clamp(min=0)
    pair = ReducedPair(look, fine, variance, members, reference, target, ratio, step)
    return _in_units_of_change(pair) if look.flat.any() else pair


def _in_units_of_change(pair: ReducedPair) -> ReducedPair:
    """The pair with the size of the change as unit of the bands that are constant."""
    size = pair.change.square().nanmean(dim=(1, 2)).sqrt()
    size = torch.where(torch.isfinite(size) & (size > 0) & pair.look.flat, size, 1.0)
    unit = size[:, None, None]
    return replace(
        pair, look=replace(pair.look, scale=pair.look.scale * size),
        coarse_reference=pair.coarse_reference / unit, coarse_target=pair.coarse_target / unit,
    )  # fmt: skip


def displaced(pair: ReducedPair, shift: tuple[float, float]) -> ReducedPair:
    """The pair with its coarse images moved by (rows, cols) in fine pixels."""
    rows, cols = (way / pair.step for way in shift)
    reference, target = (
        _along(_along(image, 1, rows), 2, cols)
        for image in (pair.coarse_reference, pair.coarse_target)
    )
    return replace(pair, coarse_reference=reference, coarse_target=target)


def _along(image: Tensor, dim: int, way: float) -> Tensor:
    """Move an image along an axis by so many pixels, linearly; NaN where it is left bare."""
    size = image.shape[dim]
    at = torch.arange(size, dtype=torch.float64) - way
    bare = (at < -0.5) | (at > size - 0.5)
    at = at.clamp(0, size - 1)
    before = at.floor().long()
    shape = (1, -1, 1) if dim == 1 else (1, 1, -1)
    part = (at - before).to(image.dtype).reshape(shape)
    # Nothing of the next one where none of it counts: it may be NaN.
    after = at.ceil().long()
    there = torch.lerp(image.index_select(dim, before), image.index_select(dim, after), part)
    return there.masked_fill(bare.reshape(shape), torch.nan)
