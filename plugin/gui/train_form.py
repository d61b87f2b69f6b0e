"""What a training is made of: images, pairing, the model's name and what to write into it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qgis.gui import QgsCollapsibleGroupBox, QgsFileWidget
from qgis.PyQt.QtCore import QCoreApplication, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ...models.cards import load_cards, trainable_cards
from ...models.errors import FusionError, InputError
from ..checks import ERROR, Finding
from ..layers.request import Image
from ..layers.training import Match, build_training_job, images_in, inspect_training, match_dates
from ..training_job import TrainingJob
from .findings import FindingsLabel
from .matches_table import MatchesTable
from .suggest import project_rasters, suggest_spatiotemporal


class TrainForm(QWidget):
    """All fields of the window; ``images_changed`` and ``changed`` follow the edits."""

    images_changed = pyqtSignal()
    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers: tuple[list[Image], list[Image]] = ([], [])
        self.fine = self._folder(self.tr("Folder with the fine images"))
        self.coarse = self._folder(self.tr("Folder with the coarse images"))
        self.from_project = QPushButton(self.tr("Take from project"), self)
        self.tolerance = QSpinBox(self)
        self.table = MatchesTable(self)
        self.name = QLineEdit(self.tr("My model"), self)
        self.method = QComboBox(self)
        self.start = QComboBox(self)
        self.minutes = QDoubleSpinBox(self)
        self.licence = QLineEdit(self)
        self.notes = QLineEdit(self)
        self.simulate = _share(self, TrainingJob.simulate, 1.0)
        self.validation = _share(self, TrainingJob.validation, 0.5)
        self.seed = QSpinBox(self)
        self.device = QComboBox(self)
        self.resume = QCheckBox(self.tr("Go on where a training like this was stopped"), self)
        self.findings = FindingsLabel(self)
        self._build()
        self._connect()

    def _folder(self, title: str) -> QgsFileWidget:
        field = QgsFileWidget(self)
        field.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        field.setDialogTitle(title)
        return field

    def _build(self) -> None:
        self.tolerance.setRange(0, 60)
        self.tolerance.setSuffix(self.tr(" days"))
        self.minutes.setRange(0.1, 100_000)
        self.minutes.setDecimals(1)
        self.minutes.setValue(TrainingJob.minutes)
        self.minutes.setSuffix(self.tr(" min"))
        self.licence.setPlaceholderText(self.tr("e.g. CC-BY-4.0; goes into the model file"))
        self.notes.setPlaceholderText(self.tr("Sensors, place, source; goes into the model file"))
        self.seed.setRange(0, 2**31 - 1)
        self.resume.setChecked(True)
        self.from_project.setAutoDefault(False)  # Enter in a field must not start anything
        self.table.setMinimumHeight(130)
        self.set_devices([])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for box in (self._images_box(), self._model_box(), self._more_box(), self.findings):
            layout.addWidget(box)

    def _images_box(self) -> QGroupBox:
        box = QGroupBox(self.tr("Images of several days"), self)
        form = QFormLayout()
        form.addRow(self.tr("Fine images"), self.fine)
        form.addRow(self.tr("Coarse images"), self.coarse)
        row = QHBoxLayout()
        row.addWidget(self.tolerance)
        row.addStretch(1)
        row.addWidget(self.from_project)
        form.addRow(self.tr("Pairs may be apart"), row)
        layout = QVBoxLayout(box)
        layout.addLayout(form)
        layout.addWidget(self.table, 1)
        return box

    def _model_box(self) -> QGroupBox:
        box = QGroupBox(self.tr("Model"), self)
        form = QFormLayout(box)
        form.addRow(self.tr("Name"), self.name)
        self._method_label = QLabel(self.tr("Method"), box)
        form.addRow(self._method_label, self.method)
        form.addRow(self.tr("Start from"), self.start)
        form.addRow(self.tr("Time"), self.minutes)
        form.addRow(self.tr("Licence of the images"), self.licence)
        form.addRow(self.tr("About the images"), self.notes)
        return box

    def _more_box(self) -> QGroupBox:
        box = QgsCollapsibleGroupBox(self.tr("More settings"), self)
        form = QFormLayout(box)
        form.addRow(self.tr("Area kept aside"), self.validation)
        form.addRow(self.tr("Simulated scenes"), self.simulate)
        form.addRow(self.tr("Seed"), self.seed)
        form.addRow(self.tr("Device"), self.device)
        form.addRow(self.resume)
        box.setCollapsed(True)
        return box

    def _connect(self) -> None:
        for folder in (self.fine, self.coarse):
            folder.fileChanged.connect(self._take_folders)
        self.from_project.clicked.connect(lambda _checked=False: self.take_project())
        self.tolerance.valueChanged.connect(lambda _value: self.images_changed.emit())
        self.table.changed.connect(self.changed)
        self.method.currentIndexChanged.connect(lambda _index: self._list_starts())
        for text in (self.name, self.licence, self.notes):
            text.textChanged.connect(lambda _text: self.changed.emit())
        for number in (self.minutes, self.validation, self.simulate, self.seed):
            number.valueChanged.connect(lambda _value: self.changed.emit())
        for combo in (self.start, self.device):
            combo.currentIndexChanged.connect(lambda _index: self.changed.emit())

    # --- choices ------------------------------------------------------------------------------

    def list_methods(self) -> None:
        """Offer what can be trained now, and what can be gone on with."""
        chosen = self.method.currentData()
        self.method.clear()
        for card in trainable_cards():
            self.method.addItem(card.name, card.id)
        self.method.setCurrentIndex(max(self.method.findData(chosen), 0))
        for widget in (self.method, self._method_label):
            widget.setVisible(self.method.count() > 1)
        self._list_starts()

    def _list_starts(self) -> None:
        chosen = self.start.currentData()
        self.start.clear()
        self.start.addItem(self.tr("RasterFuse's own weights"), None)
        for card in load_cards().values():
            if card.method and card.method == self.method.currentData():
                self.start.addItem(card.name, card.id)
        self.start.setCurrentIndex(max(self.start.findData(chosen), 0))

    def set_devices(self, devices: list[dict[str, Any]]) -> None:
        """Offer the worker's devices."""
        chosen = self.device.currentData()
        self.device.clear()
        self.device.addItem(self.tr("Automatic"), "auto")
        for device in devices:
            self.device.addItem(str(device.get("name") or device["id"]), device["id"])
        self.device.setCurrentIndex(max(self.device.findData(chosen), 0))

    def take_project(self) -> None:
        """Use the pairs among the project's layers instead of folders."""
        found = suggest_spatiotemporal(project_rasters())
        pairs = [(Image(coarse), Image(fine)) for coarse, fine in found.pairs]
        self._layers = ([fine for _, fine in pairs], [coarse for coarse, _ in pairs])
        for folder in (self.fine, self.coarse):
            folder.blockSignals(True)
            folder.setFilePath("")
            folder.blockSignals(False)
        self.images_changed.emit()

    def _take_folders(self) -> None:
        self._layers = ([], [])
        self.images_changed.emit()

    # --- the job ------------------------------------------------------------------------------

    def find_images(self) -> list[Finding]:
        """Look for images and show which belong together; says what is wrong with a folder."""
        found: list[list[Image]] = []
        faults = []
        for folder, layers in zip((self.fine, self.coarse), self._layers):
            path = folder.filePath().strip()
            try:
                found.append(images_in(path) if path else list(layers))
            except InputError as error:
                found.append([])
                faults.append(Finding(ERROR, "job", error.sentence))
        self.table.show_matches(match_dates(found[0], found[1], self.tolerance.value()))
        return faults

    def job(self) -> tuple[TrainingJob | None, list[Finding]]:
        """The training job and all that is to be said of it."""
        try:
            job = build_training_job(
                str(self.method.currentData() or ""),
                self._dated(),
                self.name.text(),
                start_from=self.start.currentData(),
                minutes=self.minutes.value(),
                validation=self.validation.value() / 100,
                simulate=self.simulate.value() / 100,
                seed=self.seed.value(),
                device=str(self.device.currentData()),
                resume=self.resume.isChecked(),
                licence=self.licence.text().strip(),
                notes=self.notes.text().strip(),
            )
        except FusionError as error:
            return None, [Finding(ERROR, "job", error.sentence)]
        return job, inspect_training(job)

    def _dated(self) -> list[Match]:
        return [
            replace(match, fine=replace(match.fine, date=match.day))
            for match in self.table.chosen()
        ]


def _share(parent: QWidget, default: float, most: float) -> QDoubleSpinBox:
    box = QDoubleSpinBox(parent)
    box.setRange(0, 100 * most)
    box.setDecimals(0)
    box.setValue(100 * default)
    box.setSuffix(QCoreApplication.translate("TrainForm", " %"))
    return box
