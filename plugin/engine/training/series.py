"""The user's images as samples: areas of every ordered pair of dates, some kept aside.

An area belongs to the training or to what is kept aside, never to both, and a strip between the two
belongs to neither. With three dates or more, the last one is a target only in what is kept aside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from ....models.cards import Card
from ....models.errors import InputError
from ...checks import check_job
from ...grid import Window, pixel_size
from ...job import Job, Limits
from ...training_job import TrainingJob
from ..alignment import offsets
from ..crs import metres
from ..scene import Scene
from ..simulate_training import CoarseCells, TrainingScene
from .samples import LEAST_SIDE, Sample, samples_of

_CELLS, _LEAST, _MOST = 16, 128, 512  # side of an area: in cells, in pixels
_BYTES = 1_500 * 2**20  # of samples that are held in memory
_BYTES_PER_PIXEL = 16.0  # and band


@dataclass
class Series:
    """Samples of the user's images.

    Attributes:
        training: To learn from.
        aside: To measure on.
        ratio: Coarse over fine pixel size.
        metres: Side of a fine pixel; None where the coordinate system does not say.
        bands: How many.
        other_day: Whether ``aside`` is of a day that is no target in ``training``.
        warnings: What the user should know.
    """

    ratio: float
    metres: float | None
    bands: int
    training: list[Sample] = field(default_factory=list)
    aside: list[Sample] = field(default_factory=list)
    other_day: bool = False
    warnings: list[str] = field(default_factory=list)


def read_series(
    job: TrainingJob, progress: Callable[[float], None], check: Callable[[], None]
) -> Series:
    """Read all areas of all dates.

    Args:
        job: Names the pairs.
        progress: Told how far it is.
        check: Called before every area; may raise to stop.

    Raises:
        InputError: The images do not fit together, or too little of them is known.
        ModelFileError: The model to start from cannot be used.
    """
    card = job.card()
    with Scene(_fusion_job(job), card) as scene:
        scene.learn(lambda _: check())
        series = Series(scene.ratio, _metres(scene), scene.bands)
        unfit = _unfit(scene, card)
        series.warnings += [sentence for sentence in scene.warnings if sentence not in unfit]
        areas = list(_areas(scene.shape, scene.ratio, job.validation))
        tasks = list(_tasks(job))
        centres = scene.cells.centres().numpy()
        pixels = len(tasks) * sum(window.rows * window.cols for window, _ in areas)
        every = max(int(np.ceil(_BYTES_PER_PIXEL * pixels * scene.bands / _BYTES)), 1)
        for done, (window, aside) in enumerate(areas[::every], 1):
            check()
            for task in tasks:
                # An area learns from what is no target of the date that is kept aside.
                if task.aside is None or task.aside == aside:
                    kept = series.aside if aside else series.training
                    kept += samples_of(_scene(scene, centres, window, task))
            progress(done * every / len(areas))
    _check(series, job)
    return series


@dataclass(frozen=True)
class _Task:
    """Indices of a reference pair and a target; ``aside`` None means both in and out."""

    reference: int
    target: int
    aside: bool | None


def _tasks(job: TrainingJob) -> Iterator[_Task]:
    last = max(pair.date or "" for pair in job.pairs) if job.keeps_a_day else None
    for one, reference in enumerate(job.pairs):
        for other, target in enumerate(job.pairs):
            if reference.date != target.date:
                yield _Task(one, other, None if last is None else target.date == last)


def _fusion_job(job: TrainingJob) -> Job:
    """A job whose scene has all images: its target is the first pair's coarse image, on no day."""
    target = replace(job.pairs[0].coarse, date=None)
    return Job(
        model=job.method,
        inputs={"coarse_target": target, "references": job.pairs},
        output=job.output,
        limits=Limits(resume=False),
    )


def _areas(shape: tuple[int, int], ratio: float, share: float) -> Iterator[tuple[Window, bool]]:
    """Windows on both sides of a line, and whether they lie beyond it, hence are kept aside."""
    rows, cols = shape
    side = int(min(max(_CELLS * ratio, _LEAST), _MOST))
    long = cols if cols >= rows else rows
    line = long * (1 - share)
    gap = 2 * ratio if share else 0.0
    for low, high, aside in ((0, int(line - gap / 2), False), (int(line + gap / 2), long, True)):
        for start, stop in _pieces(low, high, side):
            for first, last in _pieces(0, min(rows, cols) if long == cols else cols, side):
                along, across = (start, stop - start), (first, last - first)
                (row, height), (col, width) = (across, along) if long == cols else (along, across)
                yield Window(row, col, height, width), aside


def _pieces(low: int, high: int, side: int) -> Iterator[tuple[int, int]]:
    """As few pieces as are at most ``side`` long, all alike."""
    count = max(-(-(high - low) // side), 1)
    edges = [low + round(number * (high - low) / count) for number in range(count + 1)]
    yield from (piece for piece in zip(edges, edges[1:]) if piece[1] > piece[0])


def _unfit(scene: Scene, card: Card) -> set[str]:
    """Warnings that concern a fusion only: of the day to fuse for, of settings that it has."""
    days = (item.sentence for item in check_job(scene.job, card, {}) if item.place == "date")
    return {*days, *offsets(scene.sights, scene.rasters, scene.ratio)}


def _metres(scene: Scene) -> float | None:
    unit = metres(scene.grid.crs)
    return pixel_size(scene.grid.transform)[0] * unit if unit else None


def _scene(scene: Scene, centres: np.ndarray, window: Window, task: _Task) -> TrainingScene:
    tile = scene.tile(window)
    images = {}
    for kind in ("fine", "coarse"):
        values, known = tile[f"{kind}_references"], tile.masks[f"{kind}_references"]
        images[kind] = values.where(known, np.nan).numpy()
    return TrainingScene(
        images["fine"][task.reference], images["fine"][task.target],
        images["coarse"][task.reference], images["coarse"][task.target], scene.ratio,
        _cells(scene, centres, window, task),
    )  # fmt: skip


def _cells(scene: Scene, centres: np.ndarray, window: Window, task: _Task) -> CoarseCells:
    """The cells under a window; ``centres`` are those of all."""
    places = np.stack(np.broadcast_arrays(*scene.cells.positions(window)))
    most = np.array(centres.shape[1:]) - 1
    first = np.floor(places.min(axis=(1, 2))).astype(int).clip(0, most)
    last = np.ceil(places.max(axis=(1, 2))).astype(int).clip(first + 1, None)
    part = (slice(None), slice(first[0], last[0]), slice(first[1], last[1]))
    corner = np.array([window.row, window.col])
    reference, target = (
        scene.cell_samples(f"coarse {number + 1}")[part].numpy()
        for number in (task.reference, task.target)
    )
    return CoarseCells(
        reference, target, None, centres[part] - corner[:, None, None],
        places - first[:, None, None],
    )  # fmt: skip


def _check(series: Series, job: TrainingJob) -> None:
    if not series.training:
        raise InputError(
            f"None of the {len(job.pairs)} pairs has an area of at least {LEAST_SIDE} x "
            f"{LEAST_SIDE} fine pixels where both its images and those of another day are known, "
            "so there is nothing to learn from. Add larger images, or some with fewer clouds."
        )
    if not series.aside and job.validation:
        series.warnings.append(
            "Nothing that was kept aside is known at two dates, so part of what was learnt from "
            "was measured on; the figures are too good."
        )
    series.other_day = job.keeps_a_day and bool(series.aside)
    if not series.aside:
        series.aside = series.training[:: max(len(series.training) // 8, 1)]
