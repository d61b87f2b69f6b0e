"""Geometry of raster grids as small pure functions. Standard library only: both sides import it.

A transform is (a, b, c, d, e, f) with x = a * col + b * row + c and y = d * col + e * row + f, the
order of the ``affine`` package; (0, 0) is the outer corner of the first pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..models.errors import InputError

Transform = tuple[float, float, float, float, float, float]
Extent = tuple[float, float, float, float]
METRES_PER_DEGREE = 111_320.0
IDENTITY: Transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class RasterInfo:
    """What checks need to know of an image; QGIS and the worker each fill it in.

    Attributes:
        label: What to call the image in messages.
        width: Columns.
        height: Rows.
        bands: Number of bands.
        transform: Pixel to CRS; identity (or its mirror image) where there is none.
        crs: Authority code or name, empty where there is none.
        dtype: GDAL-like name such as ``int16``.
        nodata: Stored value for nodata, or None.
        extent: (xmin, ymin, xmax, ymax) in the CRS of the fine image; None where it cannot be
            transformed.
        pixel: Pixel size (x, y) in units of the fine image's CRS.
        same_crs: Whether the CRS equals the fine image's.
        unit: About how many metres a unit of the CRS has; None where it does not say.
        wavelengths: Of the bands that are used, in nanometres; None where not known.
    """

    label: str
    width: int
    height: int
    bands: int
    transform: Transform
    crs: str
    dtype: str
    nodata: float | None
    extent: Extent | None
    pixel: tuple[float, float]
    same_crs: bool = True
    unit: float | None = None
    wavelengths: tuple[float | None, ...] = ()

    @property
    def georeferenced(self) -> bool:
        """Whether the image says where it lies, be it in an unknown CRS."""
        return bool(self.crs) or not is_identity(self.transform)

    @property
    def metres(self) -> float | None:
        """About the size of a pixel in metres, where the CRS says."""
        return max(pixel_size(self.transform)) * self.unit if self.unit else None


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels; row and col may be negative or beyond the raster for a halo."""

    row: int
    col: int
    rows: int
    cols: int


def is_identity(transform: Transform) -> bool:
    """Whether a transform only counts pixels, as files without georeference have it."""
    a, b, c, d, e, f = transform
    return (a, b, c, d, f) == (1.0, 0.0, 0.0, 0.0, 0.0) and abs(e) == 1.0


def apply(transform: Transform, col: Any, row: Any) -> tuple[Any, Any]:
    """CRS coordinates of a pixel position; numbers or arrays."""
    a, b, c, d, e, f = transform
    return a * col + b * row + c, d * col + e * row + f


def invert(transform: Transform) -> Transform:
    """The transform from CRS coordinates to pixels.

    Raises:
        InputError: The pixels have no area.
    """
    a, b, c, d, e, f = transform
    det = a * e - b * d
    if det == 0 or not math.isfinite(det):
        raise InputError(f"The geotransform {transform} has pixels without area. Mend the file.")
    return (
        e / det, -b / det, (b * f - c * e) / det,
        -d / det, a / det, (c * d - a * f) / det,
    )  # fmt: skip


def shift(transform: Transform, row: float, col: float) -> Transform:
    """The transform of a window that starts at (row, col)."""
    a, b, _, d, e, _ = transform
    x, y = apply(transform, col, row)
    return a, b, x, d, e, y


def scale(transform: Transform, columns: float, rows: float) -> Transform:
    """The transform of pixels that are ``columns`` times as wide and ``rows`` times as high."""
    a, b, c, d, e, f = transform
    return a * columns, b * rows, c, d * columns, e * rows, f


def pixel_size(transform: Transform) -> tuple[float, float]:
    """Width and height of a pixel in CRS units, also for rotated grids."""
    a, b, _, d, e, _ = transform
    return math.hypot(a, d), math.hypot(b, e)


def corners(transform: Transform, width: int, height: int) -> list[tuple[float, float]]:
    """The four outer corners in CRS coordinates, clockwise from the first pixel."""
    return [apply(transform, *at) for at in ((0, 0), (width, 0), (width, height), (0, height))]


def bounds(points: Iterable[tuple[float, float]]) -> Extent:
    """The box around points."""
    xs, ys = zip(*points)
    return min(xs), min(ys), max(xs), max(ys)


def overlap(one: Extent, other: Extent) -> float:
    """Share of ``one``'s area that lies in ``other``, 0 to 1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    area = (one[2] - one[0]) * (one[3] - one[1])
    return max(width, 0.0) * max(height, 0.0) / area if area > 0 else 0.0


def window_of(extent: Extent, transform: Transform, width: int, height: int) -> Window:
    """The whole pixels of a grid that an extent touches.

    Raises:
        InputError: The extent lies outside the grid.
    """
    inverse = invert(transform)
    xmin, ymin, xmax, ymax = extent
    places = [apply(inverse, x, y) for x in (xmin, xmax) for y in (ymin, ymax)]
    left, top, right, bottom = bounds(places)
    # A border that lies on a pixel edge but for rounding must not add a row or column.
    slack = 1e-6
    first_col = max(math.floor(left + slack), 0)
    first_row = max(math.floor(top + slack), 0)
    last_col = min(math.ceil(right - slack), width)
    last_row = min(math.ceil(bottom - slack), height)
    if first_col >= last_col or first_row >= last_row:
        raise InputError(
            f"The extent {', '.join(f'{v:g}' for v in extent)} lies outside the fine image. "
            "Choose one that overlaps it."
        )
    return Window(first_row, first_col, last_row - first_row, last_col - first_col)


def same_grid(one: RasterInfo, other: RasterInfo) -> bool:
    """Whether two images have the same pixels, to a thousandth of a pixel at every corner."""
    if (one.width, one.height, one.same_crs) != (other.width, other.height, other.same_crs):
        return False
    tolerance = 1e-3 * min(pixel_size(other.transform))
    pairs = zip(
        corners(one.transform, one.width, one.height),
        corners(other.transform, other.width, other.height),
    )
    return all(math.dist(here, there) <= tolerance for here, there in pairs)


def placement(image: RasterInfo, fine: RasterInfo) -> Transform | None:
    """Where an image lies in the fine image's CRS when its own georeference cannot tell.

    An image without georeference is taken to cover the same area as the fine one when its size is
    the fine size divided by one number; an image with a CRS beside a fine one without, and the
    other way round, is placed likewise.

    Returns:
        The transform to use, or None when the image's own georeference is to be used.

    Raises:
        InputError: The image cannot be placed.
    """
    if image.georeferenced and fine.georeferenced and bool(image.crs) == bool(fine.crs):
        return None
    ratio_x, ratio_y = fine.width / image.width, fine.height / image.height
    if abs(ratio_x - ratio_y) <= 0.01 * ratio_x:
        return scale(fine.transform, ratio_x, ratio_y)
    lacking = image if not image.crs else fine
    raise InputError(
        f"{lacking.label} has no CRS, and {image.width} x {image.height} pixels do not cover "
        f"{fine.width} x {fine.height} pixels evenly. Assign a CRS to it (Layer ▸ Set CRS)."
    )
