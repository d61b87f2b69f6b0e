"""UBDF against plain loops, on data with a known answer, and within its bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rasterfuse.models.errors import InputError
from rasterfuse.models.spatiotemporal import ubdf
from rasterfuse.plugin.job import RasterSource
from rasterio.transform import from_bounds
from rasterio.warp import transform_bounds

RATIO = 6
CELLS = (9, 11)
SHAPE = (CELLS[0] * RATIO, CELLS[1] * RATIO)
PRIOR = 0.3  # cells that the value of the whole scene counts for


def patches(rng, classes, size=4):
    """(rows, cols) classes in patches that do not follow the cells."""
    rows, cols = SHAPE
    small = rng.integers(0, classes, (rows // size + 1, cols // size + 1))
    return small.repeat(size, axis=0).repeat(size, axis=1)[:rows, :cols]


def shares_of(labels, classes):
    """(classes, cell_rows, cell_cols)."""
    onehot = (labels == np.arange(classes)[:, None, None]).astype(float)
    return coarse(onehot)


def coarse(values):
    rows, cols = CELLS
    return values.reshape(len(values), rows, RATIO, cols, RATIO).mean(axis=(2, 4))


def job_of(rasters, labels, target, fine=None, holes=None, **options):
    """A job whose class layer holds the labels; ``holes`` are cells without data."""
    fine = np.repeat(labels[None] / 10, len(target), axis=0) if fine is None else fine
    target = target.copy()
    if holes is not None:
        target[:, holes] = np.nan
    grid = rasters.grid(10.0 * RATIO)
    pair = rasters.write("c", coarse(fine), grid), rasters.write("f", fine, rasters.grid(10.0))
    layer = rasters.write("k", labels, rasters.grid(10.0), dtype="uint8")
    job = rasters.spatiotemporal(
        rasters.write("t", target, grid), pair, model="ubdf", harmonise="never", **options
    )
    return replace(job, inputs={**job.inputs, "class_layer": RasterSource(layer)})


def descend(shares, values, prior, weight, low, high):
    """Bounded least squares of one window and band: unknown by unknown, until none moves."""
    found, before = np.clip(prior, low, high), np.inf
    while np.abs(found - before).max() > 1e-10:
        before = found.copy()
        for k in range(len(found)):
            others = values - shares @ found + shares[:, k] * found[k]
            up = shares[:, k] @ others + weight * prior[k]
            down = (shares[:, k] ** 2).sum() + weight
            found[k] = np.clip(up / down, low, high)
    return found


def plain_loops(labels, target, side, classes):
    """UBDF with loops over windows."""
    shares, values = shares_of(labels, classes), target[0]
    known = np.isfinite(values)
    span = np.nanmax(values) - np.nanmin(values)
    limits = np.nanmin(values) - 0.1 * span, np.nanmax(values) + 0.1 * span
    every, mean = shares[:, known].T, np.full(classes, np.nanmean(values))
    prior = descend(every, values[known], mean, 1e-6, *limits)
    result, reach = np.full((1, *SHAPE), np.nan), side // 2
    for row in range(CELLS[0]):
        for col in range(CELLS[1]):
            rows = slice(max(row - reach, 0), row + reach + 1)
            cols = slice(max(col - reach, 0), col + reach + 1)
            some = known[rows, cols]
            window = shares[:, rows, cols][:, some].T
            found = descend(window, values[rows, cols][some], prior, PRIOR, *limits)
            cell = np.s_[row * RATIO : (row + 1) * RATIO, col * RATIO : (col + 1) * RATIO]
            if known[row, col]:
                result[0][cell] = found[labels[cell]]
    return result


@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "with gaps"])
def test_the_result_is_that_of_plain_loops(rasters, rng, side, gaps):
    labels = patches(rng, 4)
    # Values that change from place to place, so that no one value per class fits.
    truth = 0.2 * labels + np.linspace(0, 0.3, SHAPE[1]) + 0.1 * rng.random(SHAPE)
    target = coarse(truth[None])
    holes = rng.random(CELLS) < 0.15 if gaps else None
    parameters = {"coarse_window": side}
    result, _ = rasters.fuse(job_of(rasters, labels, target, holes=holes, parameters=parameters))
    if holes is not None:
        target[:, holes] = np.nan
    expected = plain_loops(labels, target, side, 4)
    known = np.isfinite(result) & np.isfinite(expected)
    assert known.mean() > (0.5 if gaps else 0.99)
    # Descent of unknown after unknown comes near the minimum, not quite to it.
    np.testing.assert_allclose(result[known], expected[known], atol=2e-5)


@pytest.mark.parametrize("side", [1, 3, 9])
@pytest.mark.parametrize(
    ("level", "step"),
    [(0.05, 0.08), (285.0, 6.0), (-0.6, 0.3), (1200.0, 900.0)],
    ids=["reflectance", "kelvin", "NDVI", "counts"],
)
def test_one_value_per_class_is_found_exactly_in_any_quantity(rasters, rng, side, level, step):
    labels = patches(rng, 5)
    values = level + step * np.array([[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]])
    truth = values[:, labels]
    job = job_of(rasters, labels, coarse(truth), fine=truth, parameters={"coarse_window": side})
    result, _ = rasters.fuse(job)
    # Half of float32's last digit, in which the coarse image is stored, comes out somewhat larger.
    np.testing.assert_allclose(result, truth, atol=1e-4 * step + 1e-6 * abs(level))


def test_own_classes_do_as_well_where_the_fine_image_shows_them(rasters, rng):
    labels = patches(rng, 3)
    fine = np.array([[0.1, 0.3, 0.2], [0.2, 0.1, 0.5]])[:, labels]
    truth = np.array([[0.4, 0.1, 0.3], [0.1, 0.6, 0.2]])[:, labels]
    job = job_of(rasters, labels, coarse(truth), fine=fine, parameters={"classes": 3})
    inputs = {role: image for role, image in job.inputs.items() if role != "class_layer"}
    result, report = rasters.fuse(replace(job, inputs=inputs))
    np.testing.assert_allclose(result, truth, atol=1e-4)
    assert "3 classes of land cover were found in the fine reference." in report["notes"]


def test_values_stay_near_the_range_of_the_target(rasters, rng):
    """Noise in windows of many classes would blow up without bounds."""
    labels = patches(rng, 12, size=2)
    target = 300 + 10 * rng.random((2, *CELLS))
    result, _ = rasters.fuse(job_of(rasters, labels, target, parameters={"coarse_window": 3}))
    for band, cells in zip(result, target):
        slack = 0.1 * (cells.max() - cells.min()) + 1e-3
        assert cells.min() - slack <= band.min() < cells.min() + slack
        assert cells.max() - slack < band.max() <= cells.max() + slack


def test_a_class_that_no_window_tells_of_takes_its_value_in_the_scene(rasters, rng):
    """In the first cell only a corner is clear, too little to know its shares."""
    labels = patches(rng, 2)
    labels[:, -2 * RATIO :] = 2
    labels[:RATIO, :RATIO] = 2
    truth = np.array([1.0, 3.0, 9.0])[labels][None]
    job = job_of(rasters, labels, coarse(truth), parameters={"coarse_window": 3})
    fine = labels[None] / 10
    fine[:, :RATIO, :RATIO] = np.nan
    fine[:, 0, :2] = 0.2
    rasters.write("f", fine, rasters.grid(10.0))
    result, _ = rasters.fuse(job)
    np.testing.assert_array_equal(np.isfinite(result), np.isfinite(fine))
    known = np.isfinite(fine)
    assert known[0, 0, 0]
    np.testing.assert_allclose(result[known], truth[known], atol=1e-4)


def test_cells_worked_on_part_by_part_give_the_same(rasters, rng, monkeypatch):
    labels = patches(rng, 4)
    job = job_of(rasters, labels, rng.random((2, *CELLS)))
    whole, _ = rasters.fuse(job)
    monkeypatch.setattr(ubdf, "_NUMBERS", 100)  # 2 cells at once
    parts, _ = rasters.fuse(job)
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_tiles_do_not_show_where_the_coarse_image_has_another_coordinate_system(rasters, rng):
    """Every pixel keeps its cell: a pixel in the wrong one would have quite another value."""
    labels = np.tile(patches(rng, 4), (4, 3))[:200, :190]
    fine = labels[None] / 10 + 0.01 * rng.random((1, *labels.shape))
    grid = rasters.grid(10.0)
    west, south, east, north = transform_bounds(
        "EPSG:32633", "EPSG:4326", 500_000, 5_298_000, 501_900, 5_300_000
    )
    rows, cols = 31, 29
    place = from_bounds(west - 1e-4, south - 1e-4, east + 1e-4, north + 1e-4, cols, rows)
    coarse_images = [
        rasters.write(name, rng.random((1, rows, cols)), place, crs="EPSG:4326") for name in "ct"
    ]
    pair = coarse_images[0], rasters.write("f", fine, grid)
    found = []
    for tile in (37, 1000):
        job = rasters.spatiotemporal(
            coarse_images[1], pair, model="ubdf", harmonise="never", tile=tile
        )
        found.append(rasters.fuse(job)[0])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_without_a_cell_that_has_data_there_is_a_sentence(rasters, rng):
    labels = patches(rng, 2)
    job = job_of(rasters, labels, rng.random((1, *CELLS)))
    fine = rng.random((1, *SHAPE))
    # Four pixels of each cell are clear: too few to know its shares.
    fine[:, (np.arange(SHAPE[0])[:, None] % RATIO > 1) | (np.arange(SHAPE[1]) % RATIO > 1)] = np.nan
    rasters.write("f", fine, rasters.grid(10.0))
    with pytest.raises(InputError, match="No coarse cells have data in the coarse target and the"):
        rasters.fuse(job)
    assert rasters.leftovers() == []
