"""What a fusion writes: the result and, where that is wanted, its standard error."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType

import torch
from torch import Tensor

from ...models.errors import OutputError
from ..grid import Window
from ..job import Job
from .layout import Layout
from .raster import Grid, Raster
from .writer import Writer


class Outputs:
    """The growing rasters: all become complete, or none. Use as a context manager.

    Attributes:
        result: The fused image.

    Args:
        job: Says where to.
        grid: The target grid.
        template: Image whose type, scale, offset, nodata and band names the result takes.
        tags: GeoTIFF tags, e.g. the job.

    Raises:
        OutputError: A file cannot be written, for want of space or rights.
    """

    def __init__(self, job: Job, grid: Grid, template: Raster, tags: Mapping[str, str]) -> None:
        layout = Layout.like(template)
        self._error: Writer | None = None
        with ExitStack() as stack:
            self.result = stack.enter_context(Writer(job.output, grid, layout, tags))
            if job.error_output is not None:
                error = Writer(job.error_output, grid, layout.of_errors(), tags)
                self._error = stack.enter_context(error)
            self._open = stack.pop_all()
        self._sum = torch.zeros(self.result.bands, dtype=torch.float64)
        self._count = torch.zeros(self.result.bands, dtype=torch.int64)

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def write(self, layers: Tensor, window: Window) -> Tensor:
        """Write a tile's core, (layers, rows, cols) in physical units, NaN for nodata.

        Returns:
            Those layers that are the bands of the result.
        """
        image, error = layers[: self.result.bands], layers[self.result.bands :]
        self.result.write(image, window)
        if self._error is not None:
            self._error.write(error, window)
            known = torch.isfinite(error)
            self._sum += error.masked_fill(~known, 0).sum(dim=(1, 2), dtype=torch.float64)
            self._count += known.sum(dim=(1, 2))
        return image

    def mean_error(self) -> list[float] | None:
        """Mean standard error of every band in physical units; None where it is not wanted."""
        return None if self._error is None else (self._sum / self._count).tolist()

    def finish(self) -> None:
        """Close, verify and name; after this all rasters are complete.

        Raises:
            OutputError: A file is not complete, or an old one cannot be replaced.
        """
        self.result.finish()
        if self._error is None:
            self.result.publish()
            return
        self._error.finish()
        self._error.publish()
        try:
            self.result.publish()
        except OutputError:
            os.remove(self._error.path)  # it would be that of the older result
            raise
