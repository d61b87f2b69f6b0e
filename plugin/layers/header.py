"""Read with QGIS's GDAL what a raster file says of itself; no pixels but the very last one.

Whether GDAL raises exceptions is a switch of the whole process, which belongs to QGIS: everything
here works with both positions and leaves it alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from osgeo import gdal, osr

from ...models.errors import RasterReadError
from ..grid import IDENTITY, METRES_PER_DEGREE, Transform
from ..paths import is_special

_SIDECARS = ("{0}.aux.xml", "{0}.hdr", "{1}.hdr", "{1}.tfw", "{1}.prj")
_QUOTED = re.compile(r'"([^"]+)"')
_NAMED_TYPES = {"byte": "uint8"}
_FEW = 3  # subdatasets named in a message


@dataclass(frozen=True)
class BandHeader:
    """What a band says of itself; ``tags`` holds its metadata, names in lower case."""

    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        driver: GDAL's short name of the format.
        files: The files it is made of, those of a VRT's sources included.
        placed: Whether it has a geotransform.
        wkt: The CRS, empty where there is none.
        tags: Metadata of the image, names in lower case.
        damage: What GDAL said when the end of the image could not be read, else empty.
    """

    path: str
    driver: str
    files: tuple[str, ...]
    width: int
    height: int
    bands: tuple[BandHeader, ...]
    transform: Transform
    placed: bool
    wkt: str
    dtype: str
    nodata: tuple[float | None, ...]
    tags: Mapping[str, str]
    damage: str = ""


def read_header(path: str, label: str = "") -> Header:
    """The header of a raster; kept while the file does not change.

    Raises:
        RasterReadError: It does not exist, is damaged, of an unknown format or has no bands.
    """
    stamp = file_stamp(path)
    return _read(path, stamp, label) if stamp is None else _read_once(path, stamp, label)


def file_stamp(path: str) -> tuple[tuple[int, int] | None, ...] | None:
    """Times and sizes of a plain file, or of that behind a subdataset, and of its sidecars.

    None where they say nothing, as with archives and files that only point to others.
    """
    plain = path
    if not os.path.exists(plain):
        quoted = _QUOTED.search(path)
        plain = quoted.group(1) if quoted else path
    if not os.path.isfile(plain) or plain.lower().endswith(".vrt"):
        return None
    stem = os.path.splitext(plain)[0]
    return tuple(_stat(name) for name in (plain, *(s.format(plain, stem) for s in _SIDECARS)))


