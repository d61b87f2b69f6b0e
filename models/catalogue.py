"""Every kind of failure by its code: what it means and what to do next.

The one registry: notices and the log show the code, the help explains it from here, and
``docs/errors.md`` is written from here (``python tools/errors.py``). A new code is a line here and
a test that causes it. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

ALWAYS = (
    "The sentence beside the code names the file, value or program at fault. Whatever the code, a "
    "fusion that failed leaves no half result, an older result stays as it was, and QGIS goes on."
)


@dataclass(frozen=True)
class Failure:
    """A kind of failure.

    Attributes:
        part: In which part of the work it happens; the help is divided by it.
        meaning: What happened.
        advice: What to do next.
    """

    part: str
    meaning: str
    advice: str


_INSTALL = "Installing the worker's Python"
_START, _WORK = "Starting the worker", "While the worker runs"
_JOB, _OTHER = "Images, settings and results", "Other"

CATALOGUE: dict[str, Failure] = {
    "install_busy": Failure(
        _INSTALL,
        "Another window of QGIS installs into the same folder.",
        "Wait until it has ended, then check again.",
    ),
    "install_python": Failure(
        _INSTALL,
        "No Python was found from which the environment could be made.",
        "Install a Python of 64 bits (on Windows and macOS from python.org), then try again.",
    ),
    "install_venv": Failure(
        _INSTALL,
        "The Python that was found cannot make environments, as Debian ships it.",
        "Install the package that the sentence names, then try again.",
    ),
    "install_unsupported": Failure(
        _INSTALL,
        "There are no current builds of torch and rasterio for this machine.",
        "Choose a Python of your own that has them in Settings ▸ Options ▸ RasterFuse.",
    ),
    "install_space": Failure(
        _INSTALL,
        "The disk is full or would be.",
        "Free some space, or choose a folder on another disk or the smaller build for the CPU.",
    ),
    "install_folder": Failure(
        _INSTALL,
        "The folder for the environment cannot be written or emptied.",
        "Choose another folder, or close what uses it.",
    ),
    "install_network": Failure(
        _INSTALL,
        "The package server cannot be reached.",
        "Check the network, then continue the installation; or install from a folder of wheels.",
    ),
    "install_proxy": Failure(
        _INSTALL,
        "The proxy refuses or cannot be reached.",
        "Check Settings ▸ Options ▸ Network of QGIS, then continue the installation.",
    ),
    "install_certificate": Failure(
        _INSTALL,
        "The server's certificate is not trusted.",
        "Add the certificate of your network in Settings ▸ Options ▸ Authentication of QGIS.",
    ),
    "install_absent": Failure(
        _INSTALL,
        "A package is not to be had from the server or the folder of wheels.",
        "Choose another device, or put the package into the folder of wheels.",
    ),
    "install_hash": Failure(
        _INSTALL,
        "A download is not what the package index announced, so it was not used.",
        "Try again. If it happens again, a proxy or virus scanner changes downloads: ask the "
        "network's administrator.",
    ),
    "install_damaged": Failure(
        _INSTALL,
        "A file of a package is damaged.",
        "Delete it where it comes from, then try again.",
    ),
    "install_denied": Failure(
        _INSTALL,
        "A file cannot be written or started, often because of a virus scanner.",
        "Exempt the folder in the virus scanner or choose another, then continue the installation.",
    ),
    "install_stalled": Failure(
        _INSTALL,
        "Nothing moved for minutes.",
        "Check the network, then continue the installation; what is finished is kept.",
    ),
    "install_probe": Failure(
        _INSTALL,
        "All was installed, but it cannot compute here. The former environment stays in use.",
        "Try the build for the CPU, or choose a Python of your own.",
    ),
    "install_failed": Failure(
        _INSTALL,
        "A step of the installation failed for another reason.",
        "Try again. If it fails again, report it with the diagnostics.",
    ),
    "worker_missing": Failure(
        _START,
        "No Python was found that can run the worker, or the chosen one does not exist or is no "
        "program that can be started.",
        "Choose a Python with torch and rasterio in Settings ▸ Options ▸ RasterFuse.",
    ),
    "worker_library": Failure(
        _START,
        "The Python starts, but torch, rasterio or another library is missing or damaged.",
        "Install the named library anew in that Python, or choose another Python. The log shows "
        "what the library said.",
    ),
    "worker_silent": Failure(
        _START,
        "The Python was started but did not say in time that it is ready. Loading torch may take "
        "long on a busy machine or a network drive.",
        "Try again. If the machine is not busy, choose another Python.",
    ),
    "worker_version": Failure(
        _START,
        "The files of RasterFuse on the disk are of another version than what QGIS has loaded: an "
        "update is half done.",
        "Restart QGIS. If that does not help, install RasterFuse anew.",
    ),
    "worker_protocol": Failure(
        _START,
        "What the worker says cannot be understood: the chosen program is no Python, something in "
        "it prints without end, or files of RasterFuse are damaged.",
        "Choose another Python. If it was fine before, install RasterFuse anew.",
    ),
    "temporary": Failure(
        _START,
        "No folder for temporary files can be made.",
        "Free some space on the disk for temporary files, and look at the rights of its folder.",
    ),
    "worker_killed": Failure(
        _WORK,
        "The worker was killed from outside, most often by the system because memory ran out.",
        "Lower the memory limit of the job (it makes smaller tiles) or close other programs.",
    ),
    "worker_crashed": Failure(
        _WORK,
        "The worker crashed inside a library or a graphics driver.",
        "Run the job with the device cpu. If that helps, update the driver of the graphics card; "
        "if not, install torch and rasterio anew.",
    ),
    "worker_ended": Failure(
        _WORK,
        "The worker ended without an answer and without a sign of a crash.",
        "Run the job again. If it ends like this again, report it with the diagnostics.",
    ),
    "worker_stalled": Failure(
        _WORK,
        "The worker gave no sign of life for minutes: it was stopped, or the machine is short of "
        "memory and does nothing but swap. It was ended.",
        "Close other programs or lower the memory limit of the job, then run it again.",
    ),
    "worker_closed": Failure(
        _WORK,
        "RasterFuse was unloaded or QGIS is closing, so no more work is taken.",
        "Switch the plugin on again.",
    ),
    "input": Failure(
        _JOB,
        "Images or settings do not fit together or do not fit the method: no overlap, other "
        "numbers of bands, a value out of range, a missing image, a job file that is none.",
        "Change what the sentence names. The dialog says it beside the field.",
    ),
    "read": Failure(
        _JOB,
        "An image cannot be opened or read: it is gone, cut off, damaged, no image, or on a drive "
        "that does not answer.",
        "Open the image in QGIS. If that fails too, copy or download it anew.",
    ),
    "write": Failure(
        _JOB,
        "The result cannot be written: the disk is full, the folder is read-only or gone, or the "
        "old result is open in another program.",
        "Free some space or choose another folder or name.",
    ),
    "out_of_memory": Failure(
        _JOB,
        "The job needs more memory than there is.",
        "Lower the memory limit of the job (it makes smaller tiles), choose a smaller window or "
        "extent, or close other programs.",
    ),
    "cancelled": Failure(
        _OTHER,
        "The fusion was cancelled. Nothing was written.",
        "Start it again when you want to.",
    ),
    "model_file": Failure(
        _JOB,
        "A model file is damaged, foreign, too new, or for a method that is not there. Nothing of "
        "it was executed.",
        "Do what the sentence says; most often, get the file anew from its author.",
    ),
    "card": Failure(
        _OTHER,
        "The description of a method, a file of RasterFuse, is damaged.",
        "Install RasterFuse anew. If you wrote the method, mend what the sentence names.",
    ),
    "internal": Failure(
        _OTHER,
        "Something that nobody foresaw went wrong in RasterFuse.",
        "Report it with the diagnostics and, if you can, the job (Copy job).",
    ),
}


def parts() -> dict[str, list[str]]:
    """The codes by the part of the work they belong to, in the order of the catalogue."""
    found: dict[str, list[str]] = {}
    for code, failure in CATALOGUE.items():
        found.setdefault(failure.part, []).append(code)
    return found
