"""From what a door knows of the images to a job."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsCsException,
    QgsMapLayer,
    QgsRasterLayer,
    QgsReferencedRectangle,
)

from ...models.cards import Card, find_card
from ...models.errors import FusionError, InputError, RasterReadError
from ..grid import Extent
from ..job import COREGISTER, Job, Limits, RasterSource, ReferencePair, parse_date
from .bands import match_bands
from .dates import date_in_name
from .files import path_of, plain_path, wkt_of
from .header import Header, read_header
from .inspect import transformation

# Names of metadata that hold the day an image was taken, in lower case. That of TIFF
# (TIFFTAG_DATETIME) is not among them: it is the day on which the file was written.
_DATE_TAGS = (
    "acquisitiondatetime", "acquisition_date", "date_acquired", "acquisition time",
    "acquisition_time", "start_time", "rangebeginningdate", "sensing_time", "sensing_date",
    "datatake_1_datatake_sensing_start", "product_start_time", "time_coverage_start",
    "nc_global#time_coverage_start", "date",
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """What a door knows of one image.

    Attributes:
        layer: A layer, or a path that GDAL opens.
        bands: 1-based, in the order wanted; empty: matched with the other images.
        date: YYYY-MM-DD; None: to be guessed; an empty text: not known, and not to be guessed.
        scale: As in ``RasterSource``, like ``offset``, ``nodata`` and ``cell_size``.
    """

    layer: QgsRasterLayer | str
    bands: tuple[int, ...] = ()
    date: str | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    cell_size: float | None = None

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return _label(self.layer)


@dataclass(frozen=True)
class JobOptions:
    """What a job has beside its images; ``extent`` may be in any CRS."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    extent: QgsReferencedRectangle | None = None
    device: str = "auto"
    harmonise: str = "auto"
    coregister: str = COREGISTER[0]
    backend: str = "auto"
    limits: Limits = field(default_factory=Limits)
    error_output: str | None = None


def guess_date(layer_or_path: QgsMapLayer | str | os.PathLike[str]) -> str | None:
    """The day of an image as YYYY-MM-DD, None when nothing tells it.

    The layer's temporal properties come first, then its metadata and the file's, then the file's
    name and the layer's.
    """
    layer = layer_or_path if isinstance(layer_or_path, QgsMapLayer) else None
    found = _date_of_layer(layer) if isinstance(layer, QgsRasterLayer) else None
    source = layer.source() if layer is not None else os.fspath(layer_or_path)
    found = found or _date_of_file(source) or _date_of_names(source)
    if found is None and layer is not None:
        found = date_in_name(layer.name())
    return found.isoformat() if found is not None else None


def source_of(image: Image) -> RasterSource:
    """An image as the job wants it. Call it on the thread that owns the layer.

    Raises:
        InputError: It is nothing that GDAL can open in another process.
    """
    day = guess_date(image.layer) if image.date is None else image.date
    return RasterSource(
        path=path_of(image.layer),
        bands=tuple(image.bands),
        date=str(parse_date(day)) if day else None,
        scale=image.scale,
        offset=image.offset,
        nodata=image.nodata if image.nodata is not None else _nodata_of_layer(image.layer),
        cell_size=image.cell_size,
        name=image.label,
    )


def pair_up(coarse: Sequence[Image], fine: Sequence[Image]) -> list[tuple[Image, Image]]:
    """Pairs in the order of the fine images: by date when all have one, else by order.

    Raises:
        InputError: There are not as many coarse as fine images.
    """
    if len(coarse) != len(fine):
        raise InputError(
            f"There are {len(coarse)} coarse and {len(fine)} fine reference images. Give one "
            "coarse image for every fine one, of the same day."
        )
    days = [[_day(image) for image in images] for images in (coarse, fine)]
    if not all(days[0] + days[1]):
        return list(zip(coarse, fine))
    # Both in order of time: images of one day meet, and others those that are next in time.
    by_time = [sorted(range(len(side)), key=side.__getitem__) for side in days]
    partner = dict(zip(by_time[1], by_time[0]))
    return [(coarse[partner[number]], image) for number, image in enumerate(fine)]


def build_job(
    model: str,
    images: Mapping[str, Image],
    pairs: Sequence[tuple[Image, Image]],
    output: str,
    options: JobOptions,
) -> Job:
    """The job of what was chosen; bands that were left open are matched.

    Raises:
        InputError: There is no such method, a layer cannot be handed over, or the extent cannot be
            transformed.
    """
    card = find_card(model)
    if card.family == "spatiotemporal":
        images, pairs = with_matched_bands(images, pairs)
    inputs: dict[str, RasterSource | tuple[ReferencePair, ...]] = {
        role: source_of(image) for role, image in images.items()
    }
    if pairs:
        inputs["references"] = tuple(
            ReferencePair(source_of(coarse), source_of(fine)) for coarse, fine in pairs
        )
    job = Job(
        model=model,
        inputs=inputs,
        output=os.path.abspath(output),
        parameters=dict(options.parameters),
        device=options.device,
        harmonise=options.harmonise,
        coregister=options.coregister,
        backend=options.backend,
        limits=options.limits,
        model_file=card.model_file,
        error_output=options.error_output and os.path.abspath(options.error_output),
    )
    return replace(job, extent=_extent(job, card, options.extent))


