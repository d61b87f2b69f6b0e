"""The report of a fusion in a window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qgis.core import QgsApplication
from qgis.gui import QgsGui
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from ..layers.report import report_html


class ReportDialog(QDialog):
    """Shows a report; non-modal and deleted when closed."""

    def __init__(
        self, report: Mapping[str, Any], title: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("RasterFuseReport")
        self.setWindowTitle(self.tr("Report – {}").format(title))
        self.browser = QTextBrowser(self)
        self.browser.setOpenExternalLinks(True)
        self.browser.setHtml(report_html(report))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, parent=self)
        copy = buttons.addButton(self.tr("Copy"), QDialogButtonBox.ButtonRole.ActionRole)
        copy.clicked.connect(self.copy)
        buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(self.browser)
        layout.addWidget(buttons)
        self.resize(620, 560)
        QgsGui.enableAutoGeometryRestore(self)

    def copy(self) -> None:
        """Put the report on the clipboard as text."""
        QgsApplication.clipboard().setText(self.browser.toPlainText())
