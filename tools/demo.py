"""The demo: simulate a scene, fuse it through the plugin in a QGIS without a window, show it.

    make demo

leaves in ``build/demo`` the fused image, a QGIS project, a picture and a table of accuracy. Runs on
the Python of QGIS; the fusion itself runs in the worker, as it does for a user.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import rasterfuse
from osgeo import gdal
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsContrastEnhancement,
    QgsDateTimeRange,
    QgsLayerTreeGroup,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsMultiBandColorRenderer,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsReferencedRectangle,
)
from qgis.PyQt.QtCore import QDateTime, QSize, Qt
from qgis.PyQt.QtGui import QColor, QImage, QPainter
from rasterfuse.plugin.engine.metrics import assess
from rasterfuse.plugin.job import Job
from rasterfuse.plugin.layers.publish import publish
from rasterfuse.plugin.runtime.runtime import shared

ROOT = Path(__file__).resolve().parents[1]
REFERENCE, TARGET, RATIO = "2024-05-12", "2024-07-15", 16
METHODS = ("starfm", "fine_plus_change")
# Near infrared, red and green as red, green and blue, with the reflectance that is full light.
COLOURS = ((4, 0.50), (3, 0.24), (2, 0.20))
PANEL, GAP, CAPTION = 320, 12, 52  # screen pixels; a panel shows as many fine pixels


def main() -> int:
    """Make the demo; 0 when it is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, help="where to leave it")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    status = shared().status()
    if not status.ready:
        print(status.reason, file=sys.stderr)
        return 1
    print(f"Simulating a scene in {folder / 'scene'}", flush=True)
    scene = simulate(status.python, folder / "scene")
    application = QgsApplication([], True)
    application.initQgis()
    try:
        table = tell(folder, scene)
    finally:
        shared().close()
        QgsProject.instance().clear()
        gc.collect()  # rasters that are still open when QGIS ends make it crash
        application.exitQgis()
    print(f"\n{table}\n\nIn {folder}: fused.tif, demo.qgz, demo.png, accuracy.txt")
    return 0


def simulate(python: str, folder: Path) -> dict[str, Path]:
    """Write a scene with the worker's Python; the four images by name."""
    script = ROOT / "plugin" / "engine" / "simulate.py"
    subprocess.run([python, str(script), str(folder)], check=True, stdout=subprocess.DEVNULL)
    names = {
        "coarse_reference": f"coarse_{REFERENCE}.tif", "fine_reference": f"fine_{REFERENCE}.tif",
        "coarse_target": f"coarse_{TARGET}.tif", "truth": f"truth_{TARGET}.tif",
    }  # fmt: skip
    return {role: folder / name.replace("-", "") for role, name in names.items()}


def tell(folder: Path, scene: dict[str, Path]) -> str:
    """Fuse, then write project, picture and table; returns the table."""
    plugin = start_plugin()
    layers = {role: load(path) for role, path in scene.items()}
    outputs = {
        model: folder / ("fused.tif" if model == "starfm" else f"{model}.tif") for model in METHODS
    }
    reports = {model: fuse(model, scene, path) for model, path in outputs.items()}
    report = reports["starfm"]
    layers["fused"] = publish(
        Job.from_dict(report["job"]), report, fine_layer=layers["fine_reference"]
    )
    save_project(folder / "demo.qgz", layers)
    picture(layers).save(str(folder / "demo.png"), "PNG", 1)  # small rather than quick
    plugin.unload()
    table = accuracy(scene, outputs)
    (folder / "accuracy.txt").write_text(table + "\n", encoding="utf-8")
    return table


def start_plugin() -> Any:
    """Load Processing and the plugin, as QGIS does. Its algorithms live as long as the plugin."""
    from processing.core.Processing import Processing

    Processing.initialize()
    plugin = rasterfuse.classFactory(None)
    plugin.initProcessing()
    return plugin


def load(path: Path) -> QgsRasterLayer:
    """Add an image to the project, in false colours and with the day of its name."""
    layer = QgsRasterLayer(str(path), path.stem)
    renderer = QgsMultiBandColorRenderer(layer.dataProvider(), *(band for band, _ in COLOURS))
    setters = (
        renderer.setRedContrastEnhancement,
        renderer.setGreenContrastEnhancement,
        renderer.setBlueContrastEnhancement,
    )
    for (band, brightest), use in zip(COLOURS, setters):
        stretch = QgsContrastEnhancement(layer.dataProvider().dataType(band))
        stretch.setMinimumValue(0)
        stretch.setMaximumValue(brightest)
        stretch.setContrastEnhancementAlgorithm(
            QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum
        )
        use(stretch)
    layer.setRenderer(renderer)
    begin = QDateTime.fromString(f"{path.stem[-8:]}T000000Z", "yyyyMMddTHHmmssZ")
    begin.setTimeSpec(Qt.TimeSpec.UTC)
    temporal = layer.temporalProperties()
    temporal.setMode(Qgis.RasterTemporalMode.FixedTemporalRange)
    temporal.setFixedTemporalRange(QgsDateTimeRange(begin, begin.addSecs(24 * 3600 - 1)))
    temporal.setIsActive(True)
    QgsProject.instance().addMapLayer(layer)
    return layer


