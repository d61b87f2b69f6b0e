"""The Processing parameters of the training.

The names are an interface, as those of the methods are.
"""

from __future__ import annotations

from collections.abc import Iterator

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from ...models.cards import trainable_cards
from ...models.model_file import SUFFIX
from ..training_job import TrainingJob
from .parameters import DEVICES, OUTPUT, tr, with_help

_WHOLE = QgsProcessingParameterNumber.Type.Integer
_REAL = QgsProcessingParameterNumber.Type.Double


def definitions() -> Iterator[QgsProcessingParameterDefinition]:
    """All parameters in the order of the form."""
    yield from _images("FINE", tr("fine images"))
    yield from _images("COARSE", tr("coarse images"))
    yield with_help(
        _number("TOLERANCE", tr("Days that a pair may be apart"), _WHOLE, 0, 0, 60),
        tr("A fine image is paired with the coarse one nearest in time, at most so many days off."),
    )
    name = QgsProcessingParameterString("NAME", tr("Name of the model"), tr("My model"))
    yield with_help(name, tr("What lists of methods will call it."))
    yield with_help(
        _number("MINUTES", tr("Minutes"), _REAL, TrainingJob.minutes, 0.01, 100_000),
        tr("Time the training may take. It ends earlier when it no longer gets better."),
    )
    yield _method()
    licence = QgsProcessingParameterString("LICENCE", tr("Licence of the images"), optional=True)
    yield with_help(licence, tr("It goes into the model file, for those you give the model to."))
    notes = QgsProcessingParameterString("NOTES", tr("About the images"), optional=True)
    yield with_help(notes, tr("Sensors, place, source; it goes into the model file."))
    device = QgsProcessingParameterEnum("DEVICE", tr("Device"), list(DEVICES), False, DEVICES[0])
    device.setUsesStaticStrings(True)
    yield with_help(device, tr("auto takes the best graphics card, else the CPU."))
    yield from _advanced()
    output = QgsProcessingParameterFileDestination(
        OUTPUT, tr("Model file"), tr("Models (*{0})").format(SUFFIX), None, True, False
    )
    yield with_help(
        output,
        tr("Left out, it lies in RasterFuse's folder and is a method of its own at once."),
    )


def _images(prefix: str, what: str) -> Iterator[QgsProcessingParameterDefinition]:
    folder = QgsProcessingParameterFile(
        f"{prefix}_FOLDER",
        tr("Folder of {0}").format(what),
        QgsProcessingParameterFile.Behavior.Folder,
        optional=True,
    )
    yield with_help(
        folder,
        tr("All rasters in it; their dates are read from their names or metadata."),
    )
    layers = QgsProcessingParameterMultipleLayers(
        f"{prefix}_IMAGES",
        tr("Or a list of {0}").format(what),
        QgsProcessing.SourceType.TypeRaster,
        optional=True,
    )
    yield with_help(
        layers,
        tr("Layers or files, beside those of the folder. Their dates are read as well."),
    )


def _method() -> QgsProcessingParameterDefinition:
    ids = [card.id for card in trainable_cards()]
    method = QgsProcessingParameterEnum("METHOD", tr("Method"), ids, False, ids[0])
    method.setUsesStaticStrings(True)
    return with_help(method, tr("The method whose weights are trained."))


def _advanced() -> Iterator[QgsProcessingParameterDefinition]:
    start = QgsProcessingParameterString("START_FROM", tr("Start from"), optional=True)
    start_help = tr("Id of a trained model or path of its file. Empty: the method's own weights.")
    yield with_help(start, start_help, advanced=True)
    for prefix, what in (("FINE", tr("fine")), ("COARSE", tr("coarse"))):
        bands = QgsProcessingParameterString(
            f"{prefix}_BANDS", tr("Bands of the {0} images").format(what), optional=True
        )
        bands_help = tr("Numbers from 1 with commas, such as 4,3,2. Empty: matched by their names.")
        yield with_help(bands, bands_help, advanced=True)
    cell = _number("COARSE_CELL_SIZE", tr("Original size of coarse cells"), _REAL, None, 0, None)
    cell_help = tr("For coarse images that were resampled to the fine grid, in units of its CRS.")
    yield with_help(cell, cell_help, advanced=True)
    for definition, text in _numbers():
        yield with_help(definition, text, advanced=True)
    resume = QgsProcessingParameterBoolean("RESUME", tr("Go on where it was stopped"), True)
    resume_help = tr("A training with the same settings that was cancelled or killed is taken up.")
    yield with_help(resume, resume_help, advanced=True)


def _numbers() -> Iterator[tuple[QgsProcessingParameterDefinition, str]]:
    job = TrainingJob
    yield (
        _number("VALIDATION", tr("Share kept aside"), _REAL, job.validation, 0, 0.5),
        tr("Share of the area that is not trained on, to measure how good the model is."),
    )
    yield (
        _number("SIMULATE", tr("Share of simulated scenes"), _REAL, job.simulate, 0, 1),
        tr("Scenes drawn at random among the samples; they help where there are few dates."),
    )
    yield (
        _number("STEPS", tr("Most steps"), _WHOLE, None, 1, None),
        tr("Empty: as many as fit into the time."),
    )
    yield (
        _number("PATCH", tr("Side of a sample"), _WHOLE, job.patch, 16, 1024),
        tr("In fine pixels."),
    )
    yield (
        _number("BATCH", tr("Samples per step"), _WHOLE, None, 1, None),
        tr("Empty: chosen by the engine; fewer need less memory."),
    )
    yield (
        _number("SEED", tr("Seed"), _WHOLE, job.seed, 0, None),
        tr("Of all random numbers; the same seed gives the same model on the same machine."),
    )


def _number(
    name: str,
    label: str,
    kind: QgsProcessingParameterNumber.Type,
    default: float | None,
    low: float,
    high: float | None,
) -> QgsProcessingParameterNumber:
    found = QgsProcessingParameterNumber(name, label, kind, default, default is None, low)
    if high is not None:
        found.setMaximum(high)
    return found
