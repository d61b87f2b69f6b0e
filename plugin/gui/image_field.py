"""The fields of one image: layer or file, date, bands, and what is to be said of it."""

from __future__ import annotations

from qgis.core import QgsRasterLayer
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ...models.cards import InputSpec
from ..layers.request import Image, guess_date
from .bands_field import BandsField
from .date_field import DateField
from .findings import FindingsLabel
from .raster_combo import FileLayers, RasterCombo


class ImageField(QWidget):
    """Choose the image of one role."""

    changed = pyqtSignal()
    layer_changed = pyqtSignal()

    def __init__(
        self, spec: InputSpec, files: FileLayers, dated: bool, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.spec = spec
        self.raster = RasterCombo(files, self)
        self.bands = BandsField(self)
        self.date = DateField(self) if dated else None
        self.findings = FindingsLabel(self)
        self.raster.combo.setToolTip(spec.help)
        self._build()
        self.raster.changed.connect(self._take_layer)
        self.bands.changed.connect(self.changed)
        if self.date is not None:
            self.date.changed.connect(self.changed)

    def _build(self) -> None:
        optional = self.tr("{} (optional)").format(self.spec.label)
        label = QLabel(optional if self.spec.optional else self.spec.label, self)
        label.setBuddy(self.raster)
        label.setToolTip(self.spec.help)
        details = QHBoxLayout()
        if self.date is not None:
            day = QLabel(self.tr("Target date"), self)
            day.setBuddy(self.date)
            details.addWidget(day)
            details.addWidget(self.date)
        bands = QLabel(self.tr("Bands"), self)
        bands.setBuddy(self.bands)
        details.addWidget(bands)
        details.addWidget(self.bands, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(label)
        layout.addWidget(self.raster)
        layout.addLayout(details)
        layout.addWidget(self.findings)

    def layer(self) -> QgsRasterLayer | None:
        return self.raster.layer()

    def image(self) -> Image | None:
        """What is chosen, None when nothing is."""
        layer = self.layer()
        if layer is None:
            return None
        # An empty text is a date that the user knows to be unknown; None would be guessed again.
        day = self.date.iso() or "" if self.date is not None else None
        limited = self.spec.max_bands is not None
        bands = self.bands.bands() if limited else self.bands.wanted()
        return Image(layer_or_path(layer), bands=bands, date=day)

    def take_over(self, other: ImageField) -> None:
        """Show what another method's field of the same role showed."""
        self.raster.set_layer(other.layer())
        if other.bands.chosen() is not None:
            self.bands.choose(other.bands.chosen())
        if self.date is not None and other.date is not None and other.date.is_edited():
            self.date.set_iso(other.date.iso())

    def _take_layer(self) -> None:
        layer = self.layer()
        self.bands.set_layer(layer)
        most = self.spec.max_bands
        if most is not None and layer is not None and layer.bandCount() > most:
            self.bands.set_automatic(range(1, most + 1))
        if self.date is not None:
            self.date.prefill(guess(layer))
        self.layer_changed.emit()
        self.changed.emit()


def layer_or_path(layer: QgsRasterLayer) -> QgsRasterLayer | str:
    """The layer, or its path when QGIS could not open it: the check then says why."""
    return layer if layer.isValid() else layer.source()


def guess(layer: QgsRasterLayer | None) -> str | None:
    """The day a layer seems to be of."""
    return None if layer is None else guess_date(layer_or_path(layer))
