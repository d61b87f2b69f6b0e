"""A task of the evaluation: what is to be predicted from what, and how every method does."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterfuse.models.cards import load_cards
from rasterfuse.models.errors import FusionError
from rasterfuse.plugin.engine import pipeline
from rasterfuse.plugin.engine.metrics import assess
from rasterfuse.plugin.job import Job
from rasterio.errors import NotGeoreferencedWarning

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("RASTERFUSE_DATA", ROOT.parent / "shared" / "data"))
TRIVIAL = ("copy_fine", "fine_plus_change", "fine_plus_mean_change")
DATA_RANGE = 10000.0  # of reflectance x 10000, for SSIM


@dataclass(frozen=True)
class Task:
    """What is to be predicted.

    Attributes:
        name: From what to what.
        inputs: As in a job.
        truth: The fine image of the target date.
        ratio: Coarse over fine pixel size.
        border: Pixels left out on every side.
    """

    name: str
    inputs: dict[str, Any]
    truth: Path
    ratio: float
    border: int = 0

    @property
    def pairs(self) -> int:
        """Number of reference pairs."""
        return len(self.inputs["references"])


@dataclass(frozen=True)
class Answer:
    """How a method did.

    Attributes:
        name: Of the method, and its mode.
        model: Id of its card.
        measures: From ``metrics.assess``.
        image: (bands, rows, cols) the result without its border.
    """

    name: str
    model: str
    measures: dict[str, Any]
    image: np.ndarray

    @property
    def error(self) -> float:
        """Mean over the bands of the root mean square error, in stored values."""
        return float(self.measures["mean_rmse"])


def methods(pairs: int, fast: bool = True) -> dict[str, dict[str, Any]]:
    """What to run with so many pairs: by name, the part of a job that is the method's.

    Every spatiotemporal method at its defaults, and in its fast mode where it has one.
    """
    found: dict[str, dict[str, Any]] = {}
    for card in load_cards().values():
        if card.family != "spatiotemporal" or card.input("references").min_pairs > pairs:
            continue
        found[card.name] = {"model": card.id}
        if fast and any(parameter.name == "fast_mode" for parameter in card.parameters):
            quick = {"model": card.id, "parameters": {"fast_mode": True}}
            found[f"{card.name}, fast mode"] = quick
    return found


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


def answers(
    task: Task, folder: Path, fast: bool = True, refused: dict[str, str] | None = None, **more: Any
) -> list[Answer]:
    """The answer of every method to a task.

    Args:
        task: What to predict.
        folder: Where results are put for a moment.
        fast: Fast modes too.
        refused: Takes up the sentences of methods that cannot do it.
        more: Further parts of the job.

    Raises:
        FusionError: A method cannot do it, and ``refused`` is None.
    """
    truth, found = read(task.truth, task.border), []
    output = folder / "fused.tif"
    for name, method in methods(task.pairs, fast).items():
        try:
            run({"inputs": task.inputs, "output": str(output), **method, **more})
        except FusionError as error:
            if refused is None:
                raise
            refused[name] = error.sentence
            continue
        image = read(output, task.border)
        measures = assess(truth, image, task.ratio, DATA_RANGE)
        found.append(Answer(name, method["model"], measures, image))
    return found


def best_trivial(found: list[Answer]) -> float:
    """The smallest error among the trivial answers."""
    return min(answer.error for answer in found if answer.model in TRIVIAL)


def marked(answer: Answer, found: list[Answer]) -> str:
    """The error, with a sign where a trivial answer has a smaller one."""
    worse = answer.model not in TRIVIAL and answer.error > best_trivial(found)
    return f"{answer.error:.1f}{' †' if worse else ''}"


def rows(task: Task, found: list[Answer]) -> list[list[str]]:
    """A row per answer: task, answer, and all measures."""
    return [
        [
            task.name, answer.name, marked(answer, found),
            " / ".join(f"{error:.1f}" for error in answer.measures["rmse"]),
            *(f"{np.mean(answer.measures[key]):.{digits}f}"
              for key, digits in (("ssim", 4), ("sam", 2), ("ergas", 2), ("cc", 3))),
        ]
        for answer in found
    ]  # fmt: skip


HEADS = ["Task", "Answer", "Mean RMSE", "RMSE per band", "SSIM", "SAM", "ERGAS", "CC"]


def table(heads: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *lines])


def left_out(title: str, folder: Path) -> str:
    """The section on a real scene that is not there."""
    return f"""{title}

Left out: the scene is not part of this repository, and it was not there. RASTERFUSE_DATA names the
folder that holds {folder.relative_to(DATA)}.
"""
