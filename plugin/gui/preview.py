"""The picture of how far a training is, which fills its room."""

from __future__ import annotations

from qgis.PyQt.QtCore import QRectF, QSize, Qt
from qgis.PyQt.QtGui import QFontMetricsF, QPainter, QPaintEvent, QPixmap
from qgis.PyQt.QtWidgets import QSizePolicy, QWidget


class Preview(QWidget):
    """Three images side by side, as the worker writes them, with their names above."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.picture = QPixmap()
        self.setObjectName("trainingPreview")
        self.setToolTip(self.tr("A part of the images that is kept aside, not learnt from"))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setVisible(False)

    def sizeHint(self) -> QSize:
        return QSize(360, 160)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, 90)

    def clear(self) -> None:
        """Hide the picture of the last training."""
        self.picture = QPixmap()
        self.setVisible(False)

    def show_file(self, path: str) -> None:
        """Show a picture; the one before stays when it cannot be read."""
        picture = QPixmap()
        # Not through the name, by which Qt keeps pictures: this one is written again and again.
        try:
            with open(path, "rb") as file:
                picture.loadFromData(file.read())
        except OSError:
            return  # the worker has replaced or removed it in between
        if not picture.isNull():
            self.picture = picture
            self.setVisible(True)
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if self.picture.isNull():
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        metrics = QFontMetricsF(painter.font())
        line = metrics.height() + 2
        size = self.picture.size().scaled(
            self.width(), max(int(self.height() - line), 1), Qt.AspectRatioMode.KeepAspectRatio
        )
        left = (self.width() - size.width()) / 2
        room = QRectF(left, line, size.width(), size.height())
        painter.drawPixmap(room, self.picture, QRectF(self.picture.rect()))
        names = (self.tr("another day"), self.tr("fused"), self.tr("truth"))
        width = size.width() / len(names)
        for number, name in enumerate(names):
            place = QRectF(left + number * width, 0, width, line)
            shown = metrics.elidedText(name, Qt.TextElideMode.ElideRight, width)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, shown)
