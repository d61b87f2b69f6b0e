"""Landsat-7 2002: two real dates of farmed land, of which the coarse images are simulated."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterfuse.plugin.engine.simulate import (
    COARSE_NODATA,
    FINE_NODATA,
    ORIGIN,
    Settings,
    observe,
    write,
)
from rasterio.transform import Affine
from tasks import DATA, HEADS, Task, answers, left_out, rows, table

LANDSAT7 = DATA / "spatiotemporal" / "landsat7_p15r32_2002_fine_only"
_TITLE = "## Landsat-7, Pennsylvania 2002: real land, simulated coarse images"
_JULY, _NOVEMBER = date(2002, 7, 20), date(2002, 11, 25)
_BANDS = [1, 2, 3, 4, 5, 6]  # of the file: Landsat's 1 to 5 and 7
_CLOUD, _AROUND = 110, 3  # counts of band 1 from which a pixel is a cloud; pixels around it
_SETTINGS = Settings(size=244, ratio=8, bands=6, reference=_JULY, target=_NOVEMBER)


def _fine(day: date) -> np.ndarray:
    """(bands, 300, 300) share of the sensor's range."""
    path = LANDSAT7 / f"LE7_p15r32_{day:%Y%m%d}_B1-5_7_61_62.tif"
    with rasterio.open(path) as raster:
        values: np.ndarray = raster.read(_BANDS).astype(np.float32) / 255
    return values


def _clouds(image: np.ndarray) -> np.ndarray:
    cloudy = image[0] * 255 >= _CLOUD
    for axis in (0, 1):
        shifted = [np.roll(cloudy, step, axis) for step in range(-_AROUND, _AROUND + 1)]
        cloudy = np.any(shifted, axis=0)
    return cloudy


def _files(folder: Path) -> dict[tuple[str, date], Path]:
    """Fine and coarse images of both days, written once."""
    days = (_JULY, _NOVEMBER)
    fine = [_fine(day) for day in days]
    coarse, transform = observe(fine, _SETTINGS, np.random.default_rng(2))
    inner = slice(_SETTINGS.margin, _SETTINGS.margin + _SETTINGS.size)
    place = Affine(_SETTINGS.pixel, 0, ORIGIN[0], 0, -_SETTINGS.pixel, ORIGIN[1])
    found = {}
    for day, image, cells in zip(days, fine, coarse):
        seen = np.where(_clouds(image), np.nan, image)[:, inner, inner]
        for kind, values, where, nodata in (
            ("fine", seen, place, FINE_NODATA), ("coarse", cells, transform, COARSE_NODATA),
        ):  # fmt: skip
            found[kind, day] = folder / f"landsat7-{kind}-{day:%m%d}.tif"
            write(found[kind, day], values, where, nodata, day)
    return found


def _inputs(files: dict[tuple[str, date], Path], before: date, after: date) -> dict[str, Any]:
    def source(kind: str, day: date) -> dict[str, str]:
        return {"path": str(files[kind, day]), "date": str(day)}

    pair = {kind: source(kind, before) for kind in ("coarse", "fine")}
    return {"coarse_target": source("coarse", after), "references": [pair]}


def section(folder: Path) -> str:
    """The section on this scene, or why there is none."""
    if not LANDSAT7.is_dir():
        return left_out(_TITLE, LANDSAT7)
    files = _files(folder)
    lines: list[list[str]] = []
    for before, after in ((_JULY, _NOVEMBER), (_NOVEMBER, _JULY)):
        task = Task(
            f"{before:%m-%d} → {after:%m-%d}", _inputs(files, before, after),
            files["fine", after], _SETTINGS.ratio,
        )  # fmt: skip
        lines += rows(task, answers(task, folder, fast=False))
    return f"""{_TITLE}

{_SETTINGS.size} x {_SETTINGS.size} pixels of 30 m, bands 1 to 5 and 7, counts x 10000 / 255; the
coarse images are simulated from both dates at ratio {_SETTINGS.ratio:g}. Clouds of July are nodata
in the fine image; their shadows, and both in the coarse image, are not.

{table(HEADS, lines)}
"""
