"""Choose bands of a raster and their order."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.core import QgsRasterLayer
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
    QWidgetAction,
)

_LISTED = 8
_BAND = Qt.ItemDataRole.UserRole


class _BandList(QWidget):
    """The drop-down: bands to tick and to drag into order."""

    changed = pyqtSignal()
    automatic = pyqtSignal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.list = QListWidget(self)
        self.list.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.list.setToolTip(self.tr("Tick the bands to use; drag them into the order wanted."))
        self.reset = QPushButton(self.tr("Automatic"), self)
        self.all = QPushButton(self.tr("All"), self)
        self.none = QPushButton(self.tr("None"), self)
        buttons = QHBoxLayout()
        for button in (self.reset, self.all, self.none):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.list)
        layout.addLayout(buttons)
        self.list.itemChanged.connect(lambda _item: self.changed.emit())
        self.list.model().rowsMoved.connect(lambda *_: self.changed.emit())
        self.reset.clicked.connect(self.automatic)
        self.all.clicked.connect(lambda: self._tick_all(Qt.CheckState.Checked))
        self.none.clicked.connect(lambda: self._tick_all(Qt.CheckState.Unchecked))

    def fill(self, names: Sequence[str], chosen: Sequence[int]) -> None:
        """List all bands, the chosen ones ticked and first."""
        self.list.blockSignals(True)
        self.list.clear()
        others = [band for band in range(1, len(names) + 1) if band not in chosen]
        for band in [*chosen, *others]:
            item = QListWidgetItem(names[band - 1], self.list)
            item.setData(_BAND, band)
            ticked = Qt.CheckState.Checked if band in chosen else Qt.CheckState.Unchecked
            item.setCheckState(ticked)
        self.list.blockSignals(False)

    def bands(self) -> tuple[int, ...]:
        """The ticked bands in the order shown."""
        items = [self.list.item(row) for row in range(self.list.count())]
        return tuple(
            item.data(_BAND) for item in items if item.checkState() == Qt.CheckState.Checked
        )

    def _tick_all(self, state: Qt.CheckState) -> None:
        self.list.blockSignals(True)
        for row in range(self.list.count()):
            self.list.item(row).setCheckState(state)
        self.list.blockSignals(False)
        self.changed.emit()


class BandsField(QToolButton):
    """A button that says which bands are used and drops down a list to change them."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names: list[str] = []
        self._automatic: tuple[int, ...] = ()
        self._chosen: tuple[int, ...] | None = None
        self._how = ""
        self._panel = _BandList(self)
        menu = QMenu(self)
        action = QWidgetAction(menu)
        action.setDefaultWidget(self._panel)
        menu.addAction(action)
        menu.aboutToShow.connect(self._fill)
        self.setMenu(menu)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._panel.changed.connect(lambda: self.choose(self._panel.bands()))
        self._panel.automatic.connect(lambda: self.choose(None))
        self._show()

    def set_layer(self, layer: QgsRasterLayer | None) -> None:
        """Offer the bands of a layer; a choice that the layer does not have is dropped."""
        count = layer.bandCount() if layer is not None and layer.isValid() else 0
        self._names = [layer.bandName(band) for band in range(1, count + 1)] if count else []
        if self._chosen is not None and any(band > count for band in self._chosen):
            self._chosen = None
        self.set_automatic(())

    def set_automatic(self, bands: Sequence[int], how: str = "") -> None:
        """Say which bands are taken while the user has not chosen; none means all."""
        self._automatic, self._how = tuple(bands), how
        self._show()

    def choose(self, bands: Sequence[int] | None) -> None:
        """Take these bands; None leaves it to the automatic match."""
        self._chosen = None if bands is None else tuple(bands)
        self._show()
        self._fill()
        self.changed.emit()

    def chosen(self) -> tuple[int, ...] | None:
        """The user's own choice, None when there is none."""
        return self._chosen

    def wanted(self) -> tuple[int, ...]:
        """What the user asks for; empty leaves it to the match."""
        return self._chosen or ()

    def bands(self) -> tuple[int, ...]:
        """The bands that will be used, in order, 1-based; empty means all."""
        return self._automatic if self._chosen is None else self._chosen

    def _fill(self) -> None:
        every = tuple(range(1, len(self._names) + 1))
        self._panel.fill(self._names, self.bands() if self._chosen is not None else
                         self._automatic or every)  # fmt: skip

    def _show(self) -> None:
        count, bands = len(self._names), self.bands()
        self.setEnabled(count > 0)
        if not count:
            text = ""
        elif self._chosen == ():
            text = self.tr("None")
        elif not bands or bands == tuple(range(1, count + 1)):
            text = self.tr("All {}").format(count) if count > 1 else "1"
        elif len(bands) > _LISTED:
            text = self.tr("{} of {} bands").format(len(bands), count)
        else:
            text = self.tr("{} of {}").format(", ".join(map(str, bands)), count)
        self.setText(text)
        names = [self._names[band - 1] for band in bands or range(1, count + 1) if band <= count]
        lines = [*([self._how] if self._how and self._chosen is None else []), *names[:40]]
        self.setToolTip("\n".join(lines))
