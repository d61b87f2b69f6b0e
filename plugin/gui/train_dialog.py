"""The window in which a user trains a model on images of their own."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from qgis.core import QgsApplication
from qgis.gui import QgsGui
from qgis.PyQt.QtCore import Qt, QTimer, pyqtSignal
from qgis.PyQt.QtGui import QShowEvent
from qgis.PyQt.QtWidgets import (
    QDialog,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from ...models.errors import FusionError
from ..checks import ERROR, INFO, WARNING, Finding, first_error
from ..runtime.runtime import RuntimeStatus
from ..tasks import TaskRegistry, TrainingTask
from ..training_job import TrainingJob
from .curve import Curve
from .log import plugin_icon
from .notices import SUCCESS, Notice, NoticeBar
from .preview import Preview
from .runner import Runner
from .runtime_watch import RuntimeWatch
from .scrolled import scrolled
from .train_form import TrainForm

_DEBOUNCE_MS = 300
# In the metrics; the rest are the simple answers.
_MODELS = {"model": "Model", "model_before": "Model before this training"}


class TrainDialog(QDialog):
    """Images and settings at the left, what the training does at the right.

    ``trained`` carries the id of a new model that is better than what there was.
    """

    trained = pyqtSignal(str)

    def __init__(
        self, watch: RuntimeWatch, tasks: TaskRegistry, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._watch = watch
        self._job: TrainingJob | None = None
        self._faults: list[Finding] = []
        self.setObjectName("RasterFuseTrainDialog")
        self.setWindowTitle(self.tr("RasterFuse: train a model"))
        self.setWindowIcon(plugin_icon())
        self.notices = NoticeBar(self)
        self.form = TrainForm(self)
        self.curve = Curve(self)
        self.preview = Preview(self)
        self.result = QLabel(self)
        self.stage = QLabel(self)
        self.progress = QProgressBar(self)
        start_icon = QgsApplication.getThemeIcon("/mActionStart.svg")
        self.run = QPushButton(start_icon, self.tr("Train"), self)
        self.cancel = QPushButton(self.tr("Cancel"), self)
        self.close_button = QPushButton(self.tr("Close"), self)
        self.runner = Runner(tasks, self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DEBOUNCE_MS)
        self._build()
        self._connect()
        self.show_runtime(watch.status)
        QgsGui.enableAutoGeometryRestore(self)

    def _build(self) -> None:
        splitter = QSplitter(Qt.Orientation.Horizontal, self)
        splitter.addWidget(scrolled(self.form, self))
        splitter.addWidget(self._progress_box())
        splitter.setSizes([600, 400])
        splitter.setChildrenCollapsible(False)
        self.stage.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.stage.setWordWrap(True)
        self.progress.setRange(0, 1000)
        self.cancel.setToolTip(self.tr("Stop; training again with the same settings goes on"))
        self.close_button.setToolTip(self.tr("Close the window; a running training goes on"))
        buttons = QHBoxLayout()
        buttons.addWidget(self.progress, 1)
        kept = self.progress.sizePolicy()
        kept.setRetainSizeWhenHidden(True)
        self.progress.setSizePolicy(kept)
        for button in (self.run, self.cancel, self.close_button):
            button.setAutoDefault(False)  # Enter in a field must not start anything
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.notices)
        layout.addWidget(splitter, 1)
        layout.addWidget(self.stage)
        layout.addLayout(buttons)
        self.resize(1000, 720)

    def _progress_box(self) -> QGroupBox:
        box = QGroupBox(self.tr("Training"), self)
        self.result.setWordWrap(True)
        self.result.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout = QVBoxLayout(box)
        layout.addWidget(self.curve, 2)
        layout.addWidget(self.preview, 3)
        layout.addWidget(self.result)
        return box

    def _connect(self) -> None:
        self.form.images_changed.connect(self.find_images)
        self.form.changed.connect(self._timer.start)
        self._timer.timeout.connect(self.check)
        self.run.clicked.connect(lambda _checked=False: self.start())
        self.cancel.clicked.connect(lambda _checked=False: self.stop())
        self.close_button.clicked.connect(self.reject)
        self.runner.stage.connect(self._show_stage)
        self.runner.ended.connect(self._end)
        self._watch.changed.connect(self.show_runtime)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.form.list_methods()
        self.find_images()

    def show_runtime(self, status: RuntimeStatus | None) -> None:
        """Offer the worker's devices."""
        if status is not None:
            self.form.set_devices(status.hello.get("devices", []) if status.ready else [])
        self._show_state()

    def find_images(self) -> None:
        """Look into the folders anew."""
        self._faults = self.form.find_images()
        self.check()

    def check(self) -> None:
        """Say what is the matter, and allow Train when nothing stands against it."""
        self._timer.stop()
        self._job, findings = self.form.job()
        findings = [*self._faults, *findings]
        self.form.findings.show_findings(findings)
        if first_error(findings) is not None:
            self._job = None
        self._show_state()

    def _show_state(self) -> None:
        running, status = self.runner.is_running(), self._watch.status
        missing = status.reason if status is not None and not status.ready else ""
        self.run.setEnabled(self._job is not None and not running and not missing)
        self.run.setToolTip(missing or self.tr("Train in the background"))
        self.cancel.setEnabled(running)
        self.progress.setVisible(running)
        if not running:
            self.stage.setText(missing)

    def start(self) -> None:
        """Start the training; the window can be closed meanwhile."""
        self.check()
        if self._job is None or self.runner.is_running():
            return
        self.curve.clear()
        self.result.clear()
        self.preview.clear()
        self.notices.withdraw("result")
        title = self.tr("RasterFuse: training {}").format(self._job.name)
        task = TrainingTask(self._job, self._watch.runtime, title)
        task.measured.connect(self._show_measured)
        self.runner.start(task)
        self._show_state()
        self._show_stage(self.tr("Waiting for the worker"), 0.0)

    def stop(self) -> None:
        """Cancel the training; what it has reached is kept for the next one like it."""
        self.runner.cancel()
        self.stage.setText(self.tr("Cancelling …"))
        self.cancel.setEnabled(False)

    def leave(self) -> None:
        """Stop listening; for unload."""
        self._watch.changed.disconnect(self.show_runtime)
        self.runner.ended.disconnect(self._end)
        self.close()

    def _show_stage(self, stage: str, fraction: float) -> None:
        if self.cancel.isEnabled():
            self.stage.setText(stage)
            self.progress.setValue(round(1000 * fraction))

    def _show_measured(self, detail: Mapping[str, Any]) -> None:
        step = detail.get("step")
        if isinstance(step, (int, float)):
            self.curve.add(step, detail.get("train"), detail.get("validation"))
        if detail.get("preview"):
            self.preview.show_file(str(detail["preview"]))

    def _end(
        self, job: TrainingJob, report: Mapping[str, Any] | None, error: FusionError | None
    ) -> None:
        self.form.list_methods()
        self.check()
        if report is not None:
            self._show_result(job, report)
        elif error is not None:
            self._tell(ERROR, self.tr("Training failed"), error.coded)
        else:
            text = self.tr("Train again with the same settings to go on where it stopped.")
            self._tell(INFO, self.tr("Cancelled"), text)

    def _show_result(self, job: TrainingJob, report: Mapping[str, Any]) -> None:
        self.result.setText(metrics_html(report.get("metrics") or {}))
        warnings = report.get("warnings") or ()
        level = WARNING if warnings or not report["better"] else SUCCESS
        text = self.tr("{} is in the list of methods now.").format(job.name)
        self._tell(level, self.tr("Trained"), " ".join([report["verdict"], text, *warnings]))
        if report["better"]:  # else the user should go on with what was there
            self.trained.emit(job.model_id)

    def _tell(self, level: str, title: str, text: str) -> None:
        self.notices.tell(Notice("result", level, title, text), {}, 0)


def metrics_html(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """How far off the model is on images kept aside, beside the simple answers."""
    rows = [(answer, found["rmse"]) for answer, found in metrics.items() if "rmse" in found]
    rows.sort(key=lambda row: row[0] not in _MODELS)
    lines = [
        f"<tr><td>{escape(_MODELS.get(answer) or answer.replace('_', ' ').capitalize())}</td>"
        f"<td align='right'>&nbsp;{value:.4g}</td></tr>"
        for answer, value in rows
    ]
    head = "<b>Error (RMSE) on what was kept aside</b>"
    return f"{head}<table>{''.join(lines)}</table>"
