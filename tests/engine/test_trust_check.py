"""The numbers of the trust check against plain means over cells."""

from __future__ import annotations

import math

import numpy as np
import pytest

ROWS, COLS = 90, 110


def brute_force(image, target, size, origin=(0.0, 0.0)):
    """Root mean square difference per band over whole cells.

    A pixel belongs to the cell that holds its centre; ``size`` is the cell's side in fine pixels,
    ``origin`` the first cell's corner (row, col) in fine pixels.
    """
    _, rows, cols = target.shape
    sums = np.zeros(target.shape)
    counts = np.zeros(target.shape)
    for row in range(image.shape[1]):
        for col in range(image.shape[2]):
            i = math.floor((row + 0.5 - origin[0]) / size)
            j = math.floor((col + 0.5 - origin[1]) / size)
            if 0 <= i < rows and 0 <= j < cols:
                valid = np.isfinite(image[:, row, col])
                sums[valid, i, j] += image[valid, row, col]
                counts[valid, i, j] += 1
    known = (counts >= 0.9 * math.floor(size) ** 2) & np.isfinite(target)
    off = np.where(known, sums / np.maximum(counts, 1) - target, np.nan)
    return np.sqrt(np.nanmean(off**2, axis=(1, 2))), int(known.any(axis=0).sum())


def coarse_of(fine, size, origin, shape):
    out = np.empty((len(fine), *shape))
    for i in range(shape[0]):
        for j in range(shape[1]):
            top, left = origin[0] + i * size, origin[1] + j * size
            rows = slice(max(round(top), 0), max(round(top + size), 1))
            cols = slice(max(round(left), 0), max(round(left + size), 1))
            part = fine[:, rows, cols]
            out[:, i, j] = part.mean(axis=(1, 2)) if part.size else fine.mean(axis=(1, 2))
    return out


def build(rasters, rng, size, origin, holes=0.0, **options):
    """A scene and what the engine should find for the trivial answers."""
    fields = rng.random((2, 10, 11)).repeat(9, axis=1).repeat(10, axis=2)
    fine = (fields + 0.1 * rng.random((2, ROWS, COLS))).astype("float32")
    later = 0.8 * fields + 0.1 * rng.random((2, ROWS, COLS)) + 0.2
    shape = math.ceil((ROWS - origin[0]) / size), math.ceil((COLS - origin[1]) / size)
    coarse = coarse_of(fine, size, origin, shape).astype("float32")
    target = coarse_of(later, size, origin, shape).astype("float32")
    if holes:
        fine[0][rng.random((ROWS, COLS)) < holes] = np.nan
        target[1, 2, 3] = np.nan
    grid = rasters.grid(30.0 * size, 500_000 + 30 * origin[1], 5_300_000 - 30 * origin[0])
    job = rasters.spatiotemporal(
        rasters.write("t", target, grid),
        (rasters.write("c", coarse, grid), rasters.write("f", fine)),
        harmonise="never",
        **options,
    )
    return job, fine, target


CASES = [
    (10, (0.0, 0.0), 0.0),
    (10, (-4.0, -7.0), 0.0),
    (10, (0.0, 0.0), 0.03),
    (7.3, (-1.2, -3.9), 0.0),
    (4.3, (-1.2, -3.9), 0.02),
]


@pytest.mark.parametrize("model", ["fine_plus_change", "starfm"])
@pytest.mark.parametrize(("size", "origin", "holes"), CASES)
def test_figures_are_differences_of_cell_means(rasters, rng, size, origin, holes, model):
    job, fine, target = build(rasters, rng, size, origin, holes, model=model)
    result, report = rasters.fuse(job)
    answers = {answer["id"]: answer for answer in report["trust"]["answers"]}
    seen = np.where(np.isfinite(result), fine, np.nan)  # compared on the same pixels
    for name, image in (("result", result), ("copy_fine", seen)):
        expected, count = brute_force(image, target, size, origin)
        np.testing.assert_allclose(answers[name]["rmse"], expected, rtol=1e-4)
        assert answers[name]["mean"] == pytest.approx(np.mean(expected), rel=1e-4)
        assert report["trust"]["cells"] == count
    if model == "fine_plus_change":
        assert answers["fine_plus_change"]["rmse"] == pytest.approx(answers["result"]["rmse"])


@pytest.mark.parametrize("tile", [32, 64, 1000])
def test_figures_do_not_depend_on_the_tiles(rasters, rng, tile):
    job, _, target = build(rasters, rng, 7.3, (-1.2, -3.9), tile=tile)
    result, report = rasters.fuse(job)
    expected, _ = brute_force(result, target, 7.3, (-1.2, -3.9))
    np.testing.assert_allclose(report["trust"]["answers"][0]["rmse"], expected, rtol=1e-4)


