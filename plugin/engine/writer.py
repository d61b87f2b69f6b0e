"""Write a raster: a tiled, compressed GeoTIFF that appears only when it is complete."""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping
from types import TracebackType

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window as RasterioWindow
from torch import Tensor

from ...models.errors import OutputError
from ..grid import Window, is_identity
from ..paths import part_of, remove_part
from .layout import Layout
from .raster import Grid
from .tiles import BLOCK
from .views import quiet

# rasterio lets some errors of GDAL through as they are.
_FAULTS = (RasterioError, CPLE_BaseError, OSError)


class Writer:
    """A growing raster. Use as a context manager; leaving without ``publish`` removes it.

    Args:
        path: Where the complete raster will be; it grows beside it as ``path.part``.
        grid: The target grid.
        layout: How its values are stored.
        tags: GeoTIFF tags, e.g. the job.

    Raises:
        OutputError: The file cannot be written, for want of space or rights.
    """

    def __init__(self, path: str, grid: Grid, layout: Layout, tags: Mapping[str, str]) -> None:
        self.path = path
        self.part = part_of(path)
        self.clipped = 0
        self.valid = 0
        self.bands = len(layout.names)
        self.dtype, self.nodata = layout.dtype, layout.nodata
        self._scales, self._offsets = layout.scales, layout.offsets
        self._gdal_errors = _GdalErrors()
        self._gdal_errors.listen()
        profile = {
            "driver": "GTiff", "width": grid.cols, "height": grid.rows, "count": self.bands,
            "dtype": self.dtype.name, "nodata": self.nodata, "tiled": True,
            "blockxsize": BLOCK, "blockysize": BLOCK, "interleave": "band",
            "compress": "deflate", "predictor": 3 if self.dtype.kind == "f" else 2,
            "BIGTIFF": "IF_SAFER", "photometric": "minisblack", "alpha": "unspecified",
        }  # fmt: skip
        # No threads for compressing: GDAL 3.10 waits for ever where memory is too short for them,
        # and this runs beside the computing anyway.
        if grid.crs or not is_identity(grid.transform):
            profile.update(crs=grid.crs, transform=Affine(*grid.transform))
        try:
            with quiet():
                # Else GDAL may take a name such as MEM:::a.tif for more than a name.
                self._file = rasterio.open(os.path.abspath(self.part), "w", **profile)
            self._describe(layout, tags)
        except (*_FAULTS, ValueError) as error:
            self._gdal_errors.stop()
            raise self._failure(error) from error

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._gdal_errors.stop()
        try:
            self._file.close()
        except _FAULTS as fault:
            if error is None:
                raise self._failure(fault) from fault
        finally:
            remove_part(self.part)

    def write(self, values: Tensor, window: Window) -> None:
        """Write a tile's core: (bands, rows, cols), physical units, NaN for nodata."""
        stored = self._stored(values.cpu().numpy())
        place = RasterioWindow(window.col, window.row, window.cols, window.rows)
        try:
            self._file.write(stored, window=place)
        except _FAULTS as error:
            raise self._failure(error) from error
        self._gdal_errors.check(self._failure)

    def finish(self) -> None:
        """Close and verify: after this only its name is missing.

        Raises:
            OutputError: The file is not complete.
        """
        try:
            self._file.close()
        except _FAULTS as error:
            raise self._failure(error) from error
        self._gdal_errors.check(self._failure)
        self._verify()

    def publish(self) -> None:
        """Give the finished file its name.

        Raises:
            OutputError: The old one cannot be replaced.
        """
        try:
            os.replace(self.part, self.path)
            # Overviews, masks and statistics of an older result would be taken for this one's.
            for suffix in (".ovr", ".msk", ".aux.xml"):
                remove_part(self.path + suffix)
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be replaced ({error.strerror}). Close it where it is open, "
                "or choose another name."
            ) from error

    def _verify(self) -> None:
        # GDAL reports a full disk when it flushes, and not always as an exception: look.
        try:
            with quiet(), rasterio.open(os.path.abspath(self.part)) as file:
                for _, window in file.block_windows(1):
                    file.read(window=window)
        except _FAULTS as error:
            raise self._failure(error) from error

    def _describe(self, layout: Layout, tags: Mapping[str, str]) -> None:
        file = self._file
        file.update_tags(**tags)
        file.scales, file.offsets = layout.file_scales, layout.file_offsets
        for band, (name, kept) in enumerate(zip(layout.names, layout.tags), 1):
            file.set_band_description(band, name)
            file.update_tags(band, **kept)
        file.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (self.bands - 1)

    def _stored(self, physical: NDArray[np.float32]) -> NDArray:
        """Physical values in the file's type; counts what had to be clipped."""
        missing = ~np.isfinite(physical)
        self.valid += int((~missing).all(axis=0).sum())
        values = (physical.astype(np.float64) - self._offsets) / self._scales
        if self.dtype.kind == "f":
            stored = values.astype(self.dtype)
            if self.nodata is not None and not math.isnan(self.nodata):
                _keep_off(stored, self.dtype.type(self.nodata))
        else:
            limits = np.iinfo(self.dtype)
            whole = np.rint(np.where(missing, 0, values))
            self.clipped += int(((whole < limits.min) | (whole > limits.max)).sum())
            whole = np.clip(whole, limits.min, limits.max)
            if self.nodata is not None:
                # A valid value must not turn into nodata by chance.
                step = 1 if self.nodata < limits.max else -1
                whole[whole == self.nodata] += step
            stored = whole.astype(self.dtype)
        if self.nodata is not None:
            stored[missing] = self.nodata
        return stored

    def _failure(self, error: Exception | str) -> OutputError:
        folder = os.path.dirname(os.path.abspath(self.path))
        try:
            free = f"{shutil.disk_usage(folder).free / 1e6:.0f} MB are free there"
        except OSError:
            free = "the folder is gone"
        return OutputError(
            f"{self.path} cannot be written ({error}; {free}). Free some space or choose another "
            "folder.",
            detail=str(error),
        )


class _GdalErrors(logging.Handler):
    """Keeps what GDAL says of failed writes, which rasterio logs and does not raise."""

    _LOGGERS = ("rasterio._err", "rasterio._env")

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._first: str | None = None

    def listen(self) -> None:
        for name in self._LOGGERS:
            logging.getLogger(name).addHandler(self)

    def stop(self) -> None:
        for name in self._LOGGERS:
            logging.getLogger(name).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if self._first is None:
            self._first = record.getMessage()

    def check(self, failure: Callable[[str], OutputError]) -> None:
        if self._first is not None:
            raise failure(self._first)


def _keep_off(values: NDArray, nodata: np.floating) -> None:
    """Move valid values off nodata, and off what GDAL takes for equal to it.

    That is some last digits of float32, for float64 too.
    """
    reach = 16 * np.finfo(np.float32).eps * abs(nodata) or np.finfo(np.float32).tiny
    with np.errstate(over="ignore", invalid="ignore"):
        near = np.abs(values - nodata) < reach
    values[near] = nodata - reach if nodata > 0 else nodata + reach
