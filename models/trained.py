"""Trained models as methods: the model files in the user's folder and those in ``weights/``.

A file that cannot be used is left out and said why; it never breaks the list of methods. Standard
library only: QGIS and the worker both import this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ModelFileError
from .model_file import SUFFIX, ModelCard, read_model_card

if TYPE_CHECKING:
    from .cards import Card

VARIABLE = "RASTERFUSE_MODELS"
_SAME_BAND = 0.1  # relative difference up to which bands of two sensors show much the same
SHIPPED = Path(__file__).resolve().parent / "weights"

Stamp = tuple[tuple[str, int, int], ...]


def local_data() -> Path:
    """The folder for local data of programs, which does not roam and lies in no QGIS profile."""
    home = Path.home()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(home / "Library" / "Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or str(home / ".local" / "share")
    return Path(base) / "rasterfuse"


def models_folder() -> Path:
    """Where the user's model files lie: what the variable says, else the default."""
    stated = os.environ.get(VARIABLE)
    return Path(stated).expanduser() if stated else local_data() / "models"


def stamp() -> Stamp:
    """What tells whether the model files have changed: names, sizes and times."""
    found = []
    for path in (*_files(SHIPPED), *_files(models_folder())):
        try:
            status = path.stat()
        except OSError:
            continue  # it went away in between
        found.append((str(path), status.st_size, status.st_mtime_ns))
    return tuple(found)


def add_models(cards: dict[str, Card]) -> list[str]:
    """Add a card for every usable model file.

    Args:
        cards: Of the methods, by id; is changed. The weights shipped for a method itself, which
            have its id, become part of its card.

    Returns:
        Why files were left out: a sentence for each.
    """
    methods, faults = dict(cards), []
    for path in (*_files(SHIPPED), *_files(models_folder())):
        try:
            model = read_model_card(path)
            card = card_of(model, methods, path)
            if path.parent == SHIPPED and model.id == model.method:
                methods[model.id] = cards[model.id] = card
                continue
            _check_id(model, methods, cards, path)
        except ModelFileError as error:
            faults.append(error.sentence)
            continue
        cards[card.id] = card
    return faults


def card_of(model: ModelCard, methods: Mapping[str, Card], path: Path) -> Card:
    """The card of a model file: that of its method, with what the model says of itself.

    Raises:
        ModelFileError: This RasterFuse does not have its method, or it takes no weights.
    """
    base = methods.get(model.method)
    if base is None or not base.trainable:
        what = "does not have" if base is None else "cannot give weights"
        raise ModelFileError(
            f"The model file {path.name} is for the method {model.method}, which this RasterFuse "
            f"{what}. Update RasterFuse.",
            detail=str(path),
        )
    weights = {**(base.weights or {}), "path": str(path)}
    if model.id == model.method:
        return replace(base, weights=weights, trained=model)
    return replace(
        base,
        id=model.id,
        name=model.name,
        method=base.id,
        summary=f"{base.name}, trained on {_what(model)}.",
        description=f"{about(model)} {base.description}",
        ratio=dict(zip(("min", "max"), model.ratio)) if model.ratio else base.ratio,
        weights=weights,
        trained=model,
        model_file=str(path),
    )


def about(model: ModelCard) -> str:
    """What a user wants to know of a model, in sentences."""
    facts = [
        f"Trained on {model.data or _what(model)}",
        f"Images of {', '.join(model.dates)}" if model.dates else "",
        f"Bands: {', '.join(model.bands)}" if model.bands else "",
        f"Bands at {_nanometres(model.wavelengths)}" if model.wavelengths else "",
        f"Made for pixels of {_span(model.scale)} m" if model.scale else "",
        f"Made for coarse pixels {_span(model.ratio)} times as large" if model.ratio else "",
        f"Licence: {model.licence}" if model.licence else "",
        model.notes,
        *figures(model),
    ]
    return " ".join(fact if fact.endswith(".") else f"{fact}." for fact in facts if fact)


def figures(model: ModelCard) -> Iterator[str]:
    """The errors on images kept aside, beside those of the trivial answers."""
    own = model.metrics.get("model", {})
    for name, value in own.items():
        others = [
            f"{answer.replace('_', ' ')} {numbers[name]:.4g}"
            for answer, numbers in model.metrics.items()
            if answer != "model" and name in numbers
        ]
        beside = f" ({', '.join(others)})" if others else ""
        yield f"On images kept aside: {name} {value:.4g}{beside}"


def misfits(
    card: Card, label: str, metres: float | None, wavelengths: Sequence[float | None]
) -> Iterator[str]:
    """What a user should know before a model is used on an image.

    Args:
        card: Of the model.
        label: Names the image.
        metres: Size of its pixels, None when not known.
        wavelengths: Of its bands in nanometres, None where not known.
    """
    if card.trained is None:
        return
    known, scale = card.trained.wavelengths, card.trained.scale
    others = [
        length
        for length in wavelengths
        if known and length and all(abs(length - one) > _SAME_BAND * one for one in known)
    ]
    if others:
        yield (
            f"{label} has bands at {_nanometres(others)}; {card.name} was trained on bands at "
            f"{_nanometres(known)}. Look at the result with care."
        )
    if scale is not None and metres and not scale[0] <= metres <= scale[1]:
        yield (
            f"The pixels of {label} measure {metres:.3g} m; {card.name} is made for pixels of "
            f"{_span(scale)} m. Look at the result with care."
        )


def _nanometres(wavelengths: Sequence[float]) -> str:
    return ", ".join(f"{length:.0f}" for length in wavelengths) + " nm"


def _check_id(
    model: ModelCard, methods: Mapping[str, Card], cards: Mapping[str, Card], path: Path
) -> None:
    if model.id in methods:
        raise ModelFileError(
            f"The model file {path.name} has the id {model.id}, which is that of a method of "
            "RasterFuse. Ask its author for another id.",
            detail=str(path),
        )
    if model.id in cards:
        other = os.path.basename(str(cards[model.id].model_file))
        raise ModelFileError(
            f"The model files {other} and {path.name} have the same id {model.id}; the second was "
            "left out. Remove one of them.",
            detail=str(path),
        )


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() == SUFFIX)
    except OSError:  # no such folder, or not for us
        return []


def _what(model: ModelCard) -> str:
    if model.sensors:
        return " and ".join(model.sensors)
    return f"images of {len(model.dates)} days" if model.dates else model.data or "other images"


def _span(limits: tuple[float, float]) -> str:
    low, high = limits
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
