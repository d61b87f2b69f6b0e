"""Kranj 2020: Landsat-8 from MODIS, a real scene that is very small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks import DATA, HEADS, Task, answers, left_out, rows, table

KRANJ = DATA / "spatiotemporal" / "imagefusion_kranj_2020"
_TITLE = "## Kranj 2020 (Slovenia): Landsat-8 from MODIS"
_DAYS = {"068": "2020-03-08", "077": "2020-03-17", "093": "2020-04-02"}
_FINE = {"068": "191-28", "077": "190-28", "093": "190-28"}
_TASKS = ((("068",), "077"), (("077",), "093"), (("068", "093"), "077"))


def _fine(day: str) -> Path:
    return KRANJ / "landsat" / "filled" / f"2020{day}_{_FINE[day]}.tif_filled_kranj.tif"


def _inputs(days: tuple[str, ...], after: str) -> dict[str, Any]:
    def coarse(day: str) -> dict[str, str]:
        path = KRANJ / "modis" / "filled" / f"2020{day}_18-04_kranj.tif"
        return {"path": str(path), "date": _DAYS[day]}

    pairs = [
        {"coarse": coarse(day), "fine": {"path": str(_fine(day)), "date": _DAYS[day]}}
        for day in days
    ]
    return {"coarse_target": coarse(after), "references": pairs}


def section(folder: Path) -> str:
    """The section on Kranj, or why there is none."""
    if not KRANJ.is_dir():
        return left_out(_TITLE, KRANJ)
    lines: list[list[str]] = []
    refused: dict[str, str] = {}
    for days, after in _TASKS:
        name = f"{' & '.join(_DAYS[day][5:] for day in days)} → {_DAYS[after][5:]}"
        task = Task(name, _inputs(days, after), _fine(after), 16.0)
        lines += rows(task, answers(task, folder, fast=False, refused=refused))
    without = "\n".join(f"{name} has no answer: {why}" for name, why in refused.items())
    return f"""{_TITLE}

44 x 45 pixels of 30 m are about nine coarse cells: nothing here is more than a hint. Six bands; the
coarse images are in 0 to 1, the fine ones in 0 to 10000, which the engine finds and mends.

{table(HEADS, lines)}

{without}
"""
