"""A Processing algorithm made from a method's card.

What opens files or starts processes is imported when it is needed: QGIS loads this while it starts.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
)

from ...models.cards import Card
from ...models.errors import CancelledError, FusionError
from .algorithm import WorkerAlgorithm
from .help import help_html, paper_url
from .parameters import ERROR_OUTPUT, OUTPUT, REPORT, definitions, number_outputs, tr

if TYPE_CHECKING:
    from ..job import Job
    from .dressing import Dresser
    from .road import Teller


class CardAlgorithm(WorkerAlgorithm):
    """Toolbox entry of one fusion method; all it shows comes from the card."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        self._card = card
        self._job: Job | None = None
        self._dressers: dict[str, Dresser] = {}
        self._teller: Teller | None = None

    def createInstance(self) -> CardAlgorithm:
        return CardAlgorithm(self._card)

    def name(self) -> str:
        return self._card.id

    def displayName(self) -> str:
        return self._card.name

    def group(self) -> str:
        return self._card.family_name

    def groupId(self) -> str:
        return self._card.family

    def shortDescription(self) -> str:
        return self._card.summary

    def shortHelpString(self) -> str:
        return help_html(self._card, self.parameterDefinitions())

    def helpUrl(self) -> str:
        return paper_url(self._card)

    def tags(self) -> list[str]:
        return [*self._card.tags, self._card.id, "RasterFuse"]

    def initAlgorithm(self, configuration: Any = None) -> None:
        for definition in definitions(self._card):
            self.addParameter(definition)
        for name, label in number_outputs(self._card).items():
            self.addOutput(QgsProcessingOutputNumber(name, label))
        self.addOutput(QgsProcessingOutputString(REPORT, tr("Report (JSON)")))

    def checkParameterValues(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> tuple[bool, str]:
        from ..checks import first_error
        from ..layers.inspect import inspect
        from .values import Values

        values = Values(self, self._card, parameters, context)
        try:
            _, findings = inspect(values.job(values.planned_output()))
        except FusionError as error:
            return False, error.sentence
        sentence = first_error(findings)
        if sentence is not None:
            return False, sentence
        return super().checkParameterValues(parameters, context)

    def prepareAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> bool:
        """Turn layers into plain data, on the thread that owns them."""
        from .dressing import Dresser
        from .road import Teller, failure
        from .values import Values

        values = Values(self, self._card, parameters, context)
        try:
            self._job = values.job(values.planned_output())
            self._teller = Teller()
            self._teller.check(self._job, feedback)
        except Exception as error:
            raise failure(error) from error
        for name in self._outputs():
            default_name = self.parameterDefinition(name).description()
            is_error = name == ERROR_OUTPUT
            self._dressers[name] = Dresser(self._job, values.fine_layer(), default_name, is_error)
        return True

    def _outputs(self) -> list[str]:
        return [OUTPUT, ERROR_OUTPUT] if self._card.tells_error else [OUTPUT]

    def processAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        from ..layers.report import report_numbers
        from .road import failure

        if self._job is None or self._teller is None:
            raise QgsProcessingException(tr("The algorithm was not prepared. Start it again."))
        # Not in prepareAlgorithm: QGIS forgets what is said of layers to the context it has there.
        given = {n: self.parameterAsOutputLayer(parameters, n, context) for n in self._outputs()}
        paths = {name: os.path.abspath(path) for name, path in given.items() if path}
        error = paths.get(ERROR_OUTPUT)
        job = replace(self._job, output=paths[OUTPUT], error_output=error)
        try:
            report = self._teller.run(job, feedback)
        except CancelledError as error:
            feedback.pushInfo(error.sentence)
            return {}
        except Exception as error:
            raise failure(error) from error
        for name in paths:
            self._dressers[name].wait_for(given[name], job, report, context)
        known = number_outputs(self._card)
        numbers = {key: value for key, value in report_numbers(report).items() if key in known}
        written = {name: given[name] for name in paths}
        return {**written, REPORT: json.dumps(report, ensure_ascii=False), **numbers}
