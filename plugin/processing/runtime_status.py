"""The algorithm that says whether fusions can run, for scripts and models; it starts nothing."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputBoolean,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
)

from .algorithm import Algorithm
from .parameters import tr

CHECK, READY, DIAGNOSTICS = "CHECK", "READY", "DIAGNOSTICS"


class RuntimeStatusAlgorithm(Algorithm):
    """Answers at once from what is known; with CHECK it asks the worker's Python."""

    def createInstance(self) -> RuntimeStatusAlgorithm:
        return RuntimeStatusAlgorithm()

    def name(self) -> str:
        return "runtime_status"

    def displayName(self) -> str:
        return tr("Is the worker ready?")

    def group(self) -> str:
        return tr("Diagnostics")

    def groupId(self) -> str:
        return "diagnostics"

    def shortDescription(self) -> str:
        return tr("Says whether fusions can run here, with which Python and on which device.")

    def shortHelpString(self) -> str:
        text = tr(
            "It answers at once from what is known from this or an earlier session and starts "
            "nothing. With “Check” (CHECK) the worker's Python is started and asked, which takes "
            "seconds. DIAGNOSTICS is what a report of a problem needs, as Markdown; your name and "
            "home folder are left out."
        )
        return f"<p><b>{self.shortDescription()}</b></p><p>{text}</p>"

    def tags(self) -> list[str]:
        return ["RasterFuse", "diagnostics", "worker", "torch", "GPU"]

    def initAlgorithm(self, configuration: Any = None) -> None:
        check = QgsProcessingParameterBoolean(CHECK, tr("Check: start the worker's Python"), False)
        check.setHelp(tr("Ask instead of telling what is known; takes some seconds."))
        self.addParameter(check)
        self.addOutput(QgsProcessingOutputBoolean(READY, tr("Fusions can run")))
        for name, label in _texts().items():
            self.addOutput(QgsProcessingOutputString(name, label))

    def processAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        from .. import tasks  # noqa: F401 (which tells the runtime what the settings say)
        from ..diagnostics import as_markdown
        from ..facts import collect, person
        from ..runtime.runtime import Runtime, shared

        runtime = shared()
        if self.parameterAsBool(parameters, CHECK, context):
            fresh = Runtime(runtime.chosen)  # the other may still hold what it found before
            status = fresh.status(feedback.isCanceled)
            fresh.close()
        else:
            status = runtime.remembered_status()
        results = _results(status)
        feedback.pushInfo(results["REASON"] or results["STATE"])
        facts = collect(runtime, status)
        return {**results, DIAGNOSTICS: as_markdown(facts, person())}


def _texts() -> dict[str, str]:
    return {
        "STATE": tr("ready, not ready or not looked at yet"),
        "REASON": tr("Why not"),
        "CODE": tr("Error code"),
        "PYTHON": tr("Python of the worker"),
        "DEVICE": tr("Best device"),
        "VERSION": tr("Version of RasterFuse"),
        "LOOKED_AT": tr("When that was found out"),
        DIAGNOSTICS: tr("Diagnostics (Markdown)"),
    }


def _results(status: Any) -> dict[str, Any]:
    from ..diagnostics import device_lines, worker_state
    from ..engine import VERSION

    devices = device_lines(status) if status is not None and status.ready else []
    return {
        READY: bool(status is not None and status.ready),
        "STATE": worker_state(status),
        "REASON": status.reason if status is not None else "",
        "CODE": status.code if status is not None else "",
        "PYTHON": status.python if status is not None else "",
        "DEVICE": devices[0][0] if devices else "",
        "VERSION": VERSION,
        "LOOKED_AT": status.looked_at if status is not None else "",
    }
