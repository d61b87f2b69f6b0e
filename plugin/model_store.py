"""The user's model files: import, export, remove. Standard library only."""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

from ..models.cards import Card, find_card, load_cards
from ..models.errors import InputError, ModelFileError, OutputError
from ..models.model_file import SUFFIX, id_of_name, read_model_card
from ..models.trained import card_of, models_folder


def import_model(path: str | os.PathLike[str]) -> Card:
    """Copy a model file into the user's folder, where it is a method from now on.

    Nothing of it is executed; it is checked before and after it is copied.

    Returns:
        The card of the new method.

    Raises:
        ModelFileError: It is damaged, foreign, too new, or its id is taken.
        OutputError: The folder cannot be written.
    """
    source = Path(os.path.expanduser(os.fspath(path)))
    model, cards = read_model_card(source), load_cards()
    card_of(model, cards, source)
    target = models_folder() / f"{model.id}{SUFFIX}"
    known = cards.get(model.id)
    if known is not None:
        _refuse_other(known, source)
        return known
    _copy(source, target)
    return find_card(model.id)


def export_model(model: str, path: str | os.PathLike[str]) -> Path:
    """Copy the model file of a method to where it can be shared.

    Returns:
        The file that was written; ``.safetensors`` is added where it was missing.

    Raises:
        InputError: There is no such method, or it has no model file.
        OutputError: The file cannot be written.
    """
    card = find_card(model)
    source = (card.weights or {}).get("path")
    if not source:
        raise InputError(f"{card.name} has no model file. Choose a trained model.")
    target = Path(os.path.expanduser(os.fspath(path)))
    if target.suffix.lower() != SUFFIX:
        target = target.with_name(target.name + SUFFIX)
    _copy(Path(source), target)
    return target


def remove_model(model: str) -> None:
    """Delete the model file of a trained model of the user's.

    Raises:
        InputError: There is no such model, or it is part of RasterFuse.
        OutputError: The file cannot be deleted.
    """
    card = find_card(model)
    if card.model_file is None:
        raise InputError(f"{card.name} is part of RasterFuse and cannot be removed.")
    try:
        os.remove(card.model_file)
    except OSError as error:
        raise OutputError(
            f"The model file {card.model_file} cannot be deleted ({error.strerror}). Close what "
            "uses it."
        ) from error


def new_model_path(name: str) -> str:
    """A path in the user's folder for a model of that name; no other method has its id."""
    wanted, taken = id_of_name(name), load_cards()
    numbered = (f"{wanted}_{number}" for number in range(2, len(taken) + 3))
    free = next(item for item in (wanted, *numbered) if item not in taken)
    return str(models_folder() / f"{free}{SUFFIX}")


def make_room(path: str | os.PathLike[str]) -> None:
    """Make the folder of a model file.

    Raises:
        OutputError: It cannot be made.
    """
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {folder} for the model file cannot be made ({error.strerror}). Choose "
            "another."
        ) from error


def _refuse_other(known: Card, source: Path) -> None:
    """Raise ModelFileError unless a known model is this very file."""
    path = (known.weights or {}).get("path")
    if path and filecmp.cmp(path, source, shallow=False):
        return
    raise ModelFileError(
        f"There is already a method with the id {known.id} of the model file {source.name}: "
        f"{known.name}. Remove it first, or keep it.",
        detail=str(source),
    )


def _copy(source: Path, target: Path) -> None:
    make_room(target)
    part = target.with_name(target.name + ".part")
    try:
        try:
            shutil.copyfile(source, part)
            read_model_card(part)  # what was checked before may have changed since
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"The model file {target} cannot be written ({error.strerror or error}). Choose "
            "another folder or free some space."
        ) from error
