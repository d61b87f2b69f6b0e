"""The report of a fusion in a window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qgis.PyQt.QtWidgets import QWidget

from ..layers.report import report_html
from .text_window import TextWindow


class ReportDialog(TextWindow):
    """Shows a report."""

    def __init__(
        self, report: Mapping[str, Any], title: str, parent: QWidget | None = None
    ) -> None:
        super().__init__("RasterFuseReport", "", report_html(report), parent)
        self.setWindowTitle(self.tr("Report – {}").format(title))
        self.add_button(self.tr("Copy")).clicked.connect(self.copy)
