"""Make rasters out of simulated ones, in a process of its own (see ``measure``).

python tools/bench/rasters.py large FOLDER OUT SIZE
python tools/bench/rasters.py sharp FOLDER OUT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import Affine

RATIO = 16  # of the large scene; a scene to repeat is a whole number of cells wide
SHARP_RATIO = 4
FINE, TRUTH = "fine_20240512.tif", "truth_20240715.tif"
_PAN_BANDS = 4


def block_means(image: np.ndarray, ratio: int) -> np.ndarray:
    """(bands, rows / ratio, cols / ratio) means of blocks, as int16."""
    bands, rows, cols = image.shape
    blocks = image.reshape(bands, rows // ratio, ratio, cols // ratio, ratio)
    return np.rint(blocks.mean(axis=(2, 4))).astype("int16")


def repeated(path: Path, image: np.ndarray, size: int, profile: dict[str, Any]) -> None:
    """Write an image side by side and below itself, strip by strip, ``size`` pixels wide."""
    side = image.shape[-1]
    strip = np.tile(image, (1, 1, -(-size // side)))[:, :, :size]
    profile = {**profile, "width": size, "height": size, "tiled": True}
    with rasterio.open(path, "w", **profile) as raster:
        for top in range(0, size, side):
            rows = min(side, size - top)
            window = rasterio.windows.Window(0, top, size, rows)
            raster.write(strip[:, :rows], window=window)
        raster.scales = (0.0001,) * len(image)


def read(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    with rasterio.open(path) as raster:
        profile = {
            "driver": "GTiff", "count": raster.count, "dtype": "int16", "crs": raster.crs,
            "transform": raster.transform, "nodata": -9999, "compress": "deflate", "predictor": 2,
        }  # fmt: skip
        return raster.read(), profile


def large(folder: Path, out: Path, size: int) -> None:
    """A pair and a coarse target of ``size`` fine pixels; coarse cells are means of 16 x 16."""
    for name, coarse_name in ((FINE, "coarse_reference.tif"), (TRUTH, "coarse_target.tif")):
        image, profile = read(folder / name)
        if name == FINE:
            repeated(out / "fine.tif", image, size, profile)
        coarse = {**profile, "transform": profile["transform"] * Affine.scale(RATIO)}
        repeated(out / coarse_name, block_means(image, RATIO), -(-size // RATIO), coarse)


def sharp(folder: Path, out: Path) -> None:
    """A panchromatic band, the mean of four, and the bands at a quarter of its resolution."""
    image, profile = read(folder / TRUTH)
    image = image[:_PAN_BANDS]
    pan = np.rint(image.mean(axis=0, keepdims=True)).astype("int16")
    repeated(out / "pan.tif", pan, pan.shape[-1], {**profile, "count": 1})
    coarse = block_means(image, SHARP_RATIO)
    place = {"transform": profile["transform"] * Affine.scale(SHARP_RATIO), "count": len(image)}
    repeated(out / "ms.tif", coarse, coarse.shape[-1], {**profile, **place})


if __name__ == "__main__":
    kind, source, target, *rest = sys.argv[1:]
    if kind == "large":
        large(Path(source), Path(target), int(rest[0]))
    else:
        sharp(Path(source), Path(target))
