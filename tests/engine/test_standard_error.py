"""The standard error as a second raster: complete beside the result, or not there at all."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterfuse.models.errors import CancelledError, InputError, OutputError
from rasterfuse.plugin.engine import pipeline
from rasterfuse.plugin.engine.resume import unfinished
from rasterfuse.plugin.runtime.leftovers import Leftovers
from stopped import essence, kept, stop, stored

SIDE, RATIO = 128, 8


def coarse_of(image):
    cells = SIDE // RATIO
    return image.reshape(2, cells, RATIO, cells, RATIO).mean(axis=(2, 4))


def job_of(rasters, rng, model="rasterfuse_net", tile=48, scales=None, **options):
    """A scene in whole numbers of which a corner is nodata."""
    cells = rng.normal(size=(2, SIDE // RATIO, SIDE // RATIO))
    fine = 1000 + 100 * np.kron(cells, np.ones((RATIO, RATIO)))
    fine += 30 * rng.normal(size=fine.shape)
    coarse, grid = coarse_of(fine), rasters.grid(10.0 * RATIO)
    fine[:, :20, :30] = -999
    pair = (
        rasters.write("c", coarse, grid, scales=scales),
        rasters.write(
            "f", fine.round(), rasters.grid(10.0), dtype="int16", nodata=-999,
            names=("red", "nir"), scales=scales,
        ),
    )  # fmt: skip
    target = rasters.write("t", coarse + 100 * rng.normal(size=coarse.shape), grid, scales=scales)
    error = str(rasters.folder / "result_error.tif")
    options = {"error_output": error, "backend": "torch", **options}
    return rasters.spatiotemporal(target, pair, model=model, tile=tile, **options)


def test_the_standard_error_has_the_grid_of_the_result_and_is_known_where_the_result_is(
    rasters, rng
):
    job = job_of(rasters, rng)
    result, report = rasters.fuse(job)
    with rasterio.open(job.error_output) as file, rasterio.open(job.output) as image:
        assert (file.shape, file.transform, file.crs) == (image.shape, image.transform, image.crs)
        assert set(file.dtypes) == {"float32"}
        assert np.isnan(file.nodata)
        assert file.descriptions == ("red standard error", "nir standard error")
    error = rasters.read(job.error_output)
    assert np.isnan(error[:, :20, :30]).all()
    np.testing.assert_array_equal(np.isnan(error), np.isnan(result))
    assert np.nanmin(error) > 0
    assert report["error_path"] == job.error_output
    assert report["standard_error"] == pytest.approx(np.nanmean(error, axis=(1, 2)), rel=1e-5)
    assert rasters.leftovers() == ["result.tif", "result_error.tif"]


def test_the_result_is_the_same_with_and_without_it(rasters, rng):
    job = job_of(rasters, rng)
    first, _ = rasters.fuse(job)
    os.remove(job.error_output)
    second, report = rasters.fuse(replace(job, error_output=None))
    np.testing.assert_array_equal(first, second)
    assert report["error_path"] is report["standard_error"] is None
    assert rasters.leftovers() == ["result.tif"]


def test_it_does_not_depend_on_the_tiles(rasters, rng):
    job = job_of(rasters, rng)
    rasters.fuse(job)
    tiled = rasters.read(job.error_output)
    rasters.fuse(replace(job, limits=replace(job.limits, tile=SIDE)))
    whole = rasters.read(job.error_output)
    np.testing.assert_allclose(tiled, whole, rtol=1e-4)


def test_it_is_in_the_unit_of_the_result(rasters, rng):
    """With a scale in the file, and stored numbers that compare as those of the result do."""
    state = rng.bit_generator.state
    job = job_of(rasters, rng)
    rasters.fuse(job)
    plain = rasters.read(job.error_output)
    rng.bit_generator.state = state
    rasters.fuse(job_of(rasters, rng, scales=(0.01, 0.01)))
    np.testing.assert_allclose(rasters.read(job.error_output), 0.01 * plain, rtol=1e-3)
    np.testing.assert_allclose(stored(job.error_output), plain, rtol=1e-3)


@pytest.mark.parametrize("model", ["fine_plus_change", "starfm"])
def test_a_method_that_cannot_tell_it_says_so(rasters, rng, model):
    with pytest.raises(InputError, match="cannot tell the standard error"):
        pipeline.run(job_of(rasters, rng, model))
    assert rasters.leftovers() == []


def test_a_cancel_at_any_question_leaves_neither(rasters, rng):
    job = replace(job_of(rasters, rng), error_output=str(rasters.folder / "result_error.tif"))
    asked = []
    pipeline.run(job, is_cancelled=lambda: asked.append(0))
    for path in job.outputs:
        os.remove(path)
    for last in range(len(asked) // 2, len(asked) + 1):
        questions = iter(range(1, last + 1))
        with pytest.raises(CancelledError):
            pipeline.run(job, is_cancelled=lambda left=questions, n=last: next(left, n) >= n)
        assert rasters.leftovers() == [], f"after question {last}"


def test_a_stopped_job_goes_on_with_both(rasters, rng, cache, monkeypatch):
    monkeypatch.setattr(unfinished, "WORTH_S", 0.0)
    job = job_of(rasters, rng)
    alone = replace(job, limits=replace(job.limits, resume=False))
    expected = pipeline.run(alone), stored(job.output), stored(job.error_output)
    stop(job)
    other = replace(job, error_output=str(rasters.folder / "result_other.tif"))
    report = pipeline.run(other)
    assert 0 < report["resumed"] < report["tiles"]
    np.testing.assert_array_equal(stored(other.output), expected[1])
    np.testing.assert_array_equal(stored(other.error_output), expected[2])
    del report["error_path"], expected[0]["error_path"]
    assert essence(report) == essence(expected[0])
    assert kept(cache) == []


def test_tiles_without_it_are_not_taken_for_tiles_with_it(rasters, rng, monkeypatch):
    monkeypatch.setattr(unfinished, "WORTH_S", 0.0)
    job = job_of(rasters, rng)
    stop(replace(job, error_output=None))
    assert pipeline.run(job)["resumed"] == 0


def test_what_a_killed_job_left_is_removed(rasters, rng):
    job = job_of(rasters, rng)
    left = Leftovers(job)
    for path in (f"{job.output}.part", f"{job.error_output}.part", job.error_output):
        (rasters.folder / path).write_bytes(b"half")
    assert left.remove() == []
    assert rasters.leftovers() == []


def test_when_the_result_cannot_get_its_name_the_error_gets_none(rasters, rng):
    job = job_of(rasters, rng)

    def block(stage, fraction):
        if stage == "Fusing" and not os.path.exists(job.output):
            os.mkdir(job.output)

    with pytest.raises(OutputError, match="cannot be replaced"):
        pipeline.run(job, block)
    assert rasters.leftovers() == ["result.tif"]
    assert os.path.isdir(job.output)


@pytest.mark.parametrize("name", ["result.tif", "f.tif", "result.tif.part"])
def test_it_overwrites_neither_the_result_nor_an_input(rasters, rng, name):
    job = replace(job_of(rasters, rng), error_output=str(rasters.folder / name))
    with pytest.raises(InputError, match=r"would overwrite the result|is also the input"):
        pipeline.run(job)
