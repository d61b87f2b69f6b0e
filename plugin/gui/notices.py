"""Notices above the form. Unlike QGIS's message bar they show a sentence of any length in full."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtGui import QColor, QIcon, QPalette
from qgis.PyQt.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .log import level_icon

Buttons = Mapping[str, Callable[[], object]]
SUCCESS = "success"
_TINTS = {"error": "#d64541", "warning": "#f0a020", "info": "#3b82c4", SUCCESS: "#3c9a5f"}
_TINT_SHARE = 0.18


class Notice(QFrame):
    """One notice: icon, title and text, buttons, and a cross to close it."""

    def __init__(
        self, kind: str, level: str, title: str, text: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.kind, self.level, self.title, self.text = kind, level, title, text
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setAutoFillBackground(True)
        self._tint(QColor(_TINTS[level]))
        icon = QLabel(self)
        icon.setPixmap(_icon(level).pixmap(16, 16))
        words = QLabel(f"{title}: {text}" if title else text, self)
        words.setTextFormat(Qt.TextFormat.PlainText)
        words.setWordWrap(True)
        words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        cross = QToolButton(self)
        cross.setAutoRaise(True)
        cross.setIcon(QgsApplication.getThemeIcon("/mIconClose.svg"))
        cross.setToolTip(self.tr("Close"))
        cross.clicked.connect(self.leave)
        self._layout = QHBoxLayout(self)
        self._layout.setContentsMargins(8, 4, 4, 4)
        self._layout.addWidget(icon)
        self._layout.addWidget(words, 1)
        self._layout.addWidget(cross)

    def add_button(self, label: str, slot: Callable[[], object]) -> None:
        """Put a button before the cross."""
        button = QPushButton(label, self)
        button.setAutoDefault(False)
        button.clicked.connect(lambda _checked=False: slot())
        self._layout.insertWidget(self._layout.count() - 1, button)

    def leave(self) -> None:
        """Close the notice."""
        self.setParent(None)
        self.deleteLater()

    def _tint(self, colour: QColor) -> None:
        """Mix some of the level's colour into that of the window, light or dark."""
        palette = self.palette()
        ground = palette.color(QPalette.ColorRole.Window)
        mixed = [
            round(_TINT_SHARE * one + (1 - _TINT_SHARE) * other)
            for one, other in zip(colour.getRgb(), ground.getRgb())
        ]
        palette.setColor(QPalette.ColorRole.Window, QColor(*mixed))
        self.setPalette(palette)


class NoticeBar(QWidget):
    """The notices of a window, the newest below; takes no room when there are none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)

    def items(self) -> list[Notice]:
        """What is shown now."""
        return [child for child in self.children() if isinstance(child, Notice)]

    def tell(self, notice: Notice, buttons: Buttons, seconds: int = 0) -> None:
        """Show a notice, for some seconds or until the user closes it."""
        for label, slot in buttons.items():
            notice.add_button(label, slot)
        self._layout.addWidget(notice)
        if seconds:
            QTimer.singleShot(1000 * seconds, notice.leave)

    def withdraw(self, kind: str) -> None:
        """Take back the notices of a kind."""
        for notice in self.items():
            if notice.kind == kind:
                notice.leave()


def _icon(level: str) -> QIcon:
    if level == SUCCESS:
        return QgsApplication.getThemeIcon("/mIconSuccess.svg")
    return level_icon(level)
