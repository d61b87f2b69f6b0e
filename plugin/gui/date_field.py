"""A date that may be unknown."""

from __future__ import annotations

from qgis.gui import QgsDateEdit
from qgis.PyQt.QtCore import QDate, Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import QWidget


class DateField(QgsDateEdit):
    """An editable day; it is prefilled by a guess and remembers whether the user changed it."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAllowNull(True)
        self.setNullRepresentation(self.tr("unknown"))
        self.setDisplayFormat("yyyy-MM-dd")
        self.setCalendarPopup(True)
        self.setToolTip(
            self.tr("Day of the image. Taken from the layer where it says so; change it freely.")
        )
        self.setMinimumWidth(self.fontMetrics().horizontalAdvance("0000-00-00") + 70)
        self._guess: str | None = None
        self.set_iso(None)
        self.dateValueChanged.connect(lambda _day: self._tell())

    def iso(self) -> str | None:
        """The day as YYYY-MM-DD, None when unknown."""
        day = self.date()
        return None if self.isNull() or not day.isValid() else day.toString(Qt.DateFormat.ISODate)

    def set_iso(self, text: str | None) -> None:
        """Show a day, or that it is unknown."""
        if text:
            self.setDate(QDate.fromString(text, Qt.DateFormat.ISODate))
        else:
            self.clear()
            self._show_unknown()

    def _tell(self) -> None:
        if self.isNull():
            # QGIS writes today's date into a field that is being cleared: put things right after.
            QTimer.singleShot(0, self._show_unknown)
        self.changed.emit()

    def _show_unknown(self) -> None:
        if self.isNull():
            self.displayNull(False)

    def prefill(self, text: str | None) -> None:
        """Show a guess, which does not count as an edit."""
        self._guess = text
        self.set_iso(text)

    def is_edited(self) -> bool:
        """Whether the user wants another day than the one guessed."""
        return self.iso() != self._guess
