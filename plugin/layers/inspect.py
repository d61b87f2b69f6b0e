"""Look at the images of a job without reading them, and say what is the matter with them."""

from __future__ import annotations

import math

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsPointXY,
)

from ...models.cards import Card, find_card
from ...models.errors import InputError, RasterReadError
from ..checks import ERROR, Finding, check_job, place_of
from ..grid import Extent, RasterInfo, apply, bounds, pixel_size
from ..job import Job, RasterSource
from .bands import wavelengths_of
from .header import Header, crs_name, read_header, same_crs, unit_metres

_STEPS = 20  # points per side of the image that are transformed: curved sides bulge
Point = tuple[float, float]


def inspect(job: Job, card: Card | None = None) -> tuple[dict[str, RasterInfo], list[Finding]]:
    """Open the headers of all images and check the job.

    Args:
        job: May be incomplete.
        card: By which to check it; that of its method when left out.

    Returns:
        What is known of the images, by the names of ``job.sources`` and without those that cannot
        be opened; and all findings, each once.
    """
    try:
        card = card or find_card(job.model)
    except InputError as error:
        return {}, [Finding(ERROR, "model", error.sentence)]
    headers: dict[str, Header] = {}
    findings: list[Finding] = []
    for name, source in job.sources.items():
        try:
            headers[name] = read_header(source.path, source.label)
        except RasterReadError as error:
            findings.append(Finding(ERROR, place_of(name), error.sentence))
            continue
        fault = fault_of(headers[name], source)
        if fault:
            findings.append(Finding(ERROR, place_of(name), fault))
    grid = headers.get(job.grid_source(card.grid_role))
    infos = {name: raster_info(job.sources[name], header, grid) for name, header in headers.items()}
    return infos, list(dict.fromkeys(findings + check_job(job, card, infos)))


def fault_of(header: Header, source: RasterSource) -> str:
    """Why an image that can be opened cannot be fused, empty when it can."""
    if header.damage:
        return (
            f"{source.label} is damaged: its end cannot be read ({header.damage}). Copy or "
            "download it again."
        )
    if header.dtype.startswith("c"):
        return (
            f"{source.label} has complex values ({header.dtype}). Compute their amplitude first "
            "(Raster ▸ Raster Calculator)."
        )
    return ""


def raster_info(source: RasterSource, header: Header, grid: Header | None) -> RasterInfo:
    """What the checks want to know of an image beside the fine image, if that is known."""
    extent, pixel = extent_and_pixel(header, grid.wkt if grid is not None else "")
    band = source.bands[0] - 1 if source.bands else 0
    stated = source.nodata
    if stated is None and band < len(header.nodata):
        stated = header.nodata[band]
    return RasterInfo(
        label=source.label,
        width=header.width,
        height=header.height,
        bands=len(header.bands),
        transform=header.transform,
        crs=crs_name(header.wkt),
        dtype=header.dtype,
        nodata=stated,
        extent=extent,
        pixel=pixel,
        same_crs=grid is None or same_crs(header.wkt, grid.wkt),
        unit=unit_metres(header.wkt),
        wavelengths=wavelengths_of(source, header),
    )


def extent_and_pixel(header: Header, wkt: str) -> tuple[Extent | None, Point]:
    """Box around an image and size of its central pixel in another CRS.

    Returns:
        The box, None when the image cannot be transformed, and the pixel's width and height; both
        in the image's own coordinates when either side has no CRS.
    """
    col, row = header.width // 2, header.height // 2
    pixel = [apply(header.transform, *at) for at in ((col, row), (col + 1, row), (col, row + 1))]
    edge = _edge(header)
    if not same_crs(header.wkt, wkt):
        transform = transformation(header.wkt, wkt)
        pixel = _transformed(pixel, transform)
        edge = _transformed(edge, transform)
    if len(pixel) < 3 or not edge:
        return None, pixel_size(header.transform)
    corner, right, below = pixel
    return bounds(edge), (math.dist(corner, right), math.dist(corner, below))


def transformation(source: str, target: str) -> QgsCoordinateTransform:
    """From one CRS to another as the worker does it: silently, without the project's settings."""
    transform = QgsCoordinateTransform(
        QgsCoordinateReferenceSystem.fromWkt(source),
        QgsCoordinateReferenceSystem.fromWkt(target),
        QgsCoordinateTransformContext(),
    )
    transform.setBallparkTransformsAreAppropriate(True)
    transform.disableFallbackOperationHandler(True)
    return transform


def _edge(header: Header) -> list[Point]:
    """Points along the outer edge in the image's own coordinates."""
    shares = [step / _STEPS for step in range(_STEPS + 1)]
    places = [(share, end) for share in shares for end in (0.0, 1.0)]
    places += [(end, share) for share in shares for end in (0.0, 1.0)]
    return [apply(header.transform, x * header.width, y * header.height) for x, y in places]


def _transformed(points: list[Point], transform: QgsCoordinateTransform) -> list[Point]:
    """The points that have a place in the other CRS."""
    if not transform.isValid():
        return []
    found = []
    for x, y in points:
        try:
            point = transform.transform(QgsPointXY(x, y))
        except QgsCsException:
            continue
        if math.isfinite(point.x()) and math.isfinite(point.y()):
            found.append((point.x(), point.y()))
    return found
