"""Training scenes: what a network can rely on, and what it must learn not to rely on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import floats, integers, sampled_from
from rasterfuse.plugin.engine.simulate_training import TrainingScene, draw_scene
from rasterfuse.plugin.engine.simulation.coarse_grid import CoarseGrid, on_fine_grid, seen
from rasterfuse.plugin.engine.simulation.filters import blurred
from rasterfuse.plugin.engine.simulation.ranges import Ranges

# A sensor without any flaw, and nothing that hides.
IDEAL = {
    **dict.fromkeys(("fine_shifted", "oblique", "turned", "offset_grid", "offset", "hazy", "misled",
                     "clouded", "striped", "saturated"), 0.0),
    **dict.fromkeys(("fine_noise", "psf", "common_shift", "date_shift", "bend", "date_bias",
                     "date_noise", "common_noise"), (0.0, 0.0)),
    "gain": (1.0, 1.0),
}  # fmt: skip
IMAGES = [field.name for field in fields(TrainingScene) if field.name not in {"ratio", "cells"}]


def scene_of(seed, size=96, textures=(), **ranges):
    return draw_scene(np.random.default_rng(seed), size, textures, **ranges)


def same(one, other):
    return one.ratio == other.ratio and all(
        np.array_equal(*(np.asarray(getattr(scene, name), float) for scene in (one, other)),
                       equal_nan=True) for name in IMAGES
    )  # fmt: skip


def block_means(image, ratio):
    bands, rows, cols = image.shape
    blocks = image.reshape(bands, rows // ratio, ratio, cols // ratio, ratio)
    return blocks.mean(axis=(2, 4), dtype=float)


def correlation(one, other):
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


def change_told(seed, **ranges):
    """Correlation of the coarse change with the fine one, both as means of cells."""
    chosen = {**IDEAL, "ratio": (7, 7), "bands": (1, 1), "second": 0.0, **ranges}
    scene = scene_of(seed, 98, **chosen)
    fine = block_means(scene.fine_target - scene.fine_reference, 7)
    coarse = scene.coarse_target - scene.coarse_reference
    return correlation(fine, coarse[:, 3::7, 3::7])


def plane_left(image):
    """Share of an image's variance that a plane leaves."""
    rows, cols = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    design = np.stack([np.ones(image.size), rows.ravel(), cols.ravel()], axis=1)
    values = image.ravel().astype(float)
    fit = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return np.var(values - fit) / np.var(values)


def test_the_same_seed_gives_the_same_scene_and_another_seed_another():
    first, again, other = (scene_of(seed, second=1.0) for seed in (4, 4, 5))
    assert same(first, again)
    assert not same(first, other)


def test_scenes_drawn_in_threads_are_those_drawn_one_after_the_other():
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(scene_of, range(8)))
    assert all(same(scene, scene_of(seed)) for seed, scene in enumerate(together))


@settings(max_examples=25, deadline=None)
@given(seed=integers(0, 2**32 - 1), size=integers(80, 131))
def test_every_scene_is_complete_in_its_truth_and_in_shape(seed, size):
    scene = scene_of(seed, size)
    shape = scene.fine_target.shape
    assert 1 <= shape[0] <= 7
    assert shape[1:] == (size, size)
    assert 4 <= scene.ratio <= 40
    assert np.isfinite(scene.fine_target).all()
    for name in IMAGES:
        image = getattr(scene, name)
        if image is not None:
            assert image.dtype == np.float32, name
            assert image.shape == shape, name
            assert np.isfinite(image).mean() > 0.01, name
            # Hidden is hidden in all bands; the bound is far beyond what change can reach.
            assert (np.isnan(image).all(axis=0) == np.isnan(image).any(axis=0)).all(), name
            assert np.nanmax(np.abs(image)) < 200, name


@pytest.mark.parametrize("bands", range(1, 8))
def test_every_number_of_bands_can_be_asked_for(bands):
    assert scene_of(bands, bands=(bands, bands)).fine_reference.shape == (bands, 96, 96)


@pytest.mark.parametrize("ratio", [4, 5.5, 16, 40])
def test_every_ratio_can_be_asked_for(ratio):
    found = [scene_of(seed, 128, ratio=(ratio, ratio)).ratio for seed in range(4)]
    assert all(each in (ratio, round(ratio)) for each in found)