# --- names and dates ------------------------------------------------------------------------------


def _label(layer: QgsMapLayer | str | os.PathLike[str]) -> str:
    if isinstance(layer, QgsMapLayer):
        return layer.name()
    return os.path.basename(os.fspath(layer).rstrip("/\\")) or os.fspath(layer)


def _day(image: Image) -> str:
    return image.date if image.date is not None else guess_date(image.layer) or ""


def _date_of_layer(layer: QgsRasterLayer) -> date | None:
    temporal = layer.temporalProperties()
    ranges = [*layer.metadata().extent().temporalExtents()]
    fixed = Qgis.RasterTemporalMode.FixedTemporalRange
    if temporal.isActive() and temporal.mode() == fixed:
        ranges.insert(0, temporal.fixedTemporalRange())
    for item in ranges:
        if item.begin().isValid():
            return item.begin().date().toPyDate()
    return None


def _date_of_file(source: str) -> date | None:
    try:
        tags = read_header(plain_path(source)).tags
    except FusionError:
        return None
    job = _own_job(tags.get("rasterfuse_job", ""))
    for text in (job, *(tags.get(name, "") for name in _DATE_TAGS)):
        found = date_in_name(text)
        if found is not None:
            return found
    return None


def _own_job(text: str) -> str:
    """The target date of an image that was fused here."""
    try:
        return json.loads(text)["inputs"]["coarse_target"]["date"] or ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _date_of_names(source: str) -> date | None:
    """From the file's name; in an archive, from the archive's when the member has none."""
    parts = source.replace("\\", "/").split("/")
    names = parts[::-1] if source.startswith("/vsi") else parts[-1:]
    return next((day for name in names if (day := date_in_name(name)) is not None), None)


def _nodata_of_layer(layer: QgsRasterLayer | str) -> float | None:
    """The one nodata value that the user gave a layer whose file has none."""
    if not isinstance(layer, QgsRasterLayer) or layer.providerType() != "gdal":
        return None
    provider = layer.dataProvider()
    if provider is None or not layer.isValid() or provider.sourceHasNoDataValue(1):
        return None
    ranges = provider.userNoDataValues(1)
    if len(ranges) != 1 or ranges[0].min() != ranges[0].max():
        return None
    return float(ranges[0].min())


# --- bands ----------------------------------------------------------------------------------------


def with_matched_bands(
    images: Mapping[str, Image], pairs: Sequence[tuple[Image, Image]]
) -> tuple[Mapping[str, Image], Sequence[tuple[Image, Image]]]:
    """Give all images bands that mean the same as the coarse target's, where that was left open."""
    target = images.get("coarse_target")
    if target is None or not pairs:
        return images, pairs
    fine = pairs[0][1]
    match = _match(target, fine)
    if match is None:
        return images, pairs
    target, fine = replace(target, bands=match[0]), replace(fine, bands=match[1])
    matched = [(_like(target, pair[0]), _like(fine, pair[1])) for pair in pairs]
    return {**images, "coarse_target": target}, [(matched[0][0], fine), *matched[1:]]


def _like(model: Image, image: Image) -> Image:
    """An image with the bands that correspond to those of another of its kind."""
    match = None if image.bands else _match(model, image)
    return image if match is None else replace(image, bands=match[1])


def _match(one: Image, other: Image) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Bands of both; None when one cannot be opened, which the check says."""
    try:
        match = match_bands(one.layer, other.layer, one.bands, other.bands)
    except FusionError:
        return None
    return match.coarse, match.fine


# --- extent ---------------------------------------------------------------------------------------


def _extent(job: Job, card: Card, wanted: QgsReferencedRectangle | None) -> Extent | None:
    """The extent in the CRS of the image on whose grid the result lies."""
    name = job.grid_source(card.grid_role)
    if wanted is None or wanted.isNull() or name not in job.sources:
        return None
    try:
        header = read_header(job.sources[name].path)
    except RasterReadError:
        return None
    box = (wanted.xMinimum(), wanted.yMinimum(), wanted.xMaximum(), wanted.yMaximum())
    if not header.placed:
        return _as_pixels(box)
    if not wanted.crs().isValid() or not header.wkt:
        return box
    if wanted.crs() == QgsCoordinateReferenceSystem.fromWkt(header.wkt):
        return box
    return _transformed(wanted, header, job.sources[name].label)


def _as_pixels(box: Extent) -> Extent:
    """QGIS counts the rows of images without coordinates downwards from 0, GDAL upwards."""
    xmin, ymin, xmax, ymax = box
    return xmin, -ymax, xmax, -ymin


def _transformed(wanted: QgsReferencedRectangle, header: Header, label: str) -> Extent:
    transform = transformation(wkt_of(wanted.crs()), header.wkt)
    try:
        box = transform.transformBoundingBox(wanted) if transform.isValid() else None
    except QgsCsException:
        box = None
    if box is None or not box.isFinite():
        raise InputError(
            f"The extent cannot be transformed from {wanted.crs().userFriendlyIdentifier()} to the "
            f"CRS of {label}. Draw it in the CRS of {label}."
        )
    return box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()
