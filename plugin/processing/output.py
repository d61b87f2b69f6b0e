"""Which files RasterFuse writes."""

from __future__ import annotations

import os

from ...models.errors import InputError

EXTENSIONS = (".tif", ".tiff")


def check_output(path: str) -> str:
    """Return a path that names a GeoTIFF.

    Raises:
        InputError: It names another format or none.
    """
    stem, extension = os.path.splitext(path)
    if extension.lower() in EXTENSIONS:
        return path
    what = f"ends in {extension}" if extension else "has no ending"
    raise InputError(
        f"The output {path} {what}, but RasterFuse writes GeoTIFF only. Choose {stem}.tif; Raster "
        "▸ Conversion ▸ Translate makes other formats of it."
    )
