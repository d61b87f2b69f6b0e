"""Patches of a fine image: pixels of one class in a small block; and what cells see of them.

Fields, woods and lakes are made of a few patches each. Where patches nearby that look alike change
alike, beyond what all does that looks so, cells tell of fields smaller than themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..kernels.gauss_transform import gauss_transform
from .filter_bank import smooth, steps_between

_PARTS, _LEAST_PART = 3, 4  # parts along a side of a block, and fine pixels of the smallest one
_MOST = 3_000_000  # blocks times bands; blocks of larger scenes are larger
_REACH = 3.0  # standard deviations up to which a cell sees
# How patches are related: by distance in standard deviations of three whitened bands and in fine
# pixels. Fields are some ten pixels wide in images that were chosen to show them.
_ALIKE, _NEAR = 0.45, 20.0
_FILLED = 1.0  # blocks over which patches stand in for those that are not there


@dataclass(frozen=True)
class Kinds:
    """Classes of pixels.

    Attributes:
        centres: (classes, bands).
    """

    centres: Tensor

    def of(self, values: Tensor) -> Tensor:
        """(...) the nearest class of pixels (bands, ...)."""
        nearness = torch.tensordot(2 * self.centres, values, dims=1)
        middle = self.centres.square().sum(dim=1).reshape(-1, *(1,) * (values.dim() - 1))
        return (nearness - middle).max(dim=0).indices  # ten times as fast as argmax


@dataclass(frozen=True)
class Patches:
    """The patches of a scene.

    Attributes:
        kinds: The classes.
        counts: (classes, part_rows, part_cols) pixels of every class in every part of a block.
        colours: (classes, rows, cols, bands) mean of every patch; rows and columns are of blocks.
        places: (classes, rows, cols, 2) its middle, row and column in fine pixels.
        part: Side of a part in fine pixels.
    """

    kinds: Kinds
    counts: Tensor
    colours: Tensor
    places: Tensor
    part: int

    @property
    def number(self) -> int:
        """How many there may be."""
        return self.colours.shape[:3].numel()

    @property
    def there(self) -> Tensor:
        """(classes, rows, cols) bool, which patches have pixels."""
        return _of_blocks(self.counts) > 0

    def seen(self, centres: Tensor, sigma: float, wanted: str) -> Sight:
        """What cells see of the patches; arguments as of ``PatchView``."""
        share, index = self._shares(centres, sigma)
        colour, place = (part.flatten(0, 2)[index] for part in (self.colours, self.places))
        alike = colour / (_ALIKE * math.sqrt(colour.shape[1] / 3))
        reached = gauss_transform(share, torch.cat([place / _NEAR, alike], dim=1), wanted)
        return Sight(reached, reached @ share.T, index)

    def _shares(self, centres: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """(cells, patches) shares of what cells see, of those patches that any sees; which ones."""
        reach = math.ceil(_REACH * sigma / self.part)
        away = torch.arange(-reach, reach + 1)
        (rows, tops, down), (cols, lefts, across) = (
            _looked_at(centre / self.part, away, sigma / self.part, size)
            for centre, size in zip(centres, self.counts.shape[1:])
        )
        counts = self.counts[:, rows[:, :, None], cols[:, None]]
        weight = (down @ counts @ across.mT).transpose(0, 1)  # (cells, kinds, blocks, blocks)
        (top, height), (left, width) = (_span(blocks) for blocks in (tops, lefts))
        block = (tops - top)[:, None, :, None] * width + (lefts - left)[:, None, None]
        kinds, all_rows, all_cols, _ = self.colours.shape
        patch = block + height * width * torch.arange(kinds)[:, None, None]
        share = torch.zeros(len(rows), kinds * height * width)
        share.scatter_add_(1, patch.flatten(1), weight.flatten(1))
        looked = (share.sum(dim=0) > 0).nonzero()[:, 0]
        share = share[:, looked]
        kind, row, col = torch.unravel_index(looked, (kinds, height, width))
        index = (kind * all_rows + row + top) * all_cols + col + left
        return share / share.sum(dim=1, keepdim=True).clamp(min=1e-12), index


@dataclass(frozen=True)
class PatchView:
    """Patches and the cells that look at them.

    Attributes:
        patches: The patches.
        centres: (2, cells) rows and columns of where all cells look, in fine pixels.
        sigma: Of their PSF, likewise.
        wanted: Back-end, as in a job.
    """

    patches: Patches
    centres: Tensor
    sigma: float
    wanted: str

    def of(self, cells: Tensor) -> Sight:
        """What some cells see."""
        return self.patches.seen(self.centres[:, cells], self.sigma, self.wanted)


@dataclass(frozen=True)
class Sight:
    """What some cells see of patches.

    Attributes:
        reached: (cells, patches) covariance of the cells with patches.
        shared: (cells, cells) covariance of the cells.
        index: (patches,) which ones they are.
    """

    reached: Tensor
    shared: Tensor
    index: Tensor


def _looked_at(at: Tensor, away: Tensor, sigma: float, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """What cells see along an axis.

    Returns:
        (cells, parts) the parts around them; (cells, blocks) the blocks of these; and (cells,
        blocks, parts) how the parts weigh in them, 0 beyond the scene.
    """
    parts = at.floor().long()[:, None] + away
    spread = max(sigma**2 - 1 / 12, 0.1)  # parts have a width themselves
    weight = torch.exp(-(parts + 0.5 - at[:, None]).square() / (2 * spread)).float()
    weight = weight.where((parts >= 0) & (parts < size), 0.0)
    parts = parts.clamp(0, size - 1)
    own = parts // _PARTS
    most = (len(away) + 1) // _PARTS + 1  # blocks that so many parts can be of
    blocks = own[:, :1] + torch.arange(most)
    of_blocks = weight[:, None] * (blocks[:, :, None] == own[:, None])
    return parts, blocks.clamp(max=size // _PARTS - 1), of_blocks


def _span(blocks: Tensor) -> tuple[int, int]:
    """The first of some blocks along an axis, and how many there are up to the last."""
    first, last = (int(end) for end in blocks.aminmax())
    return first, last - first + 1


class PatchCollector:
    """Takes up the patches of a scene, window by window.

    Args:
        centres: (classes, bands) of the classes.
        whitening: (bands, bands) that makes colours comparable.
        shape: Rows and columns of the scene in fine pixels.
        ratio: Coarse pixel in fine pixels.
    """

    def __init__(
        self, centres: Tensor, whitening: Tensor, shape: tuple[int, int], ratio: float
    ) -> None:
        self._kinds, self._whitening = Kinds(centres), whitening
        larger = math.sqrt(shape[0] * shape[1] * centres.shape[1] / _MOST) / _PARTS
        self._part = max(_LEAST_PART, round(ratio / 6), math.ceil(larger))
        self._blocks = [-(-size // (self._part * _PARTS)) for size in shape]
        rows, cols = self._blocks
        self._counts = torch.zeros(len(centres), _PARTS * rows * _PARTS * cols)
        self._sums = torch.zeros(len(centres) * rows * cols, centres.shape[1])

    def add(self, image: Tensor, known: Tensor, row: int, col: int) -> None:
        """Take up a window.

        Args:
            image: (bands, rows, cols) smooth scaled bands.
            known: (rows, cols) bool; what is known lies in the scene.
            row: Of its first pixel in the scene.
            col: Likewise.
        """
        down, across = known.nonzero(as_tuple=True)
        values = image[:, down, across]
        kind = self._kinds.of(values)
        down, across = (down + row) // self._part, (across + col) // self._part
        rows, cols = self._blocks
        part = (kind * _PARTS * rows + down) * _PARTS * cols + across
        self._counts.view(-1).index_add_(0, part, torch.ones(len(part)))
        patch = (kind * rows + down // _PARTS) * cols + across // _PARTS
        self._sums.index_add_(0, patch, values.T)

    def patches(self) -> Patches:
        """Of all that was taken up."""
        rows, cols = self._blocks
        counts = self._counts.reshape(-1, rows * _PARTS, cols * _PARTS)
        pixels = _of_blocks(counts)[..., None].clamp(min=1)
        whitened = self._sums @ self._whitening.T
        colours = whitened.reshape(len(counts), rows, cols, -1) / pixels
        down, across = (self._part * (torch.arange(size) + 0.5) for size in counts.shape[1:])
        places = torch.stack(
            [_of_blocks(counts * down[:, None]), _of_blocks(counts * across)], dim=3
        )
        return Patches(self._kinds, counts, colours, places / pixels, self._part)


def _of_blocks(parts: Tensor) -> Tensor:
    """(classes, rows, cols) sums over the parts of every block."""
    kinds, rows, cols = parts.shape
    split = parts.reshape(kinds, rows // _PARTS, _PARTS, cols // _PARTS, _PARTS)
    return split.sum(dim=(2, 4))


@dataclass(frozen=True)
class PatchChange:
    """What patches change beyond the rest.

    Attributes:
        kinds: The classes of pixels.
        values: (classes, rows, cols, bands) at the blocks' middles.
        side: Of a block in fine pixels.
    """

    kinds: Kinds
    values: Tensor
    side: int

    @classmethod
    def of(cls, patches: Patches, change: Tensor) -> PatchChange:
        """From the change of every patch, (bands, patches)."""
        there = patches.there
        values = change.reshape(-1, *there.shape)
        filled = [
            torch.where(known, own, smooth(own, known[None].float(), _FILLED))
            for own, known in zip(values.transpose(0, 1), there)
        ]
        values = torch.stack(filled).permute(0, 2, 3, 1).contiguous()
        return cls(patches.kinds, values, patches.part * _PARTS)

    def at(self, image: Tensor, row: int, col: int) -> Tensor:
        """(bands, rows, cols) in a window.

        Args:
            image: (bands, rows, cols) smooth scaled bands.
            row: Of its first pixel in the scene; may lie outside, as ``col`` may.
            col: Likewise.
        """
        _, height, width, bands = self.values.shape
        table = self.values.reshape(-1, bands)
        start = self.kinds.of(image) * (height * width)
        downs, acrosses = (
            self._steps(first, count, size, image)
            for first, count, size in (
                (row, image.shape[1], height), (col, image.shape[2], width)
            )
        )  # fmt: skip
        total = torch.zeros((), device=image.device)
        for at, down in downs:
            for beside, across in acrosses:
                index = start + (at[:, None] * width + beside)
                weight = (down[:, None] * across)[:, :, None]
                total = total + weight * table[index]
        return total.permute(2, 0, 1)

    def _steps(
        self, first: int, count: int, size: int, like: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Blocks before and after the pixels along an axis, and their weights."""
        before, after, part = steps_between(first, count, self.side, size)
        part = part.to(like)
        return [(before.to(like.device), 1 - part), (after.to(like.device), part)]

    def to(self, device: torch.device) -> PatchChange:
        """The same on another device."""
        return PatchChange(Kinds(self.kinds.centres.to(device)), self.values.to(device), self.side)
