"""The real qgis_process in a fresh profile of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

# The wrapper of Debian 12 does not start; newer ones and other systems have both or only that.
PROGRAM = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
needs_program = pytest.mark.skipif(PROGRAM is None, reason="qgis_process is not installed")
KEPT = ("PATH", "LANG", "TMPDIR")


class Profile:
    """A user's folder, profile and environment, without a trace of this checkout."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.path = folder / "profile" / "profiles" / "default"
        home = folder / "home"
        home.mkdir(mode=0o700)
        self.environment = {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home),
            "QT_QPA_PLATFORM": "offscreen",
            "QGIS_CUSTOM_CONFIG_PATH": str(folder / "profile"),
            **variables,
        }

    def enable(self, plugin: str) -> None:
        """Switch a plugin on, as its box in the plugin manager does."""
        done = self.qgis_process("plugins", "enable", plugin)
        assert done.returncode == 0, done.stdout + done.stderr

    def qgis_process(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run qgis_process with these words."""
        return subprocess.run(
            [PROGRAM, *map(str, words)], capture_output=True, encoding="utf-8", timeout=180,
            check=False, **self._options(),
        )  # fmt: skip

    def start(self, *words: object) -> subprocess.Popen[bytes]:
        """Start qgis_process with these words and do not wait for it."""
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([PROGRAM, *map(str, words)], **silent, **self._options())

    def _options(self) -> dict[str, Any]:
        return {"env": self.environment, "cwd": self.folder}
