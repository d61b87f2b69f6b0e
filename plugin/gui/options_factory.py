"""Offers the options page to QGIS; light, since QGIS loads it at its start."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qgis.gui import QgsOptionsWidgetFactory
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QWidget

from .log import plugin_icon

if TYPE_CHECKING:
    from .options import OptionsPage

PAGE = "rasterfuseOptions"


class OptionsFactory(QgsOptionsWidgetFactory):
    """Makes the page whenever the user opens QGIS's options."""

    def __init__(self, applied: Callable[[], None]) -> None:
        super().__init__()
        self._applied = applied
        self.setTitle("RasterFuse")

    def icon(self) -> QIcon:
        return plugin_icon()

    def createWidget(self, parent: QWidget | None = None) -> OptionsPage:
        from .options import OptionsPage

        return OptionsPage(self._applied, parent)
