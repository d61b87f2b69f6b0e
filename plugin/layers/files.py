"""From a layer to a raster file that another process can open.

Layers live on the thread that owns them; call this there.
"""

from __future__ import annotations

import hashlib
import os
import re

from osgeo import gdal
from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsMapLayer,
    QgsProcessingUtils,
    QgsProject,
    QgsRasterFileWriter,
    QgsRasterLayer,
    QgsRasterPipe,
)

from ...models.errors import InputError, RasterReadError
from .header import Header, file_stamp, quiet_gdal, read_header

EXPORT_LIMIT = 16_000_000  # values, about what a person is willing to wait for
_OPTIONS = re.compile(r"\|(option|credential):")
_PICTURES = (Qgis.DataType.ARGB32, Qgis.DataType.ARGB32_Premultiplied)
# QGIS renamed both after 3.22.
if hasattr(Qgis, "RasterFileWriterResult"):
    _WRITTEN = Qgis.RasterFileWriterResult.Success
else:
    _WRITTEN = QgsRasterFileWriter.WriterError.NoError
if hasattr(Qgis, "CrsWktVariant"):
    _WKT = Qgis.CrsWktVariant.PreferredGdal
else:
    _WKT = QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED_GDAL
# Files made here from layers, and the sources of these layers.
_origins: dict[str, str] = {}


def path_of(layer: QgsMapLayer | str | os.PathLike[str]) -> str:
    """The path of a layer's raster, or of a copy where the layer is no file.

    Raises:
        InputError: The layer is no raster that could be handed over.
    """
    if not isinstance(layer, QgsMapLayer):
        return plain_path(layer)
    if not isinstance(layer, QgsRasterLayer):
        raise InputError(f"{layer.name()} is no raster layer. Choose a raster.")
    if not layer.isValid():
        raise InputError(
            f"The layer {layer.name()} is broken: {layer.publicSource()} cannot be opened. Repair "
            "its source (right click ▸ Repair Data Source) or choose another layer."
        )
    if layer.providerType() != "gdal":
        return _exported(layer)
    path = source_path(layer)
    if path != plain_path(layer.source()) and not _same_raster(path, layer):
        return _exported(layer)
    return _with_crs(path, layer)


def source_path(layer: QgsRasterLayer) -> str:
    """The path in a layer's source, without the options that only QGIS understands."""
    return plain_path(_OPTIONS.split(layer.source())[0])


def plain_path(path: str | os.PathLike[str]) -> str:
    """A path as it stands, made absolute when it names a file: the worker runs elsewhere."""
    text = os.fspath(path)
    if not text.strip():
        raise InputError("The path of an image is empty. Choose a layer or a file.")
    return os.path.abspath(text) if os.path.exists(text) else text


def wkt_of(crs: QgsCoordinateReferenceSystem) -> str:
    """A CRS in the words that GDAL understands best."""
    return crs.toWkt(_WKT)


def origin_of(path: str) -> str:
    """The layer source from which a file was made here, else the path itself."""
    return _origins.get(path, path)


def _same_raster(path: str, layer: QgsRasterLayer) -> bool:
    """Whether a file is what the layer shows, although the layer opens it with options."""
    try:
        header = read_header(path)
    except RasterReadError:
        return False
    shown = (layer.width(), layer.height(), layer.bandCount())
    return (header.width, header.height, len(header.bands)) == shown


def _with_crs(path: str, layer: QgsRasterLayer) -> str:
    """The file itself, or a VRT around it when the user gave the layer another CRS."""
    crs = layer.crs()
    if not crs.isValid() or crs == layer.dataProvider().crs():
        return path
    try:
        header = read_header(path, layer.name())
    except RasterReadError:
        return path  # the check says what is wrong with it
    if not header.placed:
        return path  # a CRS says nothing of pixels that have no coordinates
    return _described(path, header, crs)


def _described(path: str, header: Header, crs: QgsCoordinateReferenceSystem) -> str:
    wkt = wkt_of(crs)
    target = _place(path, f"{file_stamp(path)}{wkt}", ".vrt")
    if not os.path.exists(target):
        with quiet_gdal():
            try:
                made = gdal.Translate(target, path, format="VRT", outputSRS=wkt)
            except RuntimeError:
                made = None
        if made is None:
            raise InputError(
                f"{os.path.basename(header.path)} cannot be given the CRS of its layer. Assign it "
                "to the file (Raster ▸ Projections ▸ Assign Projection)."
            )
        made = None  # GDAL writes the file when the data set goes
    _origins[target] = path
    return target


def _exported(layer: QgsRasterLayer) -> str:
    """Write what a layer's provider delivers to a temporary GeoTIFF.

    Raises:
        InputError: It delivers pictures, no fixed grid, too much, or the file cannot be written.
    """
    provider = layer.dataProvider()
    name, kind = layer.name(), layer.providerType()
    if provider.dataType(1) in _PICTURES:
        raise InputError(
            f"{name} is a map service ({kind}) that delivers pictures, not values. Choose a raster "
            "file with the data itself."
        )
    columns, rows, bands = provider.xSize(), provider.ySize(), provider.bandCount()
    if columns <= 0 or rows <= 0:
        raise InputError(
            f"{name} ({kind}) has no pixel size of its own. Save the part you need as a GeoTIFF "
            "(right click ▸ Export ▸ Save As, raw data) and choose that."
        )
    if columns * rows * bands > EXPORT_LIMIT:
        raise InputError(
            f"{name} ({kind}) is no file, and {columns} x {rows} pixels of {bands} bands are too "
            "many to export on the fly. Save it as a GeoTIFF (right click ▸ Export ▸ Save As, raw "
            "data) and choose that."
        )
    target = _place(layer.source(), f"{layer.id()}{provider.dataTimestamp().toString()}", ".tif")
    if not os.path.exists(target):
        _write(layer, target)
    _origins[target] = layer.source()
    return target


def _write(layer: QgsRasterLayer, target: str) -> None:
    provider = layer.dataProvider()
    part = target + ".part"
    writer = QgsRasterFileWriter(part)
    writer.setOutputFormat("GTiff")
    pipe = QgsRasterPipe()
    pipe.set(provider.clone())
    result = writer.writeRaster(
        pipe,
        provider.xSize(),
        provider.ySize(),
        provider.extent(),
        layer.crs(),
        QgsProject.instance().transformContext(),
    )
    del writer  # closes the file
    if result != _WRITTEN or not os.path.exists(part):
        if os.path.exists(part):
            os.remove(part)
        raise InputError(
            f"{layer.name()} ({layer.providerType()}) is no file and cannot be exported to "
            f"{os.path.dirname(target)}. Save it as a GeoTIFF yourself and choose that."
        )
    os.replace(part, target)


def _place(source: str, state: str, extension: str) -> str:
    """A path in QGIS's temporary folder that stands for a source in a certain state."""
    folder = os.path.join(QgsProcessingUtils.tempFolder(), "rasterfuse")
    os.makedirs(folder, exist_ok=True)
    mark = hashlib.sha256(f"{source}\n{state}".encode("utf-8", "replace")).hexdigest()[:16]
    stem = re.sub(r"[^\w.-]+", "_", os.path.basename(source))[-40:] or "layer"
    return os.path.join(folder, f"{stem}_{mark}{extension}")
