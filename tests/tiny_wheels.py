"""Wheels of a few bytes, so that the real pip installs in no time and without network."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rasterfuse.plugin.runtime.install.plan import Build, Plan

BASE = "/usr/bin/python3"
BUILD = Build("cpu", "1.0", "", "cpu", 1, 1)
PROBE = """
import json, sys, torch, tiny_library
fault = sys.argv[1] if len(sys.argv) > 1 else ""
print("what libraries print")
print(json.dumps({"missing": [], "trial": {"fault": fault}, "torch": torch.__version__}))
"""


def write_wheel(
    folder: Path, name: str, version: str, files: Mapping[str, str], needs: str = ""
) -> Path:
    """A wheel with the given modules; ``files`` are paths below the package and their texts."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    content = {f"{name}/__init__.py": f"__version__ = {version!r}\n"}
    content.update({f"{name}/{path}": text for path, text in files.items()})
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    content[f"{info}/METADATA"] = about + (f"Requires-Dist: {needs}\n" if needs else "")
    content[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content[f"{info}/RECORD"] = "".join(f"{p},{_hash(t)},{len(t)}\n" for p, t in content.items())
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_in_archive, text in content.items():
            archive.writestr(name_in_archive, text)
    return path


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def tiny_plan(folder: Path, files: int = 3, **changes: object) -> Plan:
    """A plan for an environment of two tiny packages, whose wheels are written to a folder."""
    wheels = folder / "wheels"
    write_wheel(wheels, "torch", "1.0", {f"part_{n}.py": f"N = {n}\n" for n in range(files)})
    write_wheel(wheels, "tiny_library", "1.0", {})
    probe = folder / "probe.py"
    probe.write_text(PROBE)
    plan = Plan(
        BUILD, ("tiny_library",), (1, 1), "tiny_library==1.0\n", str(wheels), BASE, (str(probe),)
    )
    return replace(plan, **changes)
