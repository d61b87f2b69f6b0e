"""A user's class layer: read as codes on the fine grid, and better than guessed classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterfuse.models.errors import FusionError, InputError
from rasterfuse.plugin.engine.land import make_land
from rasterfuse.plugin.engine.simulate import Settings, simulate
from rasterfuse.plugin.job import Job, RasterSource

SIMULATED = {"size": 240, "ratio": 12.0, "bands": 3, "seed": 4}
MODELS = ["fsdaf", "ubdf"]
SIDE = 96


@pytest.fixture(scope="module")
def farmland(tmp_path_factory):
    """A simulated scene, and the land cover that it was made from."""
    files = simulate(tmp_path_factory.mktemp("farmland"), **SIMULATED)
    settings = Settings(**SIMULATED)
    land = make_land(settings.width, np.random.default_rng(settings.seed))
    inner = slice(settings.margin, settings.margin + settings.size)
    return files, land.cover[land.units][inner, inner]


def codes_of(cover):
    """Codes as those of CORINE: whole numbers with gaps."""
    return np.array([211, 212, 213, 221, 231, 311, 312, 512, 112], dtype="int16")[cover]


def error_of(rasters, files, model, layer=None):
    job = Job.from_json(files.job.read_text(encoding="utf-8"))
    inputs = dict(job.inputs)
    if layer is not None:
        inputs["class_layer"] = RasterSource(layer)
    result, report = rasters.fuse(
        replace(job, model=model, inputs=inputs, output=rasters.output, device="cpu")
    )
    off = result - rasters.read(files.truth)
    return np.sqrt(np.nanmean(off**2)), report


@pytest.mark.parametrize("model", MODELS)
def test_true_classes_are_better_than_own_ones(rasters, farmland, model):
    files, cover = farmland
    with rasterio.open(files.fine_reference) as fine:
        layer = rasters.write("cover", codes_of(cover), fine.transform, dtype="int16")
    own, own_report = error_of(rasters, files, model)
    given, report = error_of(rasters, files, model, layer)
    assert given < own
    count = len(np.unique(cover))
    assert f"The class layer cover.tif with {count} classes was used." in report["notes"]
    assert any("were found in the fine reference" in text for text in own_report["notes"])


def two_fields(rasters, classes, model="ubdf", split=SIDE // 2, **options):
    """Left of ``split`` the target is 1, right of it 5; the fine reference does not tell them
    apart by brightness, but a little by noise, so that only a class layer can.
    """
    rng = np.random.default_rng(2)
    columns = np.broadcast_to(np.arange(SIDE) < split, (SIDE, SIDE))
    target = np.where(columns, 1.0, 5.0)
    fine = 3 + 0.01 * rng.random((1, SIDE, SIDE))

    def coarse(values):
        return values.reshape(SIDE // 8, 8, SIDE // 8, 8).mean(axis=(1, 3))

    grid = rasters.grid(80.0)
    pair = rasters.write("c", coarse(fine[0]), grid), rasters.write("f", fine, rasters.grid(10.0))
    job = rasters.spatiotemporal(
        rasters.write("t", coarse(target), grid), pair, model=model, harmonise="never", **options
    )
    layer = classes if isinstance(classes, RasterSource) else RasterSource(str(classes))
    return replace(job, inputs={**job.inputs, "class_layer": layer}), columns


def test_every_pixel_takes_the_value_of_its_class(rasters):
    # 44 is no multiple of 8: a column of cells is mixed, and unmixed exactly.
    columns = np.broadcast_to(np.arange(SIDE) < 44, (SIDE, SIDE))
    path = rasters.write("k", np.where(columns, 111, 523), rasters.grid(10.0), dtype="int16")
    job, columns = two_fields(rasters, path, split=44, parameters={"coarse_window": 3})
    result, report = rasters.fuse(job)
    np.testing.assert_allclose(result[0], np.where(columns, 1.0, 5.0), atol=1e-5)
    assert "The class layer k.tif with 2 classes was used." in report["notes"]


@pytest.mark.parametrize("pixel", [2.0, 40.0, 60.0])
def test_classes_of_another_resolution_are_taken_from_the_nearest_pixel(rasters, pixel):
    """Half of the columns are class 7, the rest 8; a mean of both would be no class at all."""
    count = round(SIDE * 10 / pixel)
    columns = np.broadcast_to(np.arange(count) < count / 2, (count, count))
    path = rasters.write("k", np.where(columns, 7, 8), rasters.grid(pixel), dtype="uint8")
    job, columns = two_fields(rasters, path)
    result, _ = rasters.fuse(job)
    np.testing.assert_allclose(result[0], np.where(columns, 1.0, 5.0), atol=1e-5)


def test_classes_in_another_coordinate_system_find_their_place(rasters):
    """In degrees: a meridian of UTM bends by less than a metre over a kilometre here."""
    job, columns = two_fields(rasters, "unused.tif")
    with rasterio.open(job.references[0].fine.path) as fine:
        bounds = rasterio.warp.transform_bounds(fine.crs, "EPSG:4326", *fine.bounds)
    west, south, east, north = bounds
    size = (east - west) / 400
    rows, cols = int((north - south) / size) + 40, 440
    transform = rasterio.Affine(size, 0, west - 20 * size, 0, -size, north + 20 * size)
    lon = transform.c + (np.arange(cols) + 0.5) * size
    values = np.broadcast_to(np.where(lon < (west + east) / 2, 7, 8), (rows, cols))
    path = rasters.write("k", values, transform, crs="EPSG:4326", dtype="uint8")
    job, columns = two_fields(rasters, path)
    result, report = rasters.fuse(job)
    seam = slice(SIDE // 2 - 2, SIDE // 2 + 2)
    off = np.abs(result[0] - np.where(columns, 1.0, 5.0))
    off[:, seam] = 0
    assert off.max() < 0.2
    assert any("reprojected from EPSG:4326" in text for text in report["notes"])


def test_where_the_layer_says_nothing_the_class_that_looks_alike_is_taken(rasters):
    """Nodata, also stated by hand, and a layer that ends early: told by brightness instead."""
    columns = np.broadcast_to(np.arange(SIDE) < SIDE // 2, (SIDE, SIDE))
    fine = np.where(columns, 2.0, 4.0)[None]
    classes = np.where(columns, 30, 20)
    classes[10:40] = 99
    job, _ = two_fields(rasters, "unused.tif")
    rasters.write("f", fine, rasters.grid(10.0))
    for name, part, source in (
        ("file", classes, {"nodata": 99}),
        ("stated", classes, {}),
        ("short", classes[40:], {}),
    ):
        at = rasters.grid(10.0, y=5_300_000 - 10.0 * (SIDE - len(part)))
        path = rasters.write(name, part, at, dtype="int16", **source)
        layer = RasterSource(path, nodata=99 if name == "stated" else None)
        result, report = rasters.fuse(
            replace(job, inputs={**job.inputs, "class_layer": layer}, harmonise="never")
        )
        np.testing.assert_allclose(result[0], np.where(columns, 1.0, 5.0), atol=1e-5)
        assert report["nodata_share"] == 0
        assert f"The class layer {name}.tif with 2 classes was used." in report["notes"]
    assert any(
        "covers 58%" in text and "are guessed from the fine image" in text
        for text in report["warnings"]
    )


def test_scale_and_offset_of_the_file_do_not_change_its_codes(rasters):
    columns = np.broadcast_to(np.arange(SIDE) < SIDE // 2, (SIDE, SIDE))
    path = rasters.write(
        "k", np.where(columns, 3, 4), rasters.grid(10.0), dtype="uint8",
        scales=[0.5], offsets=[0.25],
    )  # fmt: skip
    job, columns = two_fields(rasters, path)
    result, _ = rasters.fuse(job)
    np.testing.assert_allclose(result[0], np.where(columns, 1.0, 5.0), atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_tiles_do_not_show_with_a_class_layer(rasters, farmland, model):
    files, cover = farmland
    codes = codes_of(cover)
    codes[50:90, 30:170] = -1
    with rasterio.open(files.fine_reference) as fine:
        layer = rasters.write("k", codes, fine.transform, dtype="int16", nodata=-1)
    job = Job.from_json(files.job.read_text(encoding="utf-8"))
    job = replace(job, model=model, inputs={**job.inputs, "class_layer": RasterSource(layer)})
    found = [
        rasters.fuse(
            replace(job, output=rasters.output, limits=replace(job.limits, tile=tile))
        )[0]
        for tile in (64, 1000)
    ]  # fmt: skip
    # One count of the file, for sums in another order.
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1.01e-4)


@pytest.mark.parametrize(
    ("values", "dtype", "sentence"),
    [
        ([3], "uint8", r"class layer k\.tif has only the code 3 where the fine image has data\. "
                       "Give one with at least two"),
        ([1, 2.5], "float32", r"k\.tif holds the value 2\.5, which is no whole number\. Give a "),
        (range(200), "int16", r"k\.tif has 200 different codes, from 0 to 199; at most 60 .*Merge"),
        ([1, 2**31], "uint32", r"holds the code 2147483648; codes must be smaller than 16777216"),
    ],
    ids=["one class", "no codes", "too many", "too large"],
)  # fmt: skip
@pytest.mark.parametrize("model", MODELS)
def test_what_cannot_be_classes_is_refused_with_a_sentence(rasters, model, values, dtype, sentence):
    values = np.resize(np.array(list(values)), SIDE * SIDE).reshape(SIDE, SIDE)
    path = rasters.write("k", values, rasters.grid(10.0), dtype=dtype)
    job, _ = two_fields(rasters, path, model)
    with pytest.raises(InputError, match=sentence):
        rasters.fuse(job)
    assert rasters.leftovers() == []


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("gone.tif", r"gone\.tif cannot be read"),
        ("far", r"far\.tif does not overlap f\.tif"),
        ("empty", r"empty\.tif has no valid pixel"),
        ("bands", r"takes 1 band of bands\.tif, 2 are chosen"),
    ],
)
def test_a_layer_that_is_of_no_use_is_refused_with_a_sentence(rasters, layer, sentence):
    fields = np.where(np.arange(SIDE) < 40, 1, 2) * np.ones((SIDE, SIDE))
    grid = rasters.grid(10.0)
    rasters.write("far", fields, rasters.grid(10.0, x=700_000.0), dtype="uint8")
    rasters.write("empty", fields * 0, grid, dtype="uint8", nodata=0)
    rasters.write("bands", np.stack([fields, fields]), grid, dtype="uint8")
    path = layer if layer.endswith(".tif") else str(rasters.folder / f"{layer}.tif")
    with pytest.raises(FusionError, match=sentence):
        rasters.fuse(two_fields(rasters, path)[0])
    assert rasters.leftovers() == []


def test_methods_without_the_input_say_so(rasters):
    path = rasters.write("k", np.ones((SIDE, SIDE)), rasters.grid(10.0), dtype="uint8")
    with pytest.raises(InputError, match="Fine plus coarse change has no input 'class_layer'"):
        rasters.fuse(two_fields(rasters, path, "fine_plus_change")[0])
