"""The provider ``rasterfuse``: one algorithm per card, the training, and one that says
whether they can run.

Nothing heavy is imported.
"""

from __future__ import annotations

from qgis.core import Qgis, QgsMessageLog, QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from ...models.cards import load_cards, model_faults
from ...models.errors import CardError
from ..engine import VERSION
from .card_algorithm import CardAlgorithm
from .parameters import ICON
from .runtime_status import RuntimeStatusAlgorithm
from .train_algorithm import TrainAlgorithm


class RasterFuseProvider(QgsProcessingProvider):
    """Offers every fusion method to the toolbox, models, scripts and qgis_process."""

    def id(self) -> str:
        return "rasterfuse"

    def name(self) -> str:
        return "RasterFuse"

    def longName(self) -> str:
        return self.tr("RasterFuse: fuse coarse and fine images")

    def versionInfo(self) -> str:
        # Also keeps the version that QGIS has loaded, however the files change under it.
        return VERSION

    def icon(self) -> QIcon:
        return QIcon(str(ICON))

    def svgIconPath(self) -> str:
        return str(ICON)

    def loadAlgorithms(self) -> None:
        self.addAlgorithm(RuntimeStatusAlgorithm())
        try:
            cards = load_cards()
        except CardError as error:  # the rest of QGIS must start all the same
            QgsMessageLog.logMessage(error.sentence, "RasterFuse", Qgis.MessageLevel.Critical)
            return
        for card in cards.values():
            self.addAlgorithm(CardAlgorithm(card))
        if any(card.trainable for card in cards.values()):
            self.addAlgorithm(TrainAlgorithm())
        for fault in model_faults():
            QgsMessageLog.logMessage(fault, "RasterFuse", Qgis.MessageLevel.Warning, False)

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        return ["tif", "tiff"]

    def defaultRasterFileExtension(self) -> str:
        return "tif"

    def supportsNonFileBasedOutput(self) -> bool:
        return False
