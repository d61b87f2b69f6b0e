"""FSDAF where the scene has few coarse cells: fewer classes, and never far worse than a copy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rasterfuse.models.errors import InputError
from rasterfuse.plugin.job import RasterSource

RATIO = 8
KINDS = 8


def land(rng, side):
    """(rows, cols) kind of land of every pixel, in patches smaller than a cell."""
    patches = rng.integers(0, KINDS, (side * RATIO // 4, side * RATIO // 4))
    return patches.repeat(4, axis=0).repeat(4, axis=1)


def images(rng, kinds):
    """Fine image before, and the same later: kinds change by 0.05 to 0.15."""
    level = rng.permutation(np.linspace(0.1, 0.7, KINDS))
    moved = rng.permutation(np.linspace(0.05, 0.15, KINDS))
    fine = np.stack([level[kinds], level[::-1][kinds]])
    fine = fine + 0.01 * rng.standard_normal(fine.shape)
    return fine, fine + moved[kinds]


def seen(fine, rng, noise=0.01):
    """What noisy cells see."""
    bands, rows, cols = fine.shape
    cells = fine.reshape(bands, rows // RATIO, RATIO, cols // RATIO, RATIO).mean(axis=(2, 4))
    return cells + noise * rng.standard_normal(cells.shape)


def job_of(rasters, fine, before, after, **options):
    grid = rasters.grid(10.0 * RATIO)
    pair = rasters.write("c", before, grid), rasters.write("f", fine, rasters.grid(10.0))
    return rasters.spatiotemporal(
        rasters.write("t", after, grid), pair, model="fsdaf", harmonise="never", **options
    )


def fused(rasters, rng, side, noise=0.01, **options):
    """Result, truth, fine image before and the notes, of side x side cells."""
    fine, truth = images(rng, land(rng, side))
    before, after = seen(fine, rng, noise), seen(truth, rng, noise)
    job = job_of(rasters, fine, before, after, **options)
    result, report = rasters.fuse(job)
    return result, truth, fine, " ".join(report["notes"])


def error(image, truth):
    return np.sqrt(np.square(image - truth).mean())


@pytest.mark.parametrize(("side", "noise"), [(1, 0.01), (2, 0.01), (3, 0.03), (4, 0.03), (5, 0.03)])
def test_a_scene_of_few_cells_is_not_spoilt(rasters, rng, side, noise):
    result, truth, fine, _ = fused(rasters, rng, side, noise)
    mean_change = fine + (truth - fine).mean(axis=(1, 2), keepdims=True)
    # With all classes it would be 1.4 to 3.3 times as far off as the mean change, which is known.
    assert error(result, truth) < 1.25 * error(mean_change, truth)
    assert error(result, truth) < 0.6 * error(fine, truth)


def test_fewer_classes_than_the_land_has_are_told_with_the_reason(rasters, rng):
    _, _, _, notes = fused(rasters, rng, 4)
    assert (
        "Only 2 of 8 classes of land cover were kept apart, as there are too few coarse cells with "
        "data (16) to learn the changes of more. Choose a larger extent"
    ) in notes


def test_with_hardly_any_cell_all_land_is_one_class_and_changes_by_the_mean(rasters, rng):
    result, truth, fine, notes = fused(rasters, rng, 2)
    assert "taken for one class of land cover, so it changes by the mean: there are too " in notes
    assert "few coarse cells with data (4) to tell classes apart. Choose a larger extent" in notes
    # The noise of a mean of 4 changes is 0.007.
    np.testing.assert_allclose((result - fine).mean(), (truth - fine).mean(), atol=0.015)


def test_a_scene_of_many_cells_keeps_its_classes_without_a_word(rasters, rng):
    _, _, _, notes = fused(rasters, rng, 10)
    assert "8 classes of land cover were found in the fine reference." in notes
    assert "few coarse cells" not in notes


def test_classes_that_the_user_chose_stay_and_are_told_to_be_uncertain(rasters, rng):
    _, _, _, notes = fused(rasters, rng, 4, parameters={"classes": 5})
    assert (
        "5 classes of land cover were found in the fine reference. There are few coarse cells with "
        "data (16) for so many, so their changes are uncertain. Choose a larger extent or fewer"
    ) in notes


def test_a_class_layer_of_more_classes_than_cells_can_tell_is_told_too(rasters, rng):
    kinds = land(rng, 4)
    fine, truth = images(rng, kinds)
    job = job_of(rasters, fine, seen(fine, rng), seen(truth, rng))
    layer = rasters.write("k", kinds + 1, rasters.grid(10.0), dtype="uint8")
    job = replace(job, inputs={**job.inputs, "class_layer": RasterSource(layer)})
    _, report = rasters.fuse(job)
    note = r"class layer k.tif with 8 classes was used. There are few coarse cells with data (16)"
    assert any(note in text for text in report["notes"])


def test_more_classes_chosen_than_there_are_cells_are_refused(rasters, rng):
    with pytest.raises(InputError, match=r"Only 4 coarse cells .* at least 5.* or fewer classes"):
        fused(rasters, rng, 2, parameters={"classes": 5})
    assert rasters.leftovers() == []


def test_images_without_a_cell_in_common_are_refused_by_name(rasters, rng):
    fine, truth = images(rng, land(rng, 4))
    before, after = seen(fine, rng), seen(truth, rng)
    before[:, :2], after[:, 2:] = np.nan, np.nan
    sentence = r"No coarse cells have data in t\.tif, c\.tif and f\.tif alike, .* larger extent"
    with pytest.raises(InputError, match=sentence):
        rasters.fuse(job_of(rasters, fine, before, after))
    assert rasters.leftovers() == []
