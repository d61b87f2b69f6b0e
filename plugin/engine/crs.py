"""What is asked of a coordinate reference system."""

from __future__ import annotations

from rasterio.crs import CRS

from ..grid import METRES_PER_DEGREE


def crs_name(crs: CRS | None) -> str:
    """An authority code, else the name inside the definition, empty without CRS."""
    if not crs:
        return ""
    text = crs.to_string()
    return text.split('"')[1] if '"' in text else text


def metres(crs: CRS | None) -> float | None:
    """Length of its unit; None where it is not known, as of a local one."""
    if not crs or not (crs.is_geographic or crs.is_projected):
        return None
    return METRES_PER_DEGREE if crs.is_geographic else float(crs.linear_units_factor[1])
