"""The losses of a training as two lines, drawn while it runs."""

from __future__ import annotations

from qgis.PyQt.QtCore import QPointF, QRectF, QSize, Qt
from qgis.PyQt.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPen
from qgis.PyQt.QtWidgets import QSizePolicy, QWidget

_TRAIN, _VALIDATION = QColor("#3b82c4"), QColor("#d07020")
_MARGIN, _TOP = 8.0, 22.0


class Curve(QWidget):
    """Loss over steps, of the samples learnt from and of those kept aside."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.points: list[tuple[float, float | None, float | None]] = []
        self.setObjectName("lossCurve")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        return QSize(360, 180)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, 120)

    def clear(self) -> None:
        """Forget the last training."""
        self.points = []
        self.update()

    def add(self, step: float, train: float | None, validation: float | None) -> None:
        """Add a point; None where nothing was measured."""
        self.points.append((step, train, validation))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), self.palette().base())
        painter.setPen(self.palette().text().color())
        values = [value for point in self.points for value in point[1:] if value is not None]
        if not values:
            text = self.tr("The losses are drawn here while the model is trained.")
            wrap = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(QRectF(self.rect()).adjusted(8, 8, -8, -8), wrap, text)
            return
        low, high = min(values), max(values)
        if high == low:
            low, high = low * 0.9, high * 1.1 or 1.0
        box = self._box(painter, (low, high))
        self._draw_line(painter, box, (low, high), 1, _TRAIN)
        self._draw_line(painter, box, (low, high), 2, _VALIDATION)
        self._draw_legend(painter, box)

    def _box(self, painter: QPainter, limits: tuple[float, float]) -> QRectF:
        """Draw the axes; returns the rectangle between them."""
        metrics = QFontMetricsF(painter.font())
        labels = [f"{limit:.3g}" for limit in limits]
        left = max(metrics.horizontalAdvance(label) for label in labels) + 2 * _MARGIN
        bottom = self.height() - metrics.height() - _MARGIN
        box = QRectF(left, _TOP, self.width() - left - 2 * _MARGIN, bottom - _TOP)
        for label, y in zip(labels, (box.bottom(), box.top())):
            place = QRectF(0, y - metrics.height() / 2, left - _MARGIN, metrics.height())
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(place, right, label)
        below = QRectF(box.left(), box.bottom() + 2, box.width(), metrics.height())
        last = self.tr("step {}").format(f"{self.points[-1][0]:g}")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, last)
        painter.setPen(QPen(self.palette().mid().color(), 1))
        painter.drawLine(box.topLeft(), box.bottomLeft())
        painter.drawLine(box.bottomLeft(), box.bottomRight())
        return box

    def _draw_line(
        self, painter: QPainter, box: QRectF, limits: tuple[float, float], which: int, ink: QColor
    ) -> None:
        low, high = limits
        last = self.points[-1][0] or 1.0
        places = [
            QPointF(
                box.left() + box.width() * point[0] / last,
                box.bottom() - box.height() * (point[which] - low) / (high - low),
            )
            for point in self.points
            if point[which] is not None
        ]
        painter.setPen(QPen(ink, 2))
        for one, other in zip(places, places[1:]):
            painter.drawLine(one, other)
        painter.setBrush(ink)
        for place in places if len(places) < 3 else places[-1:]:
            painter.drawEllipse(place, 3, 3)

    def _draw_legend(self, painter: QPainter, box: QRectF) -> None:
        metrics = QFontMetricsF(painter.font())
        x = box.left()
        for text, ink in ((self.tr("learnt from"), _TRAIN), (self.tr("kept aside"), _VALIDATION)):
            painter.setPen(QPen(ink, 2))
            painter.drawLine(QPointF(x, _TOP / 2), QPointF(x + 16, _TOP / 2))
            painter.setPen(self.palette().text().color())
            width = metrics.horizontalAdvance(text) + 4
            place = QRectF(x + 22, 0, width, _TOP)
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, text)
            x += 22 + width + 16
