"""The reference pairs: a table of date, coarse image and fine image."""

from __future__ import annotations

from dataclasses import dataclass

from qgis.core import QgsApplication, QgsRasterLayer
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...models.cards import InputSpec
from ..layers.request import Image
from .bands_field import BandsField
from .date_field import DateField
from .findings import FindingsLabel
from .image_field import guess, layer_or_path
from .raster_combo import FileLayers, RasterCombo


@dataclass
class PairRow:
    """The widgets of one pair."""

    date: DateField
    coarse: RasterCombo
    fine: RasterCombo
    remove: QToolButton

    @property
    def widgets(self) -> tuple[QWidget, ...]:
        return self.date, self.coarse, self.fine, self.remove

    def prefill(self) -> None:
        """Take the date from the fine image, else from the coarse one."""
        self.date.prefill(guess(self.fine.layer()) or guess(self.coarse.layer()))

    def dates(self) -> tuple[str | None, str | None]:
        """Days of the coarse and the fine image.

        An edited date holds for both, an empty text if it is unknown; None is to be guessed.
        """
        if self.date.is_edited():
            return self.date.iso() or "", self.date.iso() or ""
        return None, None


class PairsTable(QWidget):
    """Rows of coarse and fine images of the same day."""

    changed = pyqtSignal()
    layer_changed = pyqtSignal()
    suggestion_wanted = pyqtSignal()

    def __init__(self, spec: InputSpec, files: FileLayers, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.spec = spec
        self.rows: list[PairRow] = []
        self._files = files
        self.add_button = QPushButton(
            QgsApplication.getThemeIcon("/symbologyAdd.svg"), self.tr("Add pair"), self
        )
        self.find_button = QPushButton(
            QgsApplication.getThemeIcon("/mActionRefresh.svg"), self.tr("Find in project"), self
        )
        self.find_button.setToolTip(
            self.tr("Fill in the inputs from the project: layers of one day make a pair")
        )
        self.bands = BandsField(self)
        self.findings = FindingsLabel(self)
        self._build()
        self.add_button.clicked.connect(lambda _checked=False: self.add_pair())
        self.find_button.clicked.connect(self.suggestion_wanted)
        self.bands.changed.connect(self.changed)
        self.add_pair()

    def _build(self) -> None:
        title = QLabel(self.spec.label, self)
        title.setToolTip(self.spec.help)
        self._grid = QGridLayout()
        self._grid.setColumnStretch(1, 1)
        self._grid.setColumnStretch(2, 1)
        heads = (self.tr("Date"), self.tr("Coarse image"), self.tr("Fine image"))
        for column, head in enumerate(heads):
            self._grid.addWidget(QLabel(head, self), 0, column)
        buttons = QHBoxLayout()
        for button in (self.add_button, self.find_button):
            button.setAutoDefault(False)
            buttons.addWidget(button)
        buttons.addStretch(1)
        buttons.addWidget(QLabel(self.tr("Fine bands"), self))
        buttons.addWidget(self.bands, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(title)
        layout.addLayout(self._grid)
        layout.addLayout(buttons)
        layout.addWidget(self.findings)

    def add_pair(
        self, coarse: QgsRasterLayer | None = None, fine: QgsRasterLayer | None = None
    ) -> PairRow:
        """Append a row, empty or filled."""
        remove = QToolButton(self)
        remove.setIcon(QgsApplication.getThemeIcon("/symbologyRemove.svg"))
        remove.setToolTip(self.tr("Remove this pair"))
        combos = [RasterCombo(self._files, self, show_crs=False) for _ in range(2)]
        row = PairRow(DateField(self), combos[0], combos[1], remove)
        line = self._grid.rowCount()
        for column, widget in enumerate(row.widgets):
            self._grid.addWidget(widget, line, column, Qt.AlignmentFlag.AlignVCenter)
        self.rows.append(row)
        row.coarse.set_layer(coarse)
        row.fine.set_layer(fine)
        row.prefill()
        row.coarse.changed.connect(lambda: self._take_layers(row))
        row.fine.changed.connect(lambda: self._take_layers(row))
        row.date.changed.connect(self.changed)
        remove.clicked.connect(lambda: self.remove_pair(row))
        self._layers_changed()
        return row

    def remove_pair(self, row: PairRow) -> None:
        """Take a row away; the last one is emptied instead."""
        if len(self.rows) == 1:
            row.coarse.set_layer(None)
            row.fine.set_layer(None)
            return
        self.rows.remove(row)
        for widget in row.widgets:
            self._grid.removeWidget(widget)
            widget.setVisible(False)
            widget.deleteLater()
        self._layers_changed()

    def clear(self) -> None:
        """Leave one empty row."""
        for row in self.rows[1:]:
            self.remove_pair(row)
        self.remove_pair(self.rows[0])

    def take_over(self, other: PairsTable) -> None:
        """Show what another method's table showed."""
        while len(self.rows) < len(other.rows):
            self.add_pair()
        for mine, theirs in zip(self.rows, other.rows):
            mine.coarse.set_layer(theirs.coarse.layer())
            mine.fine.set_layer(theirs.fine.layer())
            if theirs.date.is_edited():
                mine.date.set_iso(theirs.date.iso())
        if other.bands.chosen() is not None:
            self.bands.choose(other.bands.chosen())

    def pairs(self) -> list[tuple[Image | None, Image | None]]:
        """What is chosen, row by row; rows without any image are left out."""
        found = []
        for row in self.rows:
            layers = (row.coarse.layer(), row.fine.layer())
            if layers == (None, None):
                continue
            images = [
                None if layer is None else Image(layer_or_path(layer), date=day)
                for layer, day in zip(layers, row.dates())
            ]
            found.append((images[0], images[1]))
        return found

    def first_fine(self) -> QgsRasterLayer | None:
        """The fine image on whose grid the result lies."""
        return next((row.fine.layer() for row in self.rows if row.fine.layer()), None)

    def _take_layers(self, row: PairRow) -> None:
        row.prefill()
        self._layers_changed()

    def _layers_changed(self) -> None:
        self.bands.set_layer(self.first_fine())
        self.layer_changed.emit()
        self.changed.emit()
