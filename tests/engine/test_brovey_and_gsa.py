"""Brovey and GSA against their formulas in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterfuse.models.errors import FusionError
from rasterio.enums import Resampling
from rasterio.warp import reproject

ROWS, COLS = 96, 128


def land(rng, bands, level=0.3):
    """(bands, rows, cols) of fields, edges and noise; bands correlate as real ones do."""
    common = rng.random((1, ROWS // 6, COLS // 8)).repeat(6, axis=1).repeat(8, axis=2)
    own = rng.random((bands, ROWS // 12, COLS // 16)).repeat(12, axis=1).repeat(16, axis=2)
    return level * (0.4 + common + 0.3 * own + 0.05 * rng.random((bands, ROWS, COLS)))


def cells(image, ratio):
    bands, rows, cols = image.shape
    return image.reshape(bands, rows // ratio, ratio, cols // ratio, ratio).mean(axis=(2, 4))


def interpolated(path, ratio):
    """The multispectral image on the fine grid by GDAL's cubic, not through the engine."""
    with rasterio.open(path) as file:
        out = np.empty((file.count, ROWS, COLS))
        transform = file.transform @ file.transform.scale(1 / ratio)
        reproject(
            file.read().astype("float64"), out, src_transform=file.transform, src_crs=file.crs,
            dst_transform=transform, dst_crs=file.crs, resampling=Resampling.cubic,
        )  # fmt: skip
    return out


