"""tools/packages: what a newcomer without rights reads."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "packages"
ABSENT = "rasterfuse-is-no-debian-package"

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-query"), reason="for Debian")

HIDE_SUDO = 'command() { [ "$2" != sudo ] && builtin command "$@"; }\n'


def run_as_nobody(*packages: str) -> subprocess.CompletedProcess[str]:
    """Run the script without root's rights, on a system whose sudo is hidden."""
    return subprocess.run(
        ["/bin/bash", "-s", "--", *packages],
        input=HIDE_SUDO + SCRIPT.read_text(encoding="utf-8"),
        env={"PATH": "/usr/bin:/bin"},
        user=65534 if os.geteuid() == 0 else None,
        capture_output=True, text=True, timeout=60, check=False, cwd="/",
    )  # fmt: skip


def test_without_root_and_sudo_a_sentence_names_the_packages():
    done = run_as_nobody("bash", ABSENT)
    assert done.returncode == 1
    assert done.stderr == (
        f"These Debian packages are missing: {ABSENT}. Installing them takes root or sudo, and "
        "you have neither. Ask an administrator to run: apt-get install --no-install-recommends "
        f"{ABSENT}\n"
    )


def test_when_nothing_is_missing_nothing_is_said_and_no_rights_are_needed():
    done = run_as_nobody("bash", "coreutils")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