class Feedback(QgsProcessingFeedback):
    """Prints what an algorithm says."""

    def setProgressText(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def pushWarning(self, warning: str) -> None:
        print(f"  Warning: {warning}", flush=True)


def fuse(model: str, scene: dict[str, Path], output: Path) -> dict[str, Any]:
    """Run a method as the toolbox does; returns its report."""
    import processing

    print(f"Running rasterfuse:{model}", flush=True)
    result = processing.run(
        f"rasterfuse:{model}",
        {
            "COARSE_TARGET": str(scene["coarse_target"]),
            "COARSE_REFERENCES": [str(scene["coarse_reference"])],
            "FINE_REFERENCES": [str(scene["fine_reference"])],
            "TARGET_DATE": TARGET,
            "OUTPUT": str(output),
        },
        feedback=Feedback(),
    )
    report: dict[str, Any] = json.loads(result["REPORT"])
    print(f"  {report['trust']['verdict']}")
    return report


def save_project(path: Path, layers: dict[str, QgsRasterLayer]) -> None:
    """Group the layers and save the project, with the view on the fine image."""
    project = QgsProject.instance()
    root = project.layerTreeRoot()
    groups = {"Fused": ["fused"], "What was known": ["fine_reference", "coarse_target",
              "coarse_reference"], "Truth, kept aside": ["truth"]}  # fmt: skip
    for name, members in groups.items():
        group = root.addGroup(name)
        for member in members:
            move(layers[member], group)
        group.setItemVisibilityChecked(name != "Truth, kept aside")
    fine = layers["fine_reference"]
    project.setTitle("RasterFuse demo")
    project.setCrs(fine.crs())
    project.viewSettings().setDefaultViewExtent(QgsReferencedRectangle(fine.extent(), fine.crs()))
    project.write(str(path))


def move(layer: QgsRasterLayer, group: QgsLayerTreeGroup) -> None:
    """Take a layer's entry into a group."""
    entry = QgsProject.instance().layerTreeRoot().findLayer(layer.id())
    group.addChildNode(entry.clone())
    entry.parent().removeChildNode(entry)


def picture(layers: dict[str, QgsRasterLayer]) -> QImage:
    """The four images side by side, each with what it is and its day."""
    panels = (
        ("coarse_target", "Coarse image", "15 July, 480 m: all that is known of the day"),
        ("fine_reference", "Fine reference", "12 May, 30 m: detail, but of another day"),
        ("fused", "Fused with STARFM", "15 July, 30 m: made of the two"),
        ("truth", "Truth", "15 July, 30 m: kept aside, to compare"),
    )
    width = len(panels) * (PANEL + GAP) + GAP
    sheet = QImage(width, PANEL + CAPTION + 2 * GAP, QImage.Format.Format_RGB32)
    sheet.fill(QColor("white"))
    painter = QPainter(sheet)
    fine = layers["fine_reference"]
    extent = fine.extent().scaled(PANEL / fine.width())
    for number, (role, title, caption) in enumerate(panels):
        left = GAP + number * (PANEL + GAP)
        font = painter.font()
        font.setPixelSize(19)
        font.setBold(True)
        painter.setFont(font)
        painter.drawText(left, GAP + 16, title)
        font.setPixelSize(14)
        font.setBold(False)
        painter.setFont(font)
        painter.drawText(left, GAP + 38, caption)
        painter.drawImage(left, GAP + CAPTION, render(layers[role], extent))
    painter.end()
    return sheet.convertToFormat(QImage.Format.Format_RGB555)  # half the size, looks the same


def render(layer: QgsRasterLayer, extent: Any) -> QImage:
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setExtent(extent)
    settings.setOutputSize(QSize(PANEL, PANEL))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    return job.renderedImage()


def read(path: Path) -> np.ndarray:
    """(bands, rows, cols) reflectance, NaN for nodata."""
    raster = gdal.Open(str(path))
    bands = [raster.GetRasterBand(number + 1) for number in range(raster.RasterCount)]
    counts = np.stack([band.ReadAsArray().astype(np.float64) for band in bands])
    counts[counts == bands[0].GetNoDataValue()] = np.nan
    return counts * bands[0].GetScale()


def accuracy(scene: dict[str, Path], outputs: dict[str, Path]) -> str:
    """Every answer against the truth, as a table."""
    truth = read(scene["truth"])
    answers = {
        "STARFM": read(outputs["starfm"]),
        "fine + coarse change": read(outputs["fine_plus_change"]),
        "copy of the fine reference": read(scene["fine_reference"]),
    }
    lines = [
        "Agreement with the truth (RMSE in reflectance, SAM in degrees, mean of the bands)",
        f"{'':28}{'RMSE':>8}{'SSIM':>8}{'CC':>8}{'SAM':>8}{'ERGAS':>8}",
    ]
    for name, image in answers.items():
        found = assess(truth, image, RATIO, data_range=1)
        lines.append(
            f"{name:28}{found['mean_rmse']:8.4f}{np.mean(found['ssim']):8.3f}"
            f"{np.mean(found['cc']):8.3f}{found['sam']:8.2f}{found['ergas']:8.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
