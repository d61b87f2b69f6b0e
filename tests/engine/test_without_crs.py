"""Rasters that do not say where they lie."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterfuse.models.errors import InputError
from rasterio.transform import Affine

ROWS, COLS = 60, 90


def bare(rasters, name, values):
    """A file without CRS and geotransform."""
    values = np.asarray(values, "float32")
    values = values[None] if values.ndim == 2 else values
    path = str(rasters.folder / f"{name}.tif")
    with rasterio.open(
        path, "w", driver="GTiff", width=values.shape[2], height=values.shape[1],
        count=len(values), dtype="float32",
    ) as file:  # fmt: skip
        file.write(values)
    return path


pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture
def fine(rng):
    return rng.random((1, ROWS, COLS)) + 5


def ramp(rows, cols, factor=1):
    """Row and column of pixel centres in fine pixels, as one number."""
    row, col = np.indices((rows, cols)) + 0.5
    return (factor * row + 0.01 * factor * col)[None]


def test_rasters_of_one_size_are_taken_to_share_their_pixels(rasters, fine):
    change = ramp(ROWS, COLS)
    target, coarse = bare(rasters, "t", fine + change), bare(rasters, "c", fine)
    result, report = rasters.fuse(
        rasters.spatiotemporal(target, (coarse, bare(rasters, "f", fine)), harmonise="never")
    )
    np.testing.assert_allclose(result, fine + change, rtol=1e-5)
    assert any("t.tif has no CRS" in text and "same pixels" in text for text in report["notes"])
    with rasterio.open(rasters.output) as fused:
        assert fused.crs is None
        assert fused.transform == Affine.identity()
    assert report["grid"]["crs"] == ""


@pytest.mark.parametrize("ratio", [2, 5, 30])
def test_rasters_of_a_multiple_size_are_taken_to_cover_the_same_area(rasters, fine, ratio):
    values = ramp(ROWS // ratio, COLS // ratio, ratio)
    target, coarse = bare(rasters, "t", values), bare(rasters, "c", 0 * values)
    result, report = rasters.fuse(
        rasters.spatiotemporal(target, (coarse, bare(rasters, "f", fine)), harmonise="never")
    )
    inner = (slice(None), slice(2 * ratio, -2 * ratio), slice(2 * ratio, -2 * ratio))
    if ratio < 30:
        np.testing.assert_allclose(result[inner], (fine + ramp(ROWS, COLS))[inner], atol=0.02)
    assert result.shape == fine.shape
    assert np.isfinite(result).all()
    assert report["grid"]["ratio"] == pytest.approx(ratio)
    assert any("no CRS" in text and "same area" in text for text in report["warnings"])


def test_a_coarse_image_without_crs_lies_on_the_fine_one_that_has_one(rasters, fine):
    values = ramp(ROWS // 5, COLS // 5, 5)
    target, coarse = bare(rasters, "t", values), bare(rasters, "c", 0 * values)
    path = rasters.write("f", fine, Affine(30, 3, 5e5, 3, -30, 5.3e6))
    result, report = rasters.fuse(rasters.spatiotemporal(target, (coarse, path), harmonise="never"))
    np.testing.assert_allclose(
        result[:, 10:-10, 10:-10], (fine + ramp(ROWS, COLS))[:, 10:-10, 10:-10], atol=0.02
    )
    with rasterio.open(rasters.output) as fused, rasterio.open(path) as original:
        assert fused.crs == original.crs
        assert fused.transform == original.transform
    assert any("t.tif has no CRS" in text for text in report["warnings"])


def test_a_coarse_image_with_crs_lies_on_the_fine_one_that_has_none(rasters, fine):
    values = ramp(ROWS // 5, COLS // 5, 5)
    grid = rasters.grid(150.0)
    target, coarse = rasters.write("t", values, grid), rasters.write("c", 0 * values, grid)
    result, report = rasters.fuse(
        rasters.spatiotemporal(target, (coarse, bare(rasters, "f", fine)), harmonise="never")
    )
    np.testing.assert_allclose(
        result[:, 10:-10, 10:-10], (fine + ramp(ROWS, COLS))[:, 10:-10, 10:-10], atol=0.02
    )
    assert any("f.tif has no CRS" in text for text in report["warnings"])


def test_images_that_all_have_a_geotransform_but_no_crs_lie_where_it_says(rasters, fine):
    """Many converted files keep the geotransform and lose the CRS."""
    grid = Affine(150, 0, 499_700, 0, -150, 5_300_300)
    values = ramp(ROWS // 5 + 5, COLS // 5 + 5, 5) - 10 - 0.1  # starts 10 fine pixels outside
    target = rasters.write("t", values, grid, crs=None)
    coarse = rasters.write("c", 0 * values, grid, crs=None)
    path = rasters.write("f", fine, rasters.grid(), crs=None)
    result, _ = rasters.fuse(rasters.spatiotemporal(target, (coarse, path), harmonise="never"))
    np.testing.assert_allclose(result, fine + ramp(ROWS, COLS), atol=0.02)
    with rasterio.open(rasters.output) as fused:
        assert fused.transform == rasters.grid()
        assert fused.crs is None


@pytest.mark.parametrize("shape", [(13, 90), (61, 90), (7, 11)])
def test_sizes_that_do_not_fit_are_refused_with_both_sizes(rasters, fine, shape):
    target, coarse = (bare(rasters, name, np.ones((1, *shape))) for name in "tc")
    job = rasters.spatiotemporal(target, (coarse, bare(rasters, "f", fine)))
    with pytest.raises(InputError, match=rf"{shape[1]} x {shape[0]} .*90 x 60 .*Assign a CRS"):
        rasters.fuse(job)
    assert rasters.leftovers() == []


def test_a_coarse_image_without_crs_that_is_larger_than_the_fine_is_refused(rasters, fine):
    target, coarse = (bare(rasters, name, np.ones((1, 2 * ROWS, 2 * COLS))) for name in "tc")
    job = rasters.spatiotemporal(target, (coarse, bare(rasters, "f", fine)))
    with pytest.raises(InputError, match=r"smaller .*ratio 0\.50.*Swap"):
        rasters.fuse(job)