def _stat(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


@contextmanager
def quiet_gdal() -> Iterator[None]:
    """Keep GDAL from printing to a console that users do not see."""
    gdal.ErrorReset()
    gdal.PushErrorHandler("CPLQuietErrorHandler")
    try:
        yield
    finally:
        gdal.PopErrorHandler()


def open_dataset(path: str, label: str = "") -> gdal.Dataset:
    """Open a raster to read.

    Raises:
        RasterReadError: It does not exist, is damaged or of an unknown format.
    """
    name, reason = label or os.path.basename(path), ""
    if is_special(path):
        raise RasterReadError(f"{name} is a device or pipe, no file. Choose a file.")
    with quiet_gdal():
        try:
            dataset = gdal.OpenEx(path, gdal.OF_RASTER | gdal.OF_VERBOSE_ERROR)
        except RuntimeError as error:  # QGIS or a plugin switched exceptions on
            dataset, reason = None, str(error)
        if dataset is not None:
            return dataset
        reason = _tidy(reason or gdal.GetLastErrorMsg())
    if not os.path.exists(path) and _is_plain(path):
        raise RasterReadError(f"{name} does not exist ({path}). Choose another file.")
    raise RasterReadError(
        f"{name} cannot be opened{f' ({reason})' if reason else ''}. Check that the file is a "
        "raster, complete, and opens in QGIS.",
        detail=path,
    )


def _is_plain(path: str) -> bool:
    """Whether a path names a file, not an archive's member, an address or a subdataset."""
    rest = os.path.splitdrive(path)[1]
    return not path.startswith("/vsi") and ":" not in rest and not rest.startswith("<")


def _tidy(message: str) -> str:
    return " ".join(message.split()).rstrip(".")


def _read(path: str, stamp: object, label: str) -> Header:
    dataset = open_dataset(path, label)
    if dataset.RasterCount == 0:
        raise RasterReadError(_no_bands(dataset, label or os.path.basename(path)))
    bands = [dataset.GetRasterBand(number) for number in range(1, dataset.RasterCount + 1)]
    placed = dataset.GetGeoTransform(can_return_null=True)
    reference = dataset.GetSpatialRef()
    dtype = gdal.GetDataTypeName(bands[0].DataType).lower()
    return Header(
        path=path,
        driver=dataset.GetDriver().ShortName,
        files=tuple(dataset.GetFileList() or ()),
        width=dataset.RasterXSize,
        height=dataset.RasterYSize,
        bands=tuple(BandHeader(band.GetDescription() or "", _tags(band)) for band in bands),
        transform=_transform(placed) if placed else IDENTITY,
        placed=placed is not None,
        wkt=reference.ExportToWkt() if reference is not None else "",
        dtype=_NAMED_TYPES.get(dtype, dtype),
        nodata=tuple(band.GetNoDataValue() for band in bands),
        tags=_tags(dataset),
        damage="" if stamp is None else _damage(dataset),
    )


_read_once = lru_cache(maxsize=256)(_read)


def _transform(gdal_order: tuple[float, ...]) -> Transform:
    c, a, b, f, d, e = gdal_order
    return a, b, c, d, e, f


def _tags(item: gdal.Dataset | gdal.Band) -> dict[str, str]:
    found = {**(item.GetMetadata() or {}), **(item.GetMetadata("IMAGERY") or {})}
    return {key.lower(): value for key, value in found.items()}


def _no_bands(dataset: gdal.Dataset, name: str) -> str:
    inside = [path for path, _ in dataset.GetSubDatasets()]
    if not inside:
        return f"{name} has no raster bands. Choose a raster."
    some = ", ".join(inside[:_FEW]) + (" …" if len(inside) > _FEW else "")
    return (
        f"{name} is a container of {len(inside)} images. Choose one of them, e.g. by dragging the "
        f"file into QGIS: {some}"
    )


def _damage(dataset: gdal.Dataset) -> str:
    """Read the last pixel, which a file that was cut off does not have."""
    short = _missing_bytes(dataset)
    if short:
        return f"{short} bytes are missing at its end"
    with quiet_gdal():
        try:
            pixel = dataset.GetRasterBand(dataset.RasterCount).ReadRaster(
                dataset.RasterXSize - 1, dataset.RasterYSize - 1, 1, 1
            )
        except RuntimeError as error:
            return _tidy(str(error))
        return "" if pixel is not None else _tidy(gdal.GetLastErrorMsg() or "no data")


def _missing_bytes(dataset: gdal.Dataset) -> int:
    """How much shorter a plain ENVI file is than its header says: GDAL reads zeros there."""
    header = dataset.GetMetadata("ENVI") or {}
    path = dataset.GetDescription()
    if dataset.GetDriver().ShortName != "ENVI" or header.get("file_compression", "0") != "0":
        return 0
    if not os.path.isfile(path) or path.lower().endswith(".gz"):
        return 0
    depth = gdal.GetDataTypeSize(dataset.GetRasterBand(1).DataType) // 8
    wanted = dataset.RasterXSize * dataset.RasterYSize * dataset.RasterCount * depth
    return max(wanted + int(header.get("header_offset", 0)) - os.path.getsize(path), 0)


@lru_cache(maxsize=256)
def same_crs(one: str, other: str) -> bool:
    """Whether two WKT texts mean the same CRS; an empty one fits to every CRS."""
    if not one or not other or one == other:
        return True
    return bool(_reference(one).IsSame(_reference(other)))


@lru_cache(maxsize=256)
def crs_name(wkt: str) -> str:
    """An authority code, else the name inside the definition, empty without CRS."""
    if not wkt:
        return ""
    reference = _reference(wkt)
    code = reference.GetAuthorityCode(None)
    authority = reference.GetAuthorityName(None)
    return f"{authority}:{code}" if authority and code else reference.GetName() or "unnamed CRS"


@lru_cache(maxsize=256)
def unit_metres(wkt: str) -> float | None:
    """About how many metres a unit of the CRS has; None without CRS."""
    if not wkt:
        return None
    reference = _reference(wkt)
    return METRES_PER_DEGREE if reference.IsGeographic() else reference.GetLinearUnits()


def _reference(wkt: str) -> osr.SpatialReference:
    # Not to be kept: threads must not share one.
    reference = osr.SpatialReference()
    reference.ImportFromWkt(wkt)
    reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return reference
