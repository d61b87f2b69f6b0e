"""What all algorithms of RasterFuse have in common."""

from __future__ import annotations

from qgis.core import QgsProcessingAlgorithm
from qgis.PyQt.QtGui import QIcon

from .parameters import ICON


class Algorithm(QgsProcessingAlgorithm):
    """Shows the plugin's icon."""

    def icon(self) -> QIcon:
        return QIcon(str(ICON))

    def svgIconPath(self) -> str:
        return str(ICON)


class WorkerAlgorithm(Algorithm):
    """Needs the worker, and says so as long as there is none."""

    def canExecute(self) -> tuple[bool, str]:
        from .readiness import known_obstacle  # late, since QGIS loads this while it starts

        obstacle = known_obstacle()
        return not obstacle, obstacle
