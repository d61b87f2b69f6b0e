"""How the values of a raster are stored: taken from an image whose like it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .raster import Raster


@dataclass(frozen=True)
class Layout:
    """Type, scale and names of a raster's bands.

    Attributes:
        dtype: Of the stored values.
        nodata: The stored value that means no data.
        scales: Physical value = stored value * scale + offset, (bands, 1, 1).
        offsets: See ``scales``.
        file_scales: What the file says, which may differ from what the user stated of the image:
            stored values then mean the same in both files.
        file_offsets: Likewise.
        names: Of the bands.
        tags: Of the bands.
    """

    dtype: np.dtype
    nodata: float | None
    scales: NDArray
    offsets: NDArray
    file_scales: tuple[float, ...]
    file_offsets: tuple[float, ...]
    names: tuple[str, ...]
    tags: tuple[dict[str, str], ...]

    @staticmethod
    def like(template: Raster) -> Layout:
        """That of an image."""
        source, bands = template.dataset, template.bands
        scales, offsets = template.radiometry
        tags = (source.tags(band) for band in bands)
        return Layout(
            template.dtype,
            _nodata(template),
            scales,
            offsets,
            tuple(source.scales[band - 1] for band in bands),
            tuple(source.offsets[band - 1] for band in bands),
            tuple(source.descriptions[band - 1] or f"Band {band}" for band in bands),
            tuple({k: v for k, v in t.items() if not k.startswith("STATISTICS_")} for t in tags),
        )

    def of_errors(self) -> Layout:
        """That of the standard errors of such a raster: differences, so without offset."""
        return Layout(
            np.dtype("float32"),
            math.nan,
            np.abs(self.scales),
            np.zeros_like(self.offsets),
            tuple(abs(scale) for scale in self.file_scales),
            (0.0,) * len(self.file_offsets),
            tuple(f"{name} standard error" for name in self.names),
            self.tags,
        )


def _nodata(template: Raster) -> float | None:
    """The value for nodata: the template's, else one that the type offers."""
    stated = template.stored_nodata
    if not math.isnan(stated):
        return stated
    if template.dtype.kind == "f":
        return math.nan
    return float(np.iinfo(template.dtype).min)
