"""How much detail images show: of a pair on one grid, the fine image must show more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ..grid import Window
from .raster import Raster

_SIDE = 512  # pixels of the part of the scene that is looked at
_MORE = 1.5  # an image shows more detail than another when its pixels differ so much more


def swapped_pairs(rasters: Mapping[str, Raster], pairs: int) -> Iterator[str]:
    """A sentence for every pair whose coarse image shows more detail than its fine one.

    For images that were brought to one grid; where pixels differ in size, that tells which is
    which.

    Args:
        rasters: By the names of ``job.sources``.
        pairs: Number of reference pairs.
    """
    for number in range(1, pairs + 1):
        coarse, fine = (rasters[f"{kind} {number}"] for kind in ("coarse", "fine"))
        rows, cols = min(fine.grid.rows, _SIDE), min(fine.grid.cols, _SIDE)
        middle = Window((fine.grid.rows - rows) // 2, (fine.grid.cols - cols) // 2, rows, cols)
        seen = [detail(torch.from_numpy(image.read(middle))) for image in (coarse, fine)]
        if (seen[0] / seen[1]).nanmedian() > _MORE:
            yield (
                f"{coarse.source.label}, the coarse image of pair {number}, shows more detail than "
                f"the fine image {fine.source.label}. Swap the two if they were mistaken for each "
                "other."
            )


def detail(image: Tensor) -> Tensor:
    """(bands,) mean difference of neighbouring pixels in standard deviations of a band.

    Args:
        image: (bands, rows, cols), NaN for nodata.

    Returns:
        NaN for constant bands and those without neighbours; units do not matter.
    """
    image = image.double()
    steps = [image.diff(dim=dim).abs().flatten(1) for dim in (1, 2)]
    spread = (image - image.nanmean(dim=(1, 2), keepdim=True)).square().nanmean(dim=(1, 2)).sqrt()
    return torch.cat(steps, dim=1).nanmean(dim=1) / spread.where(spread > 0, torch.nan)
