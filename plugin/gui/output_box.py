"""Where the result goes, how much of it is wanted, and what computes it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qgis.core import (
    QgsProcessingUtils,
    QgsProject,
    QgsRasterLayer,
    QgsReferencedRectangle,
)
from qgis.gui import QgsExtentWidget, QgsFileWidget, QgsMapCanvas
from qgis.PyQt.QtCore import QUuid, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGroupBox,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from ...models.cards import Card
from ..checks import ERROR, WARNING, Finding
from .findings import FindingsLabel

_NUMBER = r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*"
_EXTENT = re.compile(rf"^{_NUMBER}(?:,{_NUMBER}){{3}}(?:\[[^\]]*\])?$")


class OutputBox(QGroupBox):
    """Extent, output file and device."""

    changed = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTitle(self.tr("Output"))
        self.extent = QgsExtentWidget(self, QgsExtentWidget.WidgetStyle.CondensedStyle)
        self._all_text = self.tr("All of the fine image")
        self.extent.setNullValueAllowed(True, self._all_text)
        # QGIS says nothing of a text that it does not understand, and keeps the former extent.
        self._extent_text = self.extent.findChild(QLineEdit, "mCondensedLineEdit")
        self.extent.clear()
        self._canvas = canvas
        self.set_grid_layer(None)
        self.file = self._file_widget(self.tr("Save the fused image"))
        self.error = QCheckBox(self.tr("Standard error"), self)
        self.error.setToolTip(
            self.tr("Write a second image: how far each value of the fused one may be off.")
        )
        self.error_file = self._file_widget(self.tr("Save the standard error"))
        self.error_file.setEnabled(False)
        self._tells_error = True
        self.device = QComboBox(self)
        self._wanted_device = "auto"
        self.set_devices(())
        self.places = {name: FindingsLabel(self) for name in ("extent", "output", "error_output")}
        form = QFormLayout(self)
        form.addRow(self.tr("Extent"), self._with_findings(self.extent, "extent"))
        form.addRow(self.tr("Fused image"), self._with_findings(self.file, "output"))
        form.addRow(self.error, self._with_findings(self.error_file, "error_output"))
        form.addRow(self.tr("Compute on"), self.device)
        self.extent.extentChanged.connect(lambda _extent: self.changed.emit())
        self.extent.validationChanged.connect(lambda _valid: self.changed.emit())
        if self._extent_text is not None:
            self._extent_text.textChanged.connect(lambda _text: self.changed.emit())
        for file in (self.file, self.error_file):
            file.fileChanged.connect(lambda _path: self.changed.emit())
        self.error.toggled.connect(self.error_file.setEnabled)
        self.error.toggled.connect(lambda _on: self.changed.emit())
        self.device.currentIndexChanged.connect(lambda _index: self.changed.emit())
        self.device.activated.connect(lambda _index: self.choose_device(self.chosen_device()))

    def _file_widget(self, title: str) -> QgsFileWidget:
        widget = QgsFileWidget(self)
        widget.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        widget.setFilter(self.tr("GeoTIFF (*.tif *.tiff)"))
        widget.setDialogTitle(title)
        widget.lineEdit().setPlaceholderText(self.tr("[Save to a temporary file]"))
        return widget

    def _with_findings(self, field: QWidget, place: str) -> QVBoxLayout:
        layout = QVBoxLayout()
        layout.setSpacing(2)
        layout.addWidget(field)
        layout.addWidget(self.places[place])
        return layout

    def set_grid_layer(self, layer: QgsRasterLayer | None) -> None:
        """Offer the extent of the image on whose grid the result lies, in its CRS."""
        crs = QgsProject.instance().crs()
        if layer is not None and layer.isValid():
            crs = layer.crs() if layer.crs().isValid() else crs
            self.extent.setOriginalExtent(layer.extent(), layer.crs())
        chosen = self.chosen_extent()
        self.extent.setOutputCrs(crs)
        if self._canvas is not None:
            settings = self._canvas.mapSettings()
            self.extent.setCurrentExtent(self._canvas.extent(), settings.destinationCrs())
            self.extent.setMapCanvas(self._canvas)
        if chosen is None:
            self.extent.clear()  # else QGIS writes zeros
        elif chosen.crs().isValid() and chosen.crs() != crs:
            self.extent.setOutputExtentFromUser(chosen, chosen.crs())

    def chosen_extent(self) -> QgsReferencedRectangle | None:
        """The part wanted, None for all."""
        rectangle = self.extent.outputExtent()
        if rectangle.isNull() or rectangle.isEmpty():
            return None
        return QgsReferencedRectangle(rectangle, self.extent.outputCrs())

    def set_card(self, card: Card) -> None:
        """Offer the standard error where the method can tell it; the choice is kept elsewhere."""
        self._tells_error = card.tells_error
        self.error.setVisible(card.tells_error)
        self.error_file.setVisible(card.tells_error)

    def wants_error(self) -> bool:
        """Whether the standard error is offered and wanted."""
        return self._tells_error and self.error.isChecked()

    def set_devices(self, devices: Sequence[Mapping[str, Any]]) -> None:
        """Offer what the worker can compute on; the choice is kept where it still exists."""
        self.device.blockSignals(True)
        self.device.clear()
        self.device.addItem(self.tr("Automatic"), "auto")
        for device in devices:
            self.device.addItem(str(device.get("name") or device["id"]), device["id"])
        if not devices:
            self.device.addItem(self.tr("CPU"), "cpu")
        self.device.blockSignals(False)
        self.choose_device(self._wanted_device)

    def chosen_device(self) -> str:
        return str(self.device.currentData())

    def choose_device(self, device: str) -> None:
        """Choose a device; automatic until there is such one."""
        self._wanted_device = device
        self.device.setCurrentIndex(max(self.device.findData(device), 0))

    def path(self) -> str:
        """The file to write, with an ending; empty for a temporary one."""
        return _path(self.file)

    def error_path(self) -> str:
        """The same for the standard error."""
        return _path(self.error_file)

    def faults(self) -> list[Finding]:
        """What the check of the job cannot see."""
        found = []
        typed = self._extent_text.text().strip() if self._extent_text is not None else ""
        if typed and not _EXTENT.match(typed) and typed != self._all_text:
            sentence = self.tr("“{}” is no extent. Write xmin,xmax,ymin,ymax, or clear it.")
            found.append(Finding(ERROR, "extent", sentence.format(typed)))
        found += self._file_faults(self.file, "output")
        if self.wants_error():
            found += self._file_faults(self.error_file, "error_output")
        return found

    def _file_faults(self, file: QgsFileWidget, place: str) -> Iterator[Finding]:
        text = file.filePath().strip()
        ending = os.path.splitext(text)[1].lower()
        if text and ending not in ("", ".tif", ".tiff") and not os.path.isdir(text):
            sentence = self.tr("The output ends in “{}”, but RasterFuse writes GeoTIFF. Use .tif.")
            yield Finding(ERROR, place, sentence.format(ending))
        elif text and os.path.isfile(_path(file)):
            yield Finding(
                WARNING, place, self.tr("{} exists and will be replaced.").format(_path(file))
            )


def _path(file: QgsFileWidget) -> str:
    """What was chosen, with an ending; empty for nothing."""
    text = file.filePath().strip()
    if text and not os.path.splitext(text)[1] and not os.path.isdir(text):
        text += ".tif"
    return os.path.abspath(text) if text else ""


def temporary_path(model: str) -> str:
    """A new file name in QGIS's temporary folder, which QGIS empties when it ends."""
    name = QUuid.createUuid().toString()[1:9]
    return os.path.join(QgsProcessingUtils.tempFolder(), f"rasterfuse_{model}_{name}.tif")
