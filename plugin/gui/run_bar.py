"""The bottom of the dialog: what is going on, how far it is, and the buttons."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)


class RunBar(QWidget):
    """Stage, progress, and the buttons Copy job, Run, Cancel and Close."""

    copy_wanted = pyqtSignal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.stage = QLabel(self)
        self.stage.setWordWrap(True)
        self.stage.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.progress = QProgressBar(self)
        self.progress.setRange(0, 1000)
        self.progress.setFormat("%p%")
        self.progress.setTextVisible(False)
        self.copy = QPushButton(self.tr("Copy job"), self)
        self.copy.setToolTip(self.tr("Copy what would be run, to repeat it elsewhere"))
        menu = QMenu(self)
        formats = (
            ("json", self.tr("As JSON, for the worker")),
            ("python", self.tr("As Python, for the console")),
            ("qgis_process", self.tr("As qgis_process command")),
        )
        for kind, text in formats:
            action = menu.addAction(text)
            action.triggered.connect(lambda _checked, kind=kind: self.copy_wanted.emit(kind))
        self.copy.setMenu(menu)
        self.run = QPushButton(QgsApplication.getThemeIcon("/mActionStart.svg"), self.tr("Run"))
        self.cancel = QPushButton(self.tr("Cancel"), self)
        self.cancel.setToolTip(self.tr("Stop the fusion; no file is left behind"))
        self.close_button = QPushButton(self.tr("Close"), self)
        self.close_button.setToolTip(self.tr("Close the window; a running fusion goes on"))
        buttons = QHBoxLayout()
        buttons.addWidget(self.copy)
        buttons.addWidget(self.progress, 1)
        for button in (self.run, self.cancel, self.close_button):
            buttons.addWidget(button)
        for button in (self.copy, self.run, self.cancel, self.close_button):
            button.setAutoDefault(False)  # Enter in a field must not start anything
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.stage)
        layout.addLayout(buttons)
        self._running = False
        self._obstacle = self._missing = self._note = ""
        self._update()

    def show_stage(self, stage: str, fraction: float) -> None:
        """Say what is being done and how far the whole is."""
        self.stage.setText(stage)
        self.progress.setValue(round(1000 * min(max(fraction, 0.0), 1.0)))

    def set_running(self, running: bool) -> None:
        """Switch between Run and Cancel."""
        self._running = running
        self._note = ""
        self.progress.setValue(0)
        self.progress.setTextVisible(running)
        self._update()

    def set_obstacle(self, sentence: str, shown_elsewhere: str = "") -> None:
        """Why the job cannot run now, both empty when it can; the second is only a tooltip."""
        self._obstacle, self._missing = sentence, shown_elsewhere
        self._update()

    def set_note(self, text: str) -> None:
        """What to say while nothing runs and nothing stands against it."""
        self._note = text
        self._update()

    def _update(self) -> None:
        reason = self._obstacle or self._missing
        self.run.setEnabled(not self._running and not reason)
        self.run.setToolTip(reason or self.tr("Fuse in the background"))
        self.cancel.setEnabled(self._running)
        if not self._running:
            self.stage.setText(self._obstacle or self._note)
