"""How a worker may fail, in sentences; and the errors that it reports, as exceptions."""

from __future__ import annotations

import re
from typing import Any

from ...models.errors import (
    CancelledError,
    CardError,
    FusionError,
    InputError,
    MemoryLimitError,
    ModelFileError,
    OutputError,
    RasterReadError,
    WorkerError,
)

OPTIONS = "Settings ▸ Options ▸ RasterFuse"
CANCELLED = "The fusion was cancelled. Nothing was written."

# Codes of WorkerError; models/catalogue.py explains them.
MISSING = "worker_missing"  # there is no such interpreter, or it cannot be started
LIBRARY = "worker_library"  # torch, rasterio or another library cannot be imported
KILLED = "worker_killed"  # most often because memory ran out
CRASHED = "worker_crashed"  # a fault in a library or driver
ENDED = "worker_ended"  # it left without an answer
STALLED = "worker_stalled"  # it gave no sign of life for minutes
SILENT = "worker_silent"  # no hello in time
VERSION = "worker_version"  # its files are of another version than the plugin that QGIS runs
PROTOCOL = "worker_protocol"  # it says what cannot be understood
CLOSED = "worker_closed"  # RasterFuse was unloaded
TEMPORARY = "temporary"  # there is no place for temporary files

_KINDS: dict[str, type[FusionError]] = {
    kind.code: kind
    for kind in (
        InputError, CardError, RasterReadError, OutputError, MemoryLimitError, CancelledError,
        ModelFileError, WorkerError,
    )
}  # fmt: skip

_MEMORY = (
    "{who} was killed, most often because memory ran out. Lower the memory limit of the job or "
    "close other programs, then run it again."
)
_CRASH = (
    "{who} crashed ({what}), a fault in a library or a graphics driver. Run the job on the CPU; "
    "if that helps, update the driver."
)
_LOADING = (
    "{who} crashed while it loaded its libraries ({what}); one of them is damaged. Install torch "
    f"and rasterio anew there, or choose another Python in {OPTIONS}."
)
_DLL = (
    "{who} could not load a system library ({what}). Install the Microsoft Visual C++ "
    "Redistributable, then try again."
)
_CPU = (
    "{who} used an instruction that this processor does not have ({what}). Install a torch that "
    "is made for it."
)
_STOPPED = "{who} was ended by another program ({what}). Run the job again."
_BUS = (
    "{who} crashed ({what}); a full disk or a file that shrank meanwhile can cause that. Look at "
    "the free space, then run the job again."
)
# Exit codes; POSIX gives signals as negative numbers, a shell adds them to 128, Windows gives
# NTSTATUS as unsigned numbers.
_ENDINGS: dict[int, tuple[str, str, str]] = {
    9: (KILLED, _MEMORY, "signal 9"),
    4: (CRASHED, _CPU, "signal 4, illegal instruction"),
    6: (CRASHED, _CRASH, "signal 6, abort"),
    7: (CRASHED, _BUS, "signal 7, bus error"),
    8: (CRASHED, _CRASH, "signal 8, arithmetic"),
    11: (CRASHED, _CRASH, "signal 11, segmentation fault"),
    1: (KILLED, _STOPPED, "signal 1, hang-up"),
    2: (KILLED, _STOPPED, "signal 2, interrupt"),
    15: (KILLED, _STOPPED, "signal 15, terminate"),
}
_WINDOWS_ENDINGS: dict[int, tuple[str, str, str]] = {
    0xC0000005: (CRASHED, _CRASH, "0xC0000005, access violation"),
    0xC0000409: (CRASHED, _CRASH, "0xC0000409, stack buffer overrun"),
    0xC0000374: (CRASHED, _CRASH, "0xC0000374, heap corruption"),
    0xC00000FD: (CRASHED, _CRASH, "0xC00000FD, stack overflow"),
    0xC000001D: (CRASHED, _CPU, "0xC000001D, illegal instruction"),
    0xC0000017: (KILLED, _MEMORY, "0xC0000017"),
    0xC0000135: (CRASHED, _DLL, "0xC0000135"),
    0xC0000139: (CRASHED, _DLL, "0xC0000139"),
    0xC0000142: (CRASHED, _DLL, "0xC0000142"),
    0xC000013A: (KILLED, _STOPPED, "0xC000013A"),
}
_ABSENT = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_BROKEN = re.compile(r"^(?:ImportError|OSError): (.*(?:DLL|\.so|dlopen|cannot import).*)$", re.M)
_NO_MEMORY = re.compile(
    r"\bMemoryError\b|std::bad_alloc|CUDA out of memory|not enough memory|Thread creation failed"
)


def ended(who: str, code: int | None, errors: str, starting: bool = False) -> WorkerError:
    """Why a worker ended, from its exit code and the tail of its standard error.

    Args:
        who: Names the worker at the beginning of the sentence.
        code: Exit code; None when it still runs but has closed its output.
        errors: The tail of its standard error.
        starting: It had not yet said hello, so it was loading its libraries.
    """
    found = _from_signal(who, code, starting) or _from_text(who, errors)
    kind, sentence = found or _otherwise(who, code)
    return WorkerError(sentence, code=kind, detail=f"exit code {code}\n{errors}".strip())


