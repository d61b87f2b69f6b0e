"""A file's bands on another grid, through GDAL, without copying them."""

from __future__ import annotations

import html
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from ..grid import shift

if TYPE_CHECKING:
    from .raster import Raster

# Images without CRS are placed in this one; any projected CRS does, nothing is ever reprojected.
_NOWHERE = CRS.from_epsg(3857)
# Largest error of a reprojected position in pixels of the image that is read, so in coarse ones;
# GDAL's own default of 0.125 is 4 fine pixels for MODIS against Landsat.
_TOLERANCE = 1e-4

Margins = tuple[int, int, int, int]  # pixels above, left, below and right of an image


@contextmanager
def quiet() -> Iterator[None]:
    """Without rasterio's warning on files without georeference: the checks say it better."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def warped(
    raster: Raster, resampling: str, margins: Margins
) -> Iterator[tuple[DatasetReader, WarpedVRT]]:
    """Band by band, its plain view and that view on the target grid.

    One band at a time, since rasterio makes GDAL take a pixel for missing only where all bands
    of a file miss it: the nodata values of one band would be averaged into its neighbours.
    """
    for band in raster.bands:
        with quiet():
            view = rasterio.open(_plain_view(raster, band, margins))
        target = raster.grid
        on_grid = WarpedVRT(
            view,
            src_crs=raster.crs or _NOWHERE,
            src_transform=Affine(*shift(raster.transform, -margins[0], -margins[1])),
            crs=target.crs or _NOWHERE,
            transform=Affine(*target.transform),
            width=target.cols,
            height=target.rows,
            resampling=Resampling[resampling],
            tolerance=_TOLERANCE,
            dtype="float32",
            src_nodata=np.nan,
            nodata=np.nan,
        )
        yield view, on_grid


def _plain_view(raster: Raster, band: int, margins: Margins) -> str:
    """A GDAL VRT of one band, stored values, NaN for all that is missing.

    In the margins the values at the edge are repeated.
    """
    file, nodata = raster.dataset, raster.nodata_of(band)
    top, left, bottom, right = margins
    wide = np.dtype(file.dtypes[band - 1]).name in ("float64", "int32", "uint32")
    missing = "" if math.isnan(nodata) else f"<NODATA>{nodata!r}</NODATA>"
    if raster.masked:
        missing += "<UseMaskBand>true</UseMaskBand>"
    sources = "".join(
        f"<ComplexSource><SourceFilename>{html.escape(raster.source.path)}</SourceFilename>"
        f"<SourceBand>{band}</SourceBand>"
        f'<SrcRect xOff="{x0}" yOff="{y0}" xSize="{nx}" ySize="{ny}"/>'
        f'<DstRect xOff="{to_x}" yOff="{to_y}" xSize="{wide_x}" ySize="{wide_y}"/>'
        f"{missing}</ComplexSource>"
        for y0, ny, to_y, wide_y in _stretches(file.height, top, bottom)
        for x0, nx, to_x, wide_x in _stretches(file.width, left, right)
    )
    return (
        f'<VRTDataset rasterXSize="{file.width + left + right}" '
        f'rasterYSize="{file.height + top + bottom}">'
        f'<VRTRasterBand dataType="{"Float64" if wide else "Float32"}" band="1">'
        f"<NoDataValue>nan</NoDataValue>{sources}</VRTRasterBand></VRTDataset>"
    )


def _stretches(size: int, before: int, after: int) -> list[tuple[int, int, int, int]]:
    """Along one axis: first pixel and number in the file, first pixel and number in the view."""
    parts = [(0, 1, 0, before), (0, size, before, size), (size - 1, 1, before + size, after)]
    return [part for part in parts if part[3]]
