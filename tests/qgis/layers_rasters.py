"""Write small real rasters for the tests of the layers room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from osgeo import gdal, osr

UTM33 = (500_000.0, 30.0, 0.0, 5_000_000.0, 0.0, -30.0)
# The sphere and projection of MODIS land products.
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
_TYPES = {
    "uint8": gdal.GDT_Byte,
    "int16": gdal.GDT_Int16,
    "uint16": gdal.GDT_UInt16,
    "float32": gdal.GDT_Float32,
    "float64": gdal.GDT_Float64,
    "complex64": gdal.GDT_CFloat32,
}


def crs_wkt(crs: str | int) -> str:
    reference = osr.SpatialReference()
    if isinstance(crs, int):
        reference.ImportFromEPSG(crs)
    else:
        reference.ImportFromProj4(crs)
    return reference.ExportToWkt()


def write_raster(  # noqa: PLR0917 (GDAL has that much to say)
    path: Path,
    values: np.ndarray,
    geotransform: Sequence[float] | None = UTM33,
    crs: str | int | None = 32633,
    driver: str = "GTiff",
    nodata: float | None = None,
    names: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    scale: float | None = None,
    offset: float | None = None,
) -> str:
    """Write (bands, rows, cols) and return the path as text."""
    bands, rows, cols = values.shape
    kind = _TYPES[values.dtype.name]
    dataset = gdal.GetDriverByName(driver).Create(str(path), cols, rows, bands, kind, list(options))
    if geotransform is not None:
        dataset.SetGeoTransform(list(geotransform))
    if crs is not None:
        dataset.SetProjection(crs_wkt(crs))
    if tags:
        dataset.SetMetadata(dict(tags))
    for number in range(1, bands + 1):
        band = dataset.GetRasterBand(number)
        if nodata is not None:
            band.SetNoDataValue(nodata)
        if scale is not None:
            band.SetScale(scale)
        if offset is not None:
            band.SetOffset(offset)
        if names:
            band.SetDescription(names[number - 1])
        band.WriteArray(values[number - 1])
    dataset.FlushCache()
    dataset = None
    return str(path)


def ramp(bands: int, rows: int = 20, cols: int = 30, dtype: str = "int16") -> np.ndarray:
    """Every value differs, so that a swapped band, row or column shows."""
    return np.arange(bands * rows * cols).reshape(bands, rows, cols).astype(dtype)
