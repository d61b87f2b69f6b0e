"""Which interpreters are tried, in which order."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from rasterfuse.plugin.runtime import find
from rasterfuse.plugin.runtime.install import folder


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(find.VARIABLE, raising=False)


def test_a_chosen_interpreter_stands_alone(monkeypatch):
    monkeypatch.setenv(find.VARIABLE, "/opt/variable/bin/python")
    assert find.candidates("/opt/chosen/bin/python") == ["/opt/chosen/bin/python"]


def test_the_environment_variable_comes_next(monkeypatch):
    monkeypatch.setenv(find.VARIABLE, "~/env/bin/python")
    assert find.candidates(None) == [os.path.expanduser("~/env/bin/python")]
    assert find.candidates("") == [os.path.expanduser("~/env/bin/python")]


def test_else_the_managed_environment_that_of_a_checkout_and_the_python_of_qgis(
    monkeypatch, tmp_path
):
    base = program(tmp_path / "base" / "bin" / "python3")
    checkout = program(tmp_path / "build" / "worker" / "bin" / "python")
    managed = program(tmp_path / "runtime" / "abc" / "bin" / "python")
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path / "runtime"))
    folder.Place(tmp_path / "runtime").switch(managed.parents[1], "abc", "cpu", {})
    monkeypatch.setattr(find, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "base_exec_prefix", str(tmp_path / "base"))
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "bin" / "qgis")))
    assert find.candidates() == [str(managed), str(checkout), str(base)]
    managed.unlink()
    assert find.candidates() == [str(checkout), str(base)]


def test_what_is_not_there_is_not_offered_and_nothing_twice(monkeypatch, tmp_path):
    base = program(tmp_path / "bin" / "python3")
    monkeypatch.setattr(find, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "base_exec_prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(base))
    assert find.candidates() == [str(base)]
    base.unlink()
    assert find.candidates() == []


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/usr/bin/python3", True),
        ("/usr/bin/python3.11", True),
        (r"C:\OSGeo4W\apps\Python312\python.exe", True),
        ("/usr/bin/qgis", False),
        (r"C:\Program Files\QGIS 3.34\bin\qgis-ltr-bin.exe", False),
        ("/Applications/QGIS.app/Contents/MacOS/QGIS", False),
        ("/usr/bin/qgis_process.bin", False),
        ("/usr/bin/python3-config", False),
    ],
)
def test_qgis_is_never_taken_for_a_python(path, answer):
    assert find.is_python(path) is answer


def test_the_fingerprint_changes_with_the_interpreter_and_its_environment(tmp_path):
    python = program(tmp_path / "bin" / "python")
    first = find.fingerprint(str(python))
    assert find.fingerprint(str(python)) == first
    (tmp_path / "pyvenv.cfg").write_text("home = /usr")
    second = find.fingerprint(str(python))
    os.utime(python, (5, 5))
    assert len({first, second, find.fingerprint(str(python))}) == 3
    assert find.fingerprint(str(tmp_path / "gone"))[1] == 0


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path
