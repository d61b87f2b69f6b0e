"""What a user gave to an algorithm, read back as images, options and a job."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from datetime import date
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingUtils,
    QgsProperty,
    QgsRasterLayer,
    QgsReferencedRectangle,
)
from qgis.PyQt.QtCore import QDate, QDateTime

from ...models.cards import Card, Parameter
from ...models.errors import InputError
from ..job import COREGISTER, HARMONISE, Job, Limits, parse_date
from ..layers.request import Image, JobOptions, build_job, pair_up
from .given import Given, band_numbers, split
from .output import check_output
from .parameters import ERROR_OUTPUT, LEAST_MEMORY_MB, OUTPUT, Place, has_references, places


class Values(Given):
    """The values of one call of an algorithm.

    All methods raise InputError with a sentence for what cannot be understood.
    """

    def __init__(
        self,
        algorithm: QgsProcessingAlgorithm,
        card: Card,
        parameters: Mapping[str, Any],
        context: QgsProcessingContext,
    ) -> None:
        super().__init__(algorithm, parameters, context)
        self._card = card
        self._places = {place.prefix: place for place in places(card)}

    def job(self, output: str) -> Job:
        """The job, with everything the user said."""
        images = {
            spec.role: image
            for spec in self._card.inputs
            if spec.role != "references" and (image := self._image(spec.role)) is not None
        }
        pairs = self._pairs() if has_references(self._card) else []
        return build_job(self._card.id, images, pairs, output, self._options())

    def fine_layer(self) -> QgsRasterLayer | None:
        """The layer whose grid and style the result takes, if it is one."""
        name = "FINE_REFERENCES" if has_references(self._card) else self._card.grid_role.upper()
        first = next(iter(self.layers(name)), None)
        return first if isinstance(first, QgsRasterLayer) else None

    def planned_output(self) -> str:
        """Where the result will lie, without telling QGIS of a new layer.

        Raises:
            InputError: It is no GeoTIFF.
        """
        return self._planned(self._wanted(OUTPUT), "fused.tif")

    def _planned(self, path: str, temporary: str) -> str:
        if path in ("", QgsProcessing.TEMPORARY_OUTPUT):
            return os.path.join(QgsProcessingUtils.tempFolder(), temporary)
        return check_output(path)

    def _wanted(self, name: str) -> str:
        """What was given for an output, empty for nothing."""
        wanted = self._given.get(name)
        if isinstance(wanted, QgsProcessingOutputLayerDefinition):
            wanted = wanted.sink
        if isinstance(wanted, QgsProperty):
            wanted = wanted.staticValue()
        return str(wanted or "")

    def _image(self, role: str) -> Image | None:
        source = next(iter(self.layers(role.upper())), None)
        if source is None:
            return None
        if role == "coarse_target":
            return self._dressed(source, "COARSE", self._day("TARGET_DATE"))
        return self._dressed(source, role.upper(), None)

    def _pairs(self) -> list[tuple[Image, Image]]:
        coarse = list(self.layers("COARSE_REFERENCES"))
        fine = list(self.layers("FINE_REFERENCES"))
        days = self._days()
        if days and len(days) != len(fine):
            raise InputError(
                f"REFERENCE_DATES has {len(days)} dates for {len(fine)} fine images. Give one "
                "date per pair, or none."
            )
        given: list[Any] = days or [None] * max(len(coarse), len(fine))
        return pair_up(
            [self._dressed(layer, "COARSE", day) for layer, day in zip(coarse, given)],
            [self._dressed(layer, "FINE", day) for layer, day in zip(fine, given)],
        )

    def _dressed(self, source: Any, prefix: str, day: str | None) -> Image:
        place = self._places[prefix]
        return Image(
            layer=source,
            bands=self._bands(place),
            date=day,
            scale=self.number(f"{prefix}_SCALE"),
            offset=self.number(f"{prefix}_OFFSET"),
            nodata=self.number(f"{prefix}_NODATA"),
            cell_size=self.number(f"{prefix}_CELL_SIZE") if place.cell_size else None,
        )

    def _options(self) -> JobOptions:
        memory = self.number("MEMORY")
        if memory is not None and memory < LEAST_MEMORY_MB:
            raise InputError(f"MEMORY is {memory:g} MB. Give at least {LEAST_MEMORY_MB}.")
        error = self._wanted(ERROR_OUTPUT)
        return JobOptions(
            parameters={
                spec.name: value
                for spec in self._card.parameters
                if (value := self._parameter(spec)) is not None
            },
            extent=self._extent(),
            device=self.text("DEVICE") or "auto",
            harmonise=self._choice("HARMONISE", HARMONISE),
            coregister=self._choice("COREGISTER", COREGISTER),
            limits=Limits(memory_mb=None if memory is None else int(memory)),
            error_output=self._planned(error, "error.tif") if error else None,
        )

    def _bands(self, place: Place) -> tuple[int, ...]:
        return band_numbers(place.bands, self.value(place.bands))

    def _day(self, name: str) -> str | None:
        value = self.value(name)
        return None if value is None else _iso(value)

    def _days(self) -> list[str]:
        value = self.value("REFERENCE_DATES")
        if value is None:
            return []
        return [_iso(item) for item in (split(value) if isinstance(value, str) else value)]

    def _parameter(self, spec: Parameter) -> Any:
        """A card's parameter in its own type; its range is checked with the job."""
        value = self.value(spec.name.upper())
        if value is None:
            return None
        if spec.type == "choice":
            return self._algorithm.parameterAsEnumString(
                self._given, spec.name.upper(), self._context
            )
        if spec.type == "bool":
            return self._algorithm.parameterAsBoolean(self._given, spec.name.upper(), self._context)
        try:
            number = float(value)
        except (TypeError, ValueError):
            return value  # the card's check says what is wrong with it
        whole = spec.type == "int" and math.isfinite(number) and number == int(number)
        return int(number) if whole else number

    def _choice(self, name: str, choices: tuple[str, ...]) -> str:
        chosen = self.value(name)
        if isinstance(chosen, int) and 0 <= chosen < len(choices):
            return choices[chosen]
        if chosen is None or chosen in choices:
            return chosen or choices[0]
        raise InputError(f"{name} is {chosen!r}. Choose one of: {', '.join(choices)}.")

    def _extent(self) -> QgsReferencedRectangle | None:
        value = self.value("EXTENT")
        if value is None:
            return None
        algorithm, given, context = self._algorithm, self._given, self._context
        rectangle = algorithm.parameterAsExtent(given, "EXTENT", context)
        if rectangle.isNull() or rectangle.isEmpty():
            raise InputError(f"The extent {value} is empty. Give xmin,xmax,ymin,ymax [CRS].")
        return QgsReferencedRectangle(
            rectangle, algorithm.parameterAsExtentCrs(given, "EXTENT", context)
        )


def _iso(value: Any) -> str:
    """A day as YYYY-MM-DD, from whatever QGIS, Python or a shell calls a date."""
    if isinstance(value, QDateTime):
        value = value.date()
    if isinstance(value, QDate):
        return value.toString("yyyy-MM-dd")
    if isinstance(value, date):
        return value.isoformat()[:10]
    return str(parse_date(str(value).strip().split("T")[0]))
