"""The tensors of model files: read and written with safetensors, never with pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from torch import Tensor

from .errors import ModelFileError, OutputError, WorkerError
from .model_file import KEY, ModelCard, read_model_card

try:
    import safetensors.torch
    from safetensors import SafetensorError
except ImportError as error:
    raise WorkerError(
        f"The worker's Python cannot load models ({error}). Install safetensors there, or choose "
        "another Python in Settings ▸ Options ▸ RasterFuse.",
        code="worker_library",
    ) from error


def load_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a model file by name, on the CPU.

    Raises:
        ModelFileError: It is missing, damaged, foreign or too new.
    """
    read_model_card(path)
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(
            f"The weights of {os.path.basename(os.fspath(path))} cannot be read ({error}). Get the "
            "file anew.",
            detail=os.fspath(path),
        ) from error


def save_model(
    path: str | os.PathLike[str], card: ModelCard, tensors: Mapping[str, Tensor]
) -> None:
    """Write a model file; an older one of that name stays until the new one is complete.

    Raises:
        OutputError: The folder cannot be written, or the disk is full.
    """
    write_tensors(path, tensors, {KEY: card.to_json()}, "model")


def write_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    what: str,
) -> None:
    """Write a safetensors file; an older one of that name stays until the new one is complete.

    Args:
        path: Its folder is made if need be.
        tensors: By name.
        metadata: Texts for its header.
        what: What to call the file in messages.

    Raises:
        OutputError: The folder cannot be written, or the disk is full.
    """
    part = f"{os.fspath(path)}.part"
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        safetensors.torch.save_file(whole, part, dict(metadata))
        os.replace(part, path)
    except (SafetensorError, OSError) as error:
        raise OutputError(unwritable(what, path, error)) from error
    finally:
        with suppress(OSError):  # what cannot be written may not be there
            os.remove(part)


def unwritable(what: str, path: str | os.PathLike[str], error: Exception) -> str:
    """The sentence for a file that cannot be written."""
    return (
        f"The {what} {os.fspath(path)} cannot be written ({error}). Choose another folder or free "
        "some space."
    )
