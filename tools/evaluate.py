"""Accuracy on real scenes, next to the trivial answers, as a table.

    make evaluate

Runs jobs through ``plugin/engine/worker.py`` as a shell does and compares the results with images
that were kept aside. The scenes are not part of this repository: they are looked for in
``../shared/data``, or where the variable RASTERFUSE_DATA says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterfuse.plugin.engine.metrics import cc, rmse
from rasterio.errors import NotGeoreferencedWarning

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("RASTERFUSE_DATA", ROOT.parent / "shared" / "data"))
BOREAS = DATA / "spatiotemporal" / "estarfm_boreas_2001"
BOREAS_TASKS = (("0524", "0711"), ("0711", "0812"))
BOREAS_TWO_PAIRS = ("0524", "0812", "0711")  # pairs before and after, then the target
BOREAS_BORDER = 32  # pixels left out on every side, as by whom we compare with
METHODS = {
    "gpx": "GPX",
    "fit_fc": "Fit-FC",
    "fsdaf": "FSDAF",
    "starfm": "STARFM",
    "fine_plus_change": "Fine + coarse change",
    "fine_plus_mean_change": "Fine + mean change",
}
TWO_PAIR_METHODS = {"gpx": "GPX", "estarfm": "ESTARFM", "starfm": "STARFM",
                    "fine_plus_change": "Fine + coarse change"}  # fmt: skip
COPY = "Copy of the fine reference"


def boreas_job(
    model: str, before: str | tuple[str, ...], after: str, output: Path
) -> dict[str, Any]:
    """Predict the fine image of one day of 2001 from others: BOREAS, Landsat-7 and MODIS.

    ENVI files of int16 reflectance x 10000 without map information; MODIS was resampled to the
    fine grid beforehand.
    """

    def source(sensor: str, day: str) -> dict[str, str]:
        return {"path": str(BOREAS / f"{sensor}{day}"), "date": f"2001-{day[:2]}-{day[2:]}"}

    days = (before,) if isinstance(before, str) else before
    pairs = [{"coarse": source("modis", day), "fine": source("tm", day)} for day in days]
    inputs = {"coarse_target": source("modis", after), "references": pairs}
    return {"model": model, "inputs": inputs, "output": str(output)}


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run a job in a worker of its own; its report.

    Raises:
        RuntimeError: The worker did not fuse it; the text says why.
    """
    path = Path(job["output"]).with_suffix(".json")
    path.write_text(json.dumps(job), encoding="utf-8")
    worker = ROOT / "plugin" / "engine" / "worker.py"
    done = subprocess.run(
        [sys.executable, str(worker), str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def read(path: Path, border: int = 0) -> np.ndarray:
    """(bands, rows, cols) stored values without a border, NaN for nodata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # BOREAS has none
        raster = rasterio.open(path)
    with raster:
        values = raster.read(masked=True).astype(np.float64).filled(np.nan)
    inner = slice(border, -border or None)
    return values[:, inner, inner]


def boreas(folder: Path) -> list[list[str]]:
    """Rows of the table for BOREAS: task, answer, mean RMSE, RMSE per band, correlation."""
    rows = []
    for before, after in BOREAS_TASKS:
        truth = read(BOREAS / f"tm{after}", BOREAS_BORDER)
        task = f"{before[:2]}-{before[2:]} → {after[:2]}-{after[2:]}"
        rows.append([task, COPY, *scores(truth, BOREAS / f"tm{before}")])
        for model, name in METHODS.items():
            output = folder / f"{model}_{before}_{after}.tif"
            run(boreas_job(model, before, after, output))
            rows.append([task, name, *scores(truth, output)])
    return rows + boreas_two_pairs(folder)


def boreas_two_pairs(folder: Path) -> list[list[str]]:
    """Rows of the task with a pair before and one after the target."""
    first, last, target = BOREAS_TWO_PAIRS
    truth = read(BOREAS / f"tm{target}", BOREAS_BORDER)
    task = f"{first[:2]}-{first[2:]} & {last[:2]}-{last[2:]} → {target[:2]}-{target[2:]}"
    rows = [[task, COPY, *scores(truth, BOREAS / f"tm{last}")]]
    for model, name in TWO_PAIR_METHODS.items():
        output = folder / f"{model}_two.tif"
        run(boreas_job(model, (first, last), target, output))
        rows.append([task, name, *scores(truth, output)])
    return rows


def scores(truth: np.ndarray, path: Path) -> list[str]:
    found = read(path, BOREAS_BORDER)
    errors = rmse(truth, found)
    bands = " / ".join(f"{error:.1f}" for error in errors)
    return [f"{errors.mean():.1f}", bands, f"{cc(truth, found).mean():.3f}"]


def page(rows: list[list[str]]) -> str:
    """The table with what one has to know to read it."""
    heads = ["Task (2001)", "Answer", "Mean RMSE", "RMSE green / red / NIR", "CC"]
    table = [heads, ["---"] * len(heads), *rows]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
    return f"""# Accuracy on real scenes

Written by `make evaluate`; smaller RMSE is better.

## BOREAS 2001 (Saskatchewan): Landsat-7 from MODIS

One reference pair, or two, and the MODIS image of the target day; 400 x 400 pixels of 30 m, three
bands. RMSE in stored values (reflectance x 10000), mean of the bands; {BOREAS_BORDER} pixels of
border left out; CC is the mean correlation with the true image. Methods at their defaults.

{lines}
"""


def main() -> int:
    """Write the page to the file named, and print it."""
    if not BOREAS.is_dir():
        print(
            f"The scene {BOREAS} is not there, so nothing can be evaluated. Set RASTERFUSE_DATA to "
            "the folder that holds spatiotemporal/estarfm_boreas_2001."
        )
        return 0
    with tempfile.TemporaryDirectory() as folder:
        text = page(boreas(Path(folder)))
    for name in sys.argv[1:]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
