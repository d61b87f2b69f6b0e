"""The button beside the method: train a model, take one in, pass one on, remove one."""

from __future__ import annotations

from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QMenu, QMessageBox, QToolButton, QWidget

from ...models.cards import Card, trainable_cards
from ...models.errors import FusionError
from ...models.model_file import SUFFIX
from .. import model_store
from ..checks import ERROR, INFO
from ..tasks import refresh_methods
from .log import log_error


class ModelButton(QToolButton):
    """Signals: ``train_wanted``; ``chosen`` with the id of a new model; ``told`` (level, text)."""

    train_wanted = pyqtSignal()
    chosen = pyqtSignal(str)
    told = pyqtSignal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._card: Card | None = None
        self.setText(self.tr("Models"))
        self.setToolTip(self.tr("Train, import, export or remove models"))
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        self.train = menu.addAction(self.tr("Train a model …"))
        menu.addSeparator()
        self.take_in = menu.addAction(self.tr("Import model …"))
        self.export = menu.addAction(self.tr("Export model …"))
        self.remove = menu.addAction(self.tr("Remove model …"))
        self.setMenu(menu)
        self.train.triggered.connect(lambda _checked=False: self.train_wanted.emit())
        self.take_in.triggered.connect(lambda _checked=False: self._ask_import())
        self.export.triggered.connect(lambda _checked=False: self._ask_export())
        self.remove.triggered.connect(lambda _checked=False: self._ask_remove())

    def set_card(self, card: Card) -> None:
        """Offer what can be done with the method that is shown."""
        self._card = card
        self.train.setEnabled(bool(trainable_cards()))
        self.export.setEnabled(bool((card.weights or {}).get("path")))
        self.remove.setEnabled(card.model_file is not None)

    def import_file(self, path: str) -> None:
        """Take a model file in, and choose the model."""
        try:
            card = model_store.import_model(path)
        except FusionError as error:
            self._fail(error)
            return
        refresh_methods()
        self.chosen.emit(card.id)
        self.told.emit(INFO, self.tr("{} is a method now.").format(card.name))

    def export_file(self, path: str) -> None:
        """Write the model that is shown to a file."""
        try:
            written = model_store.export_model(self._card.id, path)
        except FusionError as error:
            self._fail(error)
            return
        self.told.emit(INFO, self.tr("The model is in {}.").format(written))

    def remove_shown(self) -> None:
        """Delete the model that is shown."""
        name = self._card.name
        try:
            model_store.remove_model(self._card.id)
        except FusionError as error:
            self._fail(error)
            return
        refresh_methods()
        self.told.emit(INFO, self.tr("{} was removed.").format(name))

    def _fail(self, error: FusionError) -> None:
        log_error(error)
        self.told.emit(ERROR, error.coded)

    def _filter(self) -> str:
        return self.tr("Models (*{})").format(SUFFIX)

    def _ask_import(self) -> None:
        title = self.tr("Import a model")
        path, _ = QFileDialog.getOpenFileName(self.window(), title, "", self._filter())
        if path:
            self.import_file(path)

    def _ask_export(self) -> None:
        title = self.tr("Export a model")
        name = f"{self._card.id}{SUFFIX}"
        path, _ = QFileDialog.getSaveFileName(self.window(), title, name, self._filter())
        if path:
            self.export_file(path)

    def _ask_remove(self) -> None:
        question = self.tr("Delete the model “{}” and its file for good?").format(self._card.name)
        answer = QMessageBox.question(self.window(), self.tr("Remove a model"), question)
        if answer == QMessageBox.StandardButton.Yes:
            self.remove_shown()