@pytest.mark.parametrize("seed", range(6))
def test_an_ideal_sensor_sees_the_means_of_blocks(seed):
    scene = scene_of(seed, 98, **{**IDEAL, "ratio": (7, 7)})
    for fine, coarse in (
        (scene.fine_reference, scene.coarse_reference),
        (scene.fine_target, scene.coarse_target),
    ):
        # In the middle of a cell every interpolation gives the cell; float32 sums.
        assert coarse[:, 3::7, 3::7] == pytest.approx(block_means(fine, 7), abs=1e-4)


@pytest.mark.parametrize(("sigma", "width"), [(0.0, 8.0), (3.0, 8.0), (5.0, 13.5)])
def test_a_cell_sees_a_box_blurred_by_a_gaussian(sigma, width):
    size, at, fine = 61, 30.3, 40
    grid = CoarseGrid(8.0, (at - 4, at - 4), 1, 0.0, size, 3)
    point = np.eye(size, dtype=np.float32)[None, 27:28].repeat(size, axis=1)  # a line
    found = seen(point, grid, (0, 0), (sigma, sigma), (width, width))[0, 0, 0]
    # The same by plain sums over a finely divided axis.
    places = (np.arange(-60 * fine, 120 * fine) + 0.5) / fine
    box = (np.abs(places) <= width / 2).astype(float)
    if sigma:
        kernel = np.exp(-0.5 * (np.arange(-6 * sigma, 6 * sigma, 1 / fine) / sigma) ** 2)
        box = np.convolve(box, kernel, "same")
    inside = (places + at >= 0) & (places + at < size)
    pixel = (places + at >= 27) & (places + at < 28)
    assert found == pytest.approx(box[pixel].sum() / box[inside].sum(), rel=0.02)


@settings(max_examples=40, deadline=None)
@given(
    ratio=floats(4, 16), angle=sampled_from([0.0, 0.2, -0.35]), order=sampled_from([1, 3]),
    down=floats(-0.9, 0), across=floats(-0.9, 0), move=floats(-3, 3),
)  # fmt: skip
def test_an_even_slope_comes_back_from_any_grid_moved_by_the_shift(
    ratio, angle, order, down, across, move
):
    size = 160
    count = int(size * 1.5 / ratio) + 2
    start = (size - count * ratio) / 2
    grid = CoarseGrid(ratio, (start + down, start + across), count, angle, size, order)
    rows, cols = np.mgrid[0:size, 0:size].astype(np.float32)
    slope = (0.03 * rows - 0.02 * cols)[None]
    cells = seen(slope, grid, (move, 0), (0.3 * ratio,) * 2, (ratio, ratio))
    (back,) = on_fine_grid([cells], grid)
    inner = (slice(None), slice(64, 96), slice(64, 96))  # away from the border
    assert back[inner] == pytest.approx(slope[inner] + 0.03 * move, abs=0.01)


def test_pixels_beside_a_missing_cell_have_values_and_those_in_it_none():
    cells = np.ones((2, 10, 10), dtype=np.float32)
    cells[:, 4, 6] = np.nan
    grid = CoarseGrid(8.0, (0.0, 0.0), 10, 0.0, 80, 3)
    (image,) = on_fine_grid([cells], grid)
    hidden = np.zeros((80, 80), dtype=bool)
    hidden[32:40, 48:56] = True
    assert (np.isnan(image) == hidden).all()
    assert image[:, ~hidden] == pytest.approx(1, abs=1e-5)


def test_noise_goes_from_none_to_cells_that_tell_nothing_of_the_change():
    # Means of several scenes; 196 cells each, so that 0 is met within 0.1.
    told = {
        noise: np.mean([change_told(seed, date_noise=(noise, noise)) for seed in range(8)])
        for noise in (0, 0.2, 30)
    }
    assert told[0] > 0.999
    assert 0.3 < told[0.2] < 0.99
    assert abs(told[30]) < 0.1


def test_coarse_images_are_as_like_the_fine_ones_as_real_ones_are_and_less_and_more():
    chosen = {"ratio": (6, 12), "bands": (2, 2), "clouded": 0.0, "striped": 0.0}
    alike = []
    for seed in range(60):
        scene = scene_of(seed, 128, **chosen)
        fine = blurred(scene.fine_reference, 0.5 * scene.ratio)
        coarse = blurred(scene.coarse_reference, 0.35 * scene.ratio)
        alike.append(np.mean([correlation(*pair) for pair in zip(coarse, fine)]))
    low, high = np.percentile(alike, [5, 95])
    assert low < 0.78  # as bad as the worst of the real pairs known, which are at 0.75 to 0.98,
    assert high > 0.95  # and nearly as good as the best


