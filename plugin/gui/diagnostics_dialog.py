"""The diagnostics in a window: what a report of a problem needs."""

from __future__ import annotations

from qgis.PyQt.QtWidgets import QWidget

from ..diagnostics import as_html, as_markdown
from ..facts import collect, person
from ..runtime.runtime import Runtime, RuntimeStatus
from .text_window import TextWindow


class DiagnosticsDialog(TextWindow):
    """Shows what is known at the moment it is opened; starts nothing."""

    def __init__(
        self, runtime: Runtime, status: RuntimeStatus | None, parent: QWidget | None = None
    ) -> None:
        facts, user = collect(runtime, status), person()
        super().__init__("RasterFuseDiagnostics", "", as_html(facts, user), parent)
        self.setWindowTitle(self.tr("RasterFuse diagnostics"))
        self._markdown = as_markdown(facts, user)
        button = self.add_button(self.tr("Copy as Markdown"))
        button.setToolTip(self.tr("For an issue or an e-mail; your name and home are left out"))
        button.clicked.connect(self.copy)

    def page(self) -> str:
        """The page as Markdown."""
        return self._markdown
