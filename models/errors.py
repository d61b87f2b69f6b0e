"""What can go wrong, in words for the user.

The text of every error states the fact with the actual values, then what to do. Standard library
only: QGIS and the worker both import this file.
"""

from __future__ import annotations


class FusionError(Exception):
    """Root of all errors that a user may see; ``code`` names the kind for programs and help."""

    code = "internal"

    def __init__(self, sentence: str, code: str | None = None, detail: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.detail = detail
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return self.sentence


class InputError(FusionError, ValueError):
    """The inputs or parameters do not fit together or do not fit the method."""

    code = "input"


class CardError(FusionError, ValueError):
    """A method's card is malformed."""

    code = "card"


class RasterReadError(FusionError, OSError):
    """A raster cannot be opened or read."""

    code = "read"


class OutputError(FusionError, OSError):
    """The result cannot be written."""

    code = "write"


class MemoryLimitError(FusionError, MemoryError):
    """The job does not fit into memory."""

    code = "out_of_memory"


class CancelledError(FusionError):
    """The user cancelled the job."""

    code = "cancelled"


class WorkerError(FusionError, RuntimeError):
    """The worker process is missing, cannot start, died, or does not keep to the protocol."""

    code = "worker"
