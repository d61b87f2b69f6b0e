"""Change regression and change unmixing as jobs: what a user would notice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rasterfuse.models.cards import find_card
from rasterfuse.models.errors import InputError
from rasterfuse.plugin.engine.reduce import reduced
from rasterfuse.plugin.engine.scene import Scene
from rasterio.transform import from_bounds
from rasterio.warp import transform_bounds

RATIO = 8
CELLS = 24
SIDE = RATIO * CELLS
METHODS = ["change_regression", "change_unmixing"]
every_method = pytest.mark.parametrize("model", METHODS)
with_the_network = pytest.mark.parametrize("model", [*METHODS, "rasterfuse_net"])


def coarse(image, ratio=RATIO):
    bands, rows, cols = image.shape
    return image.reshape(bands, rows // ratio, ratio, cols // ratio, ratio).mean(axis=(2, 4))


def land(rng, bands=2):
    """Fine reference and truth: five kinds of land in small patches, each with its own change."""
    kinds = rng.integers(0, 5, (SIDE // 6, SIDE // 6)).repeat(6, axis=0).repeat(6, axis=1)
    fine = (0.1 + rng.random((bands, 5)))[:, kinds] + 0.02 * rng.random((bands, *kinds.shape))
    return fine, fine + 0.4 * fine[::-1] - 0.1


def job_of(rasters, model, fine, before, after, pairs=1, **options):
    grid = rasters.grid(10.0 * RATIO)
    files = rasters.write("c", before, grid), rasters.write("f", fine, rasters.grid(10.0))
    target = rasters.write("t", after, grid)
    options.setdefault("harmonise", "never")
    return rasters.spatiotemporal(target, *[files] * pairs, model=model, **options)


def error(result, truth):
    return float(np.sqrt(np.nanmean((result - truth) ** 2)))


@every_method
def test_land_that_changes_by_its_kind_is_found(rasters, rng, model):
    fine, truth = land(rng)
    before, after = coarse(fine), coarse(truth)
    found, simple = (
        error(rasters.fuse(job_of(rasters, name, fine, before, after))[0], truth)
        for name in (model, "fine_plus_change")
    )
    assert found < 0.5 * simple


@every_method
@pytest.mark.parametrize("gain", [250.0, 1e-4, 10000.0], ids=str)
def test_units_do_not_matter(rasters, rng, model, gain):
    fine, truth = land(rng)
    images = fine, coarse(fine), coarse(truth)
    usual, _ = rasters.fuse(job_of(rasters, model, *images))
    other, _ = rasters.fuse(job_of(rasters, model, *(gain * (i + 0.5) for i in images)))
    # A shift of the images is estimated to a tenth of a pixel; rounding may tip it.
    np.testing.assert_allclose(other / gain - 0.5, usual, atol=2e-3)


@every_method
def test_one_band(rasters, rng, model):
    fine, truth = land(rng, 1)
    truth = 0.5 * fine + 0.4
    found, _ = rasters.fuse(job_of(rasters, model, fine, coarse(fine), coarse(truth)))
    assert error(found, truth) < 0.3 * error(fine + (truth - fine).mean(), truth)


@every_method
def test_a_constant_band_takes_the_coarse_change(rasters, rng, model):
    fine, truth = land(rng)
    fine[0], truth[0] = 3.0, 3.7
    found, _ = rasters.fuse(job_of(rasters, model, fine, coarse(fine), coarse(truth)))
    np.testing.assert_allclose(found[0], 3.7, atol=1e-3)
    assert np.isfinite(found).all()


@every_method
def test_gaps_of_the_coarse_images_are_bridged_and_those_of_the_fine_one_stay(rasters, rng, model):
    fine, truth = land(rng)
    before, after = coarse(fine), coarse(truth)
    whole, _ = rasters.fuse(job_of(rasters, model, fine, before, after))
    before[:, 5:8, 5:9], after[0, 15:19, 10:12] = np.nan, np.nan
    fine[:, 100:120, 20:50] = np.nan
    fine[1, 30:40, 150:160] = np.nan
    found, _ = rasters.fuse(job_of(rasters, model, fine, before, after))
    hidden = np.isnan(fine).any(axis=0)
    np.testing.assert_array_equal(np.isnan(found).any(axis=0), hidden)
    assert error(found, truth) < 1.3 * error(whole, truth)


@every_method
def test_a_pair_that_hardly_changed_says_most(rasters, rng, model):
    """Two pairs: one of the target day itself, and one of long before, where clouds hide it."""
    fine, truth = land(rng)
    grid, small = rasters.grid(10.0 * RATIO), rasters.grid(10.0)
    near = truth.copy()
    near[:, 50:90, 50:90] = np.nan
    target = rasters.write("t", coarse(truth), grid)
    pairs = [
        (rasters.write("c1", coarse(fine), grid), rasters.write("f1", fine, small)),
        (target, rasters.write("f2", near, small)),
    ]
    found, _ = rasters.fuse(rasters.spatiotemporal(target, *pairs, model=model, harmonise="never"))
    assert np.isfinite(found).all()
    clear = np.isfinite(near)
    assert error(found[clear], truth[clear]) < 1e-3
    assert 0 < error(found[~clear], truth[~clear]) < 0.5 * error(fine[~clear], truth[~clear])


@every_method
def test_tiles_do_not_show_where_the_coarse_image_has_another_coordinate_system(
    rasters, rng, model
):
    fine = land(rng)[0]
    west, south, east, north = transform_bounds(
        "EPSG:32633", "EPSG:4326", 500_000, 5_300_000 - 10 * SIDE, 500_000 + 10 * SIDE, 5_300_000
    )
    place = from_bounds(west - 1e-4, south - 1e-4, east + 1e-4, north + 1e-4, 19, 21)
    before, after = (
        rasters.write(name, rng.random((2, 21, 19)), place, crs="EPSG:4326") for name in "ct"
    )
    pair = before, rasters.write("f", fine, rasters.grid(10.0))
    tiled, whole = (
        rasters.fuse(
            rasters.spatiotemporal(after, pair, model=model, harmonise="never", tile=tile)
        )[0]
        for tile in (37, 1000)
    )
    np.testing.assert_allclose(tiled, whole, atol=2e-6)


@every_method
def test_coarse_images_that_lie_off_are_moved(rasters, rng, model):
    """Rolled by 4 and -5 fine pixels: six tenths of a coarse pixel."""
    fine, truth = land(rng)
    off = [np.roll(image, (4, -5), axis=(1, 2)) for image in (fine, truth)]
    straight, crooked = (
        rasters.fuse(job_of(rasters, model, fine, coarse(one), coarse(other)))[0]
        for one, other in ((fine, truth), off)
    )
    inner = np.s_[:, 16:-16, 16:-16]
    # Other cells see other parts of the patches; unmoved images are several times as bad.
    assert error(crooked[inner], truth[inner]) < 1.5 * error(straight[inner], truth[inner])


@with_the_network
def test_few_cells_are_told(rasters, rng, model):
    fine = rng.random((2, 2 * RATIO, 2 * RATIO))
    before = coarse(fine)
    found, report = rasters.fuse(job_of(rasters, model, fine, before, before + 1))
    assert any("Only 4 coarse cells have data in" in note for note in report["notes"])
    np.testing.assert_allclose(found, fine + 1, atol=1e-4)


@with_the_network
def test_without_a_common_cell_there_is_a_sentence(rasters, rng, model):
    fine, truth = land(rng)
    before, after = coarse(fine), coarse(truth)
    before[:, :, :12], after[:, :, 12:] = np.nan, np.nan
    with pytest.raises(InputError, match=r"No coarse cells have data in t\b.* alike, so no change"):
        rasters.fuse(job_of(rasters, model, fine, before, after))
    assert rasters.leftovers() == []


# --- the pass over the scene ---


@pytest.mark.parametrize("step", [1, 3, 7, 600])
def test_the_scene_is_reduced_as_if_it_were_read_at_once(rasters, rng, step):
    shape = 530, 601  # two tiles a side
    fine = rng.random((2, *shape))
    fine[:, 100:200, 300:400] = np.nan
    small = rng.random((2, 53, 61))
    grid = rasters.grid(100.0)
    pair = rasters.write("c", small, grid), rasters.write("f", fine, rasters.grid(10.0))
    other = rasters.write("c2", small, grid), rasters.write("f2", fine + 1, rasters.grid(10.0))
    job = rasters.spatiotemporal(pair[0], pair, other, model=METHODS[0], harmonise="never")
    seen = []

    def image(tile):
        seen.append(len(tile["fine_references"]))
        known = tile.masks["fine_references"][0]
        return tile["fine_references"][0].where(known, torch.nan)

    with Scene(job, find_card(job.model)) as scene:
        scene.learn(lambda _: None)
        found = scene.reduced(image, 1, step, lambda _: None)
    assert set(seen) == {1}
    rows, cols = (-(-n // step) for n in shape)
    expected = np.full((2, rows, cols), np.nan)
    for i, j in np.ndindex(rows, cols) if step > 1 else ():
        block = fine[:, i * step : (i + 1) * step, j * step : (j + 1) * step] + 1
        if np.isfinite(block).any():
            expected[:, i, j] = np.nanmean(block, axis=(1, 2))
    np.testing.assert_allclose(found, expected if step > 1 else fine + 1, rtol=1e-5)


def test_a_cancel_ends_the_pass(rasters):
    class StoppedError(Exception):
        pass

    def stop(done):
        raise StoppedError

    read = []

    def tile(window):
        read.append(window)
        return window

    with pytest.raises(StoppedError):
        reduced(tile, (5000, 5000), lambda _: torch.zeros(1, 512, 512), 4, stop)
    assert len(read) <= 3
