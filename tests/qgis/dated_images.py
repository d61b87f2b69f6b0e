"""Folders with fine and coarse images of several days, as someone who trains has them."""

from __future__ import annotations

import numpy as np
from layers_rasters import write_raster

LEFT, TOP, FINE, RATIO = 500_000.0, 5_000_000.0, 30.0, 8
DAYS = ("20240512", "20240628", "20240715", "20240901")


def write_dated(folder, days=DAYS, side=96, bands=2, shift=0.0, names=()):
    """Two folders; fields brighten from day to day and the coarse images see their means."""
    generator = np.random.default_rng(5)
    fields = generator.uniform(500, 2500, (bands, side // 8, side // 8))
    fine = fields.repeat(8, axis=1).repeat(8, axis=2)
    growth = generator.uniform(0.0, 400.0, fine.shape[1:])
    for kind in ("fine", "coarse"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number, day in enumerate(days):
        image = fine + number * growth
        blocks = image.reshape(bands, side // RATIO, RATIO, side // RATIO, RATIO)
        for kind, values, pixel in (
            ("fine", image, FINE),
            ("coarse", blocks.mean(axis=(2, 4)), FINE * RATIO),
        ):
            place = (LEFT + shift, pixel, 0.0, TOP, 0.0, -pixel)
            path = folder / kind / f"{kind}_{day}.tif"
            write_raster(path, values.round().astype("int16"), place, nodata=-9999, names=names)
    return folder
