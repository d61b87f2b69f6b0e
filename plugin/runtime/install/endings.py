"""How an install may fail, in sentences."""

from __future__ import annotations

import re
from pathlib import Path

from ....models.errors import CancelledError, WorkerError
from ..endings import OPTIONS

BUSY = "install_busy"  # another window of QGIS installs
PYTHON = "install_python"  # no Python to begin with
VENV = "install_venv"  # a Python that can make no environments
UNSUPPORTED = "install_unsupported"  # there is no torch for this machine
SPACE = "install_space"  # the disk is full, or would be
FOLDER = "install_folder"  # the folder cannot be written
NETWORK = "install_network"  # a server cannot be reached
PROXY = "install_proxy"  # the proxy refuses
CERTIFICATE = "install_certificate"  # a certificate is not trusted
ABSENT = "install_absent"  # the package index or folder lacks a package
HASH = "install_hash"  # a download is not what the index announced
DAMAGED = "install_damaged"  # a file of a package is broken
DENIED = "install_denied"  # often a virus scanner
STALLED = "install_stalled"  # nothing moved for minutes
FAILED = "install_failed"  # anything else
PROBE = "install_probe"  # what was installed does not work

CANCELLED = "The installation was cancelled. What is finished is kept; Install continues from it."
_ALTERNATIVE = f"or choose a Python of your own in {OPTIONS}"
_NO_ROUTE = (
    r"NewConnectionError|Name or service not known|name resolution|getaddrinfo failed"
    r"|ConnectTimeout|ReadTimeout|Connection refused|Network is unreachable|Connection reset"
    r"|RemoteDisconnected|Connection broken|Failed to establish"
)
# The first that is found counts. The texts are those of pip and of the systems below it.
_SIGNS: tuple[tuple[str, str, str], ...] = (
    (SPACE, r"No space left on device|Errno 28\b|WinError 112|Disk quota exceeded",
     "The disk with {folder} is full. Free some space, then continue the installation."),
    (HASH, r"DO NOT MATCH THE HASHES|Expected sha256",
     "A download is not what the package index announced{what}. Try again; if it happens again, "
     "a proxy or virus scanner may change downloads: ask the network's administrator."),
    (DAMAGED, r"BadZipFile|[Ii]nvalid wheel|is invalid\.|not a zip file|unexpected end of data",
     "A file of a package is damaged{what}. Delete it where it comes from, then try again."),
    (PROXY, r"ProxyError|Cannot connect to proxy|Tunnel connection failed|407 Proxy",
     "The proxy refuses or cannot be reached{what}. Check Settings ▸ Options ▸ Network of QGIS, "
     "then continue the installation."),
    (CERTIFICATE, r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|SSLError",
     "The server's certificate is not trusted{what}. Add the certificate of your network to QGIS "
     "(Settings ▸ Options ▸ Authentication), then continue the installation."),
    (NETWORK, _NO_ROUTE,
     "The package server cannot be reached{what}. Check the network, then continue the "
     "installation; or install from a folder of wheels."),
    (DENIED, r"PermissionError|Permission denied|Access is denied|WinError (?:5|32)\b",
     "A file in {folder} cannot be written or started{what}. If a virus scanner blocks it, exempt "
     "this folder or choose another, then continue the installation."),
    (ABSENT, r"No matching distribution found|Could not find a version|ResolutionImpossible",
     "A package is not to be had{what}. Choose another device, put it into the folder of wheels, "
     f"{_ALTERNATIVE}."),
)  # fmt: skip
_SERVERS = (re.compile(r"host='([^']+)'"), re.compile(r"Looking in indexes: ([^\s,]+)"))
_PACKAGES = (
    re.compile(r"No matching distribution found for (\S+)"),
    re.compile(r"Cannot install (\S+)"),
    re.compile(r"^ERROR: (.*)$", re.M),
)


