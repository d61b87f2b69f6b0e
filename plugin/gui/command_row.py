"""A line for a shell, with a button that copies it."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget


class CommandRow(QWidget):
    """Takes no room while there is no line."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = QLabel(self.tr("This line for a terminal installs what is missing:"), self)
        self.line = QLineEdit(self)
        self.line.setReadOnly(True)
        self.copy_button = QPushButton(self.tr("Copy"), self)
        self.copy_button.setAutoDefault(False)
        self.copy_button.clicked.connect(lambda _checked=False: self.copy())
        row = QHBoxLayout()
        row.addWidget(self.line, 1)
        row.addWidget(self.copy_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.label)
        layout.addLayout(row)
        self.show_line("")

    def show_line(self, line: str) -> None:
        self.line.setText(line)
        self.line.setCursorPosition(0)
        self.setVisible(bool(line))

    def copy(self) -> None:
        """Put the line on the clipboard."""
        QgsApplication.clipboard().setText(self.line.text())
