"""The left side of the dialog: method, inputs, settings and output of one fusion."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsRasterLayer
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from ...models.cards import FAMILIES, Card, load_cards
from ...models.errors import FusionError
from ..checks import INFO, Finding
from ..layers.bands import match_bands
from .findings import FindingsLabel
from .image_field import ImageField
from .model_button import ModelButton
from .output_box import OutputBox
from .pairs_table import PairsTable
from .parameter_form import ParameterForm
from .radiometry import PLACE, RadiometryBox
from .raster_combo import FileLayers
from .suggest import project_rasters, suggest_sharpening, suggest_spatiotemporal


class FusionForm(QWidget):
    """All fields; ``changed`` follows every edit, ``card_changed`` another method."""

    changed = pyqtSignal()
    card_changed = pyqtSignal(object)

    def __init__(self, canvas: QgsMapCanvas | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.files = FileLayers(self)
        self.images: dict[str, ImageField] = {}
        self.pairs: PairsTable | None = None
        self.rest = FindingsLabel(self)
        self.band_note: Finding | None = None
        self._values: dict[str, dict[str, Any]] = {}
        self._shown: Card | None = None
        self.family = QComboBox(self)
        self.method = QComboBox(self)
        self.models = ModelButton(self)
        self.summary = QLabel(self)
        self.radiometry = RadiometryBox(self)
        self.output = OutputBox(canvas, self)
        self._inputs = QGroupBox(self.tr("Inputs"), self)
        self._settings = QGroupBox(self.tr("Settings"), self)
        self._build()
        self.family.currentIndexChanged.connect(lambda _index: self._list_methods())
        self.method.currentIndexChanged.connect(lambda _index: self._show_method())
        self.radiometry.changed.connect(self.changed)
        self.output.changed.connect(self.changed)
        self._list_families()
        best = (
            card.id
            for card in load_cards().values()
            if card.family == self.card().family and "baseline" not in card.tags
        )
        self.choose(next(best, self.card().id))

    def _build(self) -> None:
        self.summary.setWordWrap(True)
        method = QGroupBox(self.tr("Method"), self)
        rows = QFormLayout(method)
        rows.addRow(self.tr("Family"), self.family)
        choice = QHBoxLayout()
        choice.addWidget(self.method, 1)
        choice.addWidget(self.models)
        rows.addRow(self.tr("Method"), choice)
        rows.addRow(self.summary)
        QVBoxLayout(self._inputs)
        QVBoxLayout(self._settings)
        layout = QVBoxLayout(self)
        for box in (method, self._inputs, self._settings, self.radiometry, self.output, self.rest):
            layout.addWidget(box)
        layout.addStretch(1)

    def card(self) -> Card:
        """The method chosen."""
        if self.method.currentData() not in load_cards():  # its model file went away
            self.refresh_methods()
        return load_cards()[self.method.currentData()]

    def choose(self, model: str) -> None:
        """Show a method's fields."""
        card = load_cards()[model]
        self.family.setCurrentIndex(self.family.findData(card.family))
        self.method.setCurrentIndex(self.method.findData(model))

    def places(self) -> dict[str, FindingsLabel]:
        """Where findings are shown, by their place."""
        places = {role: field.findings for role, field in self.images.items()}
        if "coarse_target" in places:
            places["date"] = places["coarse_target"]
        if self.pairs is not None:
            places["references"] = self.pairs.findings
        return {
            **places,
            **self.parameters.places,
            **self.output.places,
            PLACE: self.radiometry.findings,
        }

    def fine_layer(self) -> QgsRasterLayer | None:
        """The layer on whose grid the result lies."""
        if self.pairs is not None:
            return self.pairs.first_fine()
        return self.images[self.card().grid_role].layer()

    def suggest(self) -> bool:
        """Fill in the inputs from the project; False when nothing fits together."""
        layers = project_rasters()
        if self.pairs is None:
            return self._suggest_sharpening(layers)
        found = suggest_spatiotemporal(layers)
        if not found.pairs:
            return False
        self.pairs.clear()
        first, *others = found.pairs
        self.pairs.rows[0].coarse.set_layer(first[0])
        self.pairs.rows[0].fine.set_layer(first[1])
        for coarse, fine in others:
            self.pairs.add_pair(coarse, fine)
        if found.target is not None:
            self.images["coarse_target"].raster.set_layer(found.target)
        return True

    def _suggest_sharpening(self, layers: list[QgsRasterLayer]) -> bool:
        chosen = suggest_sharpening(layers)
        for role, layer in zip(("multispectral", "panchromatic"), chosen):
            if layer is not None and role in self.images:
                self.images[role].raster.set_layer(layer)
        return chosen[0] is not None

    def is_empty(self) -> bool:
        """Whether no image is chosen yet."""
        single = any(field.layer() is not None for field in self.images.values())
        return not single and not (self.pairs is not None and self.pairs.pairs())

    def memory(self) -> dict[str, Any]:
        """What to remember for next time: all but the images."""
        self._values[self.card().id] = self.parameters.values()
        return {
            "model": self.card().id,
            "parameters": self._values,
            "radiometry": self.radiometry.memory(),
            "device": self.output.chosen_device(),
            "standard_error": self.output.error.isChecked(),
            "folder": self.files.folder,
        }

    def restore(self, memory: dict[str, Any]) -> None:
        """Show what was remembered, as far as it still exists."""
        parameters = _dict(memory.get("parameters"))
        self._values = {model: _dict(parameters.get(model)) for model in load_cards()}
        model = str(memory.get("model"))
        if model in load_cards():
            self.choose(model)
        self.parameters.set_values(self._values.get(self.card().id, {}))
        self.radiometry.restore(_dict(memory.get("radiometry")))
        self.output.choose_device(str(memory.get("device", "auto")))
        self.output.error.setChecked(memory.get("standard_error") is True)
        self.files.folder = str(memory.get("folder", ""))

    def _list_families(self) -> None:
        used = {card.family for card in load_cards().values()}
        for family, about in FAMILIES.items():
            if family in used:
                self.family.addItem(about.name, family)

    def _list_methods(self) -> None:
        self.method.blockSignals(True)
        self.method.clear()
        for card in load_cards().values():
            if card.family == self.family.currentData():
                self.method.addItem(card.name, card.id)
        self.method.blockSignals(False)
        self._show_method()

    def refresh_methods(self) -> None:
        """Follow model files that came, changed or went; the method chosen stays if it can."""
        family, chosen = self.family.currentData(), self.method.currentData()
        now = [(card.name, card.id) for card in load_cards().values() if card.family == family]
        items = range(self.method.count())
        if now == [(self.method.itemText(item), self.method.itemData(item)) for item in items]:
            return
        self._list_methods()
        self.choose(chosen if chosen in load_cards() else self.card().id)

    def _show_method(self) -> None:
        card = self.card()
        if self._shown is not None:
            self._values[self._shown.id] = self.parameters.values()
        if self._shown is None or self._shown.inputs != card.inputs:
            self._show_inputs(card)
        self._show_parameters(card)
        self._shown = card
        self.summary.setText(card.summary)
        self.models.set_card(card)
        self.output.set_card(card)
        self.radiometry.set_references_wanted(card.family == "spatiotemporal")
        self.card_changed.emit(card)
        self.changed.emit()

    def _show_inputs(self, card: Card) -> None:
        before, pairs_before = self.images, self.pairs
        _empty(self._inputs)
        self.images, self.pairs = {}, None
        dated = card.family == "spatiotemporal"
        for spec in card.inputs:
            if spec.role == "references":
                self.pairs = PairsTable(spec, self.files, self._inputs)
                self.pairs.suggestion_wanted.connect(self.suggest)
                box: ImageField | PairsTable = self.pairs
            else:
                day = dated and not spec.optional
                box = self.images[spec.role] = ImageField(spec, self.files, day, self._inputs)
            box.layer_changed.connect(self._layers_changed)
            box.changed.connect(self.changed)
            box.bands.changed.connect(self._layers_changed)
            self._inputs.layout().addWidget(box)
        for role, field in self.images.items():
            if role in before:
                field.take_over(before[role])
        if self.pairs is not None and pairs_before is not None:
            self.pairs.take_over(pairs_before)
        self._layers_changed()

    def _show_parameters(self, card: Card) -> None:
        _empty(self._settings)
        self.parameters = ParameterForm(card, self._settings)
        self.parameters.set_values(self._values.get(card.id, {}))
        self.parameters.changed.connect(self.changed)
        self._settings.layout().addWidget(self.parameters)

    def _layers_changed(self) -> None:
        """Match the bands and offer the extent of the fine image."""
        if self.pairs is not None:
            self._match_bands(self.images["coarse_target"], self.pairs)
        self.output.set_grid_layer(self.pairs.first_fine() if self.pairs is not None else
                                   self.images[self.card().grid_role].layer())  # fmt: skip

    def _match_bands(self, target: ImageField, pairs: PairsTable) -> None:
        self.band_note = None
        coarse, fine = target.layer(), pairs.first_fine()
        if coarse is None or fine is None or not (coarse.isValid() and fine.isValid()):
            return
        chosen = target.bands.wanted(), pairs.bands.wanted()
        try:
            match = match_bands(coarse, fine, *chosen)
        except FusionError:  # the check of the job says what is wrong
            return
        target.bands.set_automatic(match.coarse, match.how)
        pairs.bands.set_automatic(match.fine, match.how)
        if not all(chosen):
            self.band_note = Finding(INFO, "references", match.how)


def _dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _empty(box: QGroupBox) -> None:
    layout = box.layout()
    while layout.count():
        widget = layout.takeAt(0).widget()
        widget.setVisible(False)
        widget.deleteLater()
