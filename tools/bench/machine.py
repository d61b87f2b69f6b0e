"""What the figures were measured on."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from measure import ROOT, WORKER

_BUSY = 0.5  # load per core above which figures are not to be trusted


@cache
def hello() -> dict[str, Any]:
    """What the worker says of itself: versions and devices."""
    found: dict[str, Any] = json.loads(_said([sys.executable, "-E", str(WORKER), "--probe"]))
    return found


def has_gpu() -> bool:
    """Whether torch sees a CUDA GPU; asked of a child, since this process is to stay small."""
    return any(device["id"].startswith("cuda") for device in hello()["devices"])


def describe() -> str:
    """The machine as a list; call it before the first run, since it states the load."""
    packages = {name: version for name, version in hello()["packages"].items() if version}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    gpus = [device["name"] for device in hello()["devices"] if device["id"] != "cpu"]
    lines = [
        f"Measured on {date.today()}, RasterFuse {hello()['version']}{_commit()}",
        f"CPU: {_cpu()}, {os.cpu_count()} cores; memory: {_memory_gib():.1f} GiB",
        f"GPU: {', '.join(gpus) or 'none'}",
        f"System: {_system()}, {platform.machine()}",
        f"Python {hello()['python']}, {versions}",
        _load(),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _load() -> str:
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    text = f"Load at the start: {load:.2f} per core (mean of the last minute)"
    if load > _BUSY:
        text += ". **The machine was busy: these figures are too low.**"
    return text


def _commit() -> str:
    """The commit in words; nothing where there is no repository."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return ""
    commit = _said(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]).strip()
    changed = _said(["git", "-C", str(ROOT), "status", "--porcelain", "plugin", "models"]).strip()
    return f" (commit {commit}{', with changes' if changed else ''})"


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _system() -> str:
    release = Path("/etc/os-release")
    lines = release.read_text(encoding="utf-8").splitlines() if release.exists() else []
    names = [line.split("=", 1)[1].strip('"') for line in lines if line.startswith("PRETTY_NAME=")]
    return names[0] if names else platform.system()


def _said(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
