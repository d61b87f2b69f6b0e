"""Read and validate the cards: one JSON file per method beside its module.

A card says all that QGIS has to know of a method, so its form, its Processing algorithm, its
checks and its help need no torch. Standard library only: QGIS and the worker both import this.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import CardError, InputError, ModelFileError, shown
from .model_file import ModelCard, read_model_card
from .trained import Stamp, add_models, card_of, stamp

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Family:
    """A kind of fusion: its roles in the order a user meets them, and whose grid it fuses on."""

    name: str
    roles: tuple[str, ...]
    grid_role: str


FAMILIES = {
    "spatiotemporal": Family(
        "Spatiotemporal fusion", ("coarse_target", "references"), "references"
    ),
    "pansharpening": Family("Pansharpening", ("multispectral", "panchromatic"), "panchromatic"),
}
# The role of a raster of codes: they are neither interpolated nor scaled, and need no other bands.
CLASS_LAYER = "class_layer"
_TYPES = {"int": int, "float": float, "bool": bool, "choice": str}


@dataclass(frozen=True)
class Parameter:
    """One setting of a method.

    ``type`` is int, float, bool or choice; ``minimum`` and ``maximum`` are inclusive;
    ``default`` may be None for "decide from the data", which ``help`` then explains.
    """

    name: str
    label: str
    type: str
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    advanced: bool = False
    choices: tuple[str, ...] = ()
    odd: bool = False

    def check(self, value: Any) -> Any:
        """Return ``value`` in the parameter's type.

        Raises:
            InputError: It is of another type, outside the range or no choice.
        """
        if value is None or value == "":
            if self.default is not None:
                return self.default
            return None
        if self.type == "choice":
            return self._check_choice(value)
        if self.type == "bool":
            return self._check_bool(value)
        return self._check_number(value)

    def _check_choice(self, value: Any) -> str:
        if value not in self.choices:
            raise InputError(
                f"{self.label} is {shown(value)}. Choose one of: {', '.join(self.choices)}."
            )
        return str(value)

    def _check_bool(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise InputError(f"{self.label} is {shown(value)}. Give true or false.")
        return value

    def _check_number(self, value: Any) -> float | int:
        wanted = "a whole number" if self.type == "int" else "a number"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"{self.label} is {shown(value)}. Give {wanted}.")
        # The comparison is false for NaN and infinity, and safe for whole numbers of any length.
        if not abs(value) <= sys.float_info.max or (self.type == "int" and value != int(value)):
            raise InputError(f"{self.label} is {shown(value)}. Give {wanted}.")
        low = self.minimum if self.minimum is not None else float("-inf")
        high = self.maximum if self.maximum is not None else float("inf")
        if not low <= value <= high:
            raise InputError(
                f"{self.label} is {value:g}{self._unit()}. Give a value {self.range_text()}."
            )
        if self.odd and int(value) % 2 == 0:
            raise InputError(f"{self.label} is {value:g}. Give an odd number, so it has a centre.")
        return _TYPES[self.type](value)

    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""

    def range_text(self) -> str:
        """The allowed range in words, for messages and tooltips."""
        if self.minimum is not None and self.maximum is not None:
            return f"from {self.minimum:g} to {self.maximum:g}{self._unit()}"
        if self.minimum is not None:
            return f"of at least {self.minimum:g}{self._unit()}"
        if self.maximum is not None:
            return f"of at most {self.maximum:g}{self._unit()}"
        return "of any size"


@dataclass(frozen=True)
class InputSpec:
    """What a method wants in one role; pairs count only for the role ``references``."""

    role: str
    label: str
    help: str = ""
    min_bands: int = 1
    max_bands: int | None = None
    min_pairs: int = 1
    max_pairs: int | None = None
    optional: bool = False


@dataclass(frozen=True)
class Card:
    """A method as users and the engine know it.

    Attributes:
        weights: What the method needs to know of its weights; ``path`` is that of the model file.
        trainable: Whether it has weights that users can train.
        tells_error: Whether it can tell the standard error of its result.
        method: Of a trained model, the id of the method it belongs to; else empty.
        trained: What the model file says of itself, where there is one.
        model_file: Path of the model file in the user's folder, for a trained model.
    """

    id: str
    name: str
    family: str
    class_name: str
    summary: str
    description: str
    paper: Mapping[str, Any]
    inputs: tuple[InputSpec, ...]
    parameters: tuple[Parameter, ...]
    ratio: Mapping[str, float]
    resampling: str
    halo: int | Mapping[str, Any]
    cost: Mapping[str, float]
    weights: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = field(default=())
    rank: int = 50  # place in lists: smaller first, baselines last
    trainable: bool = False
    tells_error: bool = False
    method: str = ""
    trained: ModelCard | None = None
    model_file: str | None = None

    @property
    def module(self) -> str:
        """Dotted name of the method's module, relative to the package ``models``."""
        return f"{self.family}.{self.method or self.id}"

    @property
    def family_name(self) -> str:
        return FAMILIES[self.family].name

    @property
    def grid_role(self) -> str:
        """The role on whose grid the result lies; for ``references``, the first pair's fine."""
        return FAMILIES[self.family].grid_role

    @property
    def citation(self) -> str:
        """Authors, year and DOI in one line."""
        paper = self.paper
        return f"{paper['authors']} ({paper['year']}), doi:{paper['doi']}"

    def input(self, role: str) -> InputSpec:
        """The specification of one role.

        Raises:
            InputError: The method has no such role.
        """
        for spec in self.inputs:
            if spec.role == role:
                return spec
        roles = ", ".join(spec.role for spec in self.inputs)
        raise InputError(f"{self.name} has no input {shown(role)}. It takes {roles}.")

    def check_parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters, defaults filled in.

        Raises:
            InputError: A value is unknown, of the wrong type or out of range.
        """
        known = {spec.name for spec in self.parameters}
        unknown = sorted(set(values) - known)
        if unknown:
            offered = ", ".join(sorted(known)) or "no parameters"
            raise InputError(
                f"{self.name} has no parameter {', '.join(unknown)}. It offers {offered}."
            )
        return {spec.name: spec.check(values.get(spec.name)) for spec in self.parameters}

    def halo_pixels(self, parameters: Mapping[str, Any]) -> int:
        """Fine pixels that a tile needs around its core with these parameters."""
        if isinstance(self.halo, int):
            return self.halo
        return int(parameters[self.halo["half_of"]]) // 2


def load_cards() -> dict[str, Card]:
    """All cards by id, as lists show them: by family, rank and name; trained models as well.

    Model files that came, changed or went since the last call count.

    Raises:
        CardError: A card is malformed or two have the same id.
    """
    return _cards(stamp())[0]


def trainable_cards() -> list[Card]:
    """The methods whose weights users can train, without the models made of them."""
    return [card for card in load_cards().values() if card.trainable and not card.method]


def model_faults() -> list[str]:
    """Why model files in the user's folder are not listed: a sentence for each."""
    return _cards(stamp())[1]


