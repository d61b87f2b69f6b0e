"""The Processing parameters of a method, made from its card.

The names are an interface: scripts, models and saved histories contain them. A test freezes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDateTime,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtCore import QCoreApplication

from ...models.cards import CLASS_LAYER, Card, InputSpec, Parameter
from ..job import COREGISTER, HARMONISE

ICON = Path(__file__).resolve().parents[2] / "resources" / "icons" / "rasterfuse.svg"
OUTPUT = "OUTPUT"
ERROR_OUTPUT = "STANDARD_ERROR"
REPORT = "REPORT"
DEVICES = ("auto", "cpu", "cuda", "mps")
LEAST_MEMORY_MB = 64

_INTEGER = QgsProcessingParameterNumber.Type.Integer
_DOUBLE = QgsProcessingParameterNumber.Type.Double
_ADVANCED = QgsProcessingParameterDefinition.Flag.FlagAdvanced


def tr(text: str) -> str:
    """Translate a text of this room."""
    return QCoreApplication.translate("RasterFuseProcessing", text)


@dataclass(frozen=True)
class Place:
    """Where the settings of one kind of image are found.

    Attributes:
        prefix: Start of the parameter names, as in ``COARSE_SCALE``.
        title: What to call these images in labels.
        layer: The parameter that holds the layer or layers.
        several: Whether it holds several layers.
        single_band: Whether exactly one band is wanted.
        codes: Whether the values are codes of classes, which have no scale.
        matched: Whether its bands must correspond to those of other images.
    """

    prefix: str
    title: str
    layer: str
    several: bool = False
    single_band: bool = False
    codes: bool = False
    matched: bool = False

    @property
    def cell_size(self) -> bool:
        """Whether the original size of its cells may be stated."""
        return self.matched and not self.several

    @property
    def bands(self) -> str:
        """The name of the parameter for the bands."""
        return f"{self.prefix}_BANDS"


def places(card: Card) -> tuple[Place, ...]:
    """The kinds of images that a method reads, in the order of its form."""
    roles = {spec.role: _place(spec) for spec in card.inputs}
    if not has_references(card):
        return tuple(roles.values())
    del roles["coarse_target"], roles["references"]
    return (
        Place("COARSE", tr("Coarse images"), "COARSE_TARGET", matched=True),
        Place("FINE", tr("Fine images"), "FINE_REFERENCES", several=True, matched=True),
        *roles.values(),
    )


def _place(spec: InputSpec) -> Place:
    """Of an image that is the only one of its kind."""
    name, single = spec.role.upper(), spec.max_bands == 1
    return Place(name, spec.label, name, single_band=single, codes=spec.role == CLASS_LAYER)


def has_references(card: Card) -> bool:
    """Whether the method takes reference pairs, and with them dates."""
    return any(spec.role == "references" for spec in card.inputs)


def definitions(card: Card) -> Iterator[QgsProcessingParameterDefinition]:
    """All parameters of a method, in the order of its form."""
    for spec in card.inputs:
        yield from _inputs(spec)
    if has_references(card):
        yield from _dates()
    for place in places(card):
        yield _bands(place)
    for parameter in card.parameters:
        yield _card_parameter(parameter)
    yield _extent()
    yield _device()
    for place in places(card):
        yield from _radiometry(place)
    if has_references(card):
        yield _harmonise()
        yield _coregister()
    yield _memory()
    yield _output()
    if card.tells_error:
        yield _error_output()


def with_help(
    definition: QgsProcessingParameterDefinition, text: str, advanced: bool = False
) -> QgsProcessingParameterDefinition:
    definition.setHelp(text)
    if advanced:
        definition.setFlags(definition.flags() | _ADVANCED)
    return definition


def _inputs(spec: InputSpec) -> Iterator[QgsProcessingParameterDefinition]:
    if spec.role != "references":
        layer = QgsProcessingParameterRasterLayer(
            spec.role.upper(), spec.label, None, spec.optional
        )
        yield with_help(layer, spec.help)
        return
    for name, label, text in (
        (
            "COARSE_REFERENCES",
            tr("Coarse images at the reference dates"),
            tr("One coarse image per reference pair."),
        ),
        (
            "FINE_REFERENCES",
            tr("Fine images at the reference dates"),
            tr(
                "One fine image per reference pair. Coarse and fine images are paired by their "
                "dates where all are known, else by their order in the two lists. The result has "
                "the grid of the first pair's fine image."
            ),
        ),
    ):
        layers = QgsProcessingParameterMultipleLayers(
            name, label, QgsProcessing.SourceType.TypeRaster
        )
        layers.setMinimumNumberInputs(spec.min_pairs)
        yield with_help(layers, text)


def _dates() -> Iterator[QgsProcessingParameterDefinition]:
    day = QgsProcessingParameterDateTime(
        "TARGET_DATE",
        tr("Target date"),
        QgsProcessingParameterDateTime.Type.Date,
        optional=True,
    )
    yield with_help(
        day,
        tr(
            "Day of the coarse target, YYYY-MM-DD. Empty: found in the layer's temporal "
            "properties, its metadata or its file name."
        ),
    )
    days = QgsProcessingParameterString("REFERENCE_DATES", tr("Reference dates"), optional=True)
    text = tr(
        "Days of the reference pairs, YYYY-MM-DD, separated by commas, in the order of the fine "
        "images. Coarse and fine images are then paired by order. Empty: found as the target "
        "date is."
    )
    yield with_help(days, text, advanced=True)


def _bands(place: Place) -> QgsProcessingParameterDefinition:
    label = tr("{0}: bands").format(place.title)
    if place.single_band:
        band = QgsProcessingParameterBand(
            place.bands,
            tr("{0}: which band").format(place.title),
            parentLayerParameterName=place.layer,
            optional=True,
        )
        return with_help(band, tr("Which band to use. Empty: the only band."))
    text = tr("Band numbers in the order wanted. Empty: {0}.").format(
        tr("matched with the other images by wavelength, name or order")
        if place.matched
        else tr("all")
    )
    if place.several:  # a band list of several layers has no chooser in QGIS
        bands = QgsProcessingParameterString(place.bands, label, optional=True)
        return with_help(bands, text + " " + tr("Separate them by commas, as in 4,3,2."))
    bands = QgsProcessingParameterBand(
        place.bands,
        label,
        parentLayerParameterName=place.layer,
        optional=True,
        allowMultiple=True,
    )
    return with_help(bands, text)


def _radiometry(place: Place) -> Iterator[QgsProcessingParameterDefinition]:
    title = place.title
    scale = [
        ("SCALE", tr("{0}: scale"), tr("Physical value = stored value × scale + offset.")),
        ("OFFSET", tr("{0}: offset"), tr("See the scale.")),
    ]
    nodata = ("NODATA", tr("{0}: nodata value"), tr("Stored value that means no data."))
    settings = [nodata] if place.codes else [*scale, nodata]
    for name, label, text in settings:
        number = QgsProcessingParameterNumber(
            f"{place.prefix}_{name}", label.format(title), _DOUBLE, None, optional=True
        )
        yield with_help(number, text + " " + tr("Empty: as the file says."), advanced=True)
    if place.cell_size:
        size = QgsProcessingParameterNumber(
            f"{place.prefix}_CELL_SIZE",
            tr("{0}: original cell size").format(title),
            _DOUBLE,
            None,
            optional=True,
            minValue=0,
        )
        text = tr(
            "Only for coarse images that were resampled to the fine grid beforehand: the size of "
            "their original cells in units of the fine image's CRS. Empty: their pixel size."
        )
        yield with_help(size, text, advanced=True)


def _card_parameter(spec: Parameter) -> QgsProcessingParameterDefinition:
    name = spec.name.upper()
    optional = spec.default is None
    label = f"{spec.label} [{spec.unit}]" if spec.unit else spec.label
    if spec.type == "bool":
        # Optional, so that models saved before there was this box stay valid: unset is off.
        definition = QgsProcessingParameterBoolean(name, label, spec.default, True)
    elif spec.type == "choice":
        definition = QgsProcessingParameterEnum(
            name, label, list(spec.choices), False, spec.default, optional, True
        )
    else:
        kind = _INTEGER if spec.type == "int" else _DOUBLE
        definition = QgsProcessingParameterNumber(name, label, kind, spec.default, optional)
        if spec.minimum is not None:
            definition.setMinimum(spec.minimum)
        if spec.maximum is not None:
            definition.setMaximum(spec.maximum)
    return with_help(definition, spec.help, spec.advanced)


def _extent() -> QgsProcessingParameterDefinition:
    extent = QgsProcessingParameterExtent("EXTENT", tr("Extent to fuse"), optional=True)
    return with_help(
        extent,
        tr("Part of the fine image to fuse, widened to whole pixels. Empty: all of it."),
    )


def _device() -> QgsProcessingParameterDefinition:
    device = QgsProcessingParameterString("DEVICE", tr("Device"), "auto")
    # QGIS offers the hints in a list; a script may name any device, as in cuda:1.
    hints: dict[str, Any] = {"widget_wrapper": {"value_hints": list(DEVICES)}}
    device.setMetadata(hints)
    text = tr("Where to compute: auto (the fastest there is), cpu, cuda, cuda:1 …, mps.")
    return with_help(device, text)


def _harmonise() -> QgsProcessingParameterDefinition:
    text = tr(
        "Fit the values of the coarse images to those of the fine ones, per band: auto (only when "
        "their units clearly differ), always or never."
    )
    return _job_choice("HARMONISE", tr("Harmonise radiometry"), HARMONISE, text)


def _coregister() -> QgsProcessingParameterDefinition:
    text = tr(
        "Move coarse images that lie off the fine ones: never, or auto (only where a shift is "
        "clearly seen). The report says how far each image lies off."
    )
    # Optional, since models saved before there was this parameter lack it.
    return _job_choice("COREGISTER", tr("Co-register coarse images"), COREGISTER, text, True)


def _job_choice(
    name: str, label: str, choices: tuple[str, ...], text: str, optional: bool = False
) -> QgsProcessingParameterDefinition:
    choice = QgsProcessingParameterEnum(
        name, label, list(choices), False, choices[0], optional, True
    )
    return with_help(choice, text, advanced=True)


def _memory() -> QgsProcessingParameterDefinition:
    memory = QgsProcessingParameterNumber(
        "MEMORY", tr("Memory limit [MB]"), _INTEGER, None, optional=True, minValue=LEAST_MEMORY_MB
    )
    text = tr("Memory for tiles and buffers. Empty: a share of what is free.")
    return with_help(memory, text, advanced=True)


def _output() -> QgsProcessingParameterDefinition:
    output = QgsProcessingParameterRasterDestination(OUTPUT, tr("Fused image"))
    return with_help(output, tr("A GeoTIFF with the data type and nodata of the fine image."))


def _error_output() -> QgsProcessingParameterDefinition:
    output = QgsProcessingParameterRasterDestination(
        ERROR_OUTPUT, tr("Standard error"), None, True, False
    )
    text = tr(
        "How far each value of the fused image may be off, in its unit: a second GeoTIFF. Empty: "
        "not written."
    )
    return with_help(output, text)


def number_outputs(card: Card) -> dict[str, str]:
    """Names and labels of the numbers that a run gives back; see ``report_numbers``."""
    numbers = {"RMSE_RESULT": tr("RMSE of the result against the coarse image")}
    if has_references(card):
        numbers["RMSE_COPY_FINE"] = tr("RMSE of a copy of the fine reference")
        numbers["RMSE_FINE_PLUS_CHANGE"] = tr("RMSE of the fine reference plus coarse change")
        numbers["RMSE_FINE_PLUS_MEAN_CHANGE"] = tr(
            "RMSE of the fine reference plus mean coarse change"
        )
    else:
        numbers["RMSE_INTERPOLATED"] = tr("RMSE of the interpolated coarse image")
    numbers["NODATA_SHARE"] = tr("Share of nodata in the result, 0 to 1")
    numbers["SECONDS"] = tr("Seconds that the run took")
    return numbers
