"""A window with a page of text, from which the report, the diagnostics and the help are made."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.gui import QgsGui
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QPushButton,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)


class TextWindow(QDialog):
    """Shows HTML; non-modal and deleted when closed."""

    def __init__(self, name: str, title: str, html: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.browser = QTextBrowser(self)
        self.browser.setOpenExternalLinks(True)
        self.browser.setHtml(html)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, parent=self)
        self.buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(self.browser)
        layout.addWidget(self.buttons)
        self.resize(620, 560)
        QgsGui.enableAutoGeometryRestore(self)

    def add_button(self, text: str) -> QPushButton:
        """Put a button beside Close."""
        return self.buttons.addButton(text, QDialogButtonBox.ButtonRole.ActionRole)

    def copy(self) -> None:
        """Put the page on the clipboard."""
        QgsApplication.clipboard().setText(self.page())

    def page(self) -> str:
        """The page as text."""
        return self.browser.toPlainText()