@lru_cache(maxsize=2)
def _cards(files: Stamp) -> tuple[dict[str, Card], list[str]]:
    cards: dict[str, Card] = {}
    for path in sorted(FOLDER.glob("*/*.json")):
        if path.parent.name not in FAMILIES:
            continue
        card = read_card(path)
        if card.id in cards:
            raise CardError(f"{path} repeats the id {card.id!r}. Give every method its own.")
        cards[card.id] = card
    faults = add_models(cards)
    families = list(FAMILIES)

    def place(card: Card) -> tuple[int, int, bool, str]:
        return families.index(card.family), card.rank, bool(card.method), card.name

    return {card.id: card for card in sorted(cards.values(), key=place)}, faults


def find_card(model: str, model_file: str | None = None) -> Card:
    """The card of one method or trained model.

    Args:
        model: Its id.
        model_file: Path of the model file; None looks among the known ones.

    Raises:
        InputError: There is no such method.
        ModelFileError: The file cannot be used, or is that of another model.
    """
    cards = load_cards()
    if model_file is not None:
        return _card_of_file(model, Path(model_file), cards)
    if model not in cards:
        raise InputError(
            f"There is no method {model!r}. Choose one of: {', '.join(cards)}; or import its model "
            "file."
        )
    return cards[model]


def _card_of_file(model: str, path: Path, cards: Mapping[str, Card]) -> Card:
    found = read_model_card(path)
    if found.id != model:
        raise ModelFileError(
            f"The job wants the model {model!r}, but {path.name} is {found.id!r}. Correct "
            "model_file in the job."
        )
    return card_of(found, cards, path)


def read_card(path: Path) -> Card:
    """Read one card and check that it is complete and consistent.

    Raises:
        CardError: It is no JSON, lacks a field, has an unknown one, or contradicts itself.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        raw["class_name"] = raw.pop("class")
        raw["inputs"] = tuple(InputSpec(**spec) for spec in raw["inputs"])
        raw["parameters"] = tuple(_parameter(spec) for spec in raw["parameters"])
        raw["tags"] = tuple(raw.get("tags", ()))
        card = Card(**raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CardError(f"{path} is no valid card: {error}. Mend the file.") from error
    _check_card(card, path)
    return card


def _parameter(spec: dict[str, Any]) -> Parameter:
    spec["choices"] = tuple(spec.get("choices", ()))
    return Parameter(**spec)


def _check_card(card: Card, path: Path) -> None:
    faults = []
    if card.id != path.stem:
        faults.append(f"its id {card.id!r} differs from the file name")
    if card.family != path.parent.name:
        faults.append(f"its family {card.family!r} differs from its folder")
    roles = FAMILIES[card.family].roles if card.family in FAMILIES else ()
    given = tuple(spec.role for spec in card.inputs)
    optional = tuple(spec.role for spec in card.inputs if spec.optional)
    if given != roles + optional:
        faults.append(
            f"its inputs are {given}, those of its family {roles}, after which optional ones may "
            "follow"
        )
    # Both become parameters of one Processing algorithm and arguments of one function.
    for role in {*given} & {spec.name for spec in card.parameters}:
        faults.append(f"an input and a parameter are both called {shown(role)}")
    for spec in card.parameters:
        if spec.type not in _TYPES:
            faults.append(f"parameter {spec.name!r} has the unknown type {spec.type!r}")
            continue
        try:
            spec.check(spec.default)
        except InputError as error:
            faults.append(f"the default of {spec.name!r} is not allowed ({error})")
    if faults:
        raise CardError(f"{path} is no valid card: {'; '.join(faults)}. Mend the file.")
