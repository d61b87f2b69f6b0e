"""Show a result in QGIS: named, styled, dated and with its history, just above its inputs.

Layers and projects belong to the main thread: so does all this.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from qgis.core import (
    Qgis,
    QgsAbstractMetadataBase,
    QgsDateTimeRange,
    QgsLayerMetadata,
    QgsLayerTree,
    QgsLayerTreeGroup,
    QgsLayerTreeLayer,
    QgsProject,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QCoreApplication, QDateTime, Qt

from ...models.cards import Card, find_card
from ...models.errors import FusionError, InputError, OutputError
from ..job import Job, RasterSource
from .bands import wavelengths_of
from .files import origin_of, plain_path, source_path
from .header import read_header
from .report import number
from .style import copy_style, fresh_style, ramp_style

NAME_TEMPLATE = "{fine}_{date}_{method}"
REPORT_PROPERTY = "rasterfuse/report"


def tr(text: str) -> str:
    """Translate a text of the layer's metadata."""
    return QCoreApplication.translate("RasterFuseLayer", text)


def publish(
    job: Job,
    report: Mapping[str, Any],
    project: QgsProject | None = None,
    fine_layer: QgsRasterLayer | None = None,
    name: str | None = None,
) -> QgsRasterLayer:
    """Load the result of a job into the project, and below it its standard error, if it has one.

    Args:
        job: What was asked for, with the images as the user chose them.
        report: The worker's report.
        project: The current one when left out.
        fine_layer: The layer on whose grid the result lies, if it is one.
        name: Name of the new layer; made from ``NAME_TEMPLATE`` when left out.

    Raises:
        OutputError: A file cannot be loaded.
    """
    project = project or QgsProject.instance()
    name = name or result_name(job, fine_layer)
    layer = _load(str(report.get("path") or job.output), name)
    dress(layer, job, report, fine_layer, project)
    project.addMapLayer(layer, False)
    _place_above_inputs(layer, job, project, fine_layer)
    if report.get("error_path"):
        error = _load(str(report["error_path"]), error_name(name))
        dress_error(error, job, report)
        project.addMapLayer(error, False)
        root = project.layerTreeRoot()
        group, row = _position(root.findLayer(layer.id()), root)
        group.insertLayer(row + 1, error)
    return layer


def _load(path: str, name: str) -> QgsRasterLayer:
    # Without QGIS's own style, for which it would read the image while the user waits.
    layer = QgsRasterLayer(path, name, "gdal", QgsRasterLayer.LayerOptions(False))
    if not layer.isValid():
        raise OutputError(
            f"The result {path} was written but cannot be loaded "
            f"({layer.error().summary() or 'QGIS gave no reason'}). Open it by hand to see why."
        )
    return layer


def error_name(result: str) -> str:
    """What the layer with the standard error of a result is called."""
    return tr("{0} (standard error)").format(result)


def dress_error(layer: QgsRasterLayer, job: Job, report: Mapping[str, Any]) -> None:
    """Give a loaded standard error its style, date and history."""
    ramp_style(layer)
    _set_record(layer, job, report)


def dress(
    layer: QgsRasterLayer,
    job: Job,
    report: Mapping[str, Any],
    fine_layer: QgsRasterLayer | None = None,
    project: QgsProject | None = None,
) -> None:
    """Give a loaded result its style, date, history and report."""
    project = project or QgsProject.instance()
    _style(layer, job, fine_layer, project)
    _set_record(layer, job, report)
    layer.setCustomProperty(REPORT_PROPERTY, json.dumps(report, ensure_ascii=False, default=str))


def _set_record(layer: QgsRasterLayer, job: Job, report: Mapping[str, Any]) -> None:
    """Date and history."""
    day = _target_day(job)
    if day:
        _set_date(layer, day)
    layer.setMetadata(_metadata(layer, job, report, day))


