"""What a user gave to an algorithm, as plain values."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qgis.core import (
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingUtils,
    QgsProperty,
    QgsRasterLayer,
)

from ...models.errors import InputError


class Given:
    """The parameters of one call of an algorithm.

    All methods raise InputError with a sentence for what cannot be understood.
    """

    def __init__(
        self,
        algorithm: QgsProcessingAlgorithm,
        parameters: Mapping[str, Any],
        context: QgsProcessingContext,
    ) -> None:
        self._algorithm = algorithm
        self._given = dict(parameters)
        self._context = context

    def layers(self, name: str) -> Iterator[QgsRasterLayer | str]:
        """The layers of a parameter; files stay paths, and so does what QGIS cannot load."""
        for item in _flat(self.value(name)):
            if isinstance(item, QgsMapLayer):
                yield item
            elif isinstance(item, str) and item:
                yield self._known_layer(item) or item

    def _known_layer(self, text: str) -> QgsMapLayer | None:
        known = QgsProcessingUtils.mapLayerFromString(text, self._context, False)
        if known is not None or os.path.exists(text):
            return known
        return QgsProcessingUtils.mapLayerFromString(text, self._context)

    def value(self, name: str) -> Any:
        """What was given for a parameter; None for nothing."""
        value = self._given.get(name)
        if isinstance(value, QgsProperty):
            value, _ = value.value(self._context.expressionContext())
        return None if value is None or value == "" else value

    def text(self, name: str) -> str:
        """The text of a parameter, empty for none."""
        value = self.value(name)
        return "" if value is None else str(value).strip()

    def number(self, name: str) -> float | None:
        """The number of a parameter, None for none."""
        value = self.value(name)
        if value is None:
            return None
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise InputError(f"{name} is {value!r}. Give a number or leave it out.") from error


def band_numbers(name: str, value: Any) -> tuple[int, ...]:
    """The bands of a parameter, given as a list or as text with commas; none for all.

    Raises:
        InputError: They are no numbers from 1.
    """
    if value is None:
        return ()
    items = value if isinstance(value, (list, tuple)) else split(str(value))
    try:
        bands = tuple(int(item) for item in items)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is {value!r}. Give band numbers from 1, as in 4,3,2.") from error
    if any(band < 1 for band in bands):
        raise InputError(f"{name} is {value!r}. Bands count from 1.")
    return bands


def _flat(value: Any) -> Iterator[Any]:
    """The items of nested lists; a text that QGIS joined from several is split again."""
    if isinstance(value, str):
        value = value.split(";") if ";" in value and not os.path.exists(value) else [value]
    elif not isinstance(value, (list, tuple)):
        value = [] if value is None else [value]
    for item in value:
        if isinstance(item, (list, tuple)):
            yield from _flat(item)
        else:
            yield item


def split(text: str) -> Iterable[str]:
    """The parts of a text between commas, semicolons or spaces."""
    return [part for part in text.replace(";", ",").replace(" ", ",").split(",") if part]
