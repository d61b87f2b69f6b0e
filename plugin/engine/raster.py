"""Open one image and read windows of it on the target grid, in physical units.

The only place that opens input rasters. Everything above sees float32 arrays with NaN for nodata.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as transform_points
from rasterio.windows import Window as RasterioWindow

from ...models.errors import RasterReadError
from ..checks import chosen_bands
from ..grid import (
    Extent,
    RasterInfo,
    Transform,
    Window,
    apply,
    bounds,
    invert,
    pixel_size,
    placement,
)
from ..job import RasterSource

Array = NDArray[np.float32]

# Images without CRS are placed in this one; any projected CRS does, nothing is ever reprojected.
_NOWHERE = CRS.from_epsg(3857)
# Largest error of a reprojected position in fine pixels; GDAL's own default is 0.125.
_TOLERANCE = 0.01


@dataclass(frozen=True)
class Grid:
    """The target grid: where every pixel of the result lies."""

    transform: Transform
    rows: int
    cols: int
    crs: CRS | None


def open_dataset(source: RasterSource) -> DatasetReader:
    """Open an image.

    Raises:
        RasterReadError: It does not exist, is damaged or of an unknown format.
    """
    try:
        with quiet():
            return rasterio.open(source.path)
    except (RasterioError, OSError, ValueError) as error:
        raise _unreadable(source, error) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without rasterio's warning on files without georeference: the checks say it better."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _unreadable(source: RasterSource, error: Exception) -> RasterReadError:
    return RasterReadError(
        f"{source.label} cannot be read ({error}). Check that the file exists, is complete and "
        "opens in QGIS.",
        detail=source.path,
    )


def transform_of(dataset: DatasetReader) -> Transform:
    """Pixel to CRS of an opened file."""
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    return a, b, c, d, e, f


def info_of(source: RasterSource, dataset: DatasetReader, fine: DatasetReader) -> RasterInfo:
    """What the checks want to know of an image beside the fine image."""
    extent, pixel = _in_crs_of(dataset, fine)
    return RasterInfo(
        label=source.label,
        width=dataset.width,
        height=dataset.height,
        bands=dataset.count,
        transform=transform_of(dataset),
        crs=crs_name(dataset.crs),
        dtype=str(dataset.dtypes[0]),
        nodata=source.nodata if source.nodata is not None else dataset.nodata,
        extent=extent,
        pixel=pixel,
        same_crs=not dataset.crs or not fine.crs or dataset.crs == fine.crs,
    )


def crs_name(crs: CRS | None) -> str:
    """An authority code, else the name inside the definition, empty without CRS."""
    if not crs:
        return ""
    text = crs.to_string()
    return text.split('"')[1] if '"' in text else text


def _in_crs_of(
    dataset: DatasetReader, fine: DatasetReader
) -> tuple[Extent | None, tuple[float, float]]:
    """Extent and pixel size of an image in the fine image's CRS."""
    transform, width, height = transform_of(dataset), dataset.width, dataset.height
    edge = np.linspace(0, 1, 21)
    zero, one = edge * 0, edge * 0 + 1
    mid_col, mid_row = width // 2, height // 2
    cols = np.concatenate([edge, one, edge, zero]) * width
    rows = np.concatenate([zero, edge, one, edge]) * height
    cols = np.append(cols, [mid_col, mid_col + 1, mid_col])
    rows = np.append(rows, [mid_row, mid_row, mid_row + 1])
    xs, ys = apply(transform, cols, rows)
    if dataset.crs and fine.crs and dataset.crs != fine.crs:
        try:
            xs, ys = (np.array(v) for v in transform_points(dataset.crs, fine.crs, xs, ys))
        except (CRSError, RasterioError):
            return None, pixel_size(transform)
    good = np.isfinite(xs) & np.isfinite(ys)
    if not good[-3:].all() or not good[:-3].any():
        return None, pixel_size(transform)
    extent = bounds(zip(xs[:-3][good[:-3]].tolist(), ys[:-3][good[:-3]].tolist()))
    (x0, x1, x2), (y0, y1, y2) = xs[-3:].tolist(), ys[-3:].tolist()
    return extent, (math.hypot(x1 - x0, y1 - y0), math.hypot(x2 - x0, y2 - y0))


def placed_transform(
    source: RasterSource, dataset: DatasetReader, fine_source: RasterSource, fine: DatasetReader
) -> Transform | None:
    """The transform to use for an image that does not say itself where it lies.

    Raises:
        InputError: It cannot be placed.
    """
    return placement(info_of(source, dataset, fine), info_of(fine_source, fine, fine))


