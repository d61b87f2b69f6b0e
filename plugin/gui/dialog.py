"""The window in which a user sets up and runs a fusion."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.gui import QgisInterface, QgsGui
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtGui import QShowEvent
from qgis.PyQt.QtWidgets import (
    QApplication,
    QDialog,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from ...models.errors import FusionError
from .. import settings
from ..checks import ERROR, INFO
from ..job import Job
from ..layers.publish import publish, result_name
from ..runtime.runtime import RuntimeStatus
from ..tasks import FusionTask, TaskRegistry, unexpected
from . import installer
from .copy_job import as_text
from .diagnostics_dialog import DiagnosticsDialog
from .draft import Draft, make_draft
from .error_help import ErrorHelp
from .findings import distribute
from .form import FusionForm
from .help_panel import HelpPanel
from .log import log_error, plugin_icon
from .messages import Messages
from .notices import SUCCESS, Buttons, NoticeBar
from .options_factory import PAGE
from .output_box import temporary_path
from .report_dialog import ReportDialog
from .run_bar import RunBar
from .runner import Runner
from .runtime_notice import RuntimeNotice
from .runtime_watch import RuntimeWatch
from .scrolled import scrolled
from .text_window import TextWindow
from .train_dialog import TrainDialog

_DEBOUNCE_MS = 300


class FusionDialog(QDialog):
    """Form, help, message bar and run bar; stays usable while a fusion runs."""

    def __init__(
        self,
        iface: QgisInterface,
        watch: RuntimeWatch,
        tasks: TaskRegistry,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._iface, self._watch, self._tasks = iface, watch, tasks
        self._training: TrainDialog | None = None
        self._draft = Draft(None, [])
        self._fine_id = ""
        self.setObjectName("RasterFuseDialog")
        self.setWindowTitle(self.tr("RasterFuse: fuse coarse and fine images"))
        self.setWindowIcon(plugin_icon())
        self.setModal(False)
        self.notices = NoticeBar(self)
        self.messages = Messages(self, self.notices, iface.messageBar())
        self.form = FusionForm(iface.mapCanvas(), self)
        self.help = HelpPanel(self)
        self.bar = RunBar(self)
        self.runner = Runner(tasks, self)
        self.runtime_notice = RuntimeNotice(
            self.messages, watch, installer.shared(), self.open_options, self._help_buttons, self
        )
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DEBOUNCE_MS)
        self._build()
        self._connect()
        self.form.restore(settings.form_values())
        self.help.show_card(self.form.card())
        self.show_runtime(watch.status)
        QgsGui.enableAutoGeometryRestore(self)

    def _build(self) -> None:
        self.splitter = QSplitter(Qt.Orientation.Horizontal, self)
        self.splitter.addWidget(scrolled(self.form, self))
        self.splitter.addWidget(self.help)
        self.splitter.setStretchFactor(0, 3)
        self.splitter.setStretchFactor(1, 1)
        self.splitter.setCollapsible(0, False)
        self.splitter.setSizes([720, 280])
        layout = QVBoxLayout(self)
        layout.addWidget(self.notices)
        layout.addWidget(self.splitter, 1)
        layout.addWidget(self.bar)
        self.resize(1000, 760)

    def _connect(self) -> None:
        self.form.changed.connect(self._timer.start)
        self.form.card_changed.connect(self.help.show_card)
        self._timer.timeout.connect(self.check)
        self.bar.run.clicked.connect(self.start)
        self.bar.cancel.clicked.connect(self.cancel)
        self.bar.close_button.clicked.connect(self.reject)
        self.bar.copy_wanted.connect(self.copy_job)
        self.runner.stage.connect(self._show_stage)
        self.runner.ended.connect(self._end)
        self._watch.changed.connect(self.show_runtime)
        self.form.models.train_wanted.connect(self.open_training)
        self.form.models.chosen.connect(self.form.choose)
        self.form.models.told.connect(self._tell_of_models)
        provider = QgsApplication.processingRegistry().providerById("rasterfuse")
        if provider is not None:  # it says when a model was trained, taken in or removed
            provider.algorithmsLoaded.connect(self.form.refresh_methods)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._watch.refresh()
        self.form.refresh_methods()
        if self.form.is_empty():
            self.form.suggest()
        self.check()

    def reject(self) -> None:
        """Qt calls this for Escape, the button and the window's cross; a fusion goes on."""
        settings.set_form_values(self.form.memory())
        super().reject()

    def check(self) -> None:
        """Say at every field what is the matter, and allow Run when nothing stands against it."""
        self._timer.stop()
        output = self.form.output.path() or temporary_path(self.form.card().id)
        try:
            self._draft = make_draft(self.form, output)
        except Exception as error:  # a check must never take the window down
            log_error(unexpected(error))
            raise
        findings = list(self._draft.findings)
        if self.form.band_note is not None:
            findings.append(self.form.band_note)
        distribute(findings, self.form.places(), self.form.rest)
        self._show_obstacle()

    def _show_obstacle(self) -> None:
        status = self._watch.status
        missing = status.reason if status is not None and not status.ready else ""
        self.bar.set_obstacle(self._draft.obstacle, missing)

    def show_runtime(self, status: RuntimeStatus | None) -> None:
        """Offer the worker's devices, or say at the top why there is none."""
        if status is None:
            return
        self.form.output.set_devices(status.hello.get("devices", []) if status.ready else [])
        if status.ready or self.isVisible():  # it asks again whenever it is shown
            self.runtime_notice.show(status)
        self._show_obstacle()

    def open_options(self) -> None:
        """Open QGIS's options at our page."""
        self._iface.showOptionsDialog(self, PAGE)

    def open_training(self) -> TrainDialog:
        """Open the window that trains a model; there is one, which keeps what was typed."""
        if self._training is None:
            self._training = TrainDialog(self._watch, self._tasks, self.parentWidget())
            self._training.trained.connect(self.form.choose)
        self._training.show()
        self._training.raise_()
        return self._training

    def _tell_of_models(self, level: str, text: str) -> None:
        self.messages.tell("models", level, "", text)

    def start(self) -> None:
        """Start a fusion in the background; the dialog stays usable."""
        self.check()
        job = self._draft.job
        if job is None or self._draft.obstacle or self.runner.is_running():
            return
        layer = self.form.fine_layer()
        self._fine_id = layer.id() if layer is not None else ""
        settings.set_form_values(self.form.memory())
        self.messages.withdraw("result")
        self.bar.set_running(True)
        self.bar.show_stage(self.tr("Waiting for the worker"), 0.0)
        title = self.tr("RasterFuse: {}").format(self.form.card().name)
        self.runner.start(FusionTask(job, self._watch.runtime, title))

    def cancel(self) -> None:
        """Stop the running fusion."""
        self.runner.cancel()
        self.bar.stage.setText(self.tr("Cancelling …"))
        self.bar.cancel.setEnabled(False)

    def copy_job(self, kind: str) -> None:
        """Put the job on the clipboard as ``json``, ``python`` or ``qgis_process``."""
        self.check()
        if self._draft.job is None:
            return
        job, chosen = self._draft.job, (self.form.output.path(), self.form.output.error_path())
        temporary = [path for path in job.outputs if path not in chosen]
        QApplication.clipboard().setText(as_text(job, kind, temporary))
        self.messages.tell("copy", INFO, "", self.tr("The job is on the clipboard."))

    def _show_stage(self, stage: str, fraction: float) -> None:
        if self.bar.cancel.isEnabled():
            self.bar.show_stage(stage, fraction)

    def _end(self, job: Job, report: dict[str, Any] | None, error: FusionError | None) -> None:
        self.bar.set_running(False)
        self.check()
        if report is not None:
            self._show_result(job, report)
        elif error is not None:
            self._show_failure(error)
        else:
            text = self.tr("Nothing was written.")
            self.messages.tell("result", INFO, self.tr("Cancelled"), text)

    def _show_result(self, job: Job, report: dict[str, Any]) -> None:
        try:
            fine = self._fine_layer()
            name = result_name(job, fine, settings.output_template())
            layer = publish(job, report, fine_layer=fine, name=name)
        except FusionError as error:
            log_error(error)
            self._show_failure(error)
            return
        self.bar.set_note(str((report.get("trust") or {}).get("verdict", "")))
        name = text = layer.name()
        warnings = len(report.get("warnings") or ())
        if warnings == 1:
            text += self.tr(" (with a warning, see the report)")
        elif warnings:
            text += self.tr(" (with {} warnings, see the report)").format(warnings)
        buttons = {self.tr("Report"): lambda: self.show_report(report, name)}
        self.messages.tell("result", SUCCESS, self.tr("Fused"), text, buttons)

    def _show_failure(self, error: FusionError) -> None:
        """Tell what failed and what to do, above the form the user has to change."""
        buttons = {self.tr("Open log"): self._iface.openMessageLog}
        buttons.update(self._help_buttons(error.code))
        self.messages.tell("result", ERROR, self.tr("Fusion failed"), error.coded, buttons)

    def _help_buttons(self, code: str) -> Buttons:
        return {
            self.tr("Help"): lambda: self.show_help(code),
            self.tr("Diagnostics"): self.show_diagnostics,
        }

    def show_report(self, report: dict[str, Any], title: str) -> ReportDialog:
        """Open the report in a window of its own."""
        window = ReportDialog(report, title, self.parentWidget())
        window.show()
        return window

    def show_help(self, code: str) -> ErrorHelp:
        """Open the help on error codes at one of them."""
        window = ErrorHelp(code, self.parentWidget())
        window.diagnostics.clicked.connect(lambda _checked=False: self.show_diagnostics())
        window.show()
        return window

    def show_diagnostics(self) -> DiagnosticsDialog:
        """Open the diagnostics in a window of its own."""
        window = DiagnosticsDialog(self._watch.runtime, self._watch.status, self.parentWidget())
        window.show()
        return window

    def leave(self) -> None:
        """Remember the form and take away what lies outside this window; for unload."""
        self._watch.changed.disconnect(self.show_runtime)
        self.runner.ended.disconnect(self._end)
        self.reject()
        self.messages.leave_main()
        if self._training is not None:
            self._training.leave()
            self._training.deleteLater()
        for window in self.parentWidget().findChildren(TextWindow):
            window.close()

    def _fine_layer(self) -> QgsRasterLayer | None:
        """The fine layer of the job that ran, when it still exists."""
        layer = QgsProject.instance().mapLayer(self._fine_id)
        files = [item for item in self.form.files.layers if item.id() == self._fine_id]
        return layer if layer is not None else next(iter(files), None)
