"""Open one image and read windows of it on the target grid, in physical units.

The only place that opens input rasters. Everything above sees float32 arrays with NaN for nodata.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
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
from ..paths import is_special
from .crs import crs_name, metres
from .interpolate import interpolated, lies_straight
from .tiles import clip
from .views import quiet, warped

Array = NDArray[np.float32]


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
    if is_special(source.path):
        raise RasterReadError(f"{source.label} is a device or pipe, no file. Choose a file.")
    try:
        with quiet():
            dataset = rasterio.open(source.path)
    except (RasterioError, OSError, ValueError) as error:
        raise _unreadable(source, error) from error
    sentence = _unusable(source, dataset)
    if sentence:
        dataset.close()
        raise RasterReadError(sentence, detail=source.path)
    return dataset


def _unusable(source: RasterSource, dataset: DatasetReader) -> str:
    """Why an opened file cannot be used; empty when it can."""
    if dataset.count == 0:
        inside = ", ".join(dataset.subdatasets[:4]) or "nothing that GDAL knows"
        return f"{source.label} holds no bands but {inside}. Choose one of the images in it."
    kind = next((kind for kind in dataset.dtypes if kind.startswith("complex")), None)
    if kind is not None:
        return f"{source.label} holds complex numbers ({kind}). Convert it to real ones first."
    return ""


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
        unit=metres(dataset.crs),
    )


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
        except (CRSError, RasterioError, CPLE_BaseError):
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
        self.masked = self._has_mask()
        self._origin = self._aligned_origin()
        self._resampling = resampling
        self._straight = (
            resampling == "cubic"
            and self.crs == grid.crs
            and lies_straight(self.transform, grid.transform)
        )
        self._views = [] if self.aligned else list(warped(self, resampling, (0, 0, 0, 0)))

    @property
    def aligned(self) -> bool:
        """Whether the file's pixels are those of the target grid, so that none is resampled."""
        return self._origin is not None

    def close(self) -> None:
        self._close_views()
        self.dataset.close()

    def _close_views(self) -> None:
        for view, on_grid in self._views:
            on_grid.close()
            view.close()

    def move(self, rows: float, cols: float) -> None:
        """Move the image by so many fine pixels; values at the edge fill what it leaves bare.

        Raises:
            RasterReadError: The file cannot be read.
        """
        (x0, y0), (x1, y1) = (self._in_own_crs(*at) for at in ((0.0, 0.0), (rows, cols)))
        a, b, c, d, e, f = self.transform
        col, row = apply(invert((a, b, 0.0, d, e, 0.0)), x1 - x0, y1 - y0)
        self.transform = (a, b, c + x1 - x0, d, e, f + y1 - y0)
        bare = [math.ceil(max(side, 0.0)) for side in (row, col, -row, -col)]
        self._close_views()
        self._origin = None
        self._straight = (
            False  # the values that are repeated beyond the edge are known to GDAL only
        )
        try:
            self._views = list(warped(self, self._resampling, (bare[0], bare[1], bare[2], bare[3])))
        except (RasterioError, OSError) as error:
            raise _unreadable(self.source, error) from error

    def _in_own_crs(self, rows: float, cols: float) -> tuple[float, float]:
        """Where a point lies that is so many fine pixels from the middle of the target grid."""
        grid = self.grid
        x, y = apply(grid.transform, grid.cols / 2 + cols, grid.rows / 2 + rows)
        if self.crs != grid.crs:
            (x,), (y,) = transform_points(grid.crs, self.crs, [x], [y])
        return x, y

    def read(self, window: Window) -> Array:
        """(bands, rows, cols) of a window of the target grid; NaN for nodata and outside.

        Raises:
            RasterReadError: The file cannot be read there.
        """
        inside, rows, cols = clip(window, self.grid.rows, self.grid.cols)
        if inside is None:
            return _empty(len(self.bands), window)
        try:
            if self._origin is None:
                values = self._resampled(inside)
            else:
                row, col = self._origin
                moved = Window(inside.row + row, inside.col + col, inside.rows, inside.cols)
                values = self._read_file(moved)
        except (RasterioError, OSError) as error:
            raise _unreadable(self.source, error) from error
        if inside == window:
            return values
        out = _empty(len(self.bands), window)
        out[:, rows, cols] = values
        return out

    def _resampled(self, window: Window) -> Array:
        """(bands, rows, cols) of a window of the target grid that lies inside it."""
        if self._straight:
            shape = self.dataset.height, self.dataset.width
            values = interpolated(
                self._read_file, self.transform, self.grid.transform, shape, window
            )
            if values is not None:
                return values
        place = _rasterio(window)
        return self._physical(np.stack([w.read(1, window=place) for _, w in self._views]))

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
        inside, rows, cols = clip(window, self.dataset.height, self.dataset.width)
        if inside is None:
            return _empty(len(self.bands), window)
        place = _rasterio(inside)
        kinds = {self.dataset.dtypes[band - 1] for band in self.bands}
        values = (
            self.dataset.read(self.bands, window=place)
            if len(kinds) == 1
            else np.stack([self.dataset.read(band, window=place) for band in self.bands])
        )
        physical = self._physical(values)
        for stored, image, band in zip(values, physical, self.bands):
            image[_equals(stored, self.nodata_of(band))] = np.nan
        if self.masked:
            physical[self.dataset.read_masks(self.bands, window=place) == 0] = np.nan
        if inside == window:
            return physical
        out = _empty(len(self.bands), window)
        out[:, rows, cols] = physical
        return out

    @property
    def stored_nodata(self) -> float:
        """The nodata value as it stands in the file's type; NaN where it has none."""
        return self.nodata_of(self.bands[0])

    def nodata_of(self, band: int) -> float:
        """The stored value that means nodata in a band; NaN where there is none."""
        stated = self.source.nodata
        value = stated if stated is not None else self.dataset.nodatavals[band - 1]
        kind = np.dtype(self.dataset.dtypes[band - 1])
        if value is None or math.isnan(value):
            return math.nan
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            whole = limits.min <= value <= limits.max and float(value).is_integer()
            return float(value) if whole else math.nan
        return float(np.float32(value)) if kind == np.float32 else float(value)

    @property
    def dtype(self) -> np.dtype:
        """A type that holds the values of all bands; bands of a VRT may differ."""
        return np.result_type(*(self.dataset.dtypes[band - 1] for band in self.bands))

    def _has_mask(self) -> bool:
        """Whether the file's mask counts: not beside a stated nodata value, and an alpha band only
        where it is not itself fused (GDAL calls the fourth band of many byte images alpha).
        """
        if self.source.nodata is not None:
            return False
        alphas = [i for i, c in enumerate(self.dataset.colorinterp, 1) if c == ColorInterp.alpha]
        if any(band in self.bands for band in alphas):
            return False
        flags = self.dataset.mask_flag_enums
        return any(MaskFlags.per_dataset in flags[band - 1] for band in self.bands)

    def _radiometry(self) -> tuple[NDArray, NDArray]:
        """Scale and offset per band, (bands, 1, 1) each, stated ones before the file's."""
        stated, file = self.source, self.dataset
        # Some writers leave the scale at 0 where there is none.
        scales = [
            (file.scales[b - 1] or 1.0) if stated.scale is None else stated.scale
            for b in self.bands
        ]
        offsets = [
            file.offsets[b - 1] if stated.offset is None else stated.offset for b in self.bands
        ]
        return np.array(scales)[:, None, None], np.array(offsets)[:, None, None]

    def _physical(self, stored: NDArray) -> Array:
        scales, offsets = self.radiometry
        with np.errstate(over="ignore", invalid="ignore"):  # nodata may be beyond float32
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


def _empty(bands: int, window: Window) -> Array:
    return np.full((bands, window.rows, window.cols), np.nan, dtype=np.float32)


def _equals(stored: NDArray, nodata: float) -> NDArray[np.bool_]:
    """Where stored values are nodata."""
    if stored.dtype.kind in "iu" or math.isnan(nodata):
        return stored == nodata
    # As GDAL does: nodata written with too few digits still counts.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.abs(stored - nodata) <= 2e-7 * abs(nodata)


def _rasterio(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.cols, window.rows)
