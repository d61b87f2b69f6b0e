"""Reads what the choice of a build depends on."""

from __future__ import annotations

import platform
import re
import shutil
import tempfile
from pathlib import Path

from ..process import end, spawn
from .plan import Gpu, Machine

_PATIENCE_S = 20.0
_QUERY = "--query-gpu=driver_version,compute_cap,name"
_AMD = Path("/sys/class/kfd/kfd/topology/nodes")


def this_machine() -> Machine:
    """This machine and its graphics cards; may take seconds, never raises."""
    return Machine(platform.system(), platform.machine(), read_nvidia(_ask_nvidia()), _amd())


def read_nvidia(answer: str) -> tuple[Gpu, ...]:
    """The cards in what ``nvidia-smi`` answers, one a line; what is no card is left out."""
    found = []
    for line in answer.splitlines():
        match = re.match(r"(\d+)\.(\d+)[.\d]*, *(\d+)\.(\d+), *(.+)", line.strip())
        if match:
            numbers = [int(text) for text in match.groups()[:4]]
            found.append(Gpu(match[5], (numbers[0], numbers[1]), (numbers[2], numbers[3])))
    return tuple(found)


def _ask_nvidia() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    folder = Path(tempfile.mkdtemp(prefix="rasterfuse-"))
    try:
        command = [program, _QUERY, "--format=csv,noheader"]
        process = spawn(command, folder, folder / "errors")
        # A broken driver may hang; its few lines fit into the pipe, so they can be read at last.
        code = end(process, _PATIENCE_S)
        if process.stdin is None or process.stdout is None:
            return ""
        with process.stdin, process.stdout:
            return process.stdout.read().decode("utf-8", "replace") if code == 0 else ""
    except OSError:  # a driver that is half removed
        return ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _amd() -> tuple[int, ...]:
    """The kinds of AMD cards that the kernel's driver for computing knows."""
    found = []
    for path in sorted(_AMD.glob("*/properties")):
        try:
            text = path.read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        match = re.search(r"^gfx_target_version (\d+)$", text, re.M)
        if match and int(match[1]):
            found.append(int(match[1]))
    return tuple(found)
