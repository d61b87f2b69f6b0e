"""Fusion from the Python console of QGIS and from PyQGIS scripts.

    from rasterfuse import fuse, fuse_async, methods

    methods()
    # [('fine_plus_change', 'Fine plus coarse change'), ('starfm', 'STARFM'), …]

    layer = fuse(
        "starfm",
        coarse_target="MOD09GA_2001193.tif",
        references=[("MOD09GA_2001144.tif", "LE7_20010524.tif")],
        output="fused_20010712.tif",
        window=31,
    )

Images are raster layers, anything that GDAL opens, or an ``Image`` that says more of one of them.
What goes wrong is a ``FusionError`` whose text says what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import cache
from typing import Any, Union

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProcessingUtils,
    QgsRasterLayer,
    QgsRectangle,
    QgsReferencedRectangle,
)
from qgis.PyQt import sip

from ..models.cards import find_card, load_cards
from ..models.errors import FusionError, InputError, OutputError
from .checks import first_error
from .job import COREGISTER, HARMONISE, Job, Limits
from .layers.inspect import inspect
from .layers.publish import dress, publish, result_name
from .layers.request import Image, JobOptions, build_job
from .processing.output import check_output
from .runtime.runtime import shared
from .tasks import FusionTask, TaskRegistry, log_message, run_job

AnyImage = Union[QgsRasterLayer, str, "os.PathLike[str]", Image]
AnyExtent = Union[QgsRectangle, Sequence[float]]
OnProgress = Callable[[str, float], None]


def methods() -> list[tuple[str, str]]:
    """The id of every method, for ``fuse``, and its name."""
    return [(card.id, card.name) for card in load_cards().values()]


def fuse(  # noqa: PLR0913 (each is a keyword that a user may want to give)
    model: str,
    *,
    coarse_target: AnyImage | None = None,
    references: Sequence[Sequence[AnyImage]] = (),
    class_layer: AnyImage | None = None,
    multispectral: AnyImage | None = None,
    panchromatic: AnyImage | None = None,
    target_date: str | date | None = None,
    coarse_bands: Sequence[int] = (),
    fine_bands: Sequence[int] = (),
    extent: AnyExtent | None = None,
    harmonise: str = "auto",
    coregister: str = COREGISTER[0],
    device: str = "auto",
    backend: str = "auto",
    memory_mb: int | None = None,
    output: str | os.PathLike[str] | None = None,
    error_output: str | os.PathLike[str] | None = None,
    add_to_project: bool = True,
    on_progress: OnProgress | None = None,
    **parameters: Any,
) -> QgsRasterLayer:
    """Fuse images and return the result as a layer; waits until it is done.

    Spatiotemporal, with layers of the project and two reference pairs::

        layers = {layer.name(): layer for layer in QgsProject.instance().mapLayers().values()}
        fused = fuse(
            "starfm",
            coarse_target=layers["modis_0711"],
            references=[
                (layers["modis_0524"], layers["landsat_0524"]),
                (layers["modis_0812"], layers["landsat_0812"]),
            ],
            target_date="2001-07-11",
            window=51,
        )

    Pansharpening of some bands, without adding the result to the project::

        sharp = fuse(
            "gsa", multispectral="ms.tif", panchromatic="pan.tif", coarse_bands=(3, 2, 1),
            output="sharp.tif", add_to_project=False,
        )

    More on one image, here reflectance stored as integers and a date that no name tells::

        from rasterfuse.plugin.scripting import Image
        target = Image("target.tif", date="2001-07-11", scale=0.0001, nodata=-9999)

    Args:
        model: Id of the method; see ``methods``.
        coarse_target: Coarse image of the day wanted (spatiotemporal).
        references: Pairs of a coarse and a fine image of one day; a date as YYYY-MM-DD may follow
            as the third item.
        class_layer: Raster with codes of land-cover classes, for methods that can use one.
        multispectral: Colour image with large pixels (pansharpening).
        panchromatic: Grey image with small pixels (pansharpening).
        target_date: YYYY-MM-DD or a date; found from the coarse target when left out.
        coarse_bands: Bands of the coarse or multispectral images, from 1; matched when left out.
        fine_bands: Bands of the fine or panchromatic images.
        extent: Part of the fine image: (xmin, ymin, xmax, ymax) or a QgsRectangle in its CRS, or
            a QgsReferencedRectangle in any.
        harmonise: Fit coarse values to fine ones: ``auto``, ``always`` or ``never``.
        coregister: Move coarse images that lie off the fine ones: ``never`` or ``auto``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …
        backend: What searches for similar pixels: ``auto``, ``triton``, ``numba`` or ``torch``.
        memory_mb: Memory for tiles and buffers.
        output: GeoTIFF to write; a temporary one when left out.
        error_output: GeoTIFF to write the standard error of the result to, in its unit, for methods
            that can tell it; none when left out. Added to the project below the result.
        add_to_project: Whether to add the layer to the project, above its inputs.
        on_progress: Called with the stage and the share that is done, 0 to 1.
        parameters: The method's own settings, such as ``window`` of STARFM.

    Raises:
        FusionError: With a sentence on what is wrong and what to do.
    """
    asked = Request(
        model=model,
        coarse_target=coarse_target,
        references=references,
        class_layer=class_layer,
        multispectral=multispectral,
        panchromatic=panchromatic,
        target_date=target_date,
        coarse_bands=coarse_bands,
        fine_bands=fine_bands,
        extent=extent,
        harmonise=harmonise,
        coregister=coregister,
        device=device,
        backend=backend,
        memory_mb=memory_mb,
        output=output,
        error_output=error_output,
        parameters=parameters,
    )
    job = asked.checked_job()
    report = run_job(job, shared(), on_progress or _no_progress, lambda: False, log_message)
    return _layer(job, report, asked.fine_layer(), add_to_project)


def fuse_async(
    model: str,
    *,
    add_to_project: bool = True,
    on_done: Callable[[FusionTask], None] | None = None,
    **settings: Any,
) -> FusionTask:
    """Start a fusion in the background and return its task at once.

    The task shows in QGIS's task manager. When it has ended, ``task.layer`` is the result, or
    ``task.error`` says what went wrong::

        def done(task):
            print(task.layer.name() if task.layer else task.error)

        task = fuse_async("gsa", multispectral="ms.tif", panchromatic="pan.tif", on_done=done)
        task.cancel()

    Args:
        model: Id of the method; see ``methods``.
        add_to_project: Whether to add the layer to the project, above its inputs.
        on_done: Called with the task on the main thread when it has ended, however it did. Use its
            Python attributes then (layer, report, error, job): QGIS deletes the rest.
        settings: All else that ``fuse`` takes, but for ``on_progress``: connect to
            ``task.stage_changed``.

    Raises:
        FusionError: The job cannot be fused, which is known before it starts.
    """
    known = {item.name for item in fields(Request)} - {"model", "parameters"}
    asked = Request(
        model=model,
        parameters={name: value for name, value in settings.items() if name not in known},
        **{name: value for name, value in settings.items() if name in known},
    )
    job = asked.checked_job()
    title = f"{find_card(model).name}: {result_name(job, asked.fine_layer())}"
    task = FusionTask(job, shared(), title)
    task.layer = None
    fine_layer = asked.fine_layer()
    task.taskCompleted.connect(lambda: _show(task, fine_layer, add_to_project, on_done))
    task.taskTerminated.connect(lambda: _end(task, on_done))
    running_tasks().start(task)
    return task


def cancel_all(wait_s: float = 3.0) -> None:
    """Cancel what ``fuse_async`` started and wait a little for it to end."""
    if running_tasks.cache_info().currsize:
        running_tasks().cancel_all(wait_s)


@dataclass(frozen=True)
class Request:
    """What a call of ``fuse`` asks for, by the names of its arguments."""

    model: str
    coarse_target: AnyImage | None = None
    references: Sequence[Sequence[AnyImage]] = ()
    class_layer: AnyImage | None = None
    multispectral: AnyImage | None = None
    panchromatic: AnyImage | None = None
    target_date: str | date | None = None
    coarse_bands: Sequence[int] = ()
    fine_bands: Sequence[int] = ()
    extent: AnyExtent | None = None
    harmonise: str = "auto"
    coregister: str = COREGISTER[0]
    device: str = "auto"
    backend: str = "auto"
    memory_mb: int | None = None
    output: str | os.PathLike[str] | None = None
    error_output: str | os.PathLike[str] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def checked_job(self) -> Job:
        """The job; what is doubtful of it goes to the log panel.

        Raises:
            InputError: It cannot be fused.
        """
        for path in (self.output, self.error_output):
            if path is not None:
                check_output(os.fspath(path))
        draft = os.path.join(QgsProcessingUtils.tempFolder(), "fused.tif")
        job = self._job(os.fspath(self.output) if self.output is not None else draft)
        _, findings = inspect(job)
        sentence = first_error(findings)
        if sentence is not None:
            raise InputError(sentence)
        for finding in findings:
            log_message(finding.level, finding.sentence)
        if self.output is not None:
            return job
        name = result_name(job, self.fine_layer())
        return job.with_output(QgsProcessingUtils.generateTempFilename(f"{name}.tif"))

    def fine_layer(self) -> QgsRasterLayer | None:
        """The layer on whose grid the result lies, if it is one."""
        fine: Any = self.panchromatic
        if self.references:
            fine = self.references[0][1]
        layer = fine.layer if isinstance(fine, Image) else fine
        return layer if isinstance(layer, QgsRasterLayer) else None

    def _job(self, output: str) -> Job:
        coarse, fine = tuple(self.coarse_bands), tuple(self.fine_bands)
        given = {
            "coarse_target": as_image(self.coarse_target, coarse, self.target_date),
            "class_layer": as_image(self.class_layer, ()),
            "multispectral": as_image(self.multispectral, coarse),
            "panchromatic": as_image(self.panchromatic, fine),
        }
        options = JobOptions(
            parameters=self.parameters,
            extent=_extent(self.extent),
            device=self.device,
            backend=self.backend,
            harmonise=_one_of("harmonise", self.harmonise, HARMONISE),
            coregister=_one_of("coregister", self.coregister, COREGISTER),
            limits=Limits(memory_mb=self.memory_mb),
            error_output=None if self.error_output is None else os.fspath(self.error_output),
        )
        images = {role: image for role, image in given.items() if image is not None}
        return build_job(self.model, images, self._pairs(coarse, fine), output, options)

    def _pairs(
        self, coarse_bands: tuple[int, ...], fine_bands: tuple[int, ...]
    ) -> list[tuple[Image, Image]]:
        pairs = []
        for number, given in enumerate(self.references, 1):
            if isinstance(given, (str, QgsRasterLayer)) or len(given) not in (2, 3):
                raise InputError(
                    f"Reference pair {number} is {given!r}. Give (coarse, fine) or (coarse, fine, "
                    "date)."
                )
            day = given[2] if len(given) == 3 else None
            coarse = as_image(given[0], coarse_bands, day)
            fine = as_image(given[1], fine_bands, day)
            if coarse is None or fine is None:
                raise InputError(f"Reference pair {number} lacks an image. Give two.")
            pairs.append((coarse, fine))
        return pairs


def _one_of(name: str, value: Any, choices: Sequence[str]) -> str:
    if value not in choices:
        raise InputError(f"{name} is {value!r}. Choose one of: {', '.join(choices)}.")
    return str(value)


def as_image(given: Any, bands: tuple[int, ...], day: Any = None) -> Image | None:
    """What was given as an image, with what was said of all its kind."""
    if given is None:
        return None
    if isinstance(day, date):
        day = day.isoformat()[:10]
    if isinstance(given, Image):
        return replace(
            given,
            bands=given.bands or bands,
            date=given.date if given.date is not None else day,
        )
    if isinstance(given, QgsRasterLayer):
        return Image(given, bands, day)
    if isinstance(given, (str, os.PathLike)):
        return Image(os.path.expanduser(os.fspath(given)), bands, day)
    raise InputError(f"{given!r} is no image. Give a raster layer, a path or an Image.")


def _extent(given: Any) -> QgsReferencedRectangle | None:
    if given is None or isinstance(given, QgsReferencedRectangle):
        return given
    unknown = QgsCoordinateReferenceSystem()  # taken for that of the fine image
    if isinstance(given, QgsRectangle):
        return QgsReferencedRectangle(given, unknown)
    try:
        xmin, ymin, xmax, ymax = (float(number) for number in given)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The extent is {given!r}. Give (xmin, ymin, xmax, ymax) in the fine image's CRS."
        ) from error
    return QgsReferencedRectangle(QgsRectangle(xmin, ymin, xmax, ymax), unknown)


def _layer(
    job: Job, report: dict[str, Any], fine_layer: QgsRasterLayer | None, add_to_project: bool
) -> QgsRasterLayer:
    if add_to_project:
        return publish(job, report, fine_layer=fine_layer)
    path = str(report["path"])
    layer = QgsRasterLayer(path, result_name(job, fine_layer))
    if not layer.isValid():
        raise OutputError(f"The result {path} was written but cannot be loaded. Open it by hand.")
    dress(layer, job, report, fine_layer)
    return layer


def _show(
    task: FusionTask,
    fine_layer: QgsRasterLayer | None,
    add_to_project: bool,
    on_done: Callable[[FusionTask], None] | None,
) -> None:
    if fine_layer is not None and sip.isdeleted(fine_layer):  # removed while the task ran
        fine_layer = None
    try:
        task.layer = _layer(task.job, task.report, fine_layer, add_to_project)
    except FusionError as error:
        task.error = error
        log_message("warning", error.sentence)
    _end(task, on_done)


def _end(task: FusionTask, on_done: Callable[[FusionTask], None] | None) -> None:
    if on_done is not None:
        on_done(task)


@cache
def running_tasks() -> TaskRegistry:
    """Keeps the tasks alive: QGIS never runs one without a Python reference."""
    return TaskRegistry()


def _no_progress(stage: str, fraction: float) -> None:
    """For callers who do not ask for progress."""
