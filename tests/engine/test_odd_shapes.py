"""Any size and any position of the images: a result or a sentence, never a crash."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterfuse.models.cards import load_cards
from rasterfuse.models.errors import FusionError
from rasterio.transform import Affine
from rasters import Rasters


def level_scene(rasters, card, fine_shape, fine_grid, coarse_shape, coarse_grid):
    """Images of one value each: 5 everywhere on the fine grid, 2 and 3 on the coarse one."""
    two = rasters.write("c", np.full((2, *coarse_shape), 2.0), coarse_grid)
    if card.family == "spatiotemporal":
        three = rasters.write("t", np.full((2, *coarse_shape), 3.0), coarse_grid)
        five = rasters.write("f", np.full((2, *fine_shape), 5.0), fine_grid)
        pairs = [(two, five)] * card.input("references").min_pairs
        job = rasters.spatiotemporal(three, *pairs, model=card.id, harmonise="never")
        return job, {"copy_fine": 5.0, "ubdf": 3.0}.get(card.id, 6.0)
    pan = rasters.write("pan", np.full((1, *fine_shape), 5.0), fine_grid)
    return rasters.pansharpening(two, pan, model=card.id), 2.0


@pytest.mark.parametrize("model", sorted(load_cards()))
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2), (3, 257)], ids=str)
def test_tiny_and_narrow_images(rasters, model, shape):
    coarse_shape = math.ceil(shape[0] / 4) + 2, math.ceil(shape[1] / 4) + 2
    coarse_grid = rasters.grid(40.0, x=499_960.0, y=5_300_040.0)
    job, expected = level_scene(
        rasters, load_cards()[model], shape, rasters.grid(10.0), coarse_shape, coarse_grid
    )
    try:
        result, _ = rasters.fuse(job)
    except FusionError as error:
        assert model in {"gsa", "fsdaf", "gpx", "ubdf"}  # these learn from many cells
        assert "coarse cells have data" in str(error)
    else:
        assert result.shape == (2, *shape)
        np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("model", sorted(load_cards()))
def test_one_coarse_pixel_covers_everything(rasters, model):
    job, expected = level_scene(
        rasters, load_cards()[model], (20, 20), rasters.grid(10.0), (1, 1), rasters.grid(250.0)
    )
    try:
        result, _ = rasters.fuse(job)
    except FusionError as error:
        assert "coarse cells have data" in str(error)
    else:
        np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("model", ["change_regression", "change_unmixing", "rasterfuse_net"])
def test_a_cell_over_a_single_pixel_tells_the_change_of_all(rasters, model):
    fine, coarse = (
        Affine.translation(5e5, 5.3e6) @ Affine.scale(*size) for size in ((10, -10), (8, -12))
    )
    result, report = rasters.fuse(
        level_scene(rasters, load_cards()[model], (3, 5), fine, (1, 1), coarse)[0]
    )
    np.testing.assert_allclose(result, 6.0, rtol=1e-5)
    assert any("coarse cells have data in" in note for note in report["notes"])


places = st.floats(-400, 400)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    model=st.sampled_from(sorted(load_cards())),
    size=st.tuples(st.floats(8, 200), st.floats(8, 200)),
    mirrored=st.tuples(st.booleans(), st.booleans()),
    angles=st.tuples(st.floats(0, 360), st.floats(0, 360)),
    place=st.tuples(places, places),
    shapes=st.tuples(*[st.integers(1, 50)] * 4),
)
def test_any_two_grids_give_a_level_result_or_a_sentence(
    tmp_path_factory, model, size, mirrored, angles, place, shapes
):
    rasters = Rasters(tmp_path_factory.mktemp("grids"))
    fine = Affine.translation(5e5, 5.3e6) @ Affine.rotation(angles[0]) @ Affine.scale(10, -10)
    coarse = Affine.translation(5e5 + place[0], 5.3e6 + place[1]) @ Affine.rotation(angles[1])
    signs = [-1 if flip else 1 for flip in mirrored]
    coarse = coarse @ Affine.scale(size[0] * signs[0], size[1] * signs[1])
    job, expected = level_scene(rasters, load_cards()[model], shapes[:2], fine, shapes[2:], coarse)
    try:
        result, report = rasters.fuse(job)
    except FusionError as error:
        assert error.code == "input"
        assert rasters.leftovers() == []
        return
    known = result[np.isfinite(result)]
    assert known.size > 0
    np.testing.assert_allclose(known, expected, rtol=1e-5)
    covered = inside(fine, shapes[:2], coarse, shapes[2:])
    # The border of the coverage runs through pixels; half a coarse pixel decides for none.
    assert np.isfinite(result[0])[covered].all()
    assert report["nodata_share"] == pytest.approx(np.isnan(result[0]).mean())


def inside(fine, fine_shape, coarse, coarse_shape):
    """(rows, cols) bool: fine pixels whose centre lies well inside the coarse image."""
    cols, rows = np.meshgrid(np.arange(fine_shape[1]) + 0.5, np.arange(fine_shape[0]) + 0.5)
    at_col, at_row = ~coarse @ (fine @ (cols, rows))
    slack = 1e-3
    return (
        (at_col > slack) & (at_col < coarse_shape[1] - slack)
        & (at_row > slack) & (at_row < coarse_shape[0] - slack)
    )  # fmt: skip


def test_nearer_dates_weigh_more(rasters):
    grid = rasters.grid(300.0)
    flat = np.ones((1, 6, 6))
    coarse = rasters.write("c", 0 * flat, grid)
    pairs = []
    for day, value in (("2020-05-04", 10.0), ("2020-05-16", 20.0)):
        fine = rasters.write(f"f{day}", value * np.ones((1, 60, 60)))
        pairs.append(({"path": coarse, "date": day}, {"path": fine, "date": day}))
    target = {"path": coarse, "date": "2020-05-07"}
    result, _ = rasters.fuse(rasters.spatiotemporal(target, *pairs, harmonise="never"))
    # Three and nine days away: 3 to 1.
    np.testing.assert_allclose(result, 12.5, rtol=1e-5)
    undated = [tuple({"path": image["path"]} for image in pair) for pair in pairs]
    result, report = rasters.fuse(rasters.spatiotemporal(target, *undated, harmonise="never"))
    np.testing.assert_allclose(result, 15, rtol=1e-5)
    assert sum("date of pair" in text for text in report["warnings"]) == 2


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint64", "uint32"])
def test_rarer_types_come_out_as_they_went_in(rasters, dtype):
    fine = np.linspace(0, 100, 32 * 32).reshape(1, 32, 32)
    coarse = rasters.write("c", np.full((1, 8, 8), 50.0), rasters.grid(120.0))
    path = rasters.write("f", fine, dtype=dtype)
    result, _ = rasters.fuse(rasters.spatiotemporal(coarse, (coarse, path), harmonise="never"))
    np.testing.assert_allclose(result, np.floor(fine), atol=1)


def test_figures_of_very_many_cells_are_those_of_cells_taken_together(rasters, rng, monkeypatch):
    """Beyond a quarter million cells k x k of them are taken together."""
    from rasterfuse.plugin.engine import cells

    monkeypatch.setattr(cells, "_MAX_CELLS", 110)
    fine = rng.random((2, 120, 180)).astype("float32")
    coarse = fine.reshape(2, 20, 6, 30, 6).mean(axis=(2, 4))
    target = (coarse + rng.random(coarse.shape)).astype("float32")
    grid = rasters.grid(180.0)
    pair = rasters.write("c", coarse, grid), rasters.write("f", fine)
    _, report = rasters.fuse(
        rasters.spatiotemporal(rasters.write("t", target, grid), pair, harmonise="never")
    )
    # 600 cells in groups of 3 x 3; the last row of groups is cut and left out.
    groups = (coarse - target)[:, :18].reshape(2, 6, 3, 10, 3).mean(axis=(2, 4))
    expected = np.sqrt((groups**2).mean(axis=(1, 2)))
    copy = next(a for a in report["trust"]["answers"] if a["id"] == "copy_fine")
    np.testing.assert_allclose(copy["rmse"], expected, rtol=1e-4)
    assert report["trust"]["cells"] == 60
    assert any("3 x 3 coarse cells" in text for text in report["notes"])
