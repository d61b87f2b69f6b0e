"""Simulated landscapes: all is known of them, and the coarse images are as bad as one wants."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pictures
from rasterfuse.plugin.engine.simulate import SceneFiles, simulate
from tasks import HEADS, Answer, Task, answers, best_trivial, marked, read, rows, table


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
NOISES = (0.0, 0.5, 1.0, 2.0, 4.0)
SIZE, BANDS = 600, 4


def section(
    folder: Path, images: Path, landscapes: tuple[Landscape, ...] = LANDSCAPES, size: int = SIZE
) -> str:
    """The section on the simulated landscapes; pictures go to ``images``."""
    parts = [f"""## Simulated landscapes

Farmed land, {size} x {size} pixels, bands blue, green, red, near infrared, simulated with
`plugin/engine/simulate.py`: point spread function, shifts, bias and noise of the coarse sensor, a
flood on the target day. The pair after the target has the same draw of noise and clouds as the one
before.
"""]  # fmt: skip
    for landscape in landscapes:
        print(f"Simulated: {landscape.name}", file=sys.stderr, flush=True)
        lines: list[list[str]] = []
        shown = ""
        for task in tasks_of(landscape, folder, size):
            found = answers(task, folder)
            lines += rows(task, found)
            if not shown and landscape is landscapes[min(1, len(landscapes) - 1)]:
                shown = _gallery(task, found, images)
        parts.append(f"### {landscape.name}\n\n{landscape.text}\n\n{table(HEADS, lines)}\n{shown}")
    return "\n".join(parts)


def _gallery(task: Task, found: list[Answer], images: Path) -> str:
    pair = task.inputs["references"][0]
    reference = read(Path(pair["fine"]["path"]))
    shown = pictures.gallery(
        "simulated", {"Fine reference": reference}, read(task.truth), found, images
    )
    return f"\nPair before, near infrared, red and green:\n\n{shown}\n"


def noise_section(
    folder: Path, landscapes: tuple[Landscape, ...] = LANDSCAPES, size: int = SIZE
) -> str:
    """How the methods hold when the coarse images get worse."""
    parts = [f"""## From clean to useless coarse images

The same landscapes with the pair before only, no clouds, and the imperfections of the coarse sensor
(noise, shifts, bias) multiplied by {", ".join(f"{noise:g}" for noise in NOISES)}. Mean RMSE.
"""]  # fmt: skip
    for landscape in landscapes:
        found: dict[str, list[str]] = {}
        trivial = []
        for noise in NOISES:
            print(f"Noise x {noise:g}: {landscape.name}", file=sys.stderr, flush=True)
            noisy = replace(landscape, noise=noise, clouds=0.0)
            [task] = tasks_of(noisy, folder, size, pairs=1)
            all_answers = answers(task, folder, fast=False)
            trivial.append(f"{best_trivial(all_answers):.1f}")
            for answer in all_answers:
                found.setdefault(answer.name, []).append(marked(answer, all_answers))
        heads = ["Answer", *(f"x {noise:g}" for noise in NOISES)]
        lines = [[name, *errors] for name, errors in found.items()]
        lines.append(["*Best trivial answer*", *trivial])
        parts.append(f"### {landscape.name}\n\n{table(heads, lines)}\n")
    return "\n".join(parts)


def tasks_of(landscape: Landscape, folder: Path, size: int, pairs: int = 2) -> list[Task]:
    """The tasks of one landscape: with the pair before the target, and with both if wanted."""
    first, target, last = landscape.dates
    days = (first, last)[:pairs]
    # The same seed and size give the same land; only what the reference day shows differs.
    scenes = [
        simulate(
            folder / f"{landscape.seed}-{day}", size=size, bands=BANDS, ratio=landscape.ratio,
            reference=day, target=target, seed=landscape.seed, noise=landscape.noise,
            clouds=landscape.clouds,
        )
        for day in days
    ]  # fmt: skip
    given = [_pair_of(files, day) for files, day in zip(scenes, days)]
    source = {"path": str(scenes[0].coarse_target), "date": str(target)}
    return [
        Task(word, {"coarse_target": source, "references": given[:count]}, scenes[0].truth,
             landscape.ratio)
        for count, word in enumerate(("before", "before & after")[:pairs], 1)
    ]  # fmt: skip


def _pair_of(files: SceneFiles, day: date) -> dict[str, Any]:
    """The reference pair of a simulated scene."""
    paths = {"coarse": files.coarse_reference, "fine": files.fine_reference}
    return {role: {"path": str(path), "date": str(day)} for role, path in paths.items()}
