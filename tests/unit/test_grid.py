"""Grid geometry: round trips for any grid, and windows that are neither short nor long."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rasterfuse.models.errors import InputError
from rasterfuse.plugin.grid import (
    IDENTITY,
    RasterInfo,
    Window,
    apply,
    bounds,
    corners,
    invert,
    is_identity,
    overlap,
    pixel_size,
    placement,
    same_grid,
    scale,
    shift,
    window_of,
)

UTM = (30.0, 0.0, 600000.0, 0.0, -30.0, 5400000.0)


def info(transform=UTM, width=100, height=80, crs="EPSG:32633", **more) -> RasterInfo:
    return RasterInfo(
        label=more.pop("label", "image"), width=width, height=height, bands=1,
        transform=transform, crs=crs, dtype="int16", nodata=None,
        extent=bounds(corners(transform, width, height)), pixel=pixel_size(transform), **more,
    )  # fmt: skip


@st.composite
def transforms(draw):
    """North-up and rotated grids with pixels of any shape, anywhere."""
    width, height = draw(st.floats(0.01, 1e4)), draw(st.floats(0.01, 1e4))
    angle = draw(st.sampled_from([0.0, math.pi / 2]) | st.floats(0, 2 * math.pi))
    x, y = draw(st.floats(-1e7, 1e7)), draw(st.floats(-1e7, 1e7))
    sin, cos = math.sin(angle), math.cos(angle)
    return width * cos, height * sin, x, width * sin, -height * cos, y


places = st.floats(-1e4, 1e4)


@given(transform=transforms(), col=places, row=places)
def test_there_and_back_again(transform, col, row):
    back = apply(invert(transform), *apply(transform, col, row))
    # Coordinates reach 1e8 with pixels of 0.01: float64 leaves a millionth of that in metres.
    assert math.dist(back, (col, row)) < 1e-3


@given(transform=transforms(), row=places, col=places)
def test_a_window_starts_where_its_first_pixel_lies(transform, row, col):
    moved = shift(transform, row, col)
    assert apply(moved, 0, 0) == pytest.approx(apply(transform, col, row), rel=1e-12, abs=1e-6)
    assert pixel_size(moved) == pixel_size(transform)


@given(transform=transforms(), columns=st.floats(0.1, 50), rows=st.floats(0.1, 50))
def test_larger_pixels_share_the_corner_and_cover_more(transform, columns, rows):
    larger = scale(transform, columns, rows)
    width, height = pixel_size(transform)
    assert apply(larger, 0, 0) == apply(transform, 0, 0)
    assert pixel_size(larger) == pytest.approx((width * columns, height * rows))


def test_a_pixel_without_area_is_refused():
    with pytest.raises(InputError, match="pixels without area"):
        invert((1.0, 1.0, 0.0, 1.0, 1.0, 0.0))
    with pytest.raises(InputError, match="pixels without area"):
        invert((math.nan, 0.0, 0.0, 0.0, 1.0, 0.0))


def test_files_without_georeference_are_known_by_their_transform():
    assert is_identity(IDENTITY)
    assert is_identity((1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    assert not is_identity((1.0, 0.0, 0.5, 0.0, 1.0, 0.0))
    assert not info(IDENTITY, crs="").georeferenced
    assert info(UTM, crs="").georeferenced


def test_the_corners_go_round_clockwise_from_the_first_pixel():
    assert corners(UTM, 100, 80) == [
        (600000, 5400000), (603000, 5400000), (603000, 5397600), (600000, 5397600),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("other", "share"),
    [((0, 0, 10, 10), 1), ((5, 0, 20, 10), 0.5), ((10, 0, 20, 10), 0), ((-9, -9, 99, 99), 1)],
    ids=["same", "half", "touching", "around"],
)
def test_overlap_is_the_share_of_the_first_box(other, share):
    assert overlap((0, 0, 10, 10), other) == share


def test_nothing_overlaps_with_an_empty_box():
    assert overlap((0, 0, 0, 10), (0, 0, 10, 10)) == 0


@given(
    data=st.data(),
    width=st.integers(1, 500),
    height=st.integers(1, 500),
    pixel=st.sampled_from([0.1, 1 / 3, 10.0, 29.97, 231.65635826]),
)
def test_the_extent_of_a_window_gives_the_window_back(data, width, height, pixel):
    transform = (pixel, 0.0, 600000.1, 0.0, -pixel, 5400000.7)
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows, cols = data.draw(st.integers(1, height - row)), data.draw(st.integers(1, width - col))
    extent = bounds(corners(shift(transform, row, col), cols, rows))
    assert window_of(extent, transform, width, height) == Window(row, col, rows, cols)


def test_an_extent_is_widened_to_whole_pixels_and_cut_at_the_border():
    inside = (600001, 5399999 - 30, 600031, 5399999)
    assert window_of(inside, UTM, 100, 80) == Window(0, 0, 2, 2)
    around = (0, 0, 1e7, 1e7)
    assert window_of(around, UTM, 100, 80) == Window(0, 0, 80, 100)


def test_an_extent_elsewhere_is_refused_with_its_numbers():
    with pytest.raises(InputError, match="The extent 1, 2, 3, 4 lies outside the fine image"):
        window_of((1, 2, 3, 4), UTM, 100, 80)


@given(transform=transforms())
def test_grids_are_the_same_up_to_a_thousandth_of_a_pixel(transform):
    width, height = pixel_size(transform)
    small = min(width, height)
    assume(small > 0.1)  # below, rounding of coordinates of 1e7 comes near the tolerance
    a, b, c, d, e, f = transform
    nearly = (a, b, c + 5e-4 * small, d, e, f)
    moved = (a, b, c + 5e-3 * small, d, e, f)
    assert same_grid(info(transform), info(nearly))
    assert not same_grid(info(transform), info(moved))


def test_another_size_or_crs_is_another_grid():
    assert not same_grid(info(), info(width=101))
    assert not same_grid(info(same_crs=False), info())


def test_a_georeferenced_image_is_left_where_it_is():
    assert placement(info(scale(UTM, 16, 16)), info()) is None
    assert placement(info(IDENTITY), info()) is None  # it has a CRS


@pytest.mark.parametrize(
    ("image", "fine"),
    [
        (info(IDENTITY, crs="", width=25, height=20), info()),
        (info(UTM, crs="", width=25, height=20), info()),
        (info(scale(UTM, 4, 4), width=25, height=20), info(UTM, crs="")),
        (info(scale(UTM, 4, 4), width=25, height=20), info(IDENTITY, crs="")),
    ],
    ids=["no-georeference", "no-crs", "fine-without-crs", "fine-without-georeference"],
)
def test_an_image_without_crs_covers_the_fine_one_when_sizes_agree(image, fine):
    assert placement(image, fine) == scale(fine.transform, 4, 4)


def test_two_images_without_georeference_share_their_area():
    assert placement(info(IDENTITY, crs=""), info(IDENTITY, crs="")) == IDENTITY


def test_an_image_without_crs_of_another_shape_is_refused_with_both_sizes():
    lost = info(IDENTITY, crs="", width=30, height=20, label="c.tif")
    with pytest.raises(InputError, match=r"c\.tif has no CRS, and 30 x 20 .* 100 x 80"):
        placement(lost, info())
