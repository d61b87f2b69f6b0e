"""From what the form shows to a job and all that is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...models.cards import CLASS_LAYER
from ...models.errors import InputError
from ..checks import ERROR, Finding
from ..job import Job
from ..layers.inspect import inspect
from ..layers.request import Image, JobOptions, build_job, source_of
from .output_box import temporary_path

if TYPE_CHECKING:
    from .form import FusionForm

Pair = tuple[Image, Image]


@dataclass(frozen=True)
class Draft:
    """A job, which may not be fit to run, and the findings on it."""

    job: Job | None
    findings: list[Finding]

    @property
    def obstacle(self) -> str:
        """The first reason why it cannot run, empty when it can."""
        errors = (item.sentence for item in self.findings if item.level == ERROR)
        return next(errors, "")


def make_draft(form: FusionForm, output: str) -> Draft:
    """Read the form, build the job and check it; ``output`` is the file to write."""
    findings = [*form.radiometry.faults(), *form.output.faults()]
    images = _usable_images(form, findings)
    pairs = _usable_pairs(form, findings)
    broken = {item.place for item in findings if item.level == ERROR}
    try:
        job = build_job(form.card().id, images, pairs, output, _options(form))
    except InputError as error:
        place = "extent" if form.output.chosen_extent() is not None else ""
        return Draft(None, [*findings, Finding(ERROR, place, error.sentence)])
    # That an image is missing from the job has been explained above.
    roles = {spec.role for spec in form.card().inputs}
    gone = (broken & roles) - set(job.inputs)
    said = [item for item in inspect(job)[1] if item.place not in gone]
    return Draft(job, [*findings, *said])


def _options(form: FusionForm) -> JobOptions:
    return JobOptions(
        parameters=form.parameters.values(),
        extent=form.output.chosen_extent(),
        device=form.output.chosen_device(),
        error_output=_error_output(form),
        harmonise=form.radiometry.harmonise.currentData(),
        coregister=form.radiometry.coregister.currentData(),
    )


def _error_output(form: FusionForm) -> str | None:
    if not form.output.wants_error():
        return None
    return form.output.error_path() or temporary_path(f"{form.card().id}_error")


def _usable_images(form: FusionForm, findings: list[Finding]) -> dict[str, Image]:
    images: dict[str, Image] = {}
    for role, field in form.images.items():
        image = field.image()
        if field.bands.chosen() == ():
            findings.append(Finding(ERROR, role, form.tr("No band is ticked. Tick at least one.")))
        elif image is not None:
            if role != CLASS_LAYER:  # codes have no radiometry
                side = "fine" if role == form.card().grid_role else "coarse"
                image = replace(image, **form.radiometry.values(side))
            if _fault(image, role, findings) is None:
                images[role] = image
    return images


def _usable_pairs(form: FusionForm, findings: list[Finding]) -> list[Pair]:
    if form.pairs is None:
        return []
    if form.pairs.bands.chosen() == ():
        text = form.tr("No band of the fine images is ticked. Tick at least one.")
        findings.append(Finding(ERROR, "references", text))
        return []
    usable = []
    for number, (coarse, fine) in enumerate(form.pairs.pairs(), 1):
        if coarse is None or fine is None:
            lacking = form.tr("coarse") if coarse is None else form.tr("fine")
            text = form.tr("Pair {} lacks its {} image. Choose one, or remove the pair.")
            findings.append(Finding(ERROR, "references", text.format(number, lacking)))
            continue
        target = form.images["coarse_target"].bands.wanted()
        bands = form.pairs.bands.wanted()
        pair = (
            replace(coarse, bands=target, **form.radiometry.values("coarse")),
            replace(fine, bands=bands, **form.radiometry.values("fine")),
        )
        if [_fault(image, "references", findings) for image in pair] == [None, None]:
            usable.append(pair)
    return usable


def _fault(image: Image, place: str, findings: list[Finding]) -> str | None:
    """Note it when a layer is nothing that can be handed to the worker."""
    try:
        source_of(image)
    except InputError as error:
        findings.append(Finding(ERROR, place, error.sentence))
        return error.sentence
    return None
