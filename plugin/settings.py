"""What RasterFuse remembers between sessions, in QGIS's settings under ``rasterfuse/``."""

from __future__ import annotations

import json
from typing import Any

from qgis.core import QgsSettings

_GROUP = "rasterfuse"
_NAME_TEMPLATE = "{fine}_{date}_{method}"


def worker_python() -> str | None:
    """The interpreter that the user chose for the worker; None to find one."""
    return _text("worker_python") or None


def set_worker_python(path: str | None) -> None:
    """Remember the interpreter; None or an empty text to find one from now on."""
    _set("worker_python", path or "")


def runtime_folder() -> str | None:
    """Where the managed Python is to live; None for the default."""
    return _text("runtime_folder") or None


def set_runtime_folder(path: str | None) -> None:
    """Remember where the managed Python is to live; None or an empty text for the default."""
    _set("runtime_folder", path or "")


def device() -> str:
    """The device to compute on, such as ``auto``, ``cpu`` or ``cuda:0``."""
    return _text("device") or "auto"


def set_device(name: str) -> None:
    _set("device", name)


def output_template() -> str:
    """How results are named: a text with {fine}, {date} and {method}."""
    return _text("output_template") or _NAME_TEMPLATE


def set_output_template(template: str) -> None:
    """Remember how results are named; an empty text brings the default back."""
    _set("output_template", template)


def form_values() -> dict[str, Any]:
    """What the dialog's fields held last; empty when nothing or nonsense is stored."""
    try:
        values = json.loads(_text("form_values") or "{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def set_form_values(values: dict[str, Any]) -> None:
    """Remember what the dialog's fields hold: texts, numbers, lists and objects only."""
    _set("form_values", json.dumps(values))


def known_pythons() -> str:
    """What is known of interpreters from earlier sessions, as ``runtime/known.py`` writes it."""
    return _text("known_pythons")


def set_known_pythons(text: str) -> None:
    """Remember what is known of interpreters."""
    _set("known_pythons", text)


def _text(name: str) -> str:
    value = QgsSettings().value(f"{_GROUP}/{name}", "")
    return value if isinstance(value, str) else ""


def _set(name: str, value: str) -> None:
    settings = QgsSettings()
    if value:
        settings.setValue(f"{_GROUP}/{name}", value)
    else:
        settings.remove(f"{_GROUP}/{name}")
