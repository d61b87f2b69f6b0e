"""The simulator: what a user of its files can rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date

import numpy as np
import pytest
import rasterio
from rasterfuse.plugin.engine import simulate as module
from rasterfuse.plugin.engine.simulate import BANDS, Settings, simulate, through_psf
from rasterfuse.plugin.job import Job


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("scene"), size=200, bands=6, seed=3)


def values(path) -> np.ndarray:
    with rasterio.open(path) as raster:
        counts = raster.read(masked=True).astype("float64").filled(np.nan)
        return counts * raster.scales[0] + raster.offsets[0]


def change_at(path_before, path_after) -> np.ndarray:
    return values(path_after) - values(path_before)


def test_files_carry_dates_units_bands_and_nodata(scene):
    for path, day in (
        (scene.fine_reference, "fine_20240512.tif"),
        (scene.coarse_reference, "coarse_20240512.tif"),
        (scene.coarse_target, "coarse_20240715.tif"),
        (scene.truth, "truth_20240715.tif"),
    ):
        assert path.name == day
        with rasterio.open(path) as raster:
            assert raster.descriptions == BANDS
            assert set(raster.scales) == {0.0001}
            assert raster.dtypes[0] == "int16"
            assert raster.nodata < 0
            assert raster.crs.to_epsg() == 32633
            taken = raster.tags(ns="IMAGERY")["ACQUISITIONDATETIME"]
            assert taken.replace("-", "").startswith(path.stem[-8:])
            assert float(raster.tags(4, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"]) == 0.865
        # Noise makes dark water slightly negative here and there, as in real products.
        assert values(path).min() > -0.02
        assert values(path).max() < 1


def test_the_truth_has_the_grid_of_the_fine_reference(scene):
    with rasterio.open(scene.fine_reference) as fine, rasterio.open(scene.truth) as truth:
        assert fine.transform == truth.transform
        assert fine.shape == truth.shape == (200, 200)


def test_coarse_images_have_a_grid_of_their_own_that_covers_the_fine_one(scene):
    with rasterio.open(scene.fine_reference) as fine, rasterio.open(scene.coarse_target) as coarse:
        assert coarse.res == (480, 480)
        assert coarse.bounds.left < fine.bounds.left
        assert coarse.bounds.bottom < fine.bounds.bottom
        assert coarse.bounds.right > fine.bounds.right
        assert coarse.bounds.top > fine.bounds.top
        shift = (coarse.bounds.left - fine.bounds.left) / fine.res[0]
        assert abs(shift - round(shift)) > 0.001


def test_coarse_images_show_the_same_land(scene):
    with rasterio.open(scene.fine_reference) as fine, rasterio.open(scene.coarse_reference) as cell:
        rows, cols = np.mgrid[0:200, 0:200]
        xs, ys = fine.transform @ (cols + 0.5, rows + 0.5)
        where = ~cell.transform @ (xs, ys)
        number = where[1].astype(int) * cell.width + where[0].astype(int)
        full = np.bincount(number.ravel(), minlength=cell.width * cell.height) == 256
    for fine_band, coarse_band in zip(values(scene.fine_reference), values(scene.coarse_reference)):
        sums = np.bincount(number.ravel(), fine_band.ravel(), cell.width * cell.height)
        means = sums[full] / 256
        # A PSF wider than a cell, shifts and noise lower the correlation, as in real pairs.
        assert np.corrcoef(means, coarse_band.ravel()[full])[0, 1] > 0.8


def test_an_ideal_sensor_sees_the_mean_of_an_even_land():
    even = np.full((2, 120, 120), 0.3, dtype=np.float32)
    seen = through_psf(even, np.array([10.3, 20.7]), 5, 16)
    assert seen.shape == (2, 5, 5)
    # float32 weights that sum to 1 within rounding.
    assert seen == pytest.approx(0.3, abs=1e-5)


def test_the_psf_is_centred_on_the_cell():
    point = np.zeros((1, 129, 129), dtype=np.float32)
    point[0, 64, 64] = 1
    seen = through_psf(point, np.array([64.5 - 2.5 * 16] * 2), 5, 16)[0]
    assert np.unravel_index(seen.argmax(), seen.shape) == (2, 2)
    # Half the weight at half a cell: the full width at half maximum is one cell.
    edge = through_psf(point, np.array([64.5 - 16 / 2 - 8] * 2), 1, 16)[0, 0, 0]
    assert edge == pytest.approx(seen[2, 2] / 4, rel=1e-3)


def test_land_changes_between_the_dates_gradually_and_abruptly(scene):
    change = change_at(scene.fine_reference, scene.truth)[3]
    assert np.abs(change).mean() > 0.03
    assert np.mean(np.abs(change) < 0.03) > 0.2  # much stays
    before, after = values(scene.fine_reference)[3], values(scene.truth)[3]
    assert np.mean((before > 0.15) & (after < 0.05)) > 0.001  # flooded


def test_the_coarse_change_tells_of_the_fine_change(scene):
    fine = change_at(scene.fine_reference, scene.truth)[3]
    coarse = change_at(scene.coarse_reference, scene.coarse_target)[3]
    assert coarse[1:-1, 1:-1].mean() == pytest.approx(fine.mean(), abs=0.02)


def test_same_seed_same_scene_other_seed_another(tmp_path):
    first, same, other = (
        simulate(tmp_path / name, size=48, ratio=8, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.truth.read_bytes() == same.truth.read_bytes()
    assert first.coarse_target.read_bytes() == same.coarse_target.read_bytes()
    assert first.truth.read_bytes() != other.truth.read_bytes()


def test_scenes_of_a_seed_stay_what_they_were(tmp_path):
    scene = simulate(tmp_path, size=96, ratio=8, bands=3, seed=7)
    # Written by version 0.1.0; docs/evaluation.md is about such scenes. Counts may round otherwise.
    for path, first, last in (
        (scene.fine_reference, (378, 692, 652), (226, 416, 297)),
        (scene.truth, (392, 671, 604), (217, 361, 233)),
        (scene.coarse_reference, (479, 877, 1056), (265, 514, 416)),
        (scene.coarse_target, (185, 616, 289), (207, 492, 394)),
    ):
        with rasterio.open(path) as raster:
            counts = raster.read()
        assert counts[:, 3, 5] == pytest.approx(first, abs=1)
        assert counts[:, -4, -7] == pytest.approx(last, abs=1)


def test_ratio_bands_dates_and_clouds_are_as_asked(tmp_path):
    scene = simulate(
        tmp_path, size=60, ratio=7.5, bands=2, pixel=10, clouds=0.25,
        reference=date(2020, 2, 3), target=date(2020, 8, 9),
    )  # fmt: skip
    assert scene.fine_reference.name == "fine_20200203.tif"
    with rasterio.open(scene.coarse_target) as coarse:
        assert coarse.res == pytest.approx((75, 75))
        assert coarse.count == 2
    hidden = np.isnan(values(scene.fine_reference)).all(axis=0).mean()
    assert hidden == pytest.approx(0.25, abs=0.01)
    assert not np.isnan(values(scene.truth)).any()


def test_without_noise_the_coarse_images_are_the_land_through_the_psf(tmp_path):
    scenes = [simulate(tmp_path / str(n), size=80, ratio=8, noise=n) for n in (0, 1)]
    ideal, real = (values(scene.coarse_target) for scene in scenes)
    # Noise and bias of a few thousandths of reflectance; shifts of a tenth of a cell.
    assert 0.002 < np.abs(real - ideal).mean() < 0.03


def test_the_job_beside_the_scene_can_be_read(scene):
    job = Job.from_json(scene.job.read_text(encoding="utf-8"))
    assert job.model == "starfm"
    assert job.sources["coarse_target"].path == str(scene.coarse_target)
    assert job.sources["coarse_target"].date == "2024-07-15"
    assert job.references[0].date == "2024-05-12"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"bands": 7}, "bands is 7. Give a number from 1 to 6"),
        ({"ratio": 1}, "ratio is 1. Give a number from 1.5 to 100"),
        ({"size": 30, "ratio": 16}, "30 pixels hold less than 2 cells"),
        ({"clouds": 1}, "clouds is 1"),
        ({"target": date(2024, 5, 12)}, "Both dates are 2024-05-12"),
    ],
)
def test_settings_out_of_range_are_refused_with_their_value(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        Settings(**wrong)


def test_the_script_writes_a_scene_and_says_where(tmp_path):
    done = subprocess.run(
        [sys.executable, module.__file__, str(tmp_path / "out"), "--size", "48", "--ratio", "8"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert str(tmp_path / "out" / "fine_20240512.tif") in done.stdout
    assert json.loads((tmp_path / "out" / "job.json").read_text())["model"] == "starfm"


def test_the_script_explains_a_wrong_setting(tmp_path):
    done = subprocess.run(
        [sys.executable, module.__file__, str(tmp_path), "--bands", "9"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "bands is 9. Give a number from 1 to 6." in done.stderr
