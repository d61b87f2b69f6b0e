"""Call the algorithms on the small scene and look at what they say and write."""

from __future__ import annotations

from pathlib import Path

import processing
from osgeo import gdal
from qgis.core import QgsProcessingFeedback

SPATIOTEMPORAL = ("fine_plus_change", "starfm")
PANSHARPENING = ("brovey", "gsa")


class Listener(QgsProcessingFeedback):
    """Notes what an algorithm says; cancels when it comes to a stage."""

    def __init__(self, cancel_at=None):
        super().__init__(False)
        self.infos, self.warnings, self.errors, self.stages = [], [], [], []
        self._cancel_at = cancel_at

    def pushInfo(self, text):
        self.infos.append(text)

    def pushWarning(self, text):
        self.warnings.append(text)

    def reportError(self, text, fatal=False):
        self.errors.append(text)

    def setProgressText(self, text):
        self.stages.append(text)
        if text == self._cancel_at:
            self.cancel()


def parameters(scene, model, **more):
    given = scene.spatiotemporal() if model in SPATIOTEMPORAL else scene.pansharpening()
    return {**given, **({"WINDOW": 17} if model == "starfm" else {}), **more}


def run(scene, model, output, feedback=None, **more):
    given = parameters(scene, model, OUTPUT=str(output), **more)
    return processing.run(f"rasterfuse:{model}", given, feedback=feedback)


def pixels(path):
    dataset = gdal.Open(str(path))
    return dataset.ReadAsArray(), dataset.GetGeoTransform(), dataset.GetRasterBand(1).DataType


def files_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())
