"""Coarse images that lie off the fine ones: found, said, and moved where the user wishes it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import psf
import pytest
from rasterio.warp import transform

SIZE, RATIO, MARGIN, SIGMA = 180, 10, 60, 4.5
SHIFT = (4.3, -7.6)  # rows and columns, in fine pixels: 0.87 cells
NOISE = 0.01
UTM, OTHER = "EPSG:32633", "EPSG:3035"
WEST, NORTH = 500_000.0, 5_300_000.0


def cells_of(crs, rasters):
    """Transform, shape and centres (rows and columns on the fine grid) of cells over the scene."""
    cell = 30.0 * RATIO
    if crs == UTM:
        x, y, count = WEST - 17 * 30.0, NORTH + 13 * 30.0, 21
    else:
        (x,), (y,) = transform(UTM, crs, [WEST + 15.0 * SIZE], [NORTH - 15.0 * SIZE])
        x, y, count = x - 14 * cell, y + 14 * cell, 28
    at = (np.arange(count) + 0.5) * cell
    xs, ys = (values.ravel() for values in np.meshgrid(x + at, y - at))
    if crs != UTM:
        xs, ys = (np.array(values) for values in transform(crs, UTM, xs, ys))
    centres = np.stack([(NORTH - ys) / 30, (xs - WEST) / 30])
    return rasters.grid(cell, x, y), (count, count), centres


def scene(rasters, rng, shifts, crs=UTM, **options):
    """A job whose coarse reference and target are off by ``shifts``, and the true fine image."""
    wide = SIZE + 2 * MARGIN
    land = psf.land(rng, wide, wide, sizes=(4, 15, 45))
    change = psf.land(rng, wide, wide, sizes=(20, 60))
    later = 0.6 * land + 0.3 * change
    place, shape, centres = cells_of(crs, rasters)
    paths = []
    for name, image, shift in zip(("c", "t"), (land, later), shifts):
        values = psf.seen(image, centres + MARGIN, SIGMA, shift)[0].reshape(2, *shape)
        values += NOISE * rng.standard_normal(values.shape)
        paths.append(rasters.write(name, values, place, crs=crs))
    inner = slice(MARGIN, MARGIN + SIZE)
    fine = rasters.write("f", land[:, inner, inner])
    job = rasters.spatiotemporal(paths[1], (paths[0], fine), **options)
    return job, later[:, inner, inner]


def error(rasters, job, truth):
    result, report = rasters.fuse(job)
    return np.sqrt(np.nanmean((result - truth) ** 2)), result, report


NONE = ((0.0, 0.0), (0.0, 0.0))
BOTH = (SHIFT, (-2.7, 5.9))


@pytest.mark.parametrize("crs", [UTM, OTHER])
def test_the_report_says_how_each_image_is_blurred_and_shifted(rasters, rng, crs):
    job, _ = scene(rasters, rng, BOTH, crs)
    _, report = rasters.fuse(job)
    assert [item["image"] for item in report["observation"]] == ["coarse 1", "coarse_target"]
    for item, shift in zip(report["observation"], BOTH):
        assert (item["pair"], item["reliable"], item["moved"]) == (1, True, False)
        assert item["shift"] == pytest.approx(shift, abs=0.8)  # the search ends at half pixels
        assert item["shift_cells"] == pytest.approx(np.array(shift) / RATIO, abs=0.08)
        assert item["correlation"] > item["unshifted_correlation"] + 0.05
    pair = report["observation"][0]
    assert pair["sigma"] == pytest.approx(SIGMA, rel=0.15)  # the search ends at steps of 12 %
    assert pair["sigma_cells"] == pytest.approx(SIGMA / RATIO, rel=0.15)


def test_an_image_that_is_far_off_is_warned_of_with_name_distance_and_remedy(rasters, rng):
    job, _ = scene(rasters, rng, (SHIFT, (1.0, 2.0)))
    _, report = rasters.fuse(job)
    (sentence,) = [text for text in report["warnings"] if "coarse pixels" in text]
    assert re.match(r"c.tif lies 0\.[89]\d* coarse pixels \(2[5-7]\d metre\) off f.tif", sentence)
    assert "fine pixels down and 7" in sentence and "left" in sentence
    assert "Switch on the co-registration" in sentence
    assert "coregister" in sentence


@pytest.mark.parametrize("crs", [UTM, OTHER])
@pytest.mark.parametrize("model", ["fine_plus_change", "starfm"])
def test_moving_the_images_is_as_good_as_having_had_them_in_place(rasters, rng, crs, model):
    state = rng.bit_generator.state
    straight, truth = scene(rasters, rng, NONE, crs, model=model)
    best, _, _ = error(rasters, straight, truth)
    rng.bit_generator.state = state  # the same land and noise
    job, truth = scene(rasters, rng, BOTH, crs, model=model)
    off, _, _ = error(rasters, job, truth)
    mended, result, report = error(rasters, replace(job, coregister="auto"), truth)
    assert off > 1.15 * best
    assert mended < best + 0.2 * (off - best)
    assert np.isfinite(result).all()
    assert all(item["moved"] for item in report["observation"])
    assert not [text for text in report["warnings"] if "co-registration" in text]
    notes = [text for text in report["notes"] if "was moved" in text]
    assert [text.split()[0] for text in notes] == ["c.tif", "t.tif"]
    assert report["job"]["coregister"] == "auto"


@pytest.mark.parametrize("crs", [UTM, OTHER])
def test_images_in_place_are_left_alone_to_the_last_bit(rasters, rng, crs):
    job, truth = scene(rasters, rng, ((0.0, 0.0), (0.4, -0.5)), crs, model="starfm")
    _, never, report = error(rasters, job, truth)
    _, auto, other = error(rasters, replace(job, coregister="auto"), truth)
    np.testing.assert_array_equal(auto, never)
    assert other["trust"] == report["trust"]
    assert not any(item["moved"] for item in other["observation"])


@pytest.mark.parametrize("kind", ["noise", "constant", "constant fine"])
def test_images_that_tell_nothing_are_left_alone(rasters, rng, kind):
    job, _ = scene(rasters, rng, BOTH, model="starfm")
    place, shape, _ = cells_of(UTM, rasters)
    if kind == "constant fine":
        rasters.write("f", np.full((2, SIZE, SIZE), 0.3))
    else:
        for name in ("c", "t"):
            values = rng.random((2, *shape)) if kind == "noise" else np.full((2, *shape), 0.3)
            rasters.write(name, values, place)
    never, report = rasters.fuse(job)
    auto, _ = rasters.fuse(replace(job, coregister="auto"))
    np.testing.assert_array_equal(auto, never)
    assert np.isfinite(auto).all()
    assert report["trust"]["seen_through"] == "cell means"
    assert np.isfinite([answer["mean"] for answer in report["trust"]["answers"]]).all()
    for item in report["observation"]:
        assert (item["reliable"], item["shift"]) == (False, [0.0, 0.0])


@pytest.mark.parametrize("crs", [UTM, OTHER])
def test_moved_images_give_the_same_result_in_any_tiles(rasters, rng, crs):
    job, _ = scene(rasters, rng, BOTH, crs, model="starfm", coregister="auto", tile=1000)
    whole, report = rasters.fuse(job)
    tiled, other = rasters.fuse(replace(job, limits=replace(job.limits, tile=48)))
    np.testing.assert_allclose(tiled, whole, atol=1e-4 * np.ptp(whole))
    for one, two in zip(report["trust"]["answers"], other["trust"]["answers"]):
        np.testing.assert_allclose(two["rmse"], one["rmse"], rtol=1e-4)
    assert other["observation"] == report["observation"]


@pytest.mark.parametrize("coregister", ["never", "auto"])
def test_a_change_that_has_nothing_to_do_with_the_fine_image_is_no_shift(rasters, coregister):
    """Half of the land grows brighter: wide trends always agree somewhere."""
    for seed in range(3, 9):
        rng = np.random.default_rng(seed)
        fine = rng.uniform(0.05, 0.3, (2, 120, 120))
        coarse = fine.reshape(2, 12, 10, 12, 10).mean(axis=(2, 4))
        target = coarse.copy()
        target[:, :, 6:] += 0.1
        grid = rasters.grid(300.0)
        pair = rasters.write("c", coarse, grid), rasters.write("f", fine)
        path = rasters.write("t", target, grid)
        _, report = rasters.fuse(rasters.spatiotemporal(path, pair, coregister=coregister))
        assert not [text for text in report["warnings"] if "coarse pixels" in text]
        assert [item["shift"] for item in report["observation"]] == [[0.0, 0.0], [0.0, 0.0]]


def test_a_target_that_shows_too_little_follows_its_pair(rasters, rng):
    job, _ = scene(rasters, rng, (SHIFT, SHIFT), coregister="auto")
    place, shape, _ = cells_of(UTM, rasters)
    rasters.write("t", rng.random((2, *shape)), place)
    _, report = rasters.fuse(job)
    pair, target = report["observation"]
    assert (pair["reliable"], target["reliable"]) == (True, False)
    assert pair["moved"] and target["moved"]
    assert target["shift"] == pair["shift"]


@pytest.mark.parametrize("shift", [(6.0, -9.0), (-6.4, 8.8)])
def test_an_image_that_ends_where_the_fine_one_does_leaves_no_gap_when_moved(rasters, rng, shift):
    """Coarse images on the fine grid; beyond their edge its values are repeated."""
    job, _ = scene(rasters, rng, (shift, shift), model="fine_plus_change")
    wide = SIZE + 2 * MARGIN
    ground = psf.land(rng, wide, wide, sizes=(4, 15, 45))
    at = np.arange(wide // RATIO) * RATIO + RATIO / 2
    centres = np.stack(np.meshgrid(at, at, indexing="ij")).reshape(2, -1)
    inner = slice(MARGIN, MARGIN + SIZE)
    cells = psf.seen(ground, centres, SIGMA, shift)[0].reshape(2, len(at), len(at))
    blocks = cells.repeat(RATIO, axis=1).repeat(RATIO, axis=2)[:, inner, inner]
    rasters.write("f", ground[:, inner, inner])
    rasters.write("c", blocks)
    blocks[:, :40] = np.nan  # what is missing inside is not made up
    rasters.write("t", blocks)
    result, report = rasters.fuse(replace(job, coregister="auto"))
    assert all(item["moved"] for item in report["observation"])
    missing = np.isnan(result[0])
    assert not missing[60:].any()
    assert missing[:30, 20:-20].all()


def test_the_own_shift_of_gpx_and_the_moving_of_images_come_to_the_same(rasters, rng):
    job, truth = scene(rasters, rng, (SHIFT, SHIFT), model="gpx")
    own, _, _ = error(rasters, job, truth)
    moved, _, report = error(rasters, replace(job, coregister="auto"), truth)
    assert report["observation"][0]["moved"]
    assert moved == pytest.approx(own, rel=0.1)
