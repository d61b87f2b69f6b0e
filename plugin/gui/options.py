"""The page of RasterFuse in Settings ▸ Options: which Python runs the worker, and is it fit?"""

from __future__ import annotations

from collections.abc import Callable

from qgis.core import QgsApplication
from qgis.gui import QgsFileWidget, QgsOptionsPageWidget
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QShowEvent
from qgis.PyQt.QtWidgets import (
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...models.errors import FusionError
from .. import settings
from ..diagnostics import device_lines
from ..runtime.install.plan import command_line
from ..runtime.runtime import Runtime, RuntimeStatus
from .command_row import CommandRow
from .diagnostics_dialog import DiagnosticsDialog
from .install_box import InstallBox
from .installer import shared
from .log import level_icon
from .options_factory import PAGE
from .runtime_watch import RuntimeWatch


class OptionsPage(QgsOptionsPageWidget):
    """Choose the worker's Python and see what it offers."""

    def __init__(self, applied: Callable[[], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(PAGE)
        self._applied = applied
        self.python = QgsFileWidget(self)
        self.python.setStorageMode(QgsFileWidget.StorageMode.GetFile)
        self.python.setDialogTitle(self.tr("Choose a Python interpreter"))
        self.python.lineEdit().setPlaceholderText(self.tr("[Find one automatically]"))
        self.python.setFilePath(settings.worker_python() or "")
        self.icon = QLabel(self)
        self.state = QLabel(self)
        self.details = QLabel(self)
        self.command = CommandRow(self)
        self.install_box = InstallBox(shared(), self)
        self.check_button = QPushButton(self.tr("Check"), self)
        self.diagnostics_button = QPushButton(self.tr("Diagnostics …"), self)
        self._watch: RuntimeWatch | None = None
        self._build()
        self.check_button.clicked.connect(self.check)
        self.diagnostics_button.clicked.connect(self.show_diagnostics)
        shared().ended.connect(self._end_of_installation)

    def _build(self) -> None:
        intro = QLabel(self)
        intro.setWordWrap(True)
        intro.setText(
            self.tr(
                "RasterFuse computes in a process of its own, run by a Python that has torch and "
                "rasterio: one that it installs, or one of yours. QGIS's own is left as it is."
            )
        )
        for label in (self.state, self.details):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        box = QGroupBox(self.tr("Python in use"), self)
        form = QFormLayout(box)
        form.addRow(self.tr("Python interpreter"), self.python)
        state = QHBoxLayout()
        state.addWidget(self.icon, 0, Qt.AlignmentFlag.AlignTop)
        state.addWidget(self.state, 1)
        form.addRow(state)
        form.addRow(self.details)
        form.addRow(self.command)
        buttons = QHBoxLayout()
        buttons.addWidget(self.check_button)
        buttons.addWidget(self.diagnostics_button)
        buttons.addStretch(1)
        form.addRow(buttons)
        layout = QVBoxLayout(self)
        layout.addWidget(intro)
        layout.addWidget(self.install_box)
        layout.addWidget(box)
        layout.addStretch(1)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._watch is None:
            self.check()
            shared().look()

    def chosen(self) -> str | None:
        """The interpreter in the field, None for the automatic search."""
        return self.python.filePath().strip() or None

    def apply(self) -> None:
        """QGIS calls this on OK."""
        self.install_box.apply()
        if self.chosen() != (settings.worker_python() or None):
            settings.set_worker_python(self.chosen())
            self._applied()

    def check(self) -> None:
        """Start the interpreter in the field in the background and show what it says."""
        self.state.setText(self.tr("Checking …"))
        self.icon.clear()
        self.details.clear()
        self.check_button.setEnabled(False)
        self._watch = RuntimeWatch(Runtime(self.chosen()), self)
        self._watch.changed.connect(self.show_status)
        self._watch.refresh()

    def _end_of_installation(self, error: FusionError | None) -> None:
        if error is None:
            self.check()

    def show_status(self, status: RuntimeStatus) -> None:
        """Say whether jobs can run, with what, and what to do if not."""
        self.check_button.setEnabled(True)
        if status.ready:
            self.icon.setPixmap(QgsApplication.getThemeIcon("/mIconSuccess.svg").pixmap(16, 16))
            self.state.setText(self.tr("Ready: {}").format(status.python))
        else:
            self.icon.setPixmap(level_icon("warning").pixmap(16, 16))
            self.state.setText(status.reason)
        self.details.setText("\n".join(describe(status)))
        self.command.show_line(command_line(status.python, status.hello))

    def show_diagnostics(self) -> DiagnosticsDialog:
        """Open the page that a report of a problem needs."""
        runtime = self._watch.runtime if self._watch is not None else Runtime(self.chosen())
        window = DiagnosticsDialog(runtime, runtime.remembered_status(), self)
        window.show()
        return window


def describe(status: RuntimeStatus) -> list[str]:
    """Versions and devices as lines of text."""
    hello = status.hello
    if not hello:
        return []
    packages = hello.get("packages", {})
    named = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    lines = [f"Python {hello.get('python', '?')}", named]
    lines += [text for _, text in device_lines(status)]
    return [line for line in lines if line]
