"""How coarse and fine values are brought together, for files that do not say it themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qgis.gui import QgsCollapsibleGroupBox
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from ..checks import ERROR, Finding
from ..job import COREGISTER, HARMONISE
from .findings import FindingsLabel

PLACE = "radiometry"
_FIELDS = ("scale", "offset", "nodata")


class RadiometryBox(QgsCollapsibleGroupBox):
    """Scale, offset and nodata of the images, cell size, harmonisation and co-registration."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTitle(self.tr("Values, units and cell size"))
        self.setSaveCollapsedState(False)
        self.setCollapsed(True)
        self.fields: dict[tuple[str, str], QLineEdit] = {}
        self._cells = True
        self.findings = FindingsLabel(self)
        texts = {
            "auto": self.tr("only when the units clearly differ"),
            "always": self.tr("always"),
            "never": self.tr("never"),
        }
        self.harmonise = self._choice({mode: texts[mode] for mode in HARMONISE})
        self.harmonise.setToolTip(
            self.tr("Fit the values of the coarse images to the fine ones, band by band.")
        )
        texts = {"never": self.tr("never"), "auto": self.tr("where a shift is clearly seen")}
        self.coregister = self._choice({mode: texts[mode] for mode in COREGISTER})
        self.coregister.setToolTip(
            self.tr("Move coarse images that lie off the fine ones; the report says how far.")
        )
        self._choices = {"harmonise": self.harmonise, "coregister": self.coregister}
        self._build()

    def _choice(self, texts: dict[str, str]) -> QComboBox:
        choice = QComboBox(self)
        for mode, text in texts.items():
            choice.addItem(text, mode)
        choice.currentIndexChanged.connect(lambda _index: self.changed.emit())
        return choice

    def _build(self) -> None:
        grid = QGridLayout()
        heads = (self.tr("Scale"), self.tr("Offset"), self.tr("Nodata"))
        sides = (("coarse", self.tr("Coarse images")), ("fine", self.tr("Fine images")))
        for column, head in enumerate(heads, 1):
            grid.addWidget(QLabel(head, self), 0, column)
        for row, (side, text) in enumerate(sides, 1):
            grid.addWidget(QLabel(text, self), row, 0)
            for column, name in enumerate(_FIELDS, 1):
                grid.addWidget(self._field(side, name), row, column)
        self._cell_label = QLabel(self.tr("Coarse cell size"), self)
        grid.addWidget(self._cell_label, 3, 0)
        grid.addWidget(self._field("coarse", "cell_size"), 3, 1, 1, 3)
        # The group box hides and shows its direct children when it folds, so there is only one.
        inside = QWidget(self)
        form = QFormLayout(inside)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow(grid)
        self._harmonise_label = QLabel(self.tr("Fit coarse to fine"), self)
        form.addRow(self._harmonise_label, self.harmonise)
        self._coregister_label = QLabel(self.tr("Move coarse onto fine"), self)
        form.addRow(self._coregister_label, self.coregister)
        form.addRow(self.findings)
        outside = QVBoxLayout(self)
        outside.addWidget(inside)

    def _field(self, side: str, name: str) -> QLineEdit:
        tips = {
            "scale": self.tr("Physical value = stored value × scale + offset."),
            "offset": self.tr("Physical value = stored value × scale + offset."),
            "nodata": self.tr("The stored value that means “no data”; nan is always nodata."),
            "cell_size": self.tr(
                "For coarse images that were resampled to the fine grid beforehand: the size of "
                "their original cells, in units of the fine image's CRS."
            ),
        }
        edit = QLineEdit(self)
        edit.setClearButtonEnabled(True)
        edit.setPlaceholderText(
            self.tr("as the pixels") if name == "cell_size" else self.tr("as the file says")
        )
        edit.setToolTip(tips[name])
        edit.textChanged.connect(lambda _text: self.changed.emit())
        self.fields[side, name] = edit
        return edit

    def set_references_wanted(self, wanted: bool) -> None:
        """Show what is only of use with reference pairs: cell size and how pairs are fitted."""
        self._cells = wanted
        for widget in (
            self._cell_label, self.fields["coarse", "cell_size"], self._harmonise_label,
            self.harmonise, self._coregister_label, self.coregister,
        ):  # fmt: skip
            widget.setVisible(wanted)

    def values(self, side: str) -> dict[str, Any]:
        """Numbers for the images of one side, None where left empty or unreadable."""
        return {
            name: _number(edit.text())
            for (of, name), edit in self.fields.items()
            if of == side and (name != "cell_size" or self._cells)
        }

    def faults(self) -> Iterable[Finding]:
        """An error for every text that is no number."""
        for (_side, name), edit in self.fields.items():
            text = edit.text().strip()
            shown = name != "cell_size" or self._cells
            if text and shown and _number(text) is None:
                sentence = self.tr("“{}” is no number. Write one such as 0.0001, or clear it.")
                yield Finding(ERROR, PLACE, sentence.format(text))

    def memory(self) -> dict[str, Any]:
        """What to remember."""
        texts = {f"{side}.{name}": edit.text() for (side, name), edit in self.fields.items()}
        choices = {name: box.currentData() for name, box in self._choices.items()}
        return {**choices, **texts}

    def restore(self, memory: dict[str, Any]) -> None:
        """Show what was remembered."""
        for name, box in self._choices.items():
            box.setCurrentIndex(max(box.findData(memory.get(name)), 0))
        for (side, name), edit in self.fields.items():
            edit.setText(str(memory.get(f"{side}.{name}", "")))


def _number(text: str) -> float | None:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return None
