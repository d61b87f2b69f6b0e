"""The settings of a method, made from its card."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from qgis.gui import QgsCollapsibleGroupBox, QgsDoubleSpinBox, QgsSpinBox
from qgis.PyQt.QtCore import QObject, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...models.cards import Card, Parameter
from .findings import FindingsLabel

_LIMIT = 2**31 - 1


class _WholeNumber(QgsSpinBox):
    """An int; its lowest place, below the range, means "automatic" where that is allowed."""

    def __init__(self, spec: Parameter, parent: QWidget) -> None:
        super().__init__(parent)
        low = -_LIMIT + 1 if spec.minimum is None else math.ceil(spec.minimum)
        high = _LIMIT if spec.maximum is None else math.floor(spec.maximum)
        self._nothing = low - 1 if spec.default is None else None
        self.setRange(low if self._nothing is None else self._nothing, high)
        self.setSingleStep(2 if spec.odd else 1)
        self.setExpressionsEnabled(False)
        if self._nothing is not None:
            self.setSpecialValueText(self.tr("automatic"))
        self.setClearValue(self._nothing if spec.default is None else spec.default)
        self.set_parameter(spec.default)

    def parameter(self) -> int | None:
        return None if self.value() == self._nothing else self.value()

    def set_parameter(self, value: int | None) -> None:
        self.setValue(self._nothing if value is None else int(value))


class _Number(QgsDoubleSpinBox):
    """A float without trailing zeros; "automatic" as for whole numbers."""

    def __init__(self, spec: Parameter, parent: QWidget) -> None:
        super().__init__(parent)
        low = -1e12 if spec.minimum is None else spec.minimum
        high = 1e12 if spec.maximum is None else spec.maximum
        self._nothing = low - 1 if spec.default is None else None
        self.setDecimals(9)
        self.setRange(low if self._nothing is None else self._nothing, high)
        self.setStepType(self.StepType.AdaptiveDecimalStepType)
        if self._nothing is not None:
            self.setSpecialValueText(self.tr("automatic"))
        self.setClearValue(self._nothing if spec.default is None else spec.default)
        self._low = low
        self.set_parameter(spec.default)

    def textFromValue(self, value: float) -> str:
        return self.locale().toString(value, "g", 10)

    def stepBy(self, steps: int) -> None:
        if self._nothing is not None and self.value() == self._nothing:
            self.setValue(self._low if steps > 0 else self._nothing)
            return
        super().stepBy(steps)
        if self._nothing is not None and self._nothing < self.value() < self._low:
            self.setValue(self._nothing)

    def parameter(self) -> float | None:
        return None if self.value() == self._nothing else self.value()

    def set_parameter(self, value: float | None) -> None:
        self.setValue(self._nothing if value is None else float(value))


class _Choice(QComboBox):
    def __init__(self, spec: Parameter, parent: QWidget) -> None:
        super().__init__(parent)
        if spec.default is None:
            self.addItem(self.tr("automatic"), None)
        for choice in spec.choices:
            self.addItem(choice, choice)
        self.set_parameter(spec.default)

    def parameter(self) -> str | None:
        return self.currentData()

    def set_parameter(self, value: str | None) -> None:
        self.setCurrentIndex(max(self.findData(value), 0))


class _Switch(QCheckBox):
    def __init__(self, spec: Parameter, parent: QWidget) -> None:
        super().__init__(parent)
        self.set_parameter(spec.default)

    def parameter(self) -> bool:
        return self.isChecked()

    def set_parameter(self, value: bool | None) -> None:
        self.setChecked(bool(value))


_EDITORS: dict[str, Any] = {
    "int": _WholeNumber, "float": _Number, "choice": _Choice, "bool": _Switch,
}  # fmt: skip
_SIGNALS = {
    "int": "valueChanged", "float": "valueChanged", "choice": "currentIndexChanged",
    "bool": "toggled",
}  # fmt: skip


class ParameterForm(QWidget):
    """Editors for all parameters of a card; the advanced ones in a group that can be opened."""

    changed = pyqtSignal()

    def __init__(self, card: Card, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.card = card
        self.editors: dict[str, Any] = {}
        self.places: dict[str, FindingsLabel] = {}
        self.advanced: QgsCollapsibleGroupBox | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        plain = [spec for spec in card.parameters if not spec.advanced]
        advanced = [spec for spec in card.parameters if spec.advanced]
        if not card.parameters:
            layout.addWidget(QLabel(self.tr("This method has no settings."), self))
            return
        layout.addLayout(self._form(plain))
        if advanced:
            self.advanced = QgsCollapsibleGroupBox(self.tr("Advanced settings"), self)
            # The group box hides and shows its direct children when it folds: give it just one.
            inside = QWidget(self.advanced)
            inside.setLayout(self._form(advanced))
            QVBoxLayout(self.advanced).addWidget(inside)
            self.advanced.setSaveCollapsedState(False)
            self.advanced.setCollapsed(True)
            layout.addWidget(self.advanced)
        self.reset_button = QPushButton(self.tr("Reset to defaults"), self)
        self.reset_button.setAutoDefault(False)
        self.reset_button.clicked.connect(lambda: self.set_values({}))
        bottom = QHBoxLayout()
        bottom.addStretch(1)
        bottom.addWidget(self.reset_button)
        layout.addLayout(bottom)

    def values(self) -> dict[str, Any]:
        """All parameters; None where the method is to decide."""
        return {name: editor.parameter() for name, editor in self.editors.items()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show these values; parameters that are not named or not allowed take their default."""
        for spec in self.card.parameters:
            value = values.get(spec.name, spec.default)
            try:
                value = spec.check(value)
            except ValueError:
                value = spec.default
            self.editors[spec.name].set_parameter(value)

    def _form(self, specs: list[Parameter]) -> QFormLayout:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for spec in specs:
            editor = _EDITORS[spec.type](spec, self)
            editor.setToolTip(tooltip(spec, self))
            if spec.unit and spec.type in ("int", "float"):
                editor.setSuffix(f" {spec.unit}")
            getattr(editor, _SIGNALS[spec.type]).connect(lambda *_: self.changed.emit())
            label = QLabel(spec.label, self)
            label.setBuddy(editor)
            label.setToolTip(tooltip(spec, self))
            findings = FindingsLabel(self)
            field = QVBoxLayout()
            field.setSpacing(2)
            field.addWidget(editor)
            field.addWidget(findings)
            form.addRow(label, field)
            self.editors[spec.name] = editor
            self.places[f"parameter:{spec.name}"] = findings
        return form


def tooltip(spec: Parameter, context: QObject) -> str:
    """What a parameter does, what it may be and what it is when left alone."""
    lines = [spec.help]
    if spec.type in ("int", "float"):
        lines.append(context.tr("A value {}.").format(spec.range_text()))
    lines.append(default_text(spec, context))
    return "\n".join(lines)


def default_text(spec: Parameter, context: QObject) -> str:
    """A sentence on what a parameter is when left alone."""
    if spec.default is None:
        default = context.tr("automatic")
    elif isinstance(spec.default, bool):
        default = context.tr("on") if spec.default else context.tr("off")
    else:
        default = f"{spec.default} {spec.unit}".strip()
    return context.tr("Default: {}.").format(default)
