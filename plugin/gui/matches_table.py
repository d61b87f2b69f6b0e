"""The dates that were found for a training, and which images belong together."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from ..layers.training import Match
from .log import level_icon


class MatchesTable(QTableWidget):
    """One row per fine image; those with a partner can be left out by their box."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 4, parent)
        self._matches: list[Match] = []
        heads = (self.tr("Date"), self.tr("Fine image"), self.tr("Coarse image"), self.tr("Remark"))
        self.setHorizontalHeaderLabels(heads)
        self.verticalHeader().setVisible(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setMaximumSectionSize(220)
        header.setStretchLastSection(True)
        self.itemChanged.connect(lambda _item: self.changed.emit())

    def show_matches(self, matches: Sequence[Match]) -> None:
        """Show what was found, all of it chosen."""
        self._matches = list(matches)
        self.blockSignals(True)
        self.setRowCount(len(matches))
        for row, match in enumerate(matches):
            usable = match.coarse is not None
            coarse = match.coarse.label if match.coarse is not None else ""
            texts = (
                match.day or self.tr("unknown"),
                match.fine.label,
                coarse,
                _remark(self, match),
            )
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                self.setItem(row, column, item)
            box = self.item(row, 0)
            flags = Qt.ItemFlag.ItemIsEnabled
            box.setFlags(flags | Qt.ItemFlag.ItemIsUserCheckable if usable else flags)
            box.setCheckState(Qt.CheckState.Checked if usable else Qt.CheckState.Unchecked)
            if not usable:
                self.item(row, 3).setIcon(level_icon("warning"))
            elif match.apart:
                self.item(row, 3).setIcon(QgsApplication.getThemeIcon("/mIconInfo.svg"))
        self.blockSignals(False)

    def chosen(self) -> list[Match]:
        """The matches to train on."""
        return [
            match
            for row, match in enumerate(self._matches)
            if self.item(row, 0).checkState() == Qt.CheckState.Checked
        ]


def _remark(table: MatchesTable, match: Match) -> str:
    if match.sentence:
        return match.sentence
    if match.apart == 1:
        return table.tr("1 day apart")
    return table.tr("{} days apart").format(match.apart) if match.apart else ""