class Raster:
    """An image on the target grid.

    Args:
        source: The image.
        dataset: The opened file; closed by ``close``.
        grid: The target grid.
        placed: Transform to use instead of the file's own, for images without CRS.
        resampling: Name of the interpolation where the grids differ, e.g. ``cubic``.
    """

    def __init__(
        self,
        source: RasterSource,
        dataset: DatasetReader,
        grid: Grid,
        placed: Transform | None = None,
        resampling: str = "cubic",
    ) -> None:
        self.source = source
        self.dataset = dataset
        self.grid = grid
        self.transform = placed or transform_of(dataset)
        self.crs = grid.crs if placed or not dataset.crs else dataset.crs
        self.bands = chosen_bands(source, info_of(source, dataset, dataset))
        self.radiometry = self._radiometry()
        self._origin = self._aligned_origin()
        self._vrt = self._warp(resampling) if self._origin is None else None

    @property
    def aligned(self) -> bool:
        """Whether the file's pixels are those of the target grid, so that none is resampled."""
        return self._origin is not None

    def close(self) -> None:
        if self._vrt is not None:
            self._vrt.close()
        self.dataset.close()

    def read(self, window: Window) -> Array:
        """(bands, rows, cols) of a window of the target grid; NaN for nodata and outside.

        Raises:
            RasterReadError: The file cannot be read there.
        """
        out = np.full((len(self.bands), window.rows, window.cols), np.nan, dtype=np.float32)
        inside, rows, cols = _clip(window, self.grid.rows, self.grid.cols)
        if inside is None:
            return out
        try:
            if self._vrt is not None:
                values = self._physical(self._vrt.read(self.bands, window=_rasterio(inside)))
            else:
                row, col = self._origin or (0, 0)
                moved = Window(inside.row + row, inside.col + col, inside.rows, inside.cols)
                values = self._read_file(moved)
        except (RasterioError, OSError) as error:
            raise _unreadable(self.source, error) from error
        out[:, rows, cols] = values
        return out

    def read_native(self, window: Window) -> Array:
        """(bands, rows, cols) of a window of the file's own pixels; NaN for nodata and outside.

        Raises:
            RasterReadError: The file cannot be read there.
        """
        try:
            return self._read_file(window)
        except (RasterioError, OSError) as error:
            raise _unreadable(self.source, error) from error

    def _read_file(self, window: Window) -> Array:
        out = np.full((len(self.bands), window.rows, window.cols), np.nan, dtype=np.float32)
        inside, rows, cols = _clip(window, self.dataset.height, self.dataset.width)
        if inside is None:
            return out
        values = self.dataset.read(
            self.bands, window=_rasterio(inside), masked=self.source.nodata is None
        )
        physical = self._physical(np.ma.getdata(values))
        physical[np.ma.getmaskarray(values)] = np.nan
        if self.source.nodata is not None:
            physical[np.ma.getdata(values) == self.stored_nodata] = np.nan
        out[:, rows, cols] = physical
        return out

    @property
    def stored_nodata(self) -> float:
        """The nodata value as it stands in the file's type; NaN where it has none."""
        stated = self.source.nodata
        value = stated if stated is not None else self.dataset.nodata
        kind = np.dtype(self.dataset.dtypes[0])
        if value is None or math.isnan(value):
            return math.nan
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            return float(value) if limits.min <= value <= limits.max else math.nan
        return float(np.float32(value)) if kind == np.float32 else float(value)

    def _radiometry(self) -> tuple[NDArray, NDArray]:
        """Scale and offset per band, (bands, 1, 1) each, stated ones before the file's."""
        stated, file = self.source, self.dataset
        scales = [file.scales[b - 1] if stated.scale is None else stated.scale for b in self.bands]
        offsets = [
            file.offsets[b - 1] if stated.offset is None else stated.offset for b in self.bands
        ]
        return np.array(scales)[:, None, None], np.array(offsets)[:, None, None]

    def _physical(self, stored: NDArray) -> Array:
        scales, offsets = self.radiometry
        if (scales == 1).all() and (offsets == 0).all():
            return stored.astype(np.float32)
        return (stored * scales + offsets).astype(np.float32)

    def _aligned_origin(self) -> tuple[int, int] | None:
        """(row, col) of the target grid's first pixel in the file when their pixels coincide."""
        grid = self.grid
        if self.crs != grid.crs:
            return None
        inverse = invert(self.transform)
        at = [
            apply(inverse, *apply(grid.transform, col, row))
            for col, row in ((0, 0), (grid.cols, 0), (0, grid.rows))
        ]
        col, row = round(at[0][0]), round(at[0][1])
        wanted = ((col, row), (col + grid.cols, row), (col, row + grid.rows))
        off = max(math.dist(here, there) for here, there in zip(at, wanted))
        return (row, col) if off < 1e-3 else None

    def _warp(self, resampling: str) -> WarpedVRT:
        return WarpedVRT(
            self.dataset,
            src_crs=self.crs or _NOWHERE,
            src_transform=Affine(*self.transform),
            crs=self.grid.crs or _NOWHERE,
            transform=Affine(*self.grid.transform),
            width=self.grid.cols,
            height=self.grid.rows,
            resampling=Resampling[resampling],
            tolerance=_TOLERANCE,
            dtype="float32",
            src_nodata=self.stored_nodata,
            nodata=np.nan,
        )


def _clip(window: Window, rows: int, cols: int) -> tuple[Window | None, slice, slice]:
    """The part of a window inside a raster, and where that part lies in the window."""
    top, left = max(window.row, 0), max(window.col, 0)
    bottom, right = min(window.row + window.rows, rows), min(window.col + window.cols, cols)
    inside = Window(top, left, bottom - top, right - left)
    if inside.rows <= 0 or inside.cols <= 0:
        return None, slice(0), slice(0)
    return (
        inside,
        slice(top - window.row, bottom - window.row),
        slice(left - window.col, right - window.col),
    )


def _rasterio(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.cols, window.rows)
