"""Training and model files from the Python console of QGIS and from PyQGIS scripts.

    from rasterfuse import train, fuse

    report = train("Fields of 2024", fine="landsat/", coarse="modis/", minutes=5)
    print(report["metrics"])
    layer = fuse(report["model"], coarse_target=…, references=…)

What goes wrong is a ``FusionError`` whose text says what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Union

from ..models.cards import trainable_cards
from ..models.errors import InputError
from . import model_store
from .checks import WARNING, Finding, first_error
from .layers.request import Image
from .layers.training import build_training_job, images_in, inspect_training, match_dates
from .runtime.runtime import shared
from .scripting import AnyImage, OnProgress, as_image, running_tasks
from .tasks import TrainingTask, log_message, refresh_methods, run_job
from .training_job import TrainingJob

Images = Union["str | os.PathLike[str]", Sequence[AnyImage]]
OnMeasured = Callable[[dict[str, Any]], None]


def train(
    name: str,
    *,
    fine: Images = (),
    coarse: Images = (),
    tolerance: int = 0,
    on_progress: OnProgress | None = None,
    on_measured: OnMeasured | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Train a model on your own images; waits until it is done.

    With two folders, images of up to two days apart, from the weights of an earlier model::

        report = train(
            "Fields", fine="landsat/", coarse="modis/", tolerance=2, minutes=20,
            start_from="fields_of_2023", licence="CC-BY-4.0",
        )

    Args:
        name: What lists of methods will call it.
        fine: A folder, or a list of layers, paths or ``Image`` objects of different days. Days are
            found as ``fuse`` finds them.
        coarse: The same; every fine image is paired with the one nearest in time.
        tolerance: Days that a pair may be apart.
        on_progress: Called with the stage and the share that is done, 0 to 1.
        on_measured: Called at every validation with the step, the losses of training and
            validation, and the path of a preview image.
        settings: ``method`` (id), ``output`` (path of the model file), ``coarse_bands`` and
            ``fine_bands``; and what a ``TrainingJob`` has: ``minutes``, ``steps``, ``patch``,
            ``batch``, ``seed``, ``validation``, ``simulate``, ``start_from``, ``device``,
            ``resume``, ``licence``, ``notes``.

    Returns:
        The report; ``model`` is the id for ``fuse``, ``metrics`` has the errors on images kept
        aside beside those of the simple answers.

    Raises:
        FusionError: With a sentence on what is wrong and what to do.
    """
    job = _checked_job(name, fine, coarse, tolerance, settings)
    progress = on_progress or (lambda stage, fraction: None)
    report = run_job(job, shared(), progress, lambda: False, log_message, on_measured)
    refresh_methods()
    return {**report, "model": job.model_id}


def train_async(
    name: str,
    *,
    fine: Images = (),
    coarse: Images = (),
    tolerance: int = 0,
    on_done: Callable[[TrainingTask], None] | None = None,
    **settings: Any,
) -> TrainingTask:
    """Start a training in the background and return its task at once.

    Args:
        name: As of ``train``.
        fine: As of ``train``.
        coarse: As of ``train``.
        tolerance: As of ``train``.
        on_done: Called with the task on the main thread when it has ended, however it did:
            ``task.report`` is the report, or ``task.error`` says what went wrong.
        settings: As of ``train``.

    Raises:
        FusionError: It cannot be trained, which is known before it starts.
    """
    job = _checked_job(name, fine, coarse, tolerance, settings)
    task = TrainingTask(job, shared(), f"RasterFuse: {job.name}")
    if on_done is not None:
        task.taskCompleted.connect(lambda: on_done(task))
        task.taskTerminated.connect(lambda: on_done(task))
    running_tasks().start(task)
    return task


def import_model(path: str | os.PathLike[str]) -> str:
    """Take a model file into RasterFuse's folder; it is a method at once.

    Nothing of it is executed, and what is no model of RasterFuse is refused.

    Returns:
        Its id, for ``fuse``.

    Raises:
        FusionError: It is damaged, foreign, too new, or its id is taken.
    """
    card = model_store.import_model(path)
    refresh_methods()
    return card.id


def export_model(model: str, path: str | os.PathLike[str]) -> str:
    """Copy the model file of a method to where it can be shared; returns its path."""
    return str(model_store.export_model(model, path))


def remove_model(model: str) -> None:
    """Delete a trained model of yours for good."""
    model_store.remove_model(model)
    refresh_methods()


def _checked_job(
    name: str, fine: Images, coarse: Images, tolerance: int, settings: dict[str, Any]
) -> TrainingJob:
    """The job; what is doubtful of it goes to the log panel.

    Raises:
        InputError: It cannot be trained.
    """
    given = dict(settings)
    bands = [tuple(given.pop(f"{kind}_bands", ())) for kind in ("fine", "coarse")]
    matches = match_dates(_images(fine, bands[0]), _images(coarse, bands[1]), tolerance)
    method = given.pop("method", None) or _only_method()
    try:
        job = build_training_job(method, matches, name, given.pop("output", None), **given)
    except TypeError as error:
        known = ", ".join(sorted(set(TrainingJob.__dataclass_fields__) - {"pairs", "kind"}))
        raise InputError(f"train takes no such argument ({error}). It takes {known}.") from error
    left_out = [Finding(WARNING, "job", item.sentence) for item in matches if item.sentence]
    findings = [*left_out, *inspect_training(job)]
    sentence = first_error(findings)
    if sentence is not None:
        raise InputError(sentence)
    for finding in findings:
        log_message(finding.level, finding.sentence)
    return job


def _only_method() -> str:
    found = trainable_cards()
    if not found:
        raise InputError("This RasterFuse has no method that can be trained. Update it.")
    return found[0].id


def _images(given: Images, bands: tuple[int, ...]) -> list[Image]:
    if isinstance(given, (str, os.PathLike)):
        found = images_in(os.path.expanduser(os.fspath(given)))
    else:
        found = [as_image(item, ()) for item in given]
    return [replace(image, bands=image.bands or bands) for image in found]