def report_of(layer: QgsRasterLayer) -> dict[str, Any] | None:
    """The report that a result carries, None for other layers."""
    try:
        found = json.loads(layer.customProperty(REPORT_PROPERTY, ""))
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def result_name(
    job: Job, fine_layer: QgsRasterLayer | None = None, template: str = NAME_TEMPLATE
) -> str:
    """The layer's name from a template with {fine}, {date} and {method}.

    What is not known is left out together with the sign before it.
    """
    source = job.sources.get(_grid_name(job))
    fine = fine_layer.name() if fine_layer is not None else source.label if source else ""
    values = {
        "fine": re.sub(r"\.(tiff?|img|jp2|vrt|hdf|nc)$", "", fine, flags=re.IGNORECASE),
        "date": _target_day(job) or "",
        "method": job.model,
    }
    for key, value in values.items():
        if not value:
            template = re.sub(rf"[ _.-]?\{{{key}\}}", "", template)
    try:
        text = template.format(**values)
    except (KeyError, IndexError, ValueError):
        return result_name(job, fine_layer) if template != NAME_TEMPLATE else job.model
    return text.strip(" _-.") or job.model


def _card(job: Job) -> Card | None:
    try:
        return find_card(job.model)
    except InputError:
        return None


def _grid_name(job: Job) -> str:
    card = _card(job)
    return job.grid_source(card.grid_role) if card is not None else ""


def _target_day(job: Job) -> str | None:
    """The day that the result shows."""
    target = job.sources.get("coarse_target") or job.sources.get("multispectral")
    return target.date if target is not None else None


# --- style ----------------------------------------------------------------------------------------


def _style(
    layer: QgsRasterLayer, job: Job, fine_layer: QgsRasterLayer | None, project: QgsProject
) -> None:
    """The style of the image whose bands and units the result has."""
    name = "fine 1" if "fine 1" in job.sources else "multispectral"
    source = job.sources.get(name)
    if source is None:
        fresh_style(layer, {})
        return
    model = fine_layer if name == "fine 1" else None
    if model is None or not model.isValid():
        model = next((item for item in _rasters(project) if _shows(item, source)), None)
    numbers = source.bands or tuple(range(1, layer.bandCount() + 1))
    bands = {band: position for position, band in enumerate(numbers, 1)}
    if model is None or not copy_style(layer, model, bands):
        fresh_style(layer, _wavelengths(source))


def _wavelengths(source: RasterSource) -> dict[int, float]:
    """What is known of the result's bands from the image that it takes them from."""
    try:
        known = wavelengths_of(source, read_header(source.path, source.label))
    except FusionError:
        return {}
    return {band: found for band, found in enumerate(known, 1) if found is not None}


def _rasters(project: QgsProject) -> Iterator[QgsRasterLayer]:
    """The project's raster layers from top to bottom."""
    for node in project.layerTreeRoot().findLayers():
        if isinstance(node.layer(), QgsRasterLayer) and node.layer().isValid():
            yield node.layer()


def _shows(layer: QgsRasterLayer, source: RasterSource) -> bool:
    """Whether a layer shows an image of a job."""
    wanted = origin_of(source.path)
    if layer.source() in (source.path, wanted):
        return True
    if layer.providerType() != "gdal":
        return False
    here = source_path(layer)
    if os.path.exists(here) and os.path.exists(wanted):
        return os.path.samefile(here, wanted)
    return here == plain_path(wanted)


# --- place ----------------------------------------------------------------------------------------


def _place_above_inputs(
    layer: QgsRasterLayer, job: Job, project: QgsProject, fine_layer: QgsRasterLayer | None
) -> None:
    """Insert the layer above the topmost input, on top where none is in the project."""
    root = project.layerTreeRoot()
    node = next((item for item in root.findLayers() if _is_input(item, job, fine_layer)), None)
    group, row = (root, 0) if node is None else _position(node, root)
    group.insertLayer(row, layer)


