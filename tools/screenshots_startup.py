"""What QGIS runs for ``tools/screenshots.py``: load a scene, use the dialog, take pictures."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from qgis.core import (
    QgsContrastEnhancement,
    QgsMapThemeCollection,
    QgsMultiBandColorRenderer,
    QgsProject,
    QgsRasterLayer,
    QgsRasterMinMaxOrigin,
)
from qgis.PyQt.QtCore import QRect, Qt, QTimer
from qgis.PyQt.QtGui import QImage
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QDockWidget
from qgis.utils import iface, plugins

SCENE = Path(os.environ["RASTERFUSE_SCENE"])
SERIES = Path(os.environ["RASTERFUSE_SERIES"])
IMAGES = Path(os.environ["RASTERFUSE_IMAGES"])
WAIT_S = 120
TRAINING_MINUTES = 0.7
LARGEST = 390_000  # bytes of a picture
COMMON = 150  # pixels that a colour of the window has, but hardly one of an image
Condition = Callable[[], bool]


def steps() -> Iterator[Condition]:
    """The story, one condition to wait for after each part."""
    window = iface.mainWindow()
    window.setGeometry(QRect(0, 22, 1400, 818))
    for name in ("Browser", "Browser2"):
        panel = window.findChild(QDockWidget, name)
        if panel is not None:
            panel.hide()
    load_scene()
    yield pause(1500)
    plugin = plugins["rasterfuse"]
    plugin.action.trigger()
    dialog = plugin.dialog
    dialog.resize(980, 790)
    dialog.move(60, 26)
    yield lambda: dialog.bar.run.isEnabled() and plugin.watch.status is not None
    yield pause(1000)
    take(IMAGES / "dialog.png", dialog.frameGeometry())
    iface.messageBar().clearWidgets()
    QTest.mouseClick(dialog.bar.run, Qt.MouseButton.LeftButton)
    QTest.mouseClick(dialog.bar.close_button, Qt.MouseButton.LeftButton)
    yield lambda: not dialog.runner.is_running()
    show_beside("coarse_20240715")
    for message in iface.messageBar().items():
        if message.title() != "Fused":  # QGIS's own word on every task that ends
            iface.messageBar().popWidget(message)
    yield pause(1000)
    iface.zoomToActiveLayer()
    yield pause(3000)
    take(IMAGES / "result.png", window.frameGeometry())
    training = dialog.open_training()
    training.move(60, 26)
    training.form.fine.setFilePath(str(SERIES / "fine"))
    training.form.coarse.setFilePath(str(SERIES / "coarse"))
    training.form.name.setText("My fields")
    training.form.minutes.setValue(TRAINING_MINUTES)
    yield training.run.isEnabled
    QTest.mouseClick(training.run, Qt.MouseButton.LeftButton)
    yield lambda: not training.runner.is_running()
    yield pause(1000)
    take(IMAGES / "train.png", training.frameGeometry())


def load_scene() -> None:
    """Coarse layers below, the fine one on top, all in the same false colours."""
    names = ("coarse_20240715", "coarse_20240512", "fine_20240512")
    layers = [QgsRasterLayer(str(SCENE / f"{name}.tif"), name) for name in names]
    for layer in layers:
        stretch(layer)
        QgsProject.instance().addMapLayer(layer)
        node = QgsProject.instance().layerTreeRoot().findLayer(layer.id())
        node.setExpanded(False)
        node.setItemVisibilityChecked(layer is layers[-1])
    QgsProject.instance().setCrs(layers[-1].crs())
    iface.setActiveLayer(layers[-1])
    iface.zoomToActiveLayer()


def show_beside(name: str) -> None:
    """A second map that shows one layer only, at the same place."""
    project = QgsProject.instance()
    layer = project.mapLayersByName(name)[0]
    record = QgsMapThemeCollection.MapThemeRecord()
    record.setLayerRecords([QgsMapThemeCollection.MapThemeLayerRecord(layer)])
    project.mapThemeCollection().insert(name, record)
    canvas = iface.createNewMapCanvas(name)
    canvas.setTheme(name)
    canvas.setDestinationCrs(layer.crs())
    window = iface.mainWindow()
    dock = next(dock for dock in window.findChildren(QDockWidget) if dock.windowTitle() == name)
    docks = [window.findChild(QDockWidget, "Layers"), dock]
    window.resizeDocks(docks, [370, 500], Qt.Orientation.Horizontal)
    QTimer.singleShot(400, canvas.zoomToFullExtent)


def stretch(layer: QgsRasterLayer) -> None:
    """Near infrared, red, green from the 2nd to the 98th percentile."""
    layer.setRenderer(QgsMultiBandColorRenderer(layer.dataProvider(), 4, 3, 2))
    layer.setContrastEnhancement(
        QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum,
        QgsRasterMinMaxOrigin.Limits.CumulativeCut,
    )


def take(path: Path, area: QRect) -> None:
    """Write a part of the screen as a PNG; rare colours lose some bits to keep it small."""
    screen = QApplication.primaryScreen()
    image = screen.grabWindow(0, area.x(), area.y(), area.width(), area.height()).toImage()
    image = image.convertToFormat(QImage.Format.Format_RGB32)
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    colours, places, counts = np.unique(
        np.frombuffer(bits, np.uint32), return_inverse=True, return_counts=True
    )
    size = image.width(), image.height()
    for lost in range(5):
        kept = 0xFF000000 | 0x010101 * (0xFF >> lost << lost)
        rare = (colours & kept) | 0x010101 * (1 << lost >> 1)
        pixels = np.where(counts > COMMON, colours, rare).astype(np.uint32)[places]
        QImage(pixels.tobytes(), *size, QImage.Format.Format_RGB32).save(str(path), "PNG", 0)
        if path.stat().st_size < LARGEST:
            return


def pause(milliseconds: int) -> Condition:
    """A condition that holds after a while."""
    timer = QTimer(iface.mainWindow())
    timer.setSingleShot(True)
    timer.start(milliseconds)
    return lambda: not timer.isActive()


class Story:
    """Runs the steps from the event loop, so that QGIS stays alive between them."""

    def __init__(self) -> None:
        self._steps = steps()
        self._done: Condition = pause(2000)
        self._waited = 0
        self._timer = QTimer(iface.mainWindow())
        self._timer.timeout.connect(self.go_on)
        self._timer.start(100)

    def go_on(self) -> None:
        self._waited += 1
        try:
            if self._done():
                self._waited = 0
                self._done = next(self._steps)
            elif self._waited > 10 * WAIT_S:
                print("Waited too long for the next step.")
                self.leave()
        except StopIteration:
            self.leave()
        except Exception:
            traceback.print_exc()
            self.leave()

    def leave(self) -> None:
        self._timer.stop()
        QgsProject.instance().clear()
        QTimer.singleShot(0, iface.actionExit().trigger)


story = Story()