def gsa(coarse, fine, image, pan_cells):
    """GSA from Vivone et al. (2021): (bands, rows, cols) float64.

    Args:
        coarse: (bands, cells) multispectral values.
        fine: (rows, cols) pan.
        image: (bands, rows, cols) interpolated multispectral image.
        pan_cells: (cells,) pan over the coarse cells.
    """
    design = np.column_stack([coarse.T - coarse.mean(axis=1), np.ones(coarse.shape[1])])
    alpha = np.linalg.lstsq(design, pan_cells - fine.mean(), rcond=None)[0][:-1]
    flat = image.reshape(len(image), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    intensity = alpha @ centred
    gains = [np.cov(intensity, band)[0, 1] / np.var(intensity, ddof=1) for band in centred]
    detail = fine.ravel() - fine.mean() - intensity
    return (flat + np.outer(gains, detail)).reshape(image.shape)


@pytest.mark.parametrize("ratio", [2, 4])
@pytest.mark.parametrize("bands", [1, 3, 7])
def test_gsa_is_what_the_formulas_say(rasters, rng, bands, ratio):
    ground = land(rng, bands)
    pan = np.linspace(0.2, 0.9, bands) @ ground.reshape(bands, -1) + 0.02 * rng.random(ROWS * COLS)
    pan = pan.reshape(1, ROWS, COLS).astype("float32")
    ms = cells(ground, ratio).astype("float32")
    ms_path = rasters.write("ms", ms, rasters.grid(15.0 * ratio))
    job = rasters.pansharpening(ms_path, rasters.write("pan", pan, rasters.grid(15.0)), "gsa")
    result, _ = rasters.fuse(job)
    expected = gsa(
        ms.reshape(bands, -1), pan[0].astype(float), interpolated(ms_path, ratio),
        cells(pan, ratio).ravel(),
    )  # fmt: skip
    # The engine computes in float32; alphas of correlated bands magnify its rounding.
    np.testing.assert_allclose(result, expected, atol=2e-5)
    assert np.abs(result - interpolated(ms_path, ratio)).max() > 0.05  # detail came in


def test_gsa_restores_the_truth_when_pan_is_a_mixture_of_identical_detail(rasters, rng):
    """All bands share their detail, and pan is one of them: nothing is left unknown."""
    ground = land(rng, 1)
    bands = np.concatenate([ground, 0.5 * ground + 0.1, 2 * ground - 0.05])
    ms = rasters.write("ms", cells(bands, 4), rasters.grid(60.0))
    pan = rasters.write("pan", ground, rasters.grid(15.0))
    result, _ = rasters.fuse(rasters.pansharpening(ms, pan, "gsa"))
    gap = np.abs(result - bands)[:, 8:-8, 8:-8].mean(axis=(1, 2)) / bands.std(axis=(1, 2))
    assert (gap < 0.02).all()


def test_gsa_reports_the_weights_of_the_bands(rasters, rng):
    ground = land(rng, 2)
    ms = rasters.write("ms", cells(ground, 4), rasters.grid(60.0))
    pan = rasters.write("pan", 0.25 * ground[0] + 0.75 * ground[1], rasters.grid(15.0))
    _, report = rasters.fuse(rasters.pansharpening(ms, pan, "gsa"))
    assert any("0.25, 0.75" in text for text in report["notes"])


def test_gsa_of_a_multispectral_image_on_the_pan_grid_uses_the_stated_cells(rasters, rng):
    """Many packages deliver it resampled; its own pixels would then give other weights."""
    ground = land(rng, 2)
    coarse = cells(ground, 4).repeat(4, axis=1).repeat(4, axis=2)
    ms = {"path": rasters.write("ms", coarse, rasters.grid(15.0)), "cell_size": 60.0}
    pan = rasters.write("pan", 0.25 * ground[0] + 0.75 * ground[1], rasters.grid(15.0))
    _, report = rasters.fuse(rasters.pansharpening(ms, pan, "gsa"))
    assert report["grid"]["ratio"] == 4
    assert any("0.25, 0.75" in text for text in report["notes"])
    assert report["trust"]["cells"] == ROWS * COLS // 16


@pytest.mark.parametrize("bands", [2, 3, 8])
def test_brovey_leaves_the_spectral_angle_exactly(rasters, rng, bands):
    ground = land(rng, bands)
    ms = rasters.write("ms", cells(ground, 4), rasters.grid(60.0))
    pan = rasters.write("pan", 3 * ground.mean(axis=0) + 0.2, rasters.grid(15.0))
    result, _ = rasters.fuse(rasters.pansharpening(ms, pan))
    before = interpolated(ms, 4)
    factor = result / before
    # One factor for all bands of a pixel is the same direction; float32 has 7 digits.
    np.testing.assert_allclose(factor, factor[:1] * np.ones((bands, 1, 1)), rtol=2e-6)
    assert factor.std() > 0.03


def test_brovey_is_what_the_formula_says(rasters, rng):
    ground = land(rng, 3)
    pan = (3 * ground.mean(axis=0, keepdims=True) + 0.2).astype("float32")
    ms = rasters.write("ms", cells(ground, 4), rasters.grid(60.0))
    result, _ = rasters.fuse(
        rasters.pansharpening(ms, rasters.write("pan", pan, rasters.grid(15.0)))
    )
    image = interpolated(ms, 4)
    intensity = image.mean(axis=0)
    matched = (pan[0] - pan.mean()) * intensity.std() / pan.std() + intensity.mean()
    np.testing.assert_allclose(result, image * matched / intensity, rtol=1e-5)


@pytest.mark.parametrize("model", ["brovey", "gsa"])
@pytest.mark.parametrize("value", [0.0862, 0.1623, 1 / 3, 300.1, 316.9231, 9999.1])
@pytest.mark.parametrize("side", [92, 300])
def test_a_constant_pan_adds_no_noise(rasters, rng, model, value, side):
    """Rounding leaves a constant a tiny spread, which must not be taken for detail."""
    cell = rng.random((3, side // 4, side // 4)) + 0.5
    ms = rasters.write("ms", value * cell, rasters.grid(60.0))
    pan = rasters.write("pan", np.full((side, side), value), rasters.grid(15.0))
    result, _ = rasters.fuse(rasters.pansharpening(ms, pan, model))
    assert np.abs(result).max() < 6 * value
    spread = np.corrcoef(result[0, 2::4, 2::4].ravel(), cell[0].ravel())[0, 1]
    assert spread > 0.8
    if model == "brovey":  # every pixel has the intensity that pan has, the same everywhere
        assert np.ptp(result.mean(axis=0)) < 1e-4 * value
    assert result.mean() == pytest.approx((value * cell).mean(), rel=0.02)


@pytest.mark.parametrize("model", ["brovey", "gsa"])
def test_one_constant_band_stays_constant_in_proportion(rasters, rng, model):
    ground = land(rng, 3)
    ground[1] = 0.25
    ms = rasters.write("ms", cells(ground, 4), rasters.grid(60.0))
    pan = rasters.write("pan", ground.mean(axis=0), rasters.grid(15.0))
    result, _ = rasters.fuse(rasters.pansharpening(ms, pan, model))
    assert np.isfinite(result).all()
    if model == "gsa":
        np.testing.assert_allclose(result[1], 0.25, atol=1e-4)


@pytest.mark.parametrize("model", ["brovey", "gsa"])
def test_bands_that_are_copies_of_each_other_are_no_problem(rasters, rng, model):
    ground = land(rng, 1).repeat(3, axis=0)
    ms = rasters.write("ms", cells(ground, 4), rasters.grid(60.0))
    pan = rasters.write("pan", ground[0], rasters.grid(15.0))
    result, _ = rasters.fuse(rasters.pansharpening(ms, pan, model))
    np.testing.assert_allclose(result, result[:1].repeat(3, axis=0), atol=1e-6)
    # Brovey stretches pan to the spread of the coarse image, which is smaller.
    gap = np.abs(result - ground)[:, 8:-8, 8:-8].mean() / ground.std()
    assert gap < (0.2 if model == "brovey" else 0.01)


@pytest.mark.parametrize("model", ["brovey", "gsa"])
def test_clouds_take_no_part_in_the_statistics(rasters, rng, model):
    ground = land(rng, 3)
    pan = ground.mean(axis=0, keepdims=True)
    clean = rasters.fuse(
        rasters.pansharpening(
            rasters.write("ms", cells(ground, 4), rasters.grid(60.0)),
            rasters.write("pan", pan, rasters.grid(15.0)), model,
        )
    )[0]  # fmt: skip
    coarse, cloudy = cells(ground, 4), pan.copy()
    coarse[:, 2:5, 3:6] = -9999
    cloudy[:, 40:48, 60:70] = -9999
    holed, _ = rasters.fuse(
        rasters.pansharpening(
            rasters.write("ms", coarse, rasters.grid(60.0), nodata=-9999),
            rasters.write("pan", cloudy, rasters.grid(15.0), nodata=-9999), model,
        )
    )  # fmt: skip
    missing = np.zeros((ROWS, COLS), bool)
    missing[8:20, 12:24] = missing[40:48, 60:70] = True
    assert (np.isnan(holed) == missing).all()
    near = np.zeros_like(missing)
    near[:28, 4:32] = True
    np.testing.assert_allclose(holed[:, ~missing & ~near], clean[:, ~missing & ~near], rtol=0.02)


def test_gsa_says_when_there_are_too_few_cells(rasters, rng):
    ground = land(rng, 7)
    coarse = np.full((7, 24, 32), np.nan)
    coarse[:, 3:5, 4:7] = cells(ground, 4)[:, 3:5, 4:7]
    ms = rasters.write("ms", coarse, rasters.grid(60.0))
    pan = rasters.write("pan", ground.mean(axis=0), rasters.grid(15.0))
    with pytest.raises(FusionError, match=r"Only 6 coarse cells .* more than 7"):
        rasters.fuse(rasters.pansharpening(ms, pan, "gsa"))
    assert rasters.leftovers() == []


@pytest.mark.parametrize("model", ["brovey", "gsa"])
def test_a_pan_of_two_bands_is_refused(rasters, rng, model):
    ground = land(rng, 3)
    ms = rasters.write("ms", cells(ground, 4), rasters.grid(60.0))
    pan = rasters.write("pan", ground[:2], rasters.grid(15.0))
    with pytest.raises(FusionError, match=r"takes 1 band of pan\.tif, 2 are chosen"):
        rasters.fuse(rasters.pansharpening(ms, pan, model))


def test_brovey_of_one_band_is_refused(rasters, rng):
    ground = land(rng, 1)
    ms = rasters.write("ms", cells(ground, 4), rasters.grid(60.0))
    pan = rasters.write("pan", ground, rasters.grid(15.0))
    with pytest.raises(FusionError, match=r"at least 2 bands, ms\.tif has 1"):
        rasters.fuse(rasters.pansharpening(ms, pan))


@pytest.mark.parametrize("model", ["brovey", "gsa"])
def test_statistics_of_a_large_scene_come_from_all_its_parts(rasters, rng, model, monkeypatch):
    """Beyond four million pixels only a sample is read; the result must hardly change."""
    from rasterfuse.plugin.engine import scene

    ground = np.tile(land(rng, 3), (1, 6, 4))
    ground *= 1 + np.linspace(0, 1, ground.shape[2])  # a trend over the scene
    ms = rasters.write("ms", cells(ground, 4), rasters.grid(60.0))
    pan = rasters.write("pan", ground.mean(axis=0), rasters.grid(15.0))
    whole, _ = rasters.fuse(rasters.pansharpening(ms, pan, model))
    real = scene.sample_windows
    monkeypatch.setattr(scene, "sample_windows", lambda r, c, n: real(r, c, 80_000, 32))
    sampled, _ = rasters.fuse(rasters.pansharpening(ms, pan, model))
    assert np.abs(sampled - whole).mean() < 0.02 * whole.std()
