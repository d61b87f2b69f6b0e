"""The Processing algorithm that trains a model on the user's own images.

What opens files or starts processes is imported when it is needed: QGIS loads this while it starts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
)

from ...models.errors import CancelledError, FusionError
from .algorithm import WorkerAlgorithm
from .help import escape
from .parameters import OUTPUT, REPORT, tr

if TYPE_CHECKING:
    from ..training_job import TrainingJob
    from .road import Teller

MODEL = "MODEL"
_ANSWERS = ("model", "model_before", "copy_fine", "fine_plus_change", "fine_plus_mean_change")


class TrainAlgorithm(WorkerAlgorithm):
    """Pairs images by date and trains; the result is a method of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._job: TrainingJob | None = None
        self._teller: Teller | None = None

    def createInstance(self) -> TrainAlgorithm:
        return TrainAlgorithm()

    def name(self) -> str:
        return "train"

    def displayName(self) -> str:
        return tr("Train a model on your own images")

    def group(self) -> str:
        return tr("Training")

    def groupId(self) -> str:
        return "training"

    def shortDescription(self) -> str:
        return tr("Learns from pairs of fine and coarse images of at least two days.")

    def shortHelpString(self) -> str:
        text = tr(
            "Give fine and coarse images of the same area on several days, as two folders or two "
            "lists. They are paired by their dates, and the model learns to make the fine image of "
            "one day from that of another and both coarse ones. A part of the area is kept aside; "
            "the report shows how far off the model is there, beside the simple answers that need "
            "no model. The model file appears in the list of methods at once."
        )
        parts = [f"<p><b>{escape(self.shortDescription())}</b></p><p>{escape(text)}</p>"]
        for definition in self.parameterDefinitions():
            label = f"<b>{escape(definition.description())}</b> ({definition.name()})"
            parts.append(f"<p>{label}<br>{escape(definition.help())}</p>")
        return "".join(parts)

    def tags(self) -> list[str]:
        return ["RasterFuse", "training", "network", "fine-tune", "deep learning", "fusion"]

    def initAlgorithm(self, configuration: Any = None) -> None:
        from .train_parameters import definitions

        for definition in definitions():
            self.addParameter(definition)
        self.addOutput(QgsProcessingOutputString(MODEL, tr("Id of the model")))
        for answer in _ANSWERS:
            label = tr("RMSE on images kept aside: {0}").format(answer.replace("_", " "))
            self.addOutput(QgsProcessingOutputNumber(_rmse_name(answer), label))
        self.addOutput(QgsProcessingOutputString(REPORT, tr("Report (JSON)")))

    def checkParameterValues(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> tuple[bool, str]:
        from ..checks import first_error
        from ..layers.training import inspect_training
        from .train_values import TrainValues

        try:
            job, _ = TrainValues(self, parameters, context).job()
        except FusionError as error:
            return False, error.sentence
        sentence = first_error(inspect_training(job))
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
        from ..layers.training import inspect_training
        from .road import Teller, failure
        from .train_values import TrainValues

        try:
            self._job, findings = TrainValues(self, parameters, context).job()
            self._teller = Teller()
            self._teller.tell([*findings, *inspect_training(self._job)], feedback)
        except Exception as error:
            raise failure(error) from error
        return True

    def processAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        from .road import failure

        if self._job is None or self._teller is None:
            raise QgsProcessingException(tr("The algorithm was not prepared. Start it again."))
        try:
            report = self._teller.run(self._job, feedback)
        except CancelledError:
            feedback.pushInfo(tr("The training was cancelled. Run it again to go on."))
            return {}
        except Exception as error:
            raise failure(error) from error
        metrics = report.get("metrics") or {}
        numbers = {
            _rmse_name(answer): metrics[answer]["rmse"]
            for answer in _ANSWERS
            if "rmse" in metrics.get(answer, {})
        }
        for name, value in numbers.items():
            feedback.pushInfo(f"{name}: {value:.4g}")
        tell = feedback.pushInfo if report["better"] else feedback.pushWarning
        tell(report["verdict"])
        text = json.dumps(report, ensure_ascii=False)
        return {OUTPUT: self._job.output, MODEL: self._job.model_id, REPORT: text, **numbers}

    def postProcessAlgorithm(
        self, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Let the lists of methods follow, on the main thread."""
        from ..tasks import refresh_methods

        refresh_methods()
        return {}


def _rmse_name(answer: str) -> str:
    return f"RMSE_{answer.upper()}"
