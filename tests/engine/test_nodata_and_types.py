"""Nodata of any kind, types, scale and offset: what is stored is what was meant."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterfuse.models.errors import FusionError
from rasterio.enums import ColorInterp

NAN = np.nan
# The smallest and largest values of the types are what real files use for nodata.
EXTREME = [
    ("uint8", 0), ("uint8", 255), ("int16", -32768), ("int16", 0), ("uint16", 0),
    ("uint16", 65535), ("int32", -2147483648), ("int32", 2147483647), ("uint32", 4294967295),
    ("float32", NAN), ("float32", -9999.0), ("float32", -3.4028234663852886e38),
    ("float32", -3.4e38), ("float32", 0.0), ("float64", -1.7976931348623157e308), ("float64", NAN),
    ("float64", -9999.0),
]  # fmt: skip


def grids(rasters, ratio):
    """Transforms of fine and coarse images; with ratio 1 they are the same grid."""
    return rasters.grid(30.0), rasters.grid(30.0 * ratio)


def ramps(ratio, low, high, size=48):
    """A fine reference and coarse reference and target on plain ramps within low..high."""
    small = size // ratio
    fine = np.linspace(low, high, size * size).reshape(1, size, size)
    coarse = np.linspace(low, high, small * small).reshape(1, small, small)
    return fine, coarse


def level(dtype):
    return (20, 180) if dtype == "uint8" else (1000, 3000)


def stack_vrt(rasters, name, paths, types, nodatas=(None, None)):
    """A GDAL VRT with the first band of every path."""
    with rasterio.open(paths[0]) as file:
        wkt = file.crs.to_wkt().replace('"', "&quot;")
        transform = ",".join(str(v) for v in file.transform.to_gdal())
        size = file.width
    bands = ""
    for number, (path, kind, nodata) in enumerate(zip(paths, types, nodatas), 1):
        missing = "" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>"
        bands += (
            f'<VRTRasterBand dataType="{kind}" band="{number}">{missing}<SimpleSource>'
            f"<SourceFilename>{path}</SourceFilename><SourceBand>1</SourceBand>"
            "</SimpleSource></VRTRasterBand>"
        )
    vrt = rasters.folder / f"{name}.vrt"
    vrt.write_text(
        f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}"><SRS>{wkt}</SRS>'
        f"<GeoTransform>{transform}</GeoTransform>{bands}</VRTDataset>"
    )
    return vrt


@pytest.mark.parametrize("ratio", [1, 4], ids=["same-grid", "resampled"])
@pytest.mark.parametrize(("dtype", "nodata"), EXTREME, ids=str)
def test_any_nodata_value_in_the_coarse_target_leaves_a_hole_and_nothing_else(
    rasters, dtype, nodata, ratio
):
    fine_grid, coarse_grid = grids(rasters, ratio)
    fine, coarse = ramps(ratio, *level(dtype))
    hole = coarse.copy()
    hole[:, 3:5, 6:9] = nodata
    target = rasters.write("t", hole, coarse_grid, dtype=dtype, nodata=nodata)
    reference = rasters.write("c", coarse, coarse_grid, dtype=dtype)
    fine_path = rasters.write("f", fine, fine_grid, dtype="float32")
    result, _ = rasters.fuse(rasters.spatiotemporal(target, (reference, fine_path)))
    expected = np.zeros(fine.shape, bool)
    expected[:, 3 * ratio : 5 * ratio, 6 * ratio : 9 * ratio] = True
    assert (np.isnan(result) == expected).all()
    # Target and reference are equal, so the fine reference stays: the hole must not bleed. The
    # kernel weighs the hole's neighbours anew, which moves ramps by part of a coarse step.
    near = np.zeros(fine.shape, bool)
    near[:, ratio : 7 * ratio, 4 * ratio : 11 * ratio] = ratio > 1
    assert np.abs(result - fine)[~expected & ~near].max() < 0.6
    step = (coarse[0, 1, 0] - coarse[0, 0, 0]) * 1.5
    assert np.abs(result - fine)[~expected].max() < (step if ratio > 1 else 0.6)


@pytest.mark.parametrize(("dtype", "nodata"), EXTREME, ids=str)
def test_any_nodata_value_in_the_fine_reference_comes_out_as_the_same_value(rasters, dtype, nodata):
    fine, coarse = ramps(4, *level(dtype))
    fine[:, 10:14, 20:30] = nodata
    coarse_path = rasters.write("c", coarse, rasters.grid(120.0))
    fine_path = rasters.write("f", fine, rasters.grid(30.0), dtype=dtype, nodata=nodata)
    result, report = rasters.fuse(rasters.spatiotemporal(coarse_path, (coarse_path, fine_path)))
    with rasterio.open(rasters.output) as fused, rasterio.open(fine_path) as original:
        assert fused.dtypes == (dtype,)
        assert np.array_equal(fused.nodata, original.nodata, equal_nan=True)
        np.testing.assert_array_equal(fused.read_masks(), original.read_masks())
        # Arithmetic runs in float32.
        np.testing.assert_allclose(fused.read()[:, :9], original.read()[:, :9], rtol=1e-7)
    assert np.isnan(result).sum() == 40
    assert report["nodata_share"] == pytest.approx(40 / 48**2)


def test_a_nodata_value_stated_by_the_user_goes_before_the_files(rasters):
    fine, coarse = ramps(4, 1000, 3000)
    coarse[:, 3, 3], coarse[:, 7, 7] = -1, -2
    target = rasters.write("t", coarse, rasters.grid(120.0), dtype="int16", nodata=-1)
    plain = rasters.write("c", ramps(4, 1000, 3000)[1], rasters.grid(120.0), dtype="int16")
    fine_path = rasters.write("f", fine, rasters.grid(30.0))
    stated = {"path": target, "nodata": -2.0}
    result, _ = rasters.fuse(rasters.spatiotemporal(stated, (plain, fine_path)))
    assert np.isnan(result[0, 28:32, 28:32]).all()
    assert np.isfinite(result[0, 12:16, 12:16]).all()


@pytest.mark.parametrize("ratio", [1, 4], ids=["same-grid", "resampled"])
def test_each_input_has_its_own_nodata_value(rasters, ratio):
    fine, coarse = ramps(ratio, 1000, 3000)
    values = {"t": 0, "c": -32768, "f": 65535}
    images = {"t": coarse.copy(), "c": coarse.copy(), "f": fine.copy()}
    for number, name in enumerate(images):
        images[name][:, 2 + 2 * number, 2] = values[name]
    grid = rasters.grid(30.0 * ratio)
    target = rasters.write("t", images["t"], grid, dtype="uint16", nodata=0)
    reference = rasters.write("c", images["c"], grid, dtype="int16", nodata=-32768)
    fine_path = rasters.write("f", images["f"], rasters.grid(), dtype="uint16", nodata=65535)
    result, _ = rasters.fuse(rasters.spatiotemporal(target, (reference, fine_path)))
    expected = np.zeros(fine.shape, bool)
    expected[:, 2 * ratio : 3 * ratio, 2 * ratio : 3 * ratio] = True
    expected[:, 4 * ratio : 5 * ratio, 2 * ratio : 3 * ratio] = True
    expected[:, 6, 2] = True
    assert (np.isnan(result) == expected).all()


@pytest.mark.parametrize("model", ["starfm", "fine_plus_change"])
def test_nodata_in_one_of_two_pairs_is_filled_by_the_other(rasters, rng, model):
    fine, coarse = ramps(4, 1000, 3000)
    cloudy, cloudy_coarse = fine.copy(), coarse.copy()
    cloudy[:, 10:20, 10:20] = -1
    cloudy_coarse[:, 8:10, 8:10] = -1
    both = fine.copy()
    both[:, 15:25, 15:25] = -1
    coarse_grid = rasters.grid(120.0)
    c1 = rasters.write("c1", cloudy_coarse, coarse_grid, nodata=-1)
    c2 = rasters.write("c2", coarse, coarse_grid, nodata=-1)
    f1 = rasters.write("f1", cloudy, rasters.grid(), nodata=-1)
    f2 = rasters.write("f2", both, rasters.grid(), nodata=-1)
    result, _ = rasters.fuse(rasters.spatiotemporal(c2, (c1, f1), (c2, f2), model=model))
    expected = np.zeros(fine.shape, bool)
    expected[:, 15:20, 15:20] = True
    assert (np.isnan(result) == expected).all()


def test_one_band_without_data_leaves_the_other_bands(rasters):
    fine, coarse = ramps(4, 1000, 3000)
    fine, coarse = np.repeat(fine, 3, axis=0), np.repeat(coarse, 3, axis=0)
    hole = coarse.copy()
    hole[1, 3:5, 6:9] = -9999
    grid = rasters.grid(120.0)
    target = rasters.write("t", hole, grid, nodata=-9999)
    reference = rasters.write("c", coarse, grid)
    result, _ = rasters.fuse(rasters.spatiotemporal(target, (reference, rasters.write("f", fine))))
    assert np.isnan(result[1, 12:20, 24:36]).all()
    assert np.isfinite(np.delete(result, 1, axis=0)).all()
    assert np.isnan(result[1]).sum() == 8 * 12


@pytest.mark.parametrize("ratio", [1, 4], ids=["same-grid", "resampled"])
def test_nodata_that_differs_from_band_to_band_is_kept_apart(rasters, ratio):
    """A VRT may give each band a nodata value of its own."""
    fine, coarse = ramps(ratio, 1000, 3000)
    fine, coarse = np.repeat(fine, 2, axis=0), np.repeat(coarse, 2, axis=0)
    plain = rasters.write("c", coarse, rasters.grid(30.0 * ratio), dtype="int16")
    coarse[0, 2, 2], coarse[1, 5, 5] = -1, -2
    coarse[0, 8, 8], coarse[1, 8, 3] = -2, -1  # valid: they are the other band's nodata
    grid = rasters.grid(30.0 * ratio)
    paths = [rasters.write(f"t{band}", coarse[band], grid, dtype="int16") for band in (0, 1)]
    vrt = stack_vrt(rasters, "t", paths, ["Int16", "Int16"], (-1, -2))
    result, _ = rasters.fuse(
        rasters.spatiotemporal(vrt, (plain, rasters.write("f", fine)), harmonise="never")
    )
    expected = np.zeros(result.shape, bool)
    expected[0, 2 * ratio : 3 * ratio, 2 * ratio : 3 * ratio] = True
    expected[1, 5 * ratio : 6 * ratio, 5 * ratio : 6 * ratio] = True
    assert (np.isnan(result) == expected).all()


@pytest.mark.parametrize("ratio", [1, 4], ids=["same-grid", "resampled"])
def test_an_internal_mask_counts_as_nodata(rasters, ratio):
    fine, coarse = ramps(ratio, 1000, 3000)
    grid = rasters.grid(30.0 * ratio)
    plain = rasters.write("c", coarse, grid)
    target = rasters.write("t", coarse, grid)
    mask = np.full(coarse.shape[1:], 255, "uint8")
    mask[3:5, 6:9] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(target, "r+") as file:
        file.write_mask(mask)
    result, _ = rasters.fuse(rasters.spatiotemporal(target, (plain, rasters.write("f", fine))))
    expected = np.zeros(fine.shape, bool)
    expected[:, 3 * ratio : 5 * ratio, 6 * ratio : 9 * ratio] = True
    assert (np.isnan(result) == expected).all()


@pytest.mark.parametrize("ratio", [1, 4], ids=["same-grid", "resampled"])
def test_an_alpha_band_masks_the_others_and_can_be_left_out(rasters, ratio):
    fine, coarse = ramps(ratio, 20, 200)
    grid = rasters.grid(30.0 * ratio)
    colours = np.repeat(coarse, 4, axis=0)
    colours[3] = 255
    colours[3, 3:5, 6:9] = 0
    target = rasters.write("t", colours, grid, dtype="uint8", photometric="rgb", alpha="yes")
    with rasterio.open(target) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    plain = rasters.write("c", colours[:3], grid, dtype="uint8")
    fine_path = rasters.write("f", np.repeat(fine, 3, axis=0))
    first = {"path": target, "bands": (1, 2, 3)}
    result, _ = rasters.fuse(rasters.spatiotemporal(first, (plain, fine_path)))
    expected = np.zeros(result.shape, bool)
    expected[:, 3 * ratio : 5 * ratio, 6 * ratio : 9 * ratio] = True
    assert (np.isnan(result) == expected).all()


def test_a_fourth_band_that_a_tool_called_alpha_is_still_a_band(rasters):
    """GDAL calls band 4 of a byte image alpha unless told otherwise; it is near infrared."""
    fine, coarse = ramps(4, 20, 200)
    values = np.repeat(coarse, 4, axis=0) * np.array([1, 0.9, 0.8, 0.7])[:, None, None]
    ms = rasters.write(
        "ms", values, rasters.grid(120.0), dtype="uint8", photometric="rgb", alpha="yes"
    )
    pan = rasters.write("pan", fine, dtype="uint8")
    result, _ = rasters.fuse(rasters.pansharpening(ms, pan))
    assert result.shape[0] == 4
    assert np.isfinite(result).all()
    np.testing.assert_allclose(
        result.mean(axis=(1, 2)), values.astype("uint8").mean(axis=(1, 2)), rtol=0.02
    )


def test_four_byte_bands_come_out_as_plain_bands(rasters):
    fine, coarse = ramps(4, 20, 200)
    coarse, fine = np.repeat(coarse, 4, axis=0), np.repeat(fine, 4, axis=0)
    path = rasters.write("c", coarse, rasters.grid(120.0), dtype="uint8")
    rasters.fuse(rasters.spatiotemporal(path, (path, rasters.write("f", fine, dtype="uint8"))))
    with rasterio.open(rasters.output) as fused:
        assert fused.colorinterp[3] == ColorInterp.undefined
        assert (fused.read_masks() == 255).all()


# --- a valid value that falls on nodata ---


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 100), ("uint8", 0), ("uint8", 255), ("int16", -32768), ("int16", 32767),
     ("int16", 0), ("uint16", 65535), ("float32", 0.0), ("float32", 1.0), ("float64", 0.0),
     ("float64", -9999.0)],
)  # fmt: skip
def test_a_valid_value_that_falls_on_nodata_stays_valid(rasters, dtype, nodata):
    """Fine 5 off nodata, change that leads exactly onto nodata."""
    away = -5 if nodata > 100 else 5
    fine = np.full((1, 16, 16), nodata + away)
    fine[:, 3, 3] = nodata
    reference = rasters.write("c", np.full((1, 16, 16), 50.0))
    target = rasters.write("t", np.full((1, 16, 16), 50.0 - away))
    path = rasters.write("f", fine, dtype=dtype, nodata=nodata)
    result, report = rasters.fuse(
        rasters.spatiotemporal(target, (reference, path), harmonise="never")
    )
    assert np.isnan(result).sum() == 1
    np.testing.assert_allclose(result[np.isfinite(result)], nodata, atol=1)
    assert report["nodata_share"] == 1 / 256


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_a_file_without_nodata_has_no_holes_in_its_result(rasters, dtype):
    fine = np.linspace(np.iinfo(dtype).min, 100, 256).reshape(1, 16, 16)
    reference = rasters.write("c", np.full((1, 16, 16), 50.0))
    path = rasters.write("f", fine, dtype=dtype)
    result, report = rasters.fuse(
        rasters.spatiotemporal(reference, (reference, path), harmonise="never")
    )
    assert report["nodata_share"] == 0
    # One value has to stand for nodata; what fell on it was moved by one step.
    np.testing.assert_allclose(result, rasters.read(path), atol=1)


def test_nodata_written_with_too_few_digits_still_counts(rasters):
    """ArcGIS writes -3.402823e+38 beside values of -3.4028235e+38."""
    fine, coarse = ramps(4, 10, 20)
    fine[:, 5, 5] = coarse[:, 3, 3] = -3.4028234663852886e38
    target = rasters.write("t", coarse, rasters.grid(120.0), nodata=-3.402823e38)
    plain = rasters.write("c", ramps(4, 10, 20)[1], rasters.grid(120.0))
    path = rasters.write("f", fine, nodata=-3.402823e38)
    result, _ = rasters.fuse(rasters.spatiotemporal(target, (plain, path)))
    assert np.isnan(result[0, 12:16, 12:16]).all()
    assert np.isnan(result[0, 5, 5])
    assert np.isnan(result).sum() == 17


@pytest.mark.parametrize("ratio", [1, 4], ids=["same-grid", "resampled"])
def test_nan_is_nodata_beside_another_nodata_value(rasters, ratio):
    fine, coarse = ramps(ratio, 10, 20)
    plain = rasters.write("c", coarse, rasters.grid(30.0 * ratio), nodata=-9999)
    coarse[:, 3, 3], coarse[:, 8, 8] = NAN, -9999
    target = rasters.write("t", coarse, rasters.grid(30.0 * ratio), nodata=-9999)
    fine[:, 0, 0] = NAN
    path = rasters.write("f", fine, nodata=-9999)
    result, _ = rasters.fuse(rasters.spatiotemporal(target, (plain, path)))
    expected = np.zeros(fine.shape, bool)
    for at in (3, 8):
        expected[:, at * ratio : (at + 1) * ratio, at * ratio : (at + 1) * ratio] = True
    expected[:, 0, 0] = True
    assert (np.isnan(result) == expected).all()
    with rasterio.open(rasters.output) as fused:
        assert not np.isnan(fused.read()).any()  # missing is -9999, as in the fine image


@pytest.mark.parametrize("ratio", [1, 4], ids=["same-grid", "resampled"])
def test_bands_of_a_vrt_may_differ_in_type(rasters, ratio):
    fine, coarse = ramps(ratio, 20, 200)
    grid = rasters.grid(30.0 * ratio)
    paths = [
        rasters.write("a", coarse, grid, dtype="uint8"),
        rasters.write("b", coarse * 100, grid, dtype="int16"),
    ]
    target = stack_vrt(rasters, "t", paths, ["Byte", "Int16"])
    result, _ = rasters.fuse(
        rasters.spatiotemporal(
            target, (target, rasters.write("f", np.concatenate([fine, 100 * fine])))
        )
    )
    np.testing.assert_allclose(result[0] * 100, result[1], rtol=0.01)
    assert np.isfinite(result).all()


def test_values_beyond_the_type_are_clipped_and_counted(rasters):
    fine = np.full((1, 16, 16), 250)
    reference = rasters.write("c", np.full((1, 16, 16), 50.0))
    target = rasters.write("t", np.where(np.arange(16) < 4, 80.0, 51.0) * np.ones((1, 16, 16)))
    path = rasters.write("f", fine, dtype="uint8", nodata=7)
    result, report = rasters.fuse(
        rasters.spatiotemporal(target, (reference, path), harmonise="never")
    )
    assert (result[:, :, :4] == 255).all()
    assert (result[:, :, 4:] == 251).all()
    assert any("64 values did not fit into uint8" in text for text in report["warnings"])


# --- scale and offset ---


def test_scale_and_offset_of_the_files_are_applied_and_kept(rasters):
    """Landsat collection 2: reflectance = 0.0000275 DN - 0.2, MODIS: 0.0001 DN."""
    fine, coarse = ramps(4, 0.05, 0.45)
    fine, coarse = np.repeat(fine, 2, axis=0), np.repeat(coarse, 2, axis=0)
    fine[1] += 0.1
    grid = rasters.grid(120.0)
    stored = np.rint((fine + 0.2) / 0.0000275)
    path = rasters.write(
        "f", stored, dtype="uint16", nodata=0, scales=(0.0000275,) * 2, offsets=(-0.2,) * 2
    )
    reference = rasters.write("c", coarse / 1e-4, grid, dtype="int16", scales=(1e-4,) * 2,
                              offsets=(0, 0), nodata=-28672)  # fmt: skip
    target = rasters.write("t", coarse + 0.05, grid, dtype="float32")
    result, report = rasters.fuse(rasters.spatiotemporal(target, (reference, path)))
    # Stored in steps of 0.0000275, coarse in steps of 0.0001.
    np.testing.assert_allclose(result, fine + 0.05, atol=1.5e-4)
    with rasterio.open(rasters.output) as fused:
        assert fused.scales == (0.0000275,) * 2
        assert fused.offsets == (-0.2,) * 2
        assert fused.nodata == 0
    assert not report["harmonisation"]["applied"]


def test_scale_differs_from_band_to_band(rasters):
    fine, coarse = ramps(4, 10, 20)
    fine, coarse = np.repeat(fine, 2, axis=0), np.repeat(coarse, 2, axis=0)
    scales, offsets = (0.1, 0.01), (0.0, -5.0)
    stored = (fine - np.array(offsets)[:, None, None]) / np.array(scales)[:, None, None]
    path = rasters.write("f", np.rint(stored), dtype="int32", scales=scales, offsets=offsets)
    coarse_path = rasters.write("c", coarse, rasters.grid(120.0))
    target = rasters.write("t", coarse + 3, rasters.grid(120.0))
    result, _ = rasters.fuse(rasters.spatiotemporal(target, (coarse_path, path)))
    np.testing.assert_allclose(result, fine + 3, atol=0.06)


def test_scale_and_offset_of_the_job_go_before_the_files(rasters):
    fine, coarse = ramps(4, 0.1, 0.4)
    grid = rasters.grid(120.0)
    path = rasters.write("f", np.rint(fine * 1e4), dtype="int16")
    reference = rasters.write("c", coarse * 500 + 7, grid, scales=(99.0,), offsets=(3.0,))
    target = rasters.write("t", (coarse + 0.1) * 500 + 7, grid)
    coarse_units = {"scale": 1 / 500, "offset": -7 / 500}
    job = rasters.spatiotemporal(
        {"path": target, **coarse_units},
        ({"path": reference, **coarse_units}, {"path": path, "scale": 1e-4}),
        harmonise="never",
    )
    result, report = rasters.fuse(job)
    # The result is stored as the fine file stores it: whole numbers of 0.0001, no scale inside.
    np.testing.assert_allclose(result * 1e-4, fine + 0.1, atol=1e-4)
    assert not report["harmonisation"]["applied"]


@pytest.mark.parametrize("field", ["scale", "offset"])
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_scale_or_offset_that_destroys_all_values_is_refused(rasters, field, value):
    if field == "offset" and value == 0.0:
        return
    fine, coarse = ramps(4, 0.1, 0.4)
    path = rasters.write("c", coarse, rasters.grid(120.0))
    job = rasters.spatiotemporal(
        path, (path, {"path": rasters.write("f", fine, dtype="float32"), field: value})
    )
    with pytest.raises(FusionError, match=field):
        rasters.fuse(job)
    assert rasters.leftovers() == []


def test_a_file_that_says_scale_zero_is_taken_as_unscaled(rasters):
    """Some writers leave the scale at 0 to say that there is none."""
    fine, coarse = ramps(4, 10, 20)
    path = rasters.write("f", fine, scales=(0.0,), offsets=(0.0,))
    coarse_path = rasters.write("c", coarse, rasters.grid(120.0))
    result, _ = rasters.fuse(rasters.spatiotemporal(coarse_path, (coarse_path, path)))
    with rasterio.open(rasters.output) as fused:
        np.testing.assert_allclose(fused.read(), fine, atol=1e-4)
    assert result is not None


# --- quantities ---


@pytest.mark.parametrize("model", ["starfm", "fine_plus_change"])
@pytest.mark.parametrize(
    ("low", "high", "change", "dtype"),
    [(270.0, 310.0, -8.0, "float32"), (-0.3, 0.9, 0.1, "float32"), (-3000, 9000, 500, "int16"),
     (-25.0, 5.0, 30.0, "float64"), (1e-6, 5e-6, 1e-6, "float32"), (1e6, 5e6, 1e6, "float64")],
    ids=["kelvin", "ndvi", "ndvi-int16", "celsius", "tiny", "huge"],
)  # fmt: skip
def test_any_quantity_is_fused_as_it_is(rasters, model, low, high, change, dtype):
    fine, coarse = ramps(4, low, high)
    grid = rasters.grid(120.0)
    reference = rasters.write("c", coarse, grid, dtype=dtype)
    target = rasters.write("t", coarse + change, grid, dtype=dtype)
    path = rasters.write("f", fine, dtype=dtype)
    result, report = rasters.fuse(rasters.spatiotemporal(target, (reference, path), model=model))
    assert not report["harmonisation"]["applied"]
    inner = (slice(None), slice(8, -8), slice(8, -8))
    spread = high - low
    np.testing.assert_allclose(result[inner], (fine + change)[inner], atol=0.06 * spread)
    assert np.isfinite(result).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32",
                                   "float64"])  # fmt: skip
def test_band_names_and_metadata_of_the_fine_image_are_kept(rasters, dtype):
    fine, coarse = ramps(4, 20, 200)
    fine, coarse = np.repeat(fine, 2, axis=0), np.repeat(coarse, 2, axis=0)
    path = rasters.write("f", fine, dtype=dtype, names=("Red (665 nm)", "Nah-Infrarot ä"))
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, wavelength="665", STATISTICS_MEAN="12")
    coarse_path = rasters.write("c", coarse, rasters.grid(120.0))
    rasters.fuse(rasters.spatiotemporal(coarse_path, (coarse_path, path)))
    with rasterio.open(rasters.output) as fused:
        assert fused.dtypes == (dtype, dtype)
        assert fused.descriptions == ("Red (665 nm)", "Nah-Infrarot ä")
        assert fused.tags(1)["wavelength"] == "665"
        assert "STATISTICS_MEAN" not in fused.tags(1)


def test_bands_are_taken_in_the_order_of_the_job(rasters):
    fine, coarse = ramps(4, 20, 200)
    fine = np.concatenate([fine, fine + 1000, fine + 2000])
    coarse = np.concatenate([coarse + 2000, coarse, coarse + 1000])
    path = rasters.write("f", fine, names=("A", "B", "C"))
    coarse_path = rasters.write("c", coarse, rasters.grid(120.0))
    seen = {"path": coarse_path, "bands": (1, 2)}
    result, report = rasters.fuse(
        rasters.spatiotemporal(seen, (seen, {"path": path, "bands": (3, 1)}))
    )
    np.testing.assert_allclose(result, fine[[2, 0]], atol=0.01)
    assert not report["harmonisation"]["applied"]
    with rasterio.open(rasters.output) as fused:
        assert fused.descriptions == ("C", "A")


def test_infinite_values_are_nodata(rasters):
    fine, coarse = ramps(4, 20, 200)
    fine[:, 5, 5], fine[:, 6, 6] = np.inf, -np.inf
    coarse_path = rasters.write("c", coarse, rasters.grid(120.0))
    result, _ = rasters.fuse(
        rasters.spatiotemporal(coarse_path, (coarse_path, rasters.write("f", fine)))
    )
    assert np.isnan(result).sum() == 2
    np.testing.assert_allclose(result[np.isfinite(result)], fine[np.isfinite(fine)], atol=0.01)


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 0.5), ("uint8", -9999.0),
                                                ("int16", 1e6)])  # fmt: skip
def test_a_nodata_value_that_the_type_cannot_hold_means_nothing_is_nodata(rasters, dtype, nodata):
    fine, coarse = ramps(4, 20, 200)
    coarse[:, 3, 3] = 0
    coarse_path = rasters.write("c", coarse, rasters.grid(120.0))
    path = rasters.write("f", fine, dtype=dtype)
    job = rasters.spatiotemporal(coarse_path, (coarse_path, {"path": path, "nodata": nodata}))
    result, _ = rasters.fuse(job)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result, fine, atol=1.1)


def test_complex_numbers_are_refused(rasters):
    fine, coarse = ramps(4, 20, 200)
    coarse_path = rasters.write("c", coarse, rasters.grid(120.0))
    path = rasters.write("f", fine, dtype="complex64")
    with pytest.raises(FusionError, match=r"f\.tif .*complex"):
        rasters.fuse(rasters.spatiotemporal(coarse_path, (coarse_path, path)))
    assert rasters.leftovers() == []
