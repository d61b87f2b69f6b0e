"""Hand images over that the worker cannot open: write them as GeoTIFF with QGIS's own GDAL.

The worker's rasterio has fewer formats than QGIS; HDF4, hence most of MODIS, is the chief one that
it lacks. Runs in a task's thread: no layers, no widgets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from osgeo import gdal

from ...models.errors import CancelledError, FusionError, OutputError, RasterReadError
from ..job import RasterSource
from ..training_job import AnyJob
from .header import Header, open_dataset, quiet_gdal, read_header

# Different drivers for one format: rasterio brings one of each, QGIS may use another.
_TWINS = ({"JP2OpenJPEG", "JP2ECW", "JP2KAK", "JP2MrSID", "JP2Lura", "JPEG2000"},)
_POINTS_TO_OTHERS = ("VRT", "GTI", "DERIVED")
Key = tuple[str, tuple[int, ...]]


def hand_over(
    job: AnyJob,
    drivers: Sequence[str],
    folder: str,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> AnyJob:
    """The job with images that the worker can open.

    Args:
        job: Its images may be of any format that GDAL in QGIS reads.
        drivers: Short names of the formats that the worker reads; nothing is done when empty.
        folder: Where to write the GeoTIFFs; made when needed. Removing it is the caller's business.
        is_cancelled: Asked while an image is written.

    Raises:
        RasterReadError: An image is damaged.
        OutputError: The folder cannot be written.
        CancelledError: ``is_cancelled`` said so.
    """
    if not drivers:
        return job
    readable = _with_twins(drivers)
    done: dict[Key, str] = {}

    def swap(source: RasterSource) -> RasterSource:
        header = _foreign(source, readable)
        if header is None:
            return source
        key = source.path, source.bands
        if key not in done:
            target = os.path.join(folder, f"image_{len(done) + 1}.tif")
            _convert(source, header, target, is_cancelled)
            done[key] = target
        # Only the chosen bands are in the copy, in the order chosen.
        return replace(source, path=done[key], bands=(), name=source.label)

    handed = job.with_images(swap)
    return handed if done else job


def _with_twins(drivers: Iterable[str]) -> frozenset[str]:
    found = set(drivers)
    for twins in _TWINS:
        if found & twins:
            found |= twins
    return frozenset(found)


def _foreign(source: RasterSource, readable: frozenset[str]) -> Header | None:
    """The header of an image that the worker cannot open; None when it can.

    An image that QGIS cannot open either is left to the worker, which says why.
    """
    try:
        header = read_header(source.path, source.label)
    except FusionError:
        return None
    if header.driver not in readable:
        return header
    if header.driver in _POINTS_TO_OTHERS and not all(
        driver in readable for driver in _drivers_behind(header)
    ):
        return header
    return None


def _drivers_behind(header: Header) -> Iterable[str]:
    """The formats of the files that an image only points to."""
    for path in header.files:
        if os.path.abspath(path) != os.path.abspath(header.path):
            with quiet_gdal():
                try:
                    driver = gdal.IdentifyDriver(path)
                except RuntimeError:
                    driver = None
            if driver is not None:  # sidecar files are no images
                yield driver.ShortName


def _convert(
    source: RasterSource, header: Header, target: str, is_cancelled: Callable[[], bool]
) -> None:
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {os.path.dirname(target)} cannot be made ({error.strerror}). Choose "
            "another temporary folder in the settings of your system."
        ) from error
    dataset = open_dataset(source.path, source.label)
    missing = [band for band in source.bands if band > dataset.RasterCount]
    if missing:
        raise RasterReadError(
            f"{source.label} has {dataset.RasterCount} bands, not a band {missing[0]}. Choose "
            "others."
        )
    reason = _translate(dataset, source, header, target, is_cancelled)
    if not reason:
        return
    for path in (target, target + ".aux.xml"):
        if os.path.exists(path):
            os.remove(path)
    if is_cancelled():
        raise CancelledError("The fusion was cancelled. Nothing was written.")
    raise RasterReadError(
        f"{source.label} ({header.driver}) cannot be copied to a GeoTIFF ({reason}). Check that "
        f"the file is complete and that {os.path.dirname(target)} has space.",
        detail=source.path,
    )


def _translate(
    dataset: gdal.Dataset,
    source: RasterSource,
    header: Header,
    target: str,
    is_cancelled: Callable[[], bool],
) -> str:
    """Write the chosen bands; what went wrong, empty when nothing did."""
    predictor = 3 if header.dtype.startswith("float") else 2
    options = [
        "TILED=YES", "COMPRESS=DEFLATE", f"PREDICTOR={predictor}", "ZLEVEL=1",
        "INTERLEAVE=BAND", "BIGTIFF=IF_SAFER", "NUM_THREADS=ALL_CPUS",
        # Or four bands of bytes would become colours with an alpha channel, which masks.
        "PHOTOMETRIC=MINISBLACK", "ALPHA=NO",
    ]  # fmt: skip
    with quiet_gdal():
        try:
            made = gdal.Translate(
                target,
                dataset,
                format="GTiff",
                bandList=list(source.bands) or None,
                creationOptions=options,
                callback=lambda *_progress: 0 if is_cancelled() else 1,
            )
            reason = "" if made is not None else gdal.GetLastErrorMsg() or "GDAL gave no reason"
        except RuntimeError as error:
            reason = str(error) or "GDAL gave no reason"
        made = None  # closes the file
    if reason:
        return " ".join(reason.split())
    try:  # what did not fit on the disk shows when the file is closed, and then silently
        return read_header(target).damage
    except RasterReadError as error:
        return error.sentence
