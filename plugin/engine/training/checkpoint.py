"""The state of a training on disk, so that one that was killed goes on as if it had not been.

One safetensors file: the tensors, and JSON in its metadata. No pickle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ....models.errors import OutputError

_KEY = "rasterfuse_training"


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
        raise _unwritable(path, error) from error


def write_checkpoint(path: str, checkpoint: Checkpoint) -> None:
    """Write or replace a checkpoint; an older one stays until the new one is complete.

    Raises:
        OutputError: It cannot be written.
    """
    part = f"{path}.part"
    whole = {
        name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()
    }
    try:
        safetensors.torch.save_file(whole, part, {_KEY: json.dumps(checkpoint.state)})
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):  # what cannot be written may not be there
            os.remove(part)
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: Exception) -> OutputError:
    return OutputError(
        f"The state of the training {path} cannot be written ({error}). Choose another folder or "
        "free some space."
    )


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
