"""Messages for QGIS's log panel and the icons of the plugin."""

from __future__ import annotations

from pathlib import Path

from qgis.core import Qgis, QgsMessageLog
from qgis.PyQt.QtGui import QIcon

from ...models.errors import FusionError

TAG = "RasterFuse"
ICONS = Path(__file__).resolve().parents[2] / "resources" / "icons"


def log(text: str, level: Qgis.MessageLevel = Qgis.MessageLevel.Info) -> None:
    """Write a line to the log tab RasterFuse without popping up a notice."""
    QgsMessageLog.logMessage(text, TAG, level, False)


def log_error(error: FusionError) -> None:
    """Write what failed, and where in the code when that is known."""
    log(error.log_text, Qgis.MessageLevel.Critical)


def plugin_icon(name: str = "rasterfuse") -> QIcon:
    """An icon of the plugin's own by file name."""
    return QIcon(str(ICONS / f"{name}.svg"))


def level_icon(level: str) -> QIcon:
    """The icon of ``error``, ``warning`` or ``info``."""
    return plugin_icon(level)
