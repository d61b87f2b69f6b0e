"""The numbers of the trust check against sums over pixels, one cell after the other."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import psf
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


def build(rasters, rng, size, origin, holes=0.0, view=None, **options):
    """A job, its fine image and its target.

    Coarse pixels are plain means; with a view (width in cells, shift in pixels) they are blurred.
    """
    if view is None:
        land = rng.random((2, 10, 11)).repeat(9, axis=1).repeat(10, axis=2)
    else:
        land = psf.land(rng, ROWS, COLS, sizes=(5, 14))
    fine = (land + 0.1 * rng.random((2, ROWS, COLS))).astype("float32")
    later = 0.8 * land + 0.1 * rng.random((2, ROWS, COLS)) + 0.2
    shape = math.ceil((ROWS - origin[0]) / size), math.ceil((COLS - origin[1]) / size)
    if view is None:
        coarse, target = (coarse_of(image, size, origin, shape) for image in (fine, later))
    else:
        at, sigma, shift = centres_of(size, origin, shape), view[0] * size, view[1]
        coarse, target = (
            psf.seen(image, at, sigma, shift)[0].reshape(2, *shape) for image in (fine, later)
        )
    coarse, target = coarse.astype("float32"), target.astype("float32")
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


def centres_of(size, origin, shape):
    rows, cols = (np.arange(n) * size + size / 2 + o for n, o in zip(shape, origin))
    return np.stack(np.meshgrid(rows, cols, indexing="ij")).reshape(2, -1)


CASES = [
    (10, (0.0, 0.0), 0.0),
    (10, (-4.0, -7.0), 0.0),
    (10, (0.0, 0.0), 0.03),
    (7.3, (-1.2, -3.9), 0.0),
    (4.3, (-1.2, -3.9), 0.02),
]


def through_psf(image, target, size, origin, known, report):
    """Root mean square difference per band between the target and what its cells see."""
    found = {item["image"]: item for item in report["observation"]}
    assert all(item["reliable"] for item in found.values())
    view = found["coarse 1"]["sigma"], found["coarse_target"]["shift"]
    centres = centres_of(size, origin, target.shape[1:])
    values, share = psf.seen(image, centres, *view, reach=3.5, known=known)
    off = np.where(share > 0.75, values - target.reshape(len(target), -1), np.nan)
    return np.sqrt(np.nanmean(off**2, axis=1)), int(np.isfinite(off).any(axis=0).sum())


@pytest.mark.parametrize("model", ["fine_plus_change", "starfm"])
@pytest.mark.parametrize(("size", "origin", "holes"), CASES)
@pytest.mark.parametrize("view", [None, (0.45, (0.0, 0.0)), (0.45, (2.4, -1.7))])
def test_figures_are_differences_of_what_the_cells_see(
    rasters, rng, size, origin, holes, model, view
):
    job, fine, target = build(rasters, rng, size, origin, holes, view, model=model)
    result, report = rasters.fuse(job)
    change, _ = rasters.fuse(replace(job, model="fine_plus_change"))
    coarse = rasters.read(job.references[0].coarse.path)
    answers = {answer["id"]: answer for answer in report["trust"]["answers"]}
    mean = np.nanmean(target - coarse, axis=(1, 2))[:, None, None]
    images = {
        "result": result, "copy_fine": fine, "fine_plus_change": change,
        "fine_plus_mean_change": fine + mean,
    }  # fmt: skip
    assert set(images) == set(answers)
    known = np.isfinite(result) & np.isfinite(fine) & np.isfinite(change)
    through = "cell means" if view is None else "observation model"
    assert report["trust"]["seen_through"] == through
    for name, image in images.items():
        expected, count = (
            brute_force(np.where(known, image, np.nan), target, size, origin)
            if view is None
            else through_psf(image, target, size, origin, known, report)
        )
        np.testing.assert_allclose(answers[name]["rmse"], expected, rtol=1e-4)
        assert answers[name]["mean"] == pytest.approx(np.mean(expected), rel=1e-4)
        assert report["trust"]["cells"] == count


@pytest.mark.parametrize("tile", [32, 64, 1000])
@pytest.mark.parametrize("view", [None, (0.45, (2.4, -1.7))])
def test_figures_do_not_depend_on_the_tiles(rasters, rng, tile, view):
    job, _, target = build(rasters, rng, 7.3, (-1.2, -3.9), view=view, tile=tile)
    result, report = rasters.fuse(job)
    expected, _ = (
        brute_force(result, target, 7.3, (-1.2, -3.9))
        if view is None
        else through_psf(result, target, 7.3, (-1.2, -3.9), np.isfinite(result), report)
    )
    np.testing.assert_allclose(report["trust"]["answers"][0]["rmse"], expected, rtol=1e-4)


@pytest.mark.parametrize("tile", [32, 1000])
def test_where_the_blur_is_not_known_plain_means_are_compared(rasters, rng, tile):
    """Coarse images that have nothing to do with the fine ones."""
    fine = rng.random((2, ROWS, COLS)).astype("float32")
    grid = rasters.grid(300.0)
    coarse, target = rng.random((2, 2, 9, 11)).astype("float32")
    pair = rasters.write("c", coarse, grid), rasters.write("f", fine)
    job = rasters.spatiotemporal(
        rasters.write("t", target, grid), pair, harmonise="never", tile=tile, model="starfm"
    )
    result, report = rasters.fuse(job)
    assert not any(item["reliable"] for item in report["observation"])
    assert report["trust"]["seen_through"] == "cell means"
    answers = {answer["id"]: answer for answer in report["trust"]["answers"]}
    mean = (target - coarse).mean(axis=(1, 2))[:, None, None]
    for name, image in (
        ("result", result), ("copy_fine", fine), ("fine_plus_mean_change", fine + mean),
    ):  # fmt: skip
        expected, count = brute_force(image, target, 10)
        np.testing.assert_allclose(answers[name]["rmse"], expected, rtol=1e-4)
        assert report["trust"]["cells"] == count


@pytest.mark.parametrize("model", ["copy_fine", "fine_plus_change", "fine_plus_mean_change"])
@pytest.mark.parametrize("change", [0.0, 0.5])
def test_a_simple_answer_is_shown_beside_the_others_but_not_compared_with_itself(
    rasters, rng, model, change
):
    fine = psf.land(rng, 120, 120).astype("float32")
    grid = rasters.grid(300.0)
    coarse = fine.reshape(2, 12, 10, 12, 10).mean(axis=(2, 4))
    target = coarse + change + 0.02 * rng.standard_normal(coarse.shape)
    pair = rasters.write("c", coarse, grid), rasters.write("f", fine)
    _, report = rasters.fuse(
        rasters.spatiotemporal(rasters.write("t", target, grid), pair, model=model)
    )
    answers = {answer["id"]: answer for answer in report["trust"]["answers"]}
    assert list(answers) == ["result", "copy_fine", "fine_plus_change", "fine_plus_mean_change"]
    assert answers[model]["rmse"] == pytest.approx(answers["result"]["rmse"], rel=1e-3)
    verdict = report["trust"]["verdict"]
    assert f"“{answers[model]['name']}”" not in verdict
    if model == "fine_plus_change" and change:
        assert "better than the other simple ones" in verdict
    if model == "copy_fine":
        assert "as well as the result or better" in verdict


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
    assert "“Copy of the fine reference” agrees" in report["trust"]["verdict"]
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
    ground = psf.land(rng, ROWS, COLS, sizes=(3, 7), bands=1)
    fine = ground + 0.05 * rng.standard_normal(ground.shape)
    images = [rasters.write("t", ground + 0.5), rasters.write("c", ground)]
    target, coarse = ({"path": path, "cell_size": 300.0} for path in images)
    result, report = rasters.fuse(
        rasters.spatiotemporal(target, (coarse, rasters.write("f", fine)), harmonise="never")
    )
    assert report["grid"]["ratio"] == 10
    assert report["trust"]["cells"] == 9 * 11
    means = ground.reshape(1, 9, 10, 11, 10).mean(axis=(2, 4)) + 0.5
    expected, _ = brute_force(result, means, 10)
    np.testing.assert_allclose(report["trust"]["answers"][0]["rmse"], expected, rtol=1e-3)
