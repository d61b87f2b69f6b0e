"""The way of a job from an algorithm to the worker, and what is said on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qgis.core import Qgis, QgsMessageLog, QgsProcessingException, QgsProcessingFeedback

from ...models.errors import FusionError, InputError
from ..checks import ERROR, INFO, WARNING, Finding, first_error
from ..job import Job
from ..layers.inspect import inspect
from ..runtime.runtime import shared
from ..tasks import TAG, run_job, unexpected
from ..training_job import AnyJob


class Teller:
    """Takes a job along its way and says every sentence once, whoever finds it first."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def check(self, job: Job, feedback: QgsProcessingFeedback) -> None:
        """Tell what the checks find.

        Raises:
            InputError: The job cannot be fused.
        """
        self.tell(inspect(job)[1], feedback)

    def tell(self, findings: list[Finding], feedback: QgsProcessingFeedback) -> None:
        """Tell what checks have found.

        Raises:
            InputError: One of them stands against the job.
        """
        for finding in findings:
            if finding.level != ERROR:
                self._say(finding.level, finding.sentence, feedback)
        sentence = first_error(findings)
        if sentence is not None:
            raise InputError(sentence)

    def run(self, job: AnyJob, feedback: QgsProcessingFeedback) -> dict[str, Any]:
        """Run a job and return its report; blocks. Raises FusionError."""
        stages: list[str] = []

        def on_progress(stage: str, fraction: float) -> None:
            if stages[-1:] != [stage]:
                stages.append(stage)
                feedback.setProgressText(stage)
            feedback.setProgress(100 * fraction)

        def on_log(level: str, text: str) -> None:
            self._say(level, text, feedback)

        report = run_job(job, shared(), on_progress, feedback.isCanceled, on_log)
        self._tell(report, feedback)
        return report

    def _tell(self, report: Mapping[str, Any], feedback: QgsProcessingFeedback) -> None:
        for sentence in report.get("warnings") or ():
            self._say(WARNING, sentence, feedback)
        harmonisation = report.get("harmonisation") or {}
        trust = report.get("trust") or {}
        notes = [*(report.get("notes") or ()), harmonisation.get("reason"), trust.get("verdict")]
        for sentence in notes:
            if sentence:
                self._say(INFO, sentence, feedback)

    def _say(self, level: str, sentence: str, feedback: QgsProcessingFeedback) -> None:
        if sentence in self._said:
            return
        self._said.add(sentence)
        if level == WARNING:
            feedback.pushWarning(sentence)
        else:
            feedback.pushInfo(sentence)


def failure(error: Exception) -> QgsProcessingException:
    """The exception that Processing shows; the detail goes to the log panel."""
    if not isinstance(error, FusionError):
        error = unexpected(error)
    if error.detail:
        QgsMessageLog.logMessage(error.log_text, TAG, Qgis.MessageLevel.Critical, False)
    return QgsProcessingException(error.coded)