def _from_signal(who: str, code: int | None, starting: bool) -> tuple[str, str] | None:
    if code is None:
        return None
    found = _WINDOWS_ENDINGS.get(code & 0xFFFFFFFF) if abs(code) > 2**29 else None
    if found is None and code < 0:
        found = _ENDINGS.get(-code, (CRASHED, _CRASH, f"signal {-code}"))
    if found is None and 128 < code < 160:
        found = _ENDINGS.get(code - 128)
    if found is None:
        return None
    kind, sentence, what = found
    if starting and sentence in (_CRASH, _BUS):
        sentence = _LOADING
    return kind, sentence.format(who=who, what=what)


def _from_text(who: str, errors: str) -> tuple[str, str] | None:
    absent = _ABSENT.findall(errors)
    if absent:
        return LIBRARY, (
            f"{who} lacks the library {absent[-1]}. Install it there, or choose another Python "
            f"in {OPTIONS}."
        )
    broken = _BROKEN.findall(errors)
    if broken:
        return LIBRARY, (
            f"{who} cannot load a library ({broken[-1][:200]}). Install it anew there, or choose "
            f"another Python in {OPTIONS}."
        )
    if _NO_MEMORY.search(errors):
        return KILLED, (
            f"{who} ran out of memory. Lower the memory limit of the job or close other programs, "
            "then run it again."
        )
    return None


def _otherwise(who: str, code: int | None) -> tuple[str, str]:
    if code is None:
        return PROTOCOL, f"{who} closed its output without an answer. Run the job again."
    return ENDED, (
        f"{who} ended without an answer (exit code {code}). Run the job again; if it ends like "
        "this again, report it with the log."
    )


def rebuilt(message: dict[str, Any]) -> FusionError:
    """The exception that a worker's ``error`` message stands for."""
    code = str(message.get("code") or "internal")
    sentence = message.get("sentence")
    if not isinstance(sentence, str) or not sentence:
        sentence = "The worker failed without saying why. Report it with the log."
    kind = _KINDS.get(code, FusionError)
    return kind(sentence, code=code, detail=str(message.get("detail") or ""))


def unfit(python: str, missing: list[str]) -> WorkerError:
    """An interpreter runs, but lacks what the worker needs."""
    names = " and ".join([", ".join(missing[:-1]), missing[-1]] if len(missing) > 1 else missing)
    return WorkerError(
        f"{python} cannot import {names}. Install what is missing there, or choose another Python "
        f"in {OPTIONS}.",
        code=LIBRARY,
    )


def not_started(python: str, error: OSError) -> WorkerError:
    """An interpreter is not there or is no program."""
    if isinstance(error, FileNotFoundError):
        fault = "does not exist"
    else:
        fault = f"cannot be started ({error.strerror or error})"
    return WorkerError(
        f"The Python {python} {fault}. Choose another in {OPTIONS}.",
        code=MISSING,
        detail=repr(error),
    )


def is_lacking(error: WorkerError | None) -> bool:
    """Whether an interpreter is only not the right one, as most are, and not broken."""
    return error is not None and error.code in (MISSING, LIBRARY)


def none_found(looked: list[str]) -> str:
    """The sentence for a search without success."""
    where = f" (looked at {' and '.join(looked)})" if looked else ""
    return f"No Python with torch and rasterio was found{where}. Choose one in {OPTIONS}."


def silent(who: str, seconds: float, errors: str) -> WorkerError:
    """No hello came in time."""
    return WorkerError(
        f"{who} did not answer within {seconds:g} seconds. Try again; if the machine is not busy, "
        f"choose another Python in {OPTIONS}.",
        code=SILENT,
        detail=errors,
    )


def babble(who: str, noise: list[str], errors: str) -> WorkerError:
    """What comes over the pipe is not the protocol."""
    first = noise[0] if noise else ""
    return WorkerError(
        f"{who} says what RasterFuse cannot understand ({first[:80]!r}). Choose another Python in "
        f"{OPTIONS}, or install RasterFuse anew.",
        code=PROTOCOL,
        detail="\n".join([*noise, errors]),
    )


def other_version(who: str, theirs: tuple[object, ...], ours: tuple[object, ...]) -> WorkerError:
    """The worker's files are of another version than the plugin that QGIS has loaded.

    Args:
        who: Names the worker at the beginning of the sentence.
        theirs: Version of RasterFuse and of the protocol, as its hello said.
        ours: The same of this process.
    """
    return WorkerError(
        f"{who} is of RasterFuse {theirs[0]} (protocol {theirs[1]}), QGIS has loaded {ours[0]} "
        f"(protocol {ours[1]}). Restart QGIS to end an update that is half done.",
        code=VERSION,
    )


def no_sign_of_life(who: str, seconds: float) -> str:
    """The sentence for a worker that may be stopped, or only slow."""
    return (
        f"{who} has given no sign of life for {seconds:g} seconds. The machine may be short of "
        "memory; close other programs, or cancel."
    )


def stalled(who: str, seconds: float, errors: str) -> WorkerError:
    """A worker that was given up."""
    return WorkerError(
        f"{who} gave no sign of life for {seconds:g} seconds and was ended. Close other programs "
        "or lower the memory limit of the job, then run it again.",
        code=STALLED,
        detail=errors,
    )


def cancelled() -> CancelledError:
    return CancelledError(CANCELLED)


def closed() -> WorkerError:
    """Work was asked for after unload."""
    return WorkerError("RasterFuse was unloaded. Load the plugin again.", code=CLOSED)
