"""Which Python an installation begins with, and how the children that it starts are watched."""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path

import pytest
from rasterfuse.models.errors import WorkerError
from rasterfuse.plugin.runtime.install import bases, endings
from rasterfuse.plugin.runtime.install.children import Surroundings, run

NEWEST = (3, 14)


@pytest.fixture
def around(tmp_path):
    return Surroundings(tmp_path, tmp_path / "log")


def python(path: Path, version=(3, 12), bits=64, venv=True) -> str:
    """A program that answers as such a Python would."""
    answer = json.dumps({"version": version, "bits": bits, "venv": venv})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("answer", "code", "sentence"),
    [
        ({"version": (3, 9)}, endings.PYTHON, "is Python 3.9, not 3.10 to 3.14."),
        ({"version": (3, 15)}, endings.PYTHON, "is Python 3.15, not 3.10 to 3.14."),
        ({"bits": 32}, endings.PYTHON, "has 32 bits, not 64."),
        ({"venv": False}, endings.VENV, "sudo apt install python3.12-venv"),
    ],
)
def test_an_unfit_python_is_refused_with_the_reason(answer, code, sentence, around, tmp_path):
    chosen = python(tmp_path / "bin" / "python3", **answer)
    with pytest.raises(WorkerError) as caught:
        bases.named(chosen, NEWEST, around)
    assert caught.value.code == code
    assert caught.value.sentence.startswith(chosen)
    assert sentence in caught.value.sentence


@pytest.mark.parametrize("text", ["#!/bin/sh\necho hello\n", "#!/bin/sh\nexit 3\n", "no program"])
def test_what_is_no_python_is_refused(text, around, tmp_path):
    path = tmp_path / "python3"
    path.write_text(text)
    path.chmod(0o755)
    with pytest.raises(WorkerError, match="is no Python that answers"):
        bases.named(str(path), NEWEST, around)


def test_python_3_12_is_preferred_and_broken_ones_are_passed_over(around, tmp_path, monkeypatch):
    broken = tmp_path / "first" / "python3.12"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    python(tmp_path / "second" / "python3.11", (3, 11))
    best = python(tmp_path / "third" / "python3.12")
    folders = [str(tmp_path / name) for name in ("first", "second", "third")]
    monkeypatch.setenv("PATH", os.pathsep.join([*folders, os.environ["PATH"]]))
    assert bases.on_this_machine(NEWEST, around).python == best


def test_a_python_without_venv_is_named_when_there_is_no_better_one(around, tmp_path, monkeypatch):
    bare = python(tmp_path / "python3", (3, 11), venv=False)
    monkeypatch.setattr(bases, "candidates", lambda: [bare])
    with pytest.raises(WorkerError, match=r"sudo apt install python3\.11-venv"):
        bases.on_this_machine(NEWEST, around)
    monkeypatch.setattr(bases, "candidates", lambda: [])
    with pytest.raises(WorkerError, match="None of the 0 Pythons found here"):
        bases.on_this_machine(NEWEST, around)


def test_qgis_itself_is_no_candidate(tmp_path, monkeypatch):
    qgis = python(tmp_path / "bin" / "qgis-bin.exe")
    monkeypatch.setattr(sys, "executable", qgis)
    found = bases.candidates()
    assert found
    assert qgis not in found
    assert len({os.path.realpath(path) for path in found}) == len(found)


def test_a_child_that_says_nothing_but_grows_is_left_alone(tmp_path):
    counter = itertools.count()
    around = Surroundings(
        tmp_path, tmp_path / "log", grown=lambda: next(counter), stall_s=0.2
    )  # fmt: skip
    command = [sys.executable, "-c", "import time; time.sleep(1)"]
    assert run(command, around, "a step").code == 0
    assert next(counter) > 1


def test_a_child_that_neither_speaks_nor_grows_is_ended(tmp_path):
    around = Surroundings(tmp_path, tmp_path / "log", stall_s=0.5)
    with pytest.raises(WorkerError, match=r"Nothing moved for 0\.5 seconds .*\(a step\)"):
        run([sys.executable, "-c", "import time; time.sleep(300)"], around, "a step")


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "install_space",
         "/my folder"),
        ("OSError: [WinError 112] There is not enough space on the disk", "install_space", ""),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE",
         "install_hash", ""),
        ("ProxyError('Cannot connect to proxy.', OSError('407 Proxy Authentication Required'))",
         "install_proxy", ""),
        ("HTTPSConnectionPool(host='pypi.org', port=443): SSLError(SSLCertVerificationError(1, "
         "'[SSL: CERTIFICATE_VERIFY_FAILED]'))", "install_certificate", "pypi.org"),
        ("HTTPSConnectionPool(host='pypi.org', port=443): NewConnectionError: getaddrinfo failed",
         "install_network", "pypi.org"),
        ("PermissionError: [WinError 5] Access is denied: 'c10.dll'", "install_denied",
         "/my folder"),
        ("ERROR: No matching distribution found for torch==2.13.0+cu126", "install_absent",
         "torch==2.13.0+cu126"),
        ("zipfile.BadZipFile: File is not a zip file", "install_damaged", ""),
        ("ERROR: something new", "install_failed", "something new"),
    ],
)  # fmt: skip
def test_what_pip_says_becomes_a_sentence_with_a_next_step(text, code, named):
    error = endings.of_pip(text, 1, Path("/my folder"))
    assert error.code == code
    assert named in error.sentence
    assert error.sentence.count(". ") >= 1
    assert text in error.detail