def test_noise_common_to_the_dates_is_not_in_the_change():
    assert change_told(2, common_noise=(3, 3)) > 0.99


def test_a_date_bias_shifts_the_change():
    scenes = [scene_of(6, **{**IDEAL, "date_bias": (bias, bias)}) for bias in (0.0, 2.0)]
    means = [(s.coarse_target - s.coarse_reference).mean(axis=(1, 2)) for s in scenes]
    assert np.abs(means[1] - means[0]).max() > 0.5


@pytest.mark.parametrize(
    "flaw", [{"common_shift": (0.3, 0.3)}, {"date_shift": (0.2, 0.2)}, {"psf": (0.5, 0.5)},
             {"oblique": 1.0, "view": (2.5, 2.5)}, {"bend": (0.25, 0.25)}, {"turned": 1.0},
             {"gain": (1.15, 1.15)}, {"offset": 0.3}, {"hazy": 1.0}],
)  # fmt: skip
def test_every_flaw_of_the_coarse_sensor_moves_its_cells_away_from_the_ideal(flaw):
    def far(seed, **ranges):
        scene = scene_of(seed, 98, **{**IDEAL, "ratio": (7, 7), "bands": (1, 1), **ranges})
        return np.abs(scene.coarse_target[:, 3::7, 3::7] - block_means(scene.fine_target, 7)).mean()

    assert np.mean([far(seed, **flaw) for seed in range(4)]) > 0.02


def test_a_misleading_scene_has_another_coarse_change_than_the_true_one():
    true, wrong = ([change_told(seed, misled=share) for seed in range(12)] for share in (0.0, 1.0))
    assert min(true) > 0.999
    assert np.median(wrong) < 0.5


def test_clouds_hide_parts_of_both_images_of_a_date_but_never_the_truth():
    scene = scene_of(8, 128, clouded=1.0, cloud=(0.3, 0.3), ratio=(6, 6), second=1.0, unmasked=0.0)
    for name in ("fine_reference", "fine_second", "coarse_reference", "coarse_target",
                 "coarse_second"):  # fmt: skip
        assert 0.1 < np.isnan(getattr(scene, name)).mean() < 0.95, name
    assert np.isfinite(scene.fine_target).all()


CLOUDED = {"clouded": 1.0, "cloud": (0.2, 0.2), "ratio": (6, 6), "striped": 0.0, "second": 0.0}


def test_clouds_of_a_date_can_be_the_same_in_both_of_its_images():
    """Cells hidden in the coarse reference lie where its fine image is hidden too."""
    shares = {}
    for same_clouds in (0.0, 1.0):
        scene = scene_of(8, 128, **CLOUDED, same_clouds=same_clouds, unmasked=0.0)
        fine, coarse = (
            np.isnan(image[0]) for image in (scene.fine_reference, scene.coarse_reference)
        )
        shares[same_clouds] = (fine & coarse).sum() / coarse.sum()
    assert shares[1.0] > 0.6
    assert shares[0.0] < 0.5


def test_a_mask_may_miss_clouds_which_then_are_bright_cells():
    """Those of the fine image tell where: the same ones are hidden there."""
    seen_through = missed = 0
    for seed in range(8):
        known, clear = (
            scene_of(seed, 128, **{**IDEAL, **CLOUDED, "clouded": clouded}, same_clouds=1.0,
                     unmasked=1.0)
            for clouded in (1.0, 0.0)
        )  # fmt: skip
        under = np.isnan(known.fine_reference[0])
        brighter = known.coarse_reference - clear.coarse_reference
        assert np.nanmin(brighter) > -0.2, "clouds do not darken"
        there = np.isfinite(brighter[0]) & under
        seen_through += there.sum()
        missed += (brighter.mean(axis=0)[there] > 0.5).sum()
    assert seen_through > 0
    assert missed > 0.2 * seen_through  # half of what is hidden is shadow


def test_stripes_run_through_the_whole_fine_reference():
    hidden = np.isnan(scene_of(9, 128, clouded=0.0, striped=1.0).fine_reference[0])
    assert 0 < hidden.mean() < 0.5
    assert hidden.any(axis=0).mean() > 0.5


def test_nothing_is_hidden_where_nothing_hides():
    scene = scene_of(10, clouded=0.0, striped=0.0, second=1.0)
    assert all(np.isfinite(getattr(scene, name)).all() for name in IMAGES)


