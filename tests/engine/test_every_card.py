"""What every method has to keep to. All cards found are run; a new method needs no line here."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from rasterfuse.models.cards import load_cards
from rasters import Rasters, methods

CARDS = methods()
ROWS, COLS = 300, 277  # no multiple of a block, more than one tile
SMALL, MIDDLE = (120, 90), (190, 170)
BANDS = 2


def landscape(rng, rows, cols):
    """(bands, rows, cols) of fields with noise, 0.1 to 0.8."""
    shape = (BANDS, rows // 13 + 1, cols // 13 + 1)
    fields = rng.random(shape).repeat(13, axis=1).repeat(13, axis=2)[:, :rows, :cols]
    return 0.1 + 0.6 * fields + 0.1 * rng.random((BANDS, rows, cols))


def seen_coarse(fine):
    """The image by pixels 4.3 times as large that start 1 column and 1.7 rows before the fine."""
    bands, rows, cols = fine.shape
    coarse = np.empty((bands, rows // 4, cols // 4))
    for i, j in np.ndindex(coarse.shape[1:]):
        top = min(max(round(4.3 * i - 1.7), 0), rows - 4)
        left = min(max(round(4.3 * j - 1), 0), cols - 4)
        coarse[:, i, j] = fine[:, top : top + 4, left : left + 4].mean(axis=(1, 2))
    return coarse


def scene(rasters, card, size=(ROWS, COLS), options=None, **written):
    """A job for a method: coarse pixels 4.3 times as large, offset, with clouds everywhere."""
    rng = np.random.default_rng(1)
    written = {"dtype": "int16", "nodata": -999, **written}
    high = 200 if written["dtype"] == "uint8" else 10000

    def save(name, values, transform):
        values = np.rint(high * values)
        rows, cols = values.shape[1:]
        holes = rng.random((rows // 15 + 1, cols // 15 + 1)) < 0.04
        holes = holes.repeat(15, axis=0).repeat(15, axis=1)[:rows, :cols]
        values[:, holes] = written["nodata"]
        return rasters.write(name, values, transform, **written)

    fine_grid = rasters.grid(10.0)
    coarse_grid = rasters.grid(43.0, x=499_990.0, y=5_300_017.0)
    ground, options = landscape(rng, *size), options or {}
    if card.family == "spatiotemporal":
        pairs = []
        for k in range(max(card.input("references").min_pairs, 2)):
            fine = 0.9 * ground + 0.02 * k + 0.02 * landscape(rng, *size)
            names = save(f"c{k}", seen_coarse(fine), coarse_grid), save(f"f{k}", fine, fine_grid)
            day = f"2020-05-{1 + 10 * k:02d}"
            pairs.append(tuple({"path": path, "date": day} for path in names))
        target = save("target", seen_coarse(0.8 * ground + 0.1), coarse_grid)
        target = {"path": target, "date": "2020-05-08"}
        return rasters.spatiotemporal(target, *pairs, model=card.id, **options)
    if card.family == "pansharpening":
        ms = save("ms", seen_coarse(ground), coarse_grid)
        pan = save("pan", ground.mean(axis=0, keepdims=True), fine_grid)
        return rasters.pansharpening(ms, pan, model=card.id, **options)
    raise AssertionError(f"Add a scene for the family {card.family}.")


@pytest.fixture(params=CARDS)
def card(request):
    return load_cards()[request.param]


@pytest.fixture(scope="module", params=CARDS)
def fused(request, tmp_path_factory):
    """A card; folder, job, result and report of the scene fused by it."""
    card, rasters = load_cards()[request.param], Rasters(tmp_path_factory.mktemp("fused"))
    job = scene(rasters, card)
    return card, rasters, job, *rasters.fuse(job)


def test_result_has_the_fine_grid_and_the_right_bands_type_and_nodata(fused):
    _, rasters, job, result, report = fused
    fine_path = job.references[0].fine.path if job.references else job.inputs["panchromatic"].path
    with rasterio.open(job.output) as file, rasterio.open(fine_path) as fine:
        assert file.shape == fine.shape == (ROWS, COLS)
        assert file.transform == fine.transform
        assert file.crs == fine.crs
        assert file.count == BANDS
        assert set(file.dtypes) == {"int16"}
        assert set(file.nodatavals) == {-999}
        assert file.driver == "GTiff"
        assert file.block_shapes[0] == (256, 256)
        assert json.loads(file.tags()["RASTERFUSE_JOB"]) == job.to_dict()
        stored = file.read()
    holes = (stored == -999).any(axis=0)
    assert report["nodata_share"] == pytest.approx(holes.mean(), abs=1e-9)
    assert 0 < report["nodata_share"] < 0.6
    assert np.nanmin(result) > -3000
    assert np.nanmax(result) < 13000
    assert rasters.leftovers() == ["result.tif"]


def test_result_does_not_depend_on_the_tiles(rasters, card):
    tiled, whole = (
        rasters.fuse(scene(rasters, card, MIDDLE, options={"tile": tile}, dtype="float32"))[0]
        for tile in (70, 5000)
    )
    # Float sums in another order: 1e-5 of a data range of about 7000.
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=0.07)


def test_same_job_gives_the_same_file_twice(fused, rasters):
    card, _, _, result, _ = fused
    again, _ = rasters.fuse(scene(rasters, card))
    np.testing.assert_array_equal(again, result)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_result_has_the_type_of_its_template(rasters, card, dtype):
    job = scene(rasters, card, SMALL, dtype=dtype, nodata=0 if dtype[0] == "u" else -7)
    result, report = rasters.fuse(job)
    with rasterio.open(job.output) as file:
        assert set(file.dtypes) == {dtype}
        assert file.nodata == (0 if dtype[0] == "u" else -7)
    main = "coarse_target" if job.references else "multispectral"
    coarse = rasters.read(job.inputs[main].path)
    assert np.nanmean(result) == pytest.approx(np.nanmean(coarse), rel=0.1)
    assert report["grid"]["bands"] == BANDS


def test_report_is_complete(fused):
    card, rasters, _, _, report = fused
    assert report["model"] == card.id
    assert report["name"] == card.name
    assert report["path"] == rasters.output
    assert report["device"] == "cpu"
    assert set(report["seconds"]) == {
        "open", "harmonise", "prepare", "read", "compute", "write", "total",
    }  # fmt: skip
    assert report["peak_memory_mb"] > 0
    assert report["grid"] == {
        "rows": ROWS, "cols": COLS, "bands": BANDS, "crs": "EPSG:32633",
        "pixel": [10.0, 10.0], "ratio": pytest.approx(4.3, abs=1e-6),
    }  # fmt: skip
    assert report["trust"]["cells"] > 1000
    for answer in report["trust"]["answers"]:
        assert len(answer["rmse"]) == BANDS
        assert all(value > 0 for value in answer["rmse"])
    assert report["job"]["model"] == card.id
    assert (report["harmonisation"] is None) == (card.family == "pansharpening")


def test_progress_only_grows_and_names_its_stages(rasters, card):
    from rasterfuse.plugin.engine import pipeline

    seen = []
    job = scene(rasters, card, options={"tile": 256})
    pipeline.run(job, lambda stage, fraction: seen.append((fraction, stage)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert seen[-1] == (1.0, "Done")
    stages = list(dict.fromkeys(stage for _, stage in seen))
    assert stages == ["Opening", "Reading the scene", "Preparing", "Fusing", "Done"]


def test_an_extent_gives_that_part_of_the_scene(fused, rasters):
    """A method may learn other figures from a part, but never show it shifted by a pixel."""
    card, _, _, whole, _ = fused
    x, y = 500_000 + 10 * 40, 5_300_000 - 10 * 60
    options = {"extent": (x + 4.0, y - 1996.0, x + 1996.0, y - 4.0)}
    part, report = rasters.fuse(scene(rasters, card, options=options))
    assert (report["grid"]["rows"], report["grid"]["cols"]) == (200, 200)
    with rasterio.open(rasters.output) as file:
        assert tuple(file.transform)[:6] == (10, 0, x, 0, -10, y)
    window = whole[:, 60:260, 40:240]
    assert (np.isnan(part) == np.isnan(window)).all()

    def agreement(down, right):
        there = whole[:, 60 + down : 260 + down, 40 + right : 240 + right]
        valid = np.isfinite(part) & np.isfinite(there)
        return np.corrcoef(part[valid], there[valid])[0, 1]

    here = agreement(0, 0)
    assert here > 0.95
    assert all(agreement(*step) < here for step in ((1, 0), (-1, 0), (0, 1), (0, -1)))


def test_constant_images_give_constant_results(rasters, card):
    """No division by zero and no noise blown up, whatever the constant."""
    for number, value in enumerate((0.1, 1 / 3, 7.0, 300.1, 10000.0)):
        options = {"output": str(rasters.folder / f"result_{number}.tif")}
        grid = rasters.grid(40.0)
        coarse = rasters.write("coarse", np.full((2, 30, 30), value), grid)
        fine = rasters.write("fine", np.full((2, 120, 120), value), rasters.grid(10.0))
        pan = rasters.write("pan", np.full((1, 120, 120), value), rasters.grid(10.0))
        if card.family == "spatiotemporal":
            pairs = [(coarse, fine)] * card.input("references").min_pairs
            job = rasters.spatiotemporal(coarse, *pairs, model=card.id, **options)
        else:
            job = rasters.pansharpening(coarse, pan, model=card.id, **options)
        result, _ = rasters.fuse(job)
        np.testing.assert_allclose(result, value, rtol=1e-5, err_msg=str(value))
