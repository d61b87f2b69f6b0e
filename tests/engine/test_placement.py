"""Pixels lie where they belong, proved with fields whose value is known at every map position.

The field is a ramp in the fine image's coordinates. Interpolation keeps a ramp, so an error of
value is an error of place: 0.02 fine pixels are allowed, what two float reprojections may differ.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

UTM, LATLON = "EPSG:32633", "EPSG:4326"
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
FINE_ROWS, FINE_COLS = 150, 170

# --- map projections from their published formulas, so that nothing of the engine is used ---------

# Karney (2011), doi:10.1007/s00190-011-0445-3, equations 12, 35 and 36; WGS 84.
_N = 1 / (2 * 298.257223563 - 1)
_A = 6378137 / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
_E = math.sqrt(1 / 298.257223563 * (2 - 1 / 298.257223563))
_ALPHA = (
    _N / 2 - 2 * _N**2 / 3 + 5 * _N**3 / 16,
    13 * _N**2 / 48 - 3 * _N**3 / 5,
    61 * _N**3 / 240,
)
_BETA = (
    _N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96,
    _N**2 / 48 + _N**3 / 15,
    17 * _N**3 / 480,
)


def utm33_of(lon, lat):
    lam, phi = np.radians(lon - 15), np.radians(lat)
    conformal = np.sinh(np.arctanh(np.sin(phi)) - _E * np.arctanh(_E * np.sin(phi)))
    xi0 = np.arctan2(conformal, np.cos(lam))
    eta0 = np.arcsinh(np.sin(lam) / np.hypot(conformal, np.cos(lam)))
    xi, eta = xi0.copy(), eta0.copy()
    for j, a in enumerate(_ALPHA, 1):
        xi += a * np.sin(2 * j * xi0) * np.cosh(2 * j * eta0)
        eta += a * np.cos(2 * j * xi0) * np.sinh(2 * j * eta0)
    return 500_000 + 0.9996 * _A * eta, 0.9996 * _A * xi


def latlon_of_utm33(x, y):
    xi, eta = y / (0.9996 * _A), (x - 500_000) / (0.9996 * _A)
    xi0, eta0 = xi.copy(), eta.copy()
    for j, b in enumerate(_BETA, 1):
        xi0 -= b * np.sin(2 * j * xi) * np.cosh(2 * j * eta)
        eta0 -= b * np.cos(2 * j * xi) * np.sinh(2 * j * eta)
    wanted = np.sin(xi0) / np.hypot(np.sinh(eta0), np.cos(xi0))
    tan_phi = wanted
    for _ in range(6):  # latitude of the conformal latitude, by iteration
        sin_phi = tan_phi / np.hypot(1, tan_phi)
        sigma = np.sinh(_E * np.arctanh(_E * sin_phi))
        now = tan_phi * np.hypot(1, sigma) - sigma * np.hypot(1, tan_phi)
        slope = (1 - _E**2) * np.hypot(1, tan_phi) * np.hypot(1, now)
        tan_phi = tan_phi + (wanted - now) * (1 + (1 - _E**2) * tan_phi**2) / slope
    lon = 15 + np.degrees(np.arctan2(np.sinh(eta0), np.cos(xi0)))
    return lon, np.degrees(np.arctan(tan_phi))


def latlon_of_sinusoidal(x, y):
    lat = y / 6371007.181
    return np.degrees(x / (6371007.181 * np.cos(lat))), np.degrees(lat)


def as_is(x, y):
    return x, y


def from_sinusoidal(x, y):
    return utm33_of(*latlon_of_sinusoidal(x, y))


# --- grids ---


def turned(size_x, size_y, degrees, x=500_000.0, y=5_300_000.0):
    """A grid whose first pixel's corner is (x, y), turned anticlockwise."""
    return Affine.translation(x, y) @ Affine.rotation(degrees) @ Affine.scale(size_x, -size_y)


