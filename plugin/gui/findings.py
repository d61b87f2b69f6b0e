"""Findings on a job, shown as sentences beside the fields they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ..checks import ERROR, INFO, WARNING, Finding
from .log import level_icon

_ORDER = {ERROR: 0, WARNING: 1, INFO: 2}
_ICON_SIZE = 16


class _Row(QWidget):
    """One sentence with the icon of its level."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._icon = QLabel(self)
        self._text = QLabel(self)
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self._text, 1)

    def show_finding(self, finding: Finding) -> None:
        self._icon.setPixmap(level_icon(finding.level).pixmap(_ICON_SIZE, _ICON_SIZE))
        self._icon.setToolTip(finding.level)
        self._text.setText(finding.sentence)
        self.setVisible(True)


class FindingsLabel(QWidget):
    """All findings of one field, worst first; takes no room when there are none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[_Row] = []
        self._shown: list[Finding] = []
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 2)
        self._layout.setSpacing(2)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.setVisible(False)

    def show_findings(self, findings: Iterable[Finding]) -> None:
        """Show these and forget the ones before."""
        wanted = sorted(findings, key=lambda item: _ORDER[item.level])
        if wanted == self._shown:
            return
        while len(self._rows) < len(wanted):
            self._rows.append(_Row(self))
            self._layout.addWidget(self._rows[-1])
        for row, finding in zip(self._rows, wanted):
            row.show_finding(finding)
        for row in self._rows[len(wanted) :]:
            row.setVisible(False)
        self._shown = wanted
        self.setVisible(bool(wanted))

    def sentences(self) -> list[str]:
        """What is shown now, worst first."""
        return [finding.sentence for finding in self._shown]


def distribute(
    findings: Iterable[Finding], places: Mapping[str, FindingsLabel], rest: FindingsLabel
) -> None:
    """Show every finding at the field of its place, those without a field in ``rest``."""
    groups: dict[int, list[Finding]] = {id(label): [] for label in (*places.values(), rest)}
    for finding in findings:
        groups[id(places.get(finding.place, rest))].append(finding)
    for label in {id(label): label for label in (*places.values(), rest)}.values():
        label.show_findings(groups[id(label)])