def test_saturation_cuts_bright_pixels_off_at_one_level_for_all_dates():
    scene = scene_of(11, saturated=1.0, clouded=0.0, striped=0.0)
    top = scene.fine_reference.max(axis=(1, 2), keepdims=True)
    assert ((scene.fine_reference == top).mean(axis=(1, 2)) > 0.001).all()
    assert (scene.fine_target <= top).all()


@pytest.mark.parametrize("seasonal", [0.0, 1.0])
def test_the_ground_changes_and_parts_of_it_change_otherwise(seasonal):
    spread = []
    for seed in range(6):
        scene = scene_of(seed, **{**IDEAL, "seasonal": seasonal})
        spread.append((scene.fine_target - scene.fine_reference).std())
    assert np.median(spread) > 0.1


def test_a_second_pair_is_there_when_asked_for():
    assert scene_of(12, second=0.0).fine_second is None
    assert scene_of(12, second=0.0).coarse_second is None
    later = scene_of(12, second=1.0, clouded=0.0, striped=0.0)
    assert correlation(later.fine_second, later.fine_target) > 0.2


def test_a_texture_is_the_ground():
    rows, cols = np.mgrid[0:200, 0:150]
    ramp = np.stack([rows + 2 * cols, 5 * cols - rows]).astype(np.int16)
    scene = scene_of(13, textures=[ramp], textured=1.0, **IDEAL)
    # A plane stays one when it is cropped, zoomed, turned and mirrored; parcels are no plane.
    assert max(plane_left(band) for band in scene.fine_reference) < 1e-3
    assert min(plane_left(band) for band in scene_of(13, **IDEAL).fine_reference) > 0.1


def test_of_a_texture_of_two_dates_the_real_change_is_used():
    rows, cols = np.mgrid[0:200, 0:150].astype(np.float32)
    dates = np.stack([rows + 2 * cols, 5 * cols - rows])[:, None]
    scene = scene_of(14, textures=[dates], textured=1.0, **{**IDEAL, "dated": 1.0})
    assert plane_left(scene.fine_target[0]) < 1e-3
    other = scene_of(14, textures=[dates], textured=1.0, **{**IDEAL, "dated": 0.0})
    assert plane_left(other.fine_target[0]) > 1e-3


@pytest.mark.parametrize("shape", [(3, 40, 70), (1, 300, 300)])
def test_holes_and_short_sides_of_a_texture_are_completed(shape):
    texture = np.random.default_rng(1).random(shape).astype(np.float32)
    texture[:, 5:20, 10:30] = np.nan
    scene = scene_of(15, textures=[texture], textured=1.0, clouded=0.0, striped=0.0)
    assert np.isfinite(scene.fine_target).all()
    assert len(scene.fine_target) <= shape[0]


@pytest.mark.parametrize("value", [np.nan, 7.0])
def test_a_texture_that_shows_nothing_is_left_out(value):
    nothing = np.full((2, 100, 100), value, dtype=np.float32)
    scene = scene_of(16, textures=[nothing], textured=1.0, **IDEAL)
    assert scene.fine_reference.std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"size": 7}, "size is 7, less than 2 cells"),
        ({"ratio": (1, 4)}, "ratio begins at 1. Give 1.5 or more"),
        ({"bands": (0, 2)}, "bands begins at 0. Give 1 or more"),
        ({"change": (2, 1)}, r"change is \(2, 1\). Give two rising numbers from 0"),
        ({"misled": 1.5}, "misled is 1.5. Give a number from 0 to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_value(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        scene_of(1, **wrong)


def test_the_documentation_names_every_range():
    assert all(f"{field.name}:" in Ranges.__doc__ for field in fields(Ranges))


@pytest.mark.parametrize("seed", range(4))
def test_cells_lie_where_the_interpolated_images_show_them(seed):
    scene = scene_of(seed, clouded=0.0, second=0.0, turned=float(seed % 2))
    cells = scene.cells
    rows, cols = cells.centres
    inside = (rows > 1) & (rows < 95) & (cols > 1) & (cols < 95)
    pixel = rows[inside].astype(int), cols[inside].astype(int)
    # A pixel is at most 0.71 away from the centre that lies in it.
    index = np.stack(np.nonzero(inside)) + 0.5
    away = np.hypot(*(cells.places[(slice(None), *pixel)] - index))
    assert away.max() <= 0.71 / scene.ratio + 1e-6
    for coarse, own in ((scene.coarse_reference, cells.reference),
                        (scene.coarse_target, cells.target)):  # fmt: skip
        assert correlation(coarse[(slice(None), *pixel)], own[:, inside]) > 0.95