def around(fine, size_x, size_y, degrees=0.0, off=(0.37, 0.61)):
    """A coarse grid of the fine image's CRS around the fine image's middle, and its shape."""
    x, y = fine @ (FINE_COLS / 2, FINE_ROWS / 2)
    far = 0.75 * math.hypot(*np.subtract(fine @ (FINE_COLS, FINE_ROWS), fine @ (0, 0)))
    cols, rows = math.ceil(2 * far / size_x), math.ceil(2 * far / size_y)
    grid = Affine.translation(x, y) @ Affine.rotation(degrees) @ Affine.scale(size_x, -size_y)
    return grid @ Affine.translation(-cols // 2 - off[0], -rows // 2 - off[1]), (rows, cols)


def flipped(grid, rows):
    """The same pixels with the first row in the south."""
    return grid @ Affine.translation(0, rows) @ Affine.scale(1, -1)


def centres(grid, rows, cols):
    col, row = np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
    return grid @ (col, row)


FINE = turned(30, 30, 0)


def simple(size_x, size_y=None, degrees=0.0, fine=FINE, off=(0.37, 0.61)):
    """Fine grid, fine CRS, coarse grid, its shape, CRS, and map from coarse to fine CRS."""
    return fine, UTM, *around(fine, size_x, size_y or size_x, degrees, off), UTM, as_is


def coarse_sinusoidal():
    # 500 km east and 5300 km north in UTM 33 is 15 degrees east, 47.85 north.
    x, y = 6371007.181 * np.radians(15.03) * np.cos(np.radians(47.83)), 5_318_500.0
    grid = Affine.translation(x, y) @ Affine.scale(463.3127, -463.3127)
    return grid @ Affine.translation(-15, -15), (30, 30)


def cases():
    lonlat = Affine(0.0004, 0, 15.2, 0, -0.0003, 47.9)
    small = Affine.translation(15.23, 47.88) @ Affine.scale(0.004, -0.003)
    x, y = utm33_of(np.array([15.2]), np.array([47.9]))
    metric = Affine.translation(x[0], y[0]) @ Affine.scale(300, -300)
    south_up = flipped(FINE, FINE_ROWS)
    grid, shape = around(FINE, 240, 240)
    return {
        "aligned, four times": simple(120, off=(0, 0)),
        "eight times, offset": simple(240),
        "7.3 times, offset": simple(219),
        "1.4 times, offset": simple(42),
        "half a fine pixel off": simple(60, off=(0.25, 0.25)),
        "pixels not square": simple(500, 463, fine=turned(29.9, 30, 0)),
        "pixels very long": simple(90, 480, fine=turned(30, 15, 0)),
        "coarse turned by 25 degrees": simple(240, degrees=25),
        "coarse turned by 90 degrees": simple(240, 200, degrees=90),
        "fine turned by 17 degrees": simple(240, fine=turned(30, 30, -17)),
        "both turned": simple(219, 260, degrees=40, fine=turned(30, 25, -17)),
        "fine from south to north": simple(240, fine=south_up),
        "coarse from south to north": (
            FINE, UTM, flipped(grid, shape[0]), shape, UTM, as_is,
        ),
        "both from south to north": (
            south_up, UTM, flipped(grid, shape[0]), shape, UTM, as_is,
        ),
        "coarse MODIS sinusoidal": (FINE, UTM, *coarse_sinusoidal(), SINUSOIDAL, from_sinusoidal),
        "coarse MODIS sinusoidal, fine turned": (
            turned(30, 30, 10), UTM, *coarse_sinusoidal(), SINUSOIDAL, from_sinusoidal,
        ),
        "coarse in degrees": (
            FINE, UTM, Affine(0.004, 0, 14.98, 0, -0.003, 47.87), (30, 40), LATLON, utm33_of,
        ),
        "fine in degrees": (
            lonlat, LATLON, metric @ Affine.translation(-3, -4), (35, 40), UTM, latlon_of_utm33,
        ),
        "both in degrees": (
            lonlat, LATLON, small @ Affine.translation(-10.3, -9.1), (30, 40), LATLON, as_is,
        ),
    }  # fmt: skip


def ramp(grid, x, y):
    """0 to about 1 over the fine image, in its own CRS; steeper along rows than along columns."""
    col, row = ~grid @ (x, y)
    return (0.3 * col + row) / (0.3 * FINE_COLS + FINE_ROWS)


@pytest.fixture(params=list(cases()))
def case(request):
    return cases()[request.param]


def fuse_field(rasters, case, field, **options):
    """Fuse zero + field - zero: the field as the engine places it on the fine grid."""
    fine, fine_crs, coarse, shape, coarse_crs, to_fine = case
    values = field(*to_fine(*centres(coarse, *shape)))
    target = rasters.write("target", values, coarse, crs=coarse_crs)
    reference = rasters.write("reference", np.zeros(shape), coarse, crs=coarse_crs)
    zero = rasters.write("fine", np.zeros((FINE_ROWS, FINE_COLS)), fine, crs=fine_crs)
    job = rasters.spatiotemporal(target, (reference, zero), harmonise="never", **options)
    return rasters.fuse(job)


def test_a_ramp_lies_where_the_map_says(rasters, case):
    fine = case[0]
    result, report = fuse_field(rasters, case, lambda x, y: ramp(fine, x, y))
    expected = ramp(fine, *centres(fine, FINE_ROWS, FINE_COLS))
    assert report["nodata_share"] == 0
    step = 1 / (0.3 * FINE_COLS + FINE_ROWS)  # change over one fine pixel along a column
    assert np.abs(result[0] - expected).max() < 0.02 * step


def test_a_spot_lies_where_the_map_says(rasters, case):
    fine, ratio = case[0], 240 / 30
    middle, wide = np.array([83.3, 71.8]), 3 * ratio

    def spot(x, y):
        col, row = ~fine @ (x, y)
        return np.exp(-((col - middle[0]) ** 2 + (row - middle[1]) ** 2) / (2 * wide**2))

    result, _ = fuse_field(rasters, case, spot)
    rows, cols = np.indices(result[0].shape) + 0.5
    near = np.hypot(cols - middle[0], rows - middle[1]) < 2.5 * wide
    mass = np.where(near, result[0], 0)
    found = np.array([(mass * cols).sum(), (mass * rows).sum()]) / mass.sum()
    # Interpolating a spot of a few cells by cubics is symmetric but not exact.
    np.testing.assert_allclose(found, middle, atol=0.1)


def test_output_has_exactly_the_fine_geotransform_and_crs(rasters, case):
    fuse_field(rasters, case, lambda x, y: ramp(case[0], x, y))
    with rasterio.open(rasters.output) as fused, rasterio.open(rasters.folder / "fine.tif") as fine:
        assert tuple(fused.transform) == tuple(fine.transform)
        assert fused.crs == fine.crs
        assert fused.crs.to_wkt() == fine.crs.to_wkt()
        assert fused.shape == fine.shape


@pytest.mark.parametrize("name", ["7.3 times, offset", "both turned", "fine in degrees",
                                  "fine from south to north"])  # fmt: skip
def test_an_extent_is_widened_to_whole_fine_pixels(rasters, name):
    case = cases()[name]
    fine = case[0]
    corners = [fine @ at for at in ((40.4, 30.7), (90.2, 30.7), (90.2, 100.5), (40.4, 100.5))]
    xs, ys = zip(*corners)
    extent = (min(xs), min(ys), max(xs), max(ys))
    result, report = fuse_field(rasters, case, lambda x, y: ramp(fine, x, y), extent=extent)
    with rasterio.open(rasters.output) as fused:
        first = ~fine @ (fused.transform @ (0, 0))
        last = ~fine @ (fused.transform @ (fused.width, fused.height))
        grid = fused.transform
    if fine.b == 0:
        np.testing.assert_allclose(first + last, (40, 30, 91, 101), atol=1e-5)
    np.testing.assert_allclose(np.array(first + last) % 1, np.round(np.array(first + last) % 1),
                               atol=1e-5)  # fmt: skip
    expected = ramp(fine, *centres(grid, *result[0].shape))
    assert np.abs(result[0] - expected).max() < 0.02 / (0.3 * FINE_COLS + FINE_ROWS)
    assert (report["grid"]["rows"], report["grid"]["cols"]) == result[0].shape


def test_extent_on_pixel_edges_adds_no_row_or_column(rasters):
    extent = (500_000 + 30 * 20, 5_300_000 - 30 * 80, 500_000 + 30 * 70, 5_300_000 - 30 * 10)
    case = cases()["eight times, offset"]
    _, report = fuse_field(rasters, case, lambda x, y: ramp(FINE, x, y), extent=extent)
    assert (report["grid"]["rows"], report["grid"]["cols"]) == (70, 50)


def test_a_wide_scene_is_placed_as_exactly_as_a_small_one(rasters):
    """Positions are interpolated between reprojected ones; across 180 km a projection bends."""
    rows, cols, size = 40, 6000, 926.6254
    fine = Affine(30, 0, 420_000, 0, -30, 5_300_000)
    lon, lat = latlon_of_utm33(*fine @ (np.array([0.0, cols]), np.array([0.0, rows])))
    xs = [6371007.181 * math.radians(x) * math.cos(math.radians(y)) for x in lon for y in lat]
    ys = [6371007.181 * math.radians(y) for y in lat]
    grid = Affine(size, 0, min(xs) - 8 * size, 0, -size, max(ys) + 8 * size)
    shape = int((max(ys) - min(ys)) / size) + 17, int((max(xs) - min(xs)) / size) + 17

    def field(x, y):
        col, row = ~fine @ (x, y)
        return row + 0.01 * col

    target = rasters.write("t", field(*from_sinusoidal(*centres(grid, *shape))), grid,
                           crs=SINUSOIDAL)  # fmt: skip
    zero = rasters.write("c", np.zeros(shape), grid, crs=SINUSOIDAL)
    pair = zero, rasters.write("f", np.zeros((rows, cols)), fine)
    result, report = rasters.fuse(rasters.spatiotemporal(target, pair, harmonise="never"))
    assert report["grid"]["ratio"] > 30
    assert np.abs(result[0] - field(*centres(fine, rows, cols))).max() < 0.02


def test_every_image_may_lie_on_a_grid_of_its_own(rasters):
    """Target sinusoidal, one coarse reference turned, the second fine half a pixel off."""
    fine, step = FINE, 1 / (0.3 * FINE_COLS + FINE_ROWS)
    grids = {
        "target": (*coarse_sinusoidal(), SINUSOIDAL, from_sinusoidal),
        "c1": (*around(fine, 240, 240, 25), UTM, as_is),
        "c2": (Affine(0.004, 0, 14.98, 0, -0.003, 47.87), (30, 40), LATLON, utm33_of),
        "f1": (fine, (FINE_ROWS, FINE_COLS), UTM, as_is),
        "f2": (fine @ Affine.translation(-3.5, -2.5), (FINE_ROWS + 9, FINE_COLS + 9), UTM, as_is),
    }
    level = {"target": 3.0, "c1": 1.0, "c2": 2.0, "f1": 5.0, "f2": 6.0}
    paths = {}
    for name, (grid, shape, crs, to_fine) in grids.items():
        # Different slopes: were one image placed wrong, the sum would not come out right.
        slope = level[name]
        values = slope * ramp(fine, *to_fine(*centres(grid, *shape))) + slope
        paths[name] = rasters.write(name, values, grid, crs=crs)
    dates = {"target": "2020-05-10", "c1": "2020-05-08", "c2": "2020-05-12"}
    target, c1, c2 = ({"path": paths[n], "date": dates[n]} for n in ("target", "c1", "c2"))
    job = rasters.spatiotemporal(target, (c1, paths["f1"]), (c2, paths["f2"]), harmonise="never")
    result, _ = rasters.fuse(job)
    # Both pairs are two days away, so the result is the mean of 5 + 3 - 1 and 6 + 3 - 2.
    expected = 7 * ramp(fine, *centres(fine, FINE_ROWS, FINE_COLS)) + 7
    assert np.abs(result[0] - expected).max() < 0.02 * 7 * step * 2


@pytest.mark.parametrize("model", ["brovey", "gsa"])
def test_pansharpening_places_a_multispectral_image_of_another_crs(rasters, rng, model):
    fine, step = FINE, 1 / (0.3 * FINE_COLS + FINE_ROWS)
    coarse, shape = coarse_sinusoidal()
    slope = ramp(fine, *from_sinusoidal(*centres(coarse, *shape)))
    ms = rasters.write("ms", np.stack([slope + 1, slope + 1]), coarse, crs=SINUSOIDAL)
    pan = rasters.write("pan", ramp(fine, *centres(fine, FINE_ROWS, FINE_COLS)) + 1, fine)
    result, _ = rasters.fuse(rasters.pansharpening(ms, pan, model=model))
    # Pan has no detail beyond the ramp, so the fused bands are the ramp.
    expected = ramp(fine, *centres(fine, FINE_ROWS, FINE_COLS)) + 1
    assert np.abs(result - expected).max() < 0.1 * step


def test_the_formulas_of_this_test_are_those_of_the_map_projections():
    x, y = utm33_of(np.array([12.0]), np.array([56.0]))
    # As PROJ 9 gives it: cs2cs EPSG:4326 EPSG:32633.
    np.testing.assert_allclose((x[0], y[0]), (312_928.561, 6_210_141.327), atol=1e-3)
    np.testing.assert_allclose(latlon_of_utm33(x, y), [[12.0], [56.0]], atol=1e-9)
