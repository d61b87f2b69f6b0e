"""Places of a search window: all of it, or the sparse one of the fast mode."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_DENSE_RADIUS = 6  # the sparse window keeps every place so near to its centre …
_STEP = 3  # … and every third row and column beyond


@dataclass(frozen=True)
class Window:
    """A square window and the places in it that are looked at.

    Attributes:
        radius: Half the window without its centre, in pixels.
        lattices: Step and reach of square lattices around the centre, all of which are looked at:
            ``reach`` places of every ``step``-th row and column to either side.
        places: (n,) int64: row by row numbers of the places, nearest to the centre first.
    """

    radius: int
    lattices: tuple[tuple[int, int], ...]
    places: Tensor

    @property
    def offsets(self) -> tuple[Tensor, Tensor]:
        """(n,) rows and (n,) columns of the places, counted from the window's corner."""
        size = 2 * self.radius + 1
        return torch.div(self.places, size, rounding_mode="floor"), self.places % size

    def only_here(self, kernel: Tensor) -> Tensor:
        """A (2 radius + 1, 2 radius + 1) kernel with 0 where the window does not look."""
        kept = torch.zeros(kernel.numel(), device=kernel.device)
        kept[self.places.to(kernel.device)] = 1
        return kernel * kept.reshape(kernel.shape)


def search_window(radius: int, sparse: bool = False) -> Window:
    """The window of a radius.

    Args:
        radius: Half the window without its centre, in pixels.
        sparse: Look at about a sixth of a large window only: all of it near the centre, every
            ninth place farther away.
    """
    lattices: tuple[tuple[int, int], ...] = ((1, radius),)
    if sparse and radius > _DENSE_RADIUS:
        lattices = ((1, _DENSE_RADIUS), (_STEP, radius // _STEP))
    offset = torch.arange(-radius, radius + 1)
    rows, cols = offset[:, None].expand(-1, len(offset)), offset[None, :].expand(len(offset), -1)
    kept = torch.zeros(rows.shape, dtype=torch.bool)
    for step, reach in lattices:
        near = torch.maximum(rows.abs(), cols.abs()) <= step * reach
        kept |= near & (rows % step == 0) & (cols % step == 0)
    places = torch.argsort((rows.square() + cols.square()).flatten(), stable=True)
    return Window(radius, lattices, places[kept.flatten()[places]])
