"""A form that scrolls up and down in its window."""

from __future__ import annotations

from qgis.gui import QgsScrollArea
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QFrame, QWidget


def scrolled(form: QWidget, parent: QWidget) -> QgsScrollArea:
    """The form in a scroll area without a frame; it is never wider than that."""
    scroll = QgsScrollArea(parent)
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(form)
    return scroll
