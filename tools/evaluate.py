"""Accuracy of every method on real and simulated scenes, next to the trivial answers, as tables.

    make evaluate

Runs jobs through the engine and compares the results with images that were kept aside. The real
scenes are not part of this repository: they are looked for in ``../shared/data``, or where the
variable RASTERFUSE_DATA says.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterfuse.models.cards import load_cards
from rasterfuse.plugin.engine import pipeline
from rasterfuse.plugin.engine.metrics import cc, rmse
from rasterfuse.plugin.engine.simulate import SceneFiles, simulate
from rasterfuse.plugin.job import Job
from rasterio.errors import NotGeoreferencedWarning

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("RASTERFUSE_DATA", ROOT.parent / "shared" / "data"))
BOREAS = DATA / "spatiotemporal" / "estarfm_boreas_2001"
BOREAS_TASKS = (("0524", "0711"), ("0711", "0812"))
BOREAS_TWO_PAIRS = ("0524", "0812", "0711")  # pairs before and after, then the target
BOREAS_BORDER = 32  # pixels left out on every side, as by whom we compare with


@dataclass(frozen=True)
class Landscape:
    """A kind of land to simulate; the fields are 24 fine pixels wide and 26 to 60 long.

    Attributes:
        name: What is special about it.
        ratio: Coarse over fine pixel size.
        dates: Of the pair before, the target and the pair after.
        seed: Of the simulator.
        noise: Factor on the imperfections of the sensors.
        clouds: Share of the fine references that is hidden.
    """

    name: str
    ratio: float
    dates: tuple[date, date, date]
    seed: int
    noise: float = 1.0
    clouds: float = 0.0

    @property
    def text(self) -> str:
        """What it is, in a sentence."""
        first, target, last = (f"{day:%m-%d}" for day in self.dates)
        clouds = f"; {self.clouds:.0%} of the fine references under clouds" if self.clouds else ""
        return (
            f"Ratio {self.ratio:g}; pairs of {first} and {last}, target {target}; noise x "
            f"{self.noise:g}{clouds}."
        )


LANDSCAPES = (
    Landscape("Fields wider than a cell, spring to harvest", 8,
              (date(2024, 4, 10), date(2024, 8, 25), date(2024, 10, 5)), seed=11),
    Landscape("Fields as wide as a cell, spring to summer", 16,
              (date(2024, 5, 12), date(2024, 7, 15), date(2024, 8, 20)), seed=12),
    Landscape("Fields smaller than a cell, harvest, noisy", 30,
              (date(2024, 6, 20), date(2024, 7, 30), date(2024, 9, 5)), seed=13,
              noise=2.0, clouds=0.1),
)  # fmt: skip
LANDSCAPE_SIZE, LANDSCAPE_BANDS = 600, 4
_HEAD = """# Accuracy

Written by `make evaluate`. RMSE in stored values (reflectance x 10000), mean of the bands, smaller
is better; CC is the mean correlation with the true image. All methods at their defaults, some in
their fast mode too, the trivial answers among them.
"""


def answers(pairs: int) -> dict[str, dict[str, Any]]:
    """What to run with so many pairs: by name, the part of a job that is the method's.

    Every spatiotemporal method at its defaults, and in its fast mode where it has one.
    """
    found: dict[str, dict[str, Any]] = {}
    for card in load_cards().values():
        if card.family != "spatiotemporal" or card.input("references").min_pairs > pairs:
            continue
        found[card.name] = {"model": card.id}
        if any(parameter.name == "fast_mode" for parameter in card.parameters):
            fast = {"model": card.id, "parameters": {"fast_mode": True}}
            found[f"{card.name}, fast mode"] = fast
    return found


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
    """Run a job; its report.

    Raises:
        FusionError: It could not be fused.
    """
    return pipeline.run(Job.from_dict(job))


def read(path: Path, border: int = 0) -> np.ndarray:
    """(bands, rows, cols) stored values without a border, NaN for nodata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # BOREAS has none
        raster = rasterio.open(path)
    with raster:
        values = raster.read(masked=True).astype(np.float64).filled(np.nan)
    inner = slice(border, -border or None)
    return values[:, inner, inner]


def scored(job: dict[str, Any], pairs: int, truth: np.ndarray, border: int = 0) -> list[list[str]]:
    """The answer of every method to a task: name, mean RMSE, RMSE per band, correlation."""
    rows = []
    for name, method in answers(pairs).items():
        run({**job, **method})
        found = read(Path(job["output"]), border)
        errors = rmse(truth, found)
        bands = " / ".join(f"{error:.1f}" for error in errors)
        rows.append([name, f"{errors.mean():.1f}", bands, f"{cc(truth, found).mean():.3f}"])
    return rows


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


