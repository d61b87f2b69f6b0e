"""What can go wrong, in words for the user.

The text of every error states the fact with the actual values, then what to do. Standard library
only: QGIS and the worker both import this file.
"""

from __future__ import annotations

import reprlib

_LONGEST = 1500  # characters of a sentence; names of files and lists of them are shorter


class FusionError(Exception):
    """Root of all errors that a user may see; ``code`` names the kind for programs and help.

    ``models/catalogue.py`` explains every code.
    """

    code = "internal"

    def __init__(self, sentence: str, code: str | None = None, detail: str = "") -> None:
        sentence = readable(sentence)
        super().__init__(sentence)
        self.sentence = sentence
        self.detail = detail
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return self.sentence

    @property
    def coded(self) -> str:
        """The sentence with its code, by which the help finds it."""
        return with_code(self.sentence, self.code)

    @property
    def log_text(self) -> str:
        """All that is known, for a log."""
        return f"{self.coded}\n{self.detail}".strip()


class InputError(FusionError, ValueError):
    """The inputs or parameters do not fit together or do not fit the method."""

    code = "input"


class CardError(FusionError, ValueError):
    """A method's card is malformed."""

    code = "card"


class ModelFileError(FusionError, ValueError):
    """A model file is damaged, foreign, too new, or cannot be used here."""

    code = "model_file"


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

    code = "worker_ended"


def with_code(sentence: str, code: str) -> str:
    """A sentence as notices and logs show it."""
    return f"{sentence} [{code}]" if code else sentence


def readable(text: str) -> str:
    """One line that can be shown: control characters as escapes, what is too long cut."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST * 2 // 3]} … {text[-_LONGEST // 3 :]}"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def shown(value: object) -> str:
    """A value as a sentence shows it: its beginning, whatever was given and however deep it is."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
