"""Messages with buttons, in the dialog while it is open and in QGIS's main window else."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qgis.core import Qgis
from qgis.gui import QgsMessageBar
from qgis.PyQt.QtWidgets import QPushButton, QWidget

_PREFIX = "rasterfuse"


class Messages:
    """Says something and can take it back, since a message may outlive its reason."""

    def __init__(self, window: QWidget, own: QgsMessageBar, main: QgsMessageBar) -> None:
        self._window, self._own, self._main = window, own, main

    def tell(
        self,
        kind: str,
        title: str,
        text: str,
        level: Qgis.MessageLevel,
        buttons: Mapping[str, Callable[[], object]],
    ) -> None:
        """Show a message until the user closes it; it replaces the last of its kind."""
        self.withdraw(kind)
        bar = self._own if self._window.isVisible() else self._main
        message = bar.createMessage(title, text)
        message.setObjectName(f"{_PREFIX}-{kind}")
        for label, slot in buttons.items():
            button = QPushButton(label, message)
            button.setAutoDefault(False)
            button.clicked.connect(lambda _checked=False, slot=slot: slot())
            message.layout().addWidget(button)
        bar.pushWidget(message, level, 0)

    def note(self, title: str, text: str) -> None:
        """Show a message for some seconds."""
        bar = self._own if self._window.isVisible() else self._main
        bar.pushMessage(title, text, Qgis.MessageLevel.Info, 5)

    def withdraw(self, kind: str = "") -> None:
        """Take back the messages of a kind, or all."""
        name = f"{_PREFIX}-{kind}"
        for bar in (self._own, self._main):
            for message in [item for item in bar.items() if item.objectName().startswith(name)]:
                bar.popWidget(message)
