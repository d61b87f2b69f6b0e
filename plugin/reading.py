"""Write jobs as JSON and read the fields of it, for all kinds of them. Standard library only.

All raise InputError with a sentence for what is missing or of the wrong type.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from typing import Any

from ..models.errors import InputError, shown


class PlainData:
    """A dataclass that is written as JSON."""

    def to_json(self) -> str:
        """One line of JSON; numbers that are not finite are written as words."""
        return json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False)

    def to_dict(self) -> dict[str, Any]:
        """What ``from_dict`` reads: nothing but texts, finite numbers, lists and objects."""
        return plain(asdict(self))  # type: ignore[call-overload]


def parsed(text: str) -> Any:
    """What a text of JSON says."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The job is no JSON: {error}. Write it with the dialog.") from error


def version(raw: Any, known: int) -> dict[str, Any]:
    """The job's object, when it is of the version that this RasterFuse reads."""
    if not isinstance(raw, dict):
        raise InputError(f"The job is a {type(raw).__name__}, not an object. Write it anew.")
    if raw.get("version", known) != known:
        raise InputError(
            f"The job has version {shown(raw.get('version'))}, this RasterFuse reads {known}. "
            "Build the job again with this version."
        )
    return raw


def plain(value: Any) -> Any:
    """What JSON can hold: lists for tuples, words for numbers that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def only_known(kind: type, raw: dict[str, Any], where: str = "The job") -> None:
    """Raise InputError for a field that the dataclass does not have."""
    unknown = sorted(set(raw) - {item.name for item in fields(kind)})
    if unknown:
        raise InputError(f"{where} has the unknown field {shown(unknown[0])}. Remove it.")


def text(raw: dict[str, Any], key: str, default: str | None = None, where: str = "") -> str:
    """A text that is not empty."""
    value = raw.get(key, default)
    if not isinstance(value, str) or not value or "\0" in value:
        raise InputError(f"The job's {key}{where} is {shown(value)}, not a text. Give one.")
    return value


def choice(raw: dict[str, Any], key: str, choices: tuple[str, ...]) -> str:
    """One of some texts, the first of them where the field is missing."""
    value = raw.get(key, choices[0])
    if value not in choices:
        raise InputError(f"The job's {key} is {shown(value)}. Choose one of: {', '.join(choices)}.")
    return str(value)


def mapping(value: Any, key: str) -> dict[str, Any]:
    """An object of JSON."""
    if not isinstance(value, dict):
        raise InputError(f"The job's {key} is {shown(value)}, not an object. Write it as {{…}}.")
    return value


def number(value: Any, key: str) -> float | None:
    """A number, also one that is not finite; None for none."""
    if value is None:
        return None
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(
            f"The job's {key} is {shown(value)}, not a number. Give one or leave it out."
        )
    try:
        return float(value)
    except OverflowError as error:
        raise InputError(f"The job's {key} is too large. Give a smaller number.") from error


def flag(raw: dict[str, Any], key: str, default: bool) -> bool:
    """True or false."""
    value = raw.get(key, default)
    if not isinstance(value, bool):
        raise InputError(f"The job's {key} is {shown(value)}. Give true or false.")
    return value


def whole(value: Any, key: str) -> int | None:
    """A whole number above 0; None for none."""
    if value is not None and not (type(value) is int and value > 0):
        raise InputError(f"The job's {key} is {shown(value)}. Give a whole number above 0.")
    return value