# --- BOREAS -----------------------------------------------------------------------------------


def boreas(folder: Path) -> str:
    """The section on BOREAS, or why there is none."""
    title = "## BOREAS 2001 (Saskatchewan): Landsat-7 from MODIS"
    if not BOREAS.is_dir():
        return f"""{title}

Left out: the scene is not part of this repository, and it was not there. RASTERFUSE_DATA names the
folder that holds spatiotemporal/estarfm_boreas_2001.
"""
    first, last, target = BOREAS_TWO_PAIRS
    rows = []
    for before, after in (*BOREAS_TASKS, ((first, last), target)):
        days = (before,) if isinstance(before, str) else before
        task = f"{' & '.join(map(dashed, days))} → {dashed(after)}"
        truth = read(BOREAS / f"tm{after}", BOREAS_BORDER)
        job = boreas_job("", days, after, folder / "boreas.tif")
        plain, moved = (
            scored({**job, "coregister": how}, len(days), truth, BOREAS_BORDER)
            for how in ("never", "auto")
        )
        rows += [[task, *row, other[1]] for row, other in zip(plain, moved)]
    heads = [
        "Task (2001)", "Answer", "Mean RMSE", "RMSE green / red / NIR", "CC", "RMSE co-registered",
    ]  # fmt: skip
    return f"""{title}

One reference pair, or two, and the MODIS image of the target day; 400 x 400 pixels of 30 m, three
bands; {BOREAS_BORDER} pixels of border left out. The last column is the mean RMSE with
co-registration switched on: the coarse images lie off by about one of their pixels.

{table(heads, rows)}
"""


def dashed(day: str) -> str:
    return f"{day[:2]}-{day[2:]}"


# --- simulated landscapes ---------------------------------------------------------------------


def simulated(folder: Path, landscapes: tuple[Landscape, ...] = LANDSCAPES) -> str:
    """The section on the simulated landscapes."""
    heads = ["Pairs", "Answer", "Mean RMSE", "RMSE blue / green / red / NIR", "CC"]
    parts = [f"""## Simulated landscapes

Farmed land, {LANDSCAPE_SIZE} x {LANDSCAPE_SIZE} pixels, {LANDSCAPE_BANDS} bands, simulated with
`plugin/engine/simulate.py`: point spread function, shifts, bias and noise of the coarse sensor, a
flood on the target day. The pair after the target has the same draw of noise and clouds as the one
before.
"""]  # fmt: skip
    for landscape in landscapes:
        print(f"Simulated: {landscape.name}", file=sys.stderr, flush=True)
        rows = table(heads, on(landscape, folder))
        parts.append(f"### {landscape.name}\n\n{landscape.text}\n\n{rows}\n")
    return "\n".join(parts)


def on(landscape: Landscape, folder: Path) -> list[list[str]]:
    """Rows of one landscape: with the pair before the target, then with both pairs."""
    first, target, last = landscape.dates
    # The same seed and size give the same land; only what the reference day shows differs.
    before, after = (
        simulate(
            folder / f"{landscape.seed}-{day}", size=LANDSCAPE_SIZE, bands=LANDSCAPE_BANDS,
            ratio=landscape.ratio, reference=day, target=target, seed=landscape.seed,
            noise=landscape.noise, clouds=landscape.clouds,
        )
        for day in (first, last)
    )  # fmt: skip
    pairs = [pair_of(before, first), pair_of(after, last)]
    truth = read(before.truth)
    rows = []
    for count, word in ((1, "before"), (2, "before & after")):
        source = {"path": str(before.coarse_target), "date": str(target)}
        inputs = {"coarse_target": source, "references": pairs[:count]}
        job = {"inputs": inputs, "output": str(folder / "simulated.tif")}
        rows += [[word, *row] for row in scored(job, count, truth)]
    return rows


def pair_of(files: SceneFiles, day: date) -> dict[str, Any]:
    """The reference pair of a simulated scene."""
    paths = {"coarse": files.coarse_reference, "fine": files.fine_reference}
    return {role: {"path": str(path), "date": str(day)} for role, path in paths.items()}


def main() -> int:
    """Write the page to the files named, and print it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = "\n".join([_HEAD, boreas(folder), simulated(folder)])
    for name in sys.argv[1:]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
