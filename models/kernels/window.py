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
        places: (n,) int64: row by row numbers of the places, nearest to the centre first.
    """

    radius: int
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
    offset = torch.arange(-radius, radius + 1)
    rows, cols = offset[:, None].expand(-1, len(offset)), offset[None, :].expand(len(offset), -1)
    places = torch.argsort((rows.square() + cols.square()).flatten(), stable=True)
    if sparse:
        near = torch.maximum(rows.abs(), cols.abs()) <= _DENSE_RADIUS
        kept = near | ((rows % _STEP == 0) & (cols % _STEP == 0))
        places = places[kept.flatten()[places]]
    return Window(radius, places)
