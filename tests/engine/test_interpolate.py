"""Our interpolation of coarse images against GDAL's."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterfuse.plugin.engine.raster import Grid, Raster
from rasterfuse.plugin.grid import Window
from rasterfuse.plugin.job import RasterSource
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

CRS = rasterio.crs.CRS.from_epsg(32632)
FINE = Affine(30, 0, 600000, 0, -30, 5000000)
ROWS, COLS = 120, 150


def coarse_file(path, left, top, pixel, shape, hole=False):
    values = np.random.default_rng(7).random((2, *shape)).astype("float32")
    if hole:
        values[0, shape[0] // 2, shape[1] // 2] = -9
    profile = {
        "driver": "GTiff", "count": 2, "height": shape[0], "width": shape[1], "dtype": "float32",
        "crs": CRS, "nodata": -9, "transform": Affine(pixel, 0, left, 0, -pixel, top),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
        file.scales, file.offsets = (0.5, 0.5), (3.0, 3.0)
    return str(path)


def by_gdal(path):
    """The same image warped by GDAL, band by band, scale and offset applied."""
    bands = []
    for band in (1, 2):
        with rasterio.open(path) as file:
            one = {**file.profile, "count": 1, "driver": "GTiff"}
            with rasterio.MemoryFile() as memory:
                with memory.open(**one) as copy:
                    copy.write(file.read(band), 1)
                with memory.open() as copy, WarpedVRT(
                    copy, crs=CRS, transform=FINE, width=COLS, height=ROWS,
                    resampling=Resampling.cubic, tolerance=1e-4, nodata=np.nan, dtype="float32",
                ) as view:  # fmt: skip
                    bands.append(view.read(1) * 0.5 + 3)
    return np.stack(bands)


@pytest.mark.parametrize(
    ("left", "top", "pixel", "shape"),
    [
        (600000, 5000000, 480, (8, 10)),  # the coarse image ends where the fine one does
        (599300, 5000300, 463.3, (20, 20)),
        (600250, 4999000, 91.7, (20, 26)),  # covers a part
        (600010, 4999990, 60, (40, 60)),
        (600900, 4999500, 480, (3, 3)),  # smaller than the kernel
        (590000, 5000000, 480, (5, 5)),  # beside the fine image
    ],
)
@pytest.mark.parametrize("hole", [False, True])
def test_a_coarse_image_is_interpolated_as_gdal_does(tmp_path, left, top, pixel, shape, hole):
    path = coarse_file(tmp_path / "coarse.tif", left, top, pixel, shape, hole)
    source = RasterSource(path)
    grid = Grid(tuple(FINE)[:6], ROWS, COLS, CRS)
    wanted = by_gdal(path)
    raster = Raster(source, rasterio.open(path), grid)
    try:
        for window in (Window(0, 0, ROWS, COLS), Window(37, 61, 40, 23), Window(100, 0, 20, 9)):
            found = raster.read(window)
            part = wanted[
                :, window.row : window.row + window.rows, window.col : window.col + window.cols
            ]
            # Single precision of values around 3; a place is off by 1e-4 coarse pixels at most.
            np.testing.assert_allclose(found, part, rtol=0, atol=3e-4, equal_nan=True)
    finally:
        raster.close()
