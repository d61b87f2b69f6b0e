"""Messages with buttons: in the dialog while it is open, else in QGIS's main window."""

from __future__ import annotations

from qgis.core import Qgis
from qgis.gui import QgsMessageBar
from qgis.PyQt.QtWidgets import QPushButton, QWidget

from ..checks import ERROR, INFO, WARNING
from .notices import SUCCESS, Buttons, Notice, NoticeBar

_PREFIX = "rasterfuse-"
_LEVELS = {
    ERROR: Qgis.MessageLevel.Critical,
    WARNING: Qgis.MessageLevel.Warning,
    INFO: Qgis.MessageLevel.Info,
    SUCCESS: Qgis.MessageLevel.Success,
}


class Messages:
    """Says something and can take it back, since a message may outlive its reason."""

    def __init__(self, window: QWidget, own: NoticeBar, main: QgsMessageBar) -> None:
        self._window, self._own, self._main = window, own, main

    def tell(
        self, kind: str, level: str, title: str, text: str, buttons: Buttons | None = None
    ) -> None:
        """Show a message; it replaces the last of its kind and stays, but for infos."""
        self.withdraw(kind)
        seconds = 5 if level == INFO else 0
        if self._window.isVisible():
            self._own.tell(Notice(kind, level, title, text), buttons or {}, seconds)
        else:
            self._tell_main(kind, level, title, text, buttons or {})

    def _tell_main(self, kind: str, level: str, title: str, text: str, buttons: Buttons) -> None:
        message = self._main.createMessage(title, text)
        message.setObjectName(_PREFIX + kind)
        for label, slot in buttons.items():
            button = QPushButton(label, message)
            button.clicked.connect(lambda _checked=False, slot=slot: slot())
            message.layout().addWidget(button)
        self._main.pushWidget(message, _LEVELS[level], 5 if level == INFO else 0)

    def withdraw(self, kind: str) -> None:
        """Take back the message of a kind."""
        self._own.withdraw(kind)
        self._withdraw_main(_PREFIX + kind)

    def leave_main(self) -> None:
        """Take back all that was said in QGIS's main window."""
        self._withdraw_main(_PREFIX)

    def _withdraw_main(self, prefix: str) -> None:
        for message in [m for m in self._main.items() if m.objectName().startswith(prefix)]:
            self._main.popWidget(message)