def of_pip(text: str, code: int | None, folder: Path) -> WorkerError:
    """Why pip or venv ended badly.

    Args:
        text: What it wrote.
        code: Its exit code.
        folder: Where it was to install.
    """
    detail = f"exit code {code}\n{text}".strip()
    for kind, sign, words in _SIGNS:
        if re.search(sign, text):
            names = _SERVERS if kind in (NETWORK, PROXY, CERTIFICATE) else _PACKAGES
            sentence = words.format(folder=folder, what=_first(names, text))
            return WorkerError(sentence, kind, detail)
    return WorkerError(
        f"A step of the installation failed with exit code {code}{_first(_PACKAGES, text)}. Try "
        f"again; if it fails again, report it with the log, {_ALTERNATIVE}.",
        FAILED,
        detail,
    )


def _first(names: tuple[re.Pattern[str], ...], text: str) -> str:
    """What the first sign that is found names, in brackets."""
    found = next((match[1] for name in names if (match := name.search(text))), "")
    return f" ({found[:160]})" if found else ""


def cancelled() -> CancelledError:
    return CancelledError(CANCELLED)


def busy(who: str) -> WorkerError:
    """Another window installs into the same folder."""
    return WorkerError(
        f"{who} is installing into the same folder. Wait until it has ended, then check again.",
        BUSY,
    )


def no_python(looked: int, newest: tuple[int, int]) -> WorkerError:
    """Nothing on this machine can begin the installation."""
    return WorkerError(
        f"None of the {looked} Pythons found here is a Python 3.10 to 3.{newest[1]} of 64 bits. "
        "Install one (on Windows and macOS from python.org, on Debian and Ubuntu the package "
        "python3-venv), then try again.",
        PYTHON,
    )


def not_fit(python: str, fault: str) -> WorkerError:
    """The Python that was asked for cannot be used."""
    return WorkerError(f"{python} {fault}. Choose another Python.", PYTHON)


def no_venv(python: str, version: tuple[int, int]) -> WorkerError:
    """As Debian ships it: a Python without the module that makes environments."""
    name = f"python{version[0]}.{version[1]}-venv"
    return WorkerError(
        f"{python} cannot make environments: its module venv is incomplete. Install it (on Debian "
        f"and Ubuntu: sudo apt install {name}), then try again.",
        VENV,
    )


def unsupported(machine: str) -> WorkerError:
    """Nobody makes torch or rasterio for this machine any more, or yet."""
    return WorkerError(
        f"There are no current builds of torch and rasterio for {machine}. Choose a Python of your "
        f"own that has them in {OPTIONS}.",
        UNSUPPORTED,
    )


def no_space(folder: Path, needed_mb: float, free_mb: float) -> WorkerError:
    """It would not fit."""
    return WorkerError(
        f"The installation needs {needed_mb / 1000:.1f} GB on the disk with {folder}, of which "
        f"{free_mb / 1000:.1f} GB are free. Free some space, or choose a folder on another disk or "
        "the smaller build for the CPU.",
        SPACE,
    )


def no_folder(folder: Path, error: OSError) -> WorkerError:
    """Nothing can be written there."""
    return WorkerError(
        f"{folder} cannot be written ({error.strerror or error}). Choose another folder for the "
        f"managed Python in {OPTIONS}.",
        FOLDER,
        repr(error),
    )


def not_removed(folder: Path) -> WorkerError:
    """A program still uses what is to be removed."""
    return WorkerError(
        f"Something in {folder} is in use and could not be removed. Wait for the fusions in all "
        "windows of QGIS to end, then remove it again.",
        FOLDER,
    )


def no_wheels(folder: str) -> WorkerError:
    """The folder for an installation without network is not there."""
    return WorkerError(
        f"The folder of wheels {folder} does not exist. Choose the folder that holds the .whl "
        "files, or none to download them.",
        ABSENT,
    )


def stalled(step: str, seconds: float, text: str) -> WorkerError:
    """Neither output nor a growing file for long."""
    return WorkerError(
        f"Nothing moved for {seconds:g} seconds while installing ({step}). Check the network, then "
        "continue the installation; what is finished is kept.",
        STALLED,
        text,
    )


def probe_failed(sentence: str, text: str) -> WorkerError:
    """All is installed, but it does not work."""
    return WorkerError(
        f"What was installed does not work: {sentence} The former environment, if any, is still "
        "in use. Try the build for the CPU, or report it with the log.",
        PROBE,
        text,
    )
