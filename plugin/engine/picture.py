"""Small pictures for people: an image stretched to colours, as a PNG."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

_GREY = 128  # nodata


def colours(shares: np.ndarray) -> np.ndarray:
    """uint8 from shares of the range, 0 to 1; what is beyond is cut off, NaN becomes grey."""
    return np.where(np.isfinite(shares), shares.clip(0, 1) * 255, _GREY).astype(np.uint8)


def middle(image: np.ndarray, most: int) -> np.ndarray:
    """(bands, rows, cols): the middle of an image, at most so many pixels along a side."""
    rows, cols = (max((size - most) // 2, 0) for size in image.shape[1:])
    return image[:, rows : rows + most, cols : cols + most]


def write_png(path: str | os.PathLike[str], picture: np.ndarray) -> None:
    """Write (3, rows, cols) uint8 as a PNG."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="PNG", width=picture.shape[2], height=picture.shape[1], count=3,
            dtype="uint8",
        ) as file:  # fmt: skip
            file.write(picture)
    Path(f"{os.fspath(path)}.aux.xml").unlink(missing_ok=True)
