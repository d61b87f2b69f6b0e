"""Coarse images in other units are noticed, fitted per band, and the numbers are reported."""

from __future__ import annotations

import numpy as np
import pytest

RATIO, SIZE = 8, 160


def block_mean(fine):
    bands, rows, cols = fine.shape
    shape = (bands, rows // RATIO, RATIO, cols // RATIO, RATIO)
    return fine.reshape(shape).mean(axis=(2, 4))


@pytest.fixture
def land(rng):
    """(3, 160, 160) reflectance of fields with noise, each band at its own level."""
    fields = rng.random((3, 20, 20)).repeat(8, axis=1).repeat(8, axis=2)
    noise = 0.02 * rng.standard_normal((3, SIZE, SIZE))
    return np.array([0.08, 0.12, 0.3])[:, None, None] * (0.5 + fields) + 0.05 * noise


@pytest.fixture
def scene(rasters, land):
    """Give a job whose coarse images are ``seen`` of the cell means; the change is +10 %."""

    def build(seen, model="fine_plus_change", fine_factor=1.0, **options):
        coarse, target = seen(block_mean(land)), seen(block_mean(1.1 * land))
        grid = rasters.grid(30.0 * RATIO)
        return rasters.spatiotemporal(
            rasters.write("t", target, grid),
            (rasters.write("c", coarse, grid), rasters.write("f", fine_factor * land)),
            model=model,
            **options,
        )

    return build


def per_band(numbers):
    return np.array(numbers)[:, None, None]


def assert_grew_by_a_tenth(result, land, factor=1.0):
    """Mean of every band, which harmonised coarse images have to carry over."""
    ratio = result.mean(axis=(1, 2)) / (factor * land.mean(axis=(1, 2)))
    np.testing.assert_allclose(ratio, 1.1, atol=0.005)


@pytest.mark.parametrize("model", ["fine_plus_change", "starfm"])
@pytest.mark.parametrize(
    ("fine_factor", "coarse_factor"),
    [(10000, 1), (1, 10000), (1, 100), (255, 1), (1, 1000)],
)
def test_units_that_differ_by_a_factor_are_noticed_and_mended(
    rasters, land, scene, model, fine_factor, coarse_factor
):
    job = scene(lambda cells: coarse_factor * cells, model, fine_factor)
    result, report = rasters.fuse(job)
    assert report["harmonisation"]["applied"]
    assert any(report["harmonisation"]["reason"] == text for text in report["warnings"])
    assert_grew_by_a_tenth(result, land, fine_factor)


def test_a_power_of_ten_is_named_and_applied_exactly(rasters, land, scene):
    _, report = rasters.fuse(scene(lambda cells: cells, fine_factor=10000))
    harmonisation = report["harmonisation"]
    assert "10000" in harmonisation["reason"]
    for band in harmonisation["bands"]:
        assert band["applied_gain"] == 10000
        assert band["applied_offset"] == 0
        assert band["gain"] == pytest.approx(10000, rel=0.02)


def test_gain_and_offset_of_every_band_are_found_and_reported(rasters, land, scene):
    gains, offsets = per_band([40.0, 0.02, 300.0]), per_band([-3.0, 7.0, 900.0])
    result, report = rasters.fuse(scene(lambda cells: (cells - offsets / 1e3) / gains))
    harmonisation = report["harmonisation"]
    assert harmonisation["mode"] == "auto"
    assert harmonisation["applied"]
    for band, gain, offset in zip(harmonisation["bands"], gains.ravel(), offsets.ravel() / 1e3):
        # The coarse values are exact lines of the cell means, so the line is found exactly.
        assert band["gain"] == pytest.approx(gain, rel=1e-3)
        assert band["offset"] == pytest.approx(offset, abs=2e-3)
        assert band["applied_gain"] == pytest.approx(gain, rel=1e-3)
        assert abs(band["correlation"]) == pytest.approx(1, abs=1e-4)
        assert band["rmse_after"] < 1e-3
        assert band["rmse_before"] > 0.05
        assert band["cells"] == 400
    assert [band["band"] for band in harmonisation["bands"]] == [1, 2, 3]
    assert_grew_by_a_tenth(result, land)


def test_images_in_the_same_units_are_left_alone(rasters, land, scene, rng):
    noise = 0.01 * rng.standard_normal((3, 20, 20))
    result, report = rasters.fuse(scene(lambda cells: 0.95 * cells + 0.004 + noise))
    harmonisation = report["harmonisation"]
    assert not harmonisation["applied"]
    assert "same units" in harmonisation["reason"]
    assert not any("units" in text for text in report["warnings"])
    # What would have been done is reported all the same.
    assert all(0.8 < band["gain"] < 1.25 for band in harmonisation["bands"])
    assert all(band["applied_gain"] == 1 for band in harmonisation["bands"])
    assert result.mean() == pytest.approx(land.mean() * 1.095, rel=0.01)


def test_always_fits_a_line_also_in_the_same_units(rasters, land, scene):
    job = scene(lambda cells: 0.8 * cells + 0.05, harmonise="always")
    result, report = rasters.fuse(job)
    assert report["harmonisation"]["applied"]
    for band in report["harmonisation"]["bands"]:
        assert band["applied_gain"] == pytest.approx(1 / 0.8, rel=1e-3)
        assert band["applied_offset"] == pytest.approx(-0.05 / 0.8, abs=1e-3)
    assert_grew_by_a_tenth(result, land)


def test_never_leaves_other_units_and_says_so(rasters, land, scene):
    _, report = rasters.fuse(scene(lambda cells: 10000 * cells, harmonise="never"))
    assert not report["harmonisation"]["applied"]
    # The numbers are still there for the user to see what is wrong.
    assert report["harmonisation"]["bands"][0]["gain"] == pytest.approx(1e-4, rel=0.02)
    texts = [text for text in report["warnings"] if "unit" in text]
    assert len(texts) == 1
    assert len(texts[0].split()) > 5  # a sentence, not a word


def test_one_band_without_structure_does_not_hinder_the_others(rasters, land, scene):
    """Water in one band: constant coarse values, no line to fit."""

    def seen(cells):
        return np.stack([10000 * cells[0], 10000 * cells[1], 0 * cells[2] + 3000])

    result, report = rasters.fuse(scene(seen))
    harmonisation = report["harmonisation"]
    assert harmonisation["applied"], harmonisation["reason"]
    ratio = result.mean(axis=(1, 2)) / land.mean(axis=(1, 2))
    np.testing.assert_allclose(ratio[:2], 1.1, atol=0.01)
    assert np.isfinite(result).all()


def test_bands_that_cannot_be_fitted_are_named(rasters, land, scene):
    def seen(cells):
        return np.stack([7777 * cells[0], 7777 * cells[1], 0 * cells[2] + 9000])

    result, report = rasters.fuse(scene(seen))
    assert not report["harmonisation"]["applied"]
    assert any("band 3" in text and "State scale" in text for text in report["warnings"])
    assert np.isfinite(result).all()


def test_clouds_do_not_make_equal_units_look_different(rasters, land, scene, rng):
    def seen(cells):
        cells = cells.copy()
        cells[:, rng.random((20, 20)) < 0.15] = 0.9
        return cells

    _, report = rasters.fuse(scene(seen))
    assert not report["harmonisation"]["applied"]


def test_always_on_unrelated_images_does_nothing_and_says_so(rasters, land, scene, rng):
    means = block_mean(land)
    noise = means.mean() + means.std() * rng.standard_normal(means.shape)
    _, report = rasters.fuse(scene(lambda cells: noise, harmonise="always"))
    assert not report["harmonisation"]["applied"]
    assert any("hardly agree" in text for text in report["warnings"])


def test_clouds_in_one_image_do_not_disturb_the_fit(rasters, land, scene, rng):
    def seen(cells):
        cells = cells * 10000
        cells[:, rng.random((20, 20)) < 0.1] = 9000  # bright clouds
        return cells

    _, report = rasters.fuse(scene(seen, harmonise="always"))
    for band in report["harmonisation"]["bands"]:
        assert band["gain"] == pytest.approx(1e-4, rel=0.05)


def test_result_stays_in_the_units_of_the_fine_image(rasters, land, scene):
    job = scene(lambda cells: cells, fine_factor=10000)
    result, report = rasters.fuse(job)
    assert np.median(result) == pytest.approx(10000 * np.median(1.1 * land), rel=0.02)
    # The trust check compares in the same units.
    means = {answer["id"]: answer["mean"] for answer in report["trust"]["answers"]}
    assert means["copy_fine"] == pytest.approx(1000 * land.mean(), rel=0.2)
    assert means["result"] < 0.2 * means["copy_fine"]


def test_pairs_are_fitted_together(rasters, land):
    grid = rasters.grid(30.0 * RATIO)
    pairs = []
    for k, factor in enumerate((1.0, 0.7)):
        coarse = rasters.write(f"c{k}", 10000 * block_mean(factor * land), grid)
        pairs.append((coarse, rasters.write(f"f{k}", factor * land)))
    target = rasters.write("t", 10000 * block_mean(0.85 * land), grid)
    result, report = rasters.fuse(rasters.spatiotemporal(target, *pairs))
    assert report["harmonisation"]["bands"][0]["cells"] == 800
    np.testing.assert_allclose(result.mean(axis=(1, 2)), 0.85 * land.mean(axis=(1, 2)), rtol=0.01)