def _is_input(node: QgsLayerTreeLayer, job: Job, fine_layer: QgsRasterLayer | None) -> bool:
    layer = node.layer()
    if not isinstance(layer, QgsRasterLayer):
        return False
    if fine_layer is not None and layer.id() == fine_layer.id():
        return True
    return any(_shows(layer, source) for source in job.sources.values())


def _position(node: QgsLayerTreeLayer, root: QgsLayerTree) -> tuple[QgsLayerTreeGroup, int]:
    parent = node.parent() or root
    for row, child in enumerate(parent.children()):
        if isinstance(child, QgsLayerTreeLayer) and child.layerId() == node.layerId():
            return parent, row
    return root, 0


# --- date and history -----------------------------------------------------------------------------


def _set_date(layer: QgsRasterLayer, day: str) -> None:
    temporal = layer.temporalProperties()
    temporal.setMode(Qgis.RasterTemporalMode.FixedTemporalRange)
    temporal.setFixedTemporalRange(_range(day))
    temporal.setIsActive(True)


def _range(day: str) -> QgsDateTimeRange:
    """The whole day in UTC, which QGIS's temporal controller counts in."""
    begin = QDateTime.fromString(f"{day}T00:00:00Z", Qt.DateFormat.ISODate)
    return QgsDateTimeRange(begin, begin.addSecs(24 * 3600 - 1))


def _metadata(
    layer: QgsRasterLayer, job: Job, report: Mapping[str, Any], day: str | None
) -> QgsLayerMetadata:
    metadata = layer.metadata()
    card = _card(job)
    method = card.name if card is not None else job.model
    metadata.setTitle(layer.name())
    metadata.setType("dataset")
    metadata.setAbstract(_abstract(job, report, card, method, day))
    metadata.setCrs(layer.crs())
    if card is not None:
        link = QgsAbstractMetadataBase.Link(
            card.citation, "WWW:LINK", f"https://doi.org/{card.paper['doi']}"
        )
        metadata.setLinks([link])
    if day:
        extent = metadata.extent()
        extent.setTemporalExtents([_range(day)])
        metadata.setExtent(extent)
    for entry in _history(job, report, method):
        metadata.addHistoryItem(entry)
    return metadata


def _abstract(
    job: Job, report: Mapping[str, Any], card: Card | None, method: str, day: str | None
) -> str:
    parts = [tr("Fused with {0} by RasterFuse {1}.").format(method, report.get("version", "–"))]
    if day:
        parts.append(tr("Day: {0}.").format(day))
    names = ", ".join(dict.fromkeys(source.label for source in job.sources.values()))
    parts.append(tr("Inputs: {0}.").format(names))
    verdict = (report.get("trust") or {}).get("verdict")
    if verdict:
        parts.append(str(verdict))
    if card is not None:
        parts += [card.summary, card.citation]
    return "\n".join(parts)


def _history(job: Job, report: Mapping[str, Any], method: str) -> Iterator[str]:
    now = QDateTime.currentDateTimeUtc().toString(Qt.DateFormat.ISODate)
    seconds = (report.get("seconds") or {}).get("total")
    yield tr("{0}: fused with {1} (RasterFuse {2}) on {3} in {4} s").format(
        now, method, report.get("version", "–"), report.get("device", "–"), number(seconds)
    )
    for role, source in job.sources.items():
        bands = ", ".join(map(str, source.bands)) or tr("all")
        yield tr("Input {0}: {1}, day {2}, bands {3}, {4}").format(
            role.replace("_", " "), source.label, source.date or "–", bands, source.path
        )
    card = _card(job)
    settings = {**({spec.name: spec.default for spec in card.parameters} if card else {}),
                **job.parameters}  # fmt: skip
    listed = ", ".join(
        f"{key} = {tr('automatic') if value is None else value}" for key, value in settings.items()
    )
    yield tr("Parameters: {0}").format(listed or "–")
    yield tr("Job: {0}").format(job.to_json())
