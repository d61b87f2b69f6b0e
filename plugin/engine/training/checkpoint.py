"""The state of a training on disk, so that one that was killed goes on as if it had not been.

One safetensors file: the tensors, and JSON in its metadata. No pickle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ....models.errors import OutputError
from ....models.weights import unwritable, write_tensors

_KEY = "rasterfuse_training"
_WHAT = "state of the training"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and all else as plain data."""

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


def claim(path: str) -> None:
    """Make sure that a checkpoint can be written, before time is spent on what it will hold.

    Raises:
        OutputError: It cannot.
    """
    part = f"{path}.part"
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(part, "wb"):
            pass
        os.remove(part)
    except OSError as error:
        raise OutputError(unwritable(_WHAT, path, error)) from error


def write_checkpoint(path: str, checkpoint: Checkpoint) -> None:
    """Write or replace a checkpoint; an older one stays until the new one is complete.

    Raises:
        OutputError: It cannot be written.
    """
    write_tensors(path, checkpoint.tensors, {_KEY: json.dumps(checkpoint.state)}, _WHAT)


def read_checkpoint(path: str) -> Checkpoint | None:
    """A checkpoint; None where there is none or it is damaged, so that a training begins anew."""
    try:
        with safe_open(path, "pt") as file:
            state = json.loads((file.metadata() or {})[_KEY])
            names = list(file.keys())
            return Checkpoint({name: file.get_tensor(name) for name in names}, state)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def remove_checkpoint(path: str) -> None:
    """Remove it, when the training is done."""
    for name in (path, f"{path}.part"):
        if os.path.exists(name):
            os.remove(name)