def test_a_pansharpened_image_is_compared_with_the_multispectral_one(rasters, rng):
    ground = rng.random((3, 16, 16)).repeat(5, axis=1).repeat(5, axis=2)
    ms = ground.reshape(3, 20, 4, 20, 4).mean(axis=(2, 4)).astype("float32")
    job = rasters.pansharpening(
        rasters.write("ms", ms, rasters.grid(60.0)),
        rasters.write("pan", ground.mean(axis=0), rasters.grid(15.0)),
    )
    result, report = rasters.fuse(job)
    answers = {answer["id"]: answer for answer in report["trust"]["answers"]}
    assert set(answers) == {"result", "interpolated"}
    expected, count = brute_force(result, ms, 4)
    np.testing.assert_allclose(answers["result"]["rmse"], expected, rtol=1e-4)
    assert report["trust"]["cells"] == count == 400


def test_nothing_changed_makes_the_copy_perfect_and_the_verdict_says_so(rasters, rng):
    fine = rng.random((1, 9, 9)).repeat(10, axis=1).repeat(10, axis=2).astype("float32")
    coarse = fine[:, ::10, ::10]
    grid = rasters.grid(300.0)
    path = rasters.write("c", coarse, grid)
    _, report = rasters.fuse(
        rasters.spatiotemporal(path, (path, rasters.write("f", fine)), model="starfm")
    )
    answers = {answer["id"]: answer for answer in report["trust"]["answers"]}
    assert answers["copy_fine"]["mean"] < 1e-6
    assert "copy of the fine reference agrees" in report["trust"]["verdict"]
    assert "Compare" in report["trust"]["verdict"]


def test_a_great_change_that_the_result_follows_is_praised(rasters, rng):
    fine = rng.random((1, 9, 9)).repeat(10, axis=1).repeat(10, axis=2).astype("float32")
    grid = rasters.grid(300.0)
    target = rasters.write("t", fine[:, ::10, ::10] + 3, grid)
    pair = rasters.write("c", fine[:, ::10, ::10], grid), rasters.write("f", fine)
    _, report = rasters.fuse(rasters.spatiotemporal(target, pair, model="starfm"))
    answers = {answer["id"]: answer["mean"] for answer in report["trust"]["answers"]}
    assert answers["copy_fine"] == pytest.approx(3, rel=1e-3)
    assert answers["result"] < 0.2
    assert "better than" in report["trust"]["verdict"]


def test_a_scene_smaller_than_a_cell_has_no_trust_check_but_a_result(rasters, rng):
    fine = rng.random((1, 8, 8)).astype("float32")
    grid = rasters.grid(3000.0, 499_000.0, 5_301_000.0)
    path = rasters.write("c", np.full((1, 4, 4), 0.5), grid)
    result, report = rasters.fuse(rasters.spatiotemporal(path, (path, rasters.write("f", fine))))
    assert report["trust"] is None
    np.testing.assert_allclose(result, fine, atol=1e-5)


def test_cells_resampled_beforehand_by_nearest_neighbour_are_found(rasters, rng):
    """Coarse images on the fine grid, by nearest neighbour, cut so that cells start inside."""
    fields = rng.random((1, 14, 16))
    blocks = fields.repeat(8, axis=1).repeat(8, axis=2)[:, 3 : 3 + ROWS, 5 : 5 + COLS]
    fine = blocks + 0.05 * rng.standard_normal(blocks.shape)
    pair = rasters.write("c", blocks), rasters.write("f", fine)
    _, report = rasters.fuse(
        rasters.spatiotemporal(rasters.write("t", blocks + 0.5), pair, harmonise="never")
    )
    assert report["grid"]["ratio"] == 8
    # Means of 64 pixels of noise.
    assert report["trust"]["answers"][0]["mean"] < 0.01


def test_the_stated_cell_size_is_used_for_images_resampled_beforehand(rasters, rng):
    smooth = np.add.outer(np.arange(ROWS), np.arange(COLS))[None] / 100.0
    fine = smooth + 0.05 * rng.standard_normal(smooth.shape)
    images = [rasters.write("t", smooth + 0.5), rasters.write("c", smooth)]
    target, coarse = ({"path": path, "cell_size": 300.0} for path in images)
    result, report = rasters.fuse(
        rasters.spatiotemporal(target, (coarse, rasters.write("f", fine)), harmonise="never")
    )
    assert report["grid"]["ratio"] == 10
    assert report["trust"]["cells"] == 9 * 11
    means = smooth.reshape(1, 9, 10, 11, 10).mean(axis=(2, 4)) + 0.5
    expected, _ = brute_force(result, means, 10)
    np.testing.assert_allclose(report["trust"]["answers"][0]["rmse"], expected, rtol=1e-3)
