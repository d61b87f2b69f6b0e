"""A small desktop for the tests of the plugin: real widgets where QGIS's main window has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from layers_rasters import write_raster
from qgis.core import QgsProject, QgsRasterLayer
from qgis.gui import QgsMapCanvas, QgsMessageBar
from qgis.PyQt.QtWidgets import QMainWindow, QMenu, QToolBar

WAVELENGTHS = ["blue", "green", "red"]
FINE, COARSE = 10.0, 80.0
LEFT, TOP = 500_000.0, 5_000_000.0


class Desktop:
    """What the plugin asks of QGIS's interface."""

    def __init__(self) -> None:
        self.window = QMainWindow()
        self.canvas = QgsMapCanvas(self.window)
        self.bar = QgsMessageBar(self.window)
        self.menu = QMenu(self.window)
        self.tools = QToolBar(self.window)
        self.factories: list[Any] = []
        self.options_page = ""
        self.log_opened = False

    def mainWindow(self) -> QMainWindow:
        return self.window

    def mapCanvas(self) -> QgsMapCanvas:
        return self.canvas

    def messageBar(self) -> QgsMessageBar:
        return self.bar

    def addPluginToRasterMenu(self, name: str, action: Any) -> None:
        self.menu.addAction(action)

    def removePluginRasterMenu(self, name: str, action: Any) -> None:
        self.menu.removeAction(action)

    def addToolBarIcon(self, action: Any) -> None:
        self.tools.addAction(action)

    def removeToolBarIcon(self, action: Any) -> None:
        self.tools.removeAction(action)

    def registerOptionsWidgetFactory(self, factory: Any) -> None:
        self.factories.append(factory)

    def unregisterOptionsWidgetFactory(self, factory: Any) -> None:
        self.factories.remove(factory)

    def showOptionsDialog(self, parent: Any, page: str) -> None:
        self.options_page = page

    def openMessageLog(self) -> None:
        self.log_opened = True


def write_scene(folder: Path, size: int = 96) -> dict[str, str]:
    """A fine image of a day, coarse ones of it and of a later day on which half of it changed."""
    rng = np.random.default_rng(3)
    ratio = int(COARSE / FINE)
    fine = rng.uniform(0.05, 0.3, (3, size, size))
    later = fine.copy()
    later[:, :, size // 2 :] += 0.1
    images = {
        "fine_20240512": (fine, FINE),
        "coarse_20240512": (_means(fine, ratio), COARSE),
        "coarse_20240715": (_means(later, ratio), COARSE),
    }
    return {
        name: write_raster(
            folder / f"{name}.tif",
            np.rint(values * 10_000).astype("int16"),
            (LEFT, pixel, 0.0, TOP, 0.0, -pixel),
            nodata=-9999,
            names=WAVELENGTHS,
            scale=0.0001,
        )
        for name, (values, pixel) in images.items()
    }


def load(paths: dict[str, str]) -> dict[str, QgsRasterLayer]:
    """Add files to the project as layers of the same names."""
    layers = {name: QgsRasterLayer(path, name) for name, path in paths.items()}
    QgsProject.instance().addMapLayers(list(layers.values()))
    return layers


def _means(fine: np.ndarray, ratio: int) -> np.ndarray:
    bands, rows, cols = fine.shape
    return fine.reshape(bands, rows // ratio, ratio, cols // ratio, ratio).mean((2, 4))
