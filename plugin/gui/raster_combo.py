"""Choose a raster: a layer of the project or a file."""

from __future__ import annotations

import os

from qgis.core import QgsMapLayerProxyModel, QgsProject, QgsProviderRegistry, QgsRasterLayer
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import QObject, QSize, pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QHBoxLayout, QSizePolicy, QToolButton, QWidget


class FileLayers(QObject):
    """Rasters that were chosen as files: offered in all combo boxes, but not in the project."""

    changed = pyqtSignal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.layers: list[QgsRasterLayer] = []
        self.folder = ""

    def open(self, path: str) -> QgsRasterLayer:
        """The layer of a file, made when it is first asked for; it may be invalid."""
        for layer in self.layers:
            if layer.source() == path:
                return layer
        layer = QgsRasterLayer(path, os.path.basename(path))
        # The layer has to die with the dialog, before QGIS takes GDAL down.
        layer.setParent(self)
        self.layers.append(layer)
        self.changed.emit()
        return layer


class RasterCombo(QWidget):
    """A combo box of the project's raster layers and a button to pick a file."""

    changed = pyqtSignal()

    def __init__(
        self, files: FileLayers, parent: QWidget | None = None, show_crs: bool = True
    ) -> None:
        super().__init__(parent)
        self._files = files
        self._chosen_id = ""
        self.combo = QgsMapLayerComboBox(self)
        self.combo.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        self.combo.setAllowEmptyLayer(True)
        self.combo.setShowCrs(show_crs)
        self.combo.setMinimumContentsLength(12)
        self.combo.setSizeAdjustPolicy(
            self.combo.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.combo.setAdditionalLayers(files.layers)
        self.combo.setLayer(None)
        self.button = QToolButton(self)
        self.button.setText("…")
        self.button.setToolTip(self.tr("Choose a file instead of a layer"))
        self.button.clicked.connect(self._browse)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.combo, 1)
        layout.addWidget(self.button)
        self.setFocusProxy(self.combo)
        self.combo.layerChanged.connect(self._layer_changed)
        files.changed.connect(self._offer_files)
        # When a layer leaves, the combo box shows the next one without a word.
        QgsProject.instance().layersWillBeRemoved.connect(self._drop_leaving)

    def minimumSizeHint(self) -> QSize:
        return QSize(140, super().minimumSizeHint().height())

    def layer(self) -> QgsRasterLayer | None:
        """The layer chosen; it may be invalid, when the file cannot be opened."""
        layer = self.combo.currentLayer()
        return layer if isinstance(layer, QgsRasterLayer) else None

    def set_layer(self, layer: QgsRasterLayer | None) -> None:
        """Choose a layer of the project or one of the files, or none."""
        self.combo.setLayer(layer)

    def choose_file(self, path: str) -> None:
        """Choose a file; it is offered in the other combo boxes from now on."""
        self._files.folder = os.path.dirname(path)
        self.set_layer(self._files.open(path))

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self,
            self.tr("Choose a raster"),
            self._files.folder,
            QgsProviderRegistry.instance().fileRasterFilters(),
        )
        if path:
            self.choose_file(path)

    def _offer_files(self) -> None:
        chosen = self.layer()
        self.combo.blockSignals(True)
        self.combo.setAdditionalLayers(self._files.layers)
        self.combo.setLayer(chosen)
        self.combo.blockSignals(False)

    def _drop_leaving(self, leaving: list[str]) -> None:
        if self._chosen_id in leaving:
            self.set_layer(None)

    def _layer_changed(self) -> None:
        layer = self.layer()
        self._chosen_id = layer.id() if layer is not None else ""
        self.combo.setToolTip(layer.publicSource() if layer is not None else "")
        self.changed.emit()
