"""What the images of a scene are like, from one pass over a sample of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.base import Progress
from ...models.errors import InputError
from ..grid import Window
from .cells import CellCentres, CellGrid, CellMeans, native_values
from .raster import Raster
from .tiles import sample_windows

SAMPLE = 4_000_000  # pixels read for statistics, spread over the scene
_COVERAGE_NATIVE, _COVERAGE = 0.9, 0.5  # share of a cell that must be covered for a mean

Read = Callable[[str, Window], Tensor]


@dataclass(frozen=True)
class Survey:
    """Figures of every image by its name in ``job.sources``.

    Attributes:
        means: (bands,) means over the scene; 0 for a band without valid pixels.
        cells: (bands, cell_rows, cell_cols) means over the cells, but of images whose pixels are
            the cells.
        samples: Likewise the values at the centres of the cells, of coarse images that were
            resampled to the fine grid beforehand.
    """

    means: dict[str, Tensor]
    cells: dict[str, Tensor]
    samples: dict[str, Tensor]


@dataclass(frozen=True)
class Kinds:
    """Names of the images that are treated in a way of their own.

    Attributes:
        native: Their pixels are the cells.
        resampled: Coarse ones that were resampled to the fine grid beforehand.
        codes: Their values are codes, which have no means.
    """

    native: Collection[str]
    resampled: Collection[str]
    codes: Collection[str]


def survey(
    rasters: Mapping[str, Raster], cells: CellGrid, kinds: Kinds, read: Read, progress: Progress
) -> Survey:
    """Look at all images.

    Args:
        rasters: The images.
        cells: The coarse cells.
        kinds: How to treat them.
        read: Gives a window of an image, (bands, rows, cols), NaN where it was not measured.
        progress: Told how far it is.

    Raises:
        InputError: An image has no valid pixel on the target grid.
    """
    bands = {name: len(raster.bands) for name, raster in rasters.items()}
    read_all = [name for name in rasters if name not in kinds.native]
    averaged = {n: CellMeans(cells, bands[n]) for n in read_all if n not in kinds.codes}
    sampled = {name: CellCentres(cells, bands[name]) for name in kinds.resampled}
    sums = {name: _sums(native_values(rasters[name], cells)) for name in kinds.native}
    sums.update({name: torch.zeros(2, bands[name]).double() for name in read_all})
    windows = list(sample_windows(cells.fine.rows, cells.fine.cols, SAMPLE))
    for done, window in enumerate(windows, 1):
        for name in read_all:
            values = read(name, window)
            sums[name] += _sums(values)
            if name in averaged:
                averaged[name].add(values, window)
            if name in sampled:
                sampled[name].add(values, window)
        progress(done / len(windows))
    whole = sum(w.rows * w.cols for w in windows) == cells.fine.rows * cells.fine.cols
    for name, (_, count) in sums.items():
        if (whole or name in kinds.native) and not count.any():
            raise InputError(
                f"{rasters[name].source.label} has no valid pixel in the area of the fine image: "
                "all is nodata. Choose another image, extent or nodata value."
            )
    # A cell of the file stands for all its area, so the fine image must cover all of it; where both
    # images are averaged, they are so over the same part.
    coverage = _COVERAGE if cells.native is None else _COVERAGE_NATIVE
    return Survey(
        {n: (total / count.clamp(min=1)).float() for n, (total, count) in sums.items()},
        {name: means.means(coverage) for name, means in averaged.items()},
        {name: centres.values() for name, centres in sampled.items()},
    )


def _sums(values: Tensor) -> Tensor:
    """(2, bands) float64: sum and number of the valid values of (bands, rows, cols)."""
    valid = torch.isfinite(values)
    total = values.where(valid, 0.0).double().sum(dim=(1, 2))
    return torch.stack([total, valid.sum(dim=(1, 2)).double()])
