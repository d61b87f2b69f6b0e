"""BOREAS 2001: Landsat-7 from MODIS, a real scene of three dates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pictures
from tasks import DATA, HEADS, Task, answers, left_out, read, rows, table

BOREAS = DATA / "spatiotemporal" / "estarfm_boreas_2001"
BOREAS_TASKS = (("0524", "0711"), ("0711", "0812"))
TWO_PAIRS = ("0524", "0812", "0711")  # pairs before and after, then the target
BOREAS_BORDER = 32  # pixels left out on every side, as by whom we compare with
RATIO = 16.0
_TITLE = "## BOREAS 2001 (Saskatchewan): Landsat-7 from MODIS"


def boreas_job(
    model: str, before: str | tuple[str, ...], after: str, output: Path
) -> dict[str, Any]:
    """Predict the fine image of one day of 2001 from others.

    ENVI files of int16 reflectance x 10000 without map information; MODIS was resampled to the
    fine grid beforehand.
    """
    days = (before,) if isinstance(before, str) else before
    return {"model": model, "inputs": _inputs(days, after), "output": str(output)}


def _inputs(days: tuple[str, ...], after: str) -> dict[str, Any]:
    def source(sensor: str, day: str) -> dict[str, str]:
        return {"path": str(BOREAS / f"{sensor}{day}"), "date": f"2001-{day[:2]}-{day[2:]}"}

    pairs = [{"coarse": source("modis", day), "fine": source("tm", day)} for day in days]
    return {"coarse_target": source("modis", after), "references": pairs}


def section(folder: Path, images: Path) -> str:
    """The section on BOREAS, or why there is none; pictures go to ``images``."""
    if not BOREAS.is_dir():
        return left_out(_TITLE, BOREAS)
    first, last, target = TWO_PAIRS
    lines, shown = [], ""
    for before, after in (*BOREAS_TASKS, ((first, last), target)):
        days = (before,) if isinstance(before, str) else before
        name = f"{' & '.join(map(dashed, days))} → {dashed(after)}"
        task = Task(name, _inputs(days, after), BOREAS / f"tm{after}", RATIO, BOREAS_BORDER)
        plain, moved = (answers(task, folder, coregister=how) for how in ("never", "auto"))
        other = (f"{answer.error:.1f}" for answer in moved)
        lines += [[*row, error] for row, error in zip(rows(task, plain), other)]
        if not shown:
            inputs = {"Fine reference": BOREAS / f"tm{before}", "Coarse target": _coarse(after)}
            shown = pictures.gallery(
                "boreas", {label: read(path, BOREAS_BORDER) for label, path in inputs.items()},
                read(task.truth, BOREAS_BORDER), plain, images,
            )  # fmt: skip
    return f"""{_TITLE}

One reference pair, or two, and the MODIS image of the target day; 400 x 400 pixels of 30 m; bands
green, red, near infrared; {BOREAS_BORDER} pixels of border left out. The last column is the mean
RMSE with co-registration switched on: the coarse images lie off by about one of their pixels.

{table([*HEADS, "RMSE co-registered"], lines)}

05-24 → 07-11, near infrared, red and green:

{shown}
"""


def _coarse(day: str) -> Path:
    return BOREAS / f"modis{day}"


def dashed(day: str) -> str:
    """Month and day."""
    return f"{day[:2]}-{day[2:]}"
