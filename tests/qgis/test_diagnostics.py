"""The diagnostics page, the help on error codes, and the algorithm that tells of the worker."""

from __future__ import annotations

import getpass
import os
import re
import signal
from pathlib import Path

import processing
import pytest
from desktop import Desktop, load, write_scene
from faults import assert_clean_failure, workers_of
from qgis.core import Qgis, QgsApplication, QgsSettings
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QPushButton
from rasterfuse import classFactory
from rasterfuse.models.catalogue import CATALOGUE
from rasterfuse.plugin import recent_errors, settings
from rasterfuse.plugin.gui.diagnostics_dialog import DiagnosticsDialog
from rasterfuse.plugin.gui.error_help import ErrorHelp
from rasterfuse.plugin.runtime import runtime
from rasterfuse.plugin.runtime.find import fingerprint
from scripted_worker import HELLO, REPORT, scripted_worker, starts

pytest_plugins = ["small_scene"]

RUN_MS = 120_000  # that anything may take on a busy machine; nothing may hang
STATUS = "rasterfuse:runtime_status"


@pytest.fixture
def fresh(qgis_new_project):
    """No settings, no memory of earlier runs."""
    store = QgsSettings()
    store.remove("rasterfuse")
    runtime.close_all()
    recent_errors.forget()
    yield
    store.remove("rasterfuse")
    runtime.close_all()
    recent_errors.forget()


@pytest.fixture
def python(fresh, tmp_path):
    """The user's choice: a worker that the tests can count the starts of."""
    path = scripted_worker(tmp_path, [REPORT])
    settings.set_worker_python(path)
    return path


def status(**given):
    return processing.run(STATUS, given)


# --- the algorithm ----------------------------------------------------------------------------


def test_nothing_is_started_to_say_that_nothing_is_known(provider, python, tmp_path):
    result = status()
    assert (result["READY"], result["STATE"]) == (False, "not looked at yet")
    assert starts(tmp_path) == []
    assert "| State | not looked at yet |" in result["DIAGNOSTICS"]


def test_a_check_asks_really_and_is_remembered_in_the_next_session(provider, python, tmp_path):
    result = status(CHECK=True)
    assert (result["READY"], result["STATE"], result["PYTHON"]) == (True, "ready", python)
    assert (result["DEVICE"], result["REASON"], result["CODE"]) == ("cuda:0", "", "")
    assert result["VERSION"] == HELLO["version"]
    status(CHECK=True)
    assert len(starts(tmp_path)) == 2
    runtime.close_all()  # as at the end of QGIS
    result = status()
    assert (result["READY"], result["PYTHON"], result["DEVICE"]) == (True, python, "cuda:0")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", result["LOOKED_AT"])
    assert len(starts(tmp_path)) == 2


def test_what_was_remembered_does_not_outlive_a_change_of_the_interpreter(provider, python):
    status(CHECK=True)
    runtime.close_all()
    os.utime(python, (1, 1))
    assert fingerprint(python)[1] == 10**9
    assert status()["STATE"] == "not looked at yet"


def test_a_worker_that_cannot_run_says_why_also_in_the_next_session(provider, fresh, tmp_path):
    settings.set_worker_python(scripted_worker(tmp_path, [], hello={"missing": ["torch"]}))
    result = status(CHECK=True)
    assert (result["READY"], result["CODE"]) == (False, "worker_library")
    assert "cannot import torch" in result["REASON"]
    runtime.close_all()
    assert status()["REASON"] == result["REASON"]


@pytest.mark.parametrize("nonsense", ["{", "[1]", '{"x": 5}', '{"PYTHON": {"version": 1}}'])
def test_nonsense_in_the_settings_counts_as_not_looked_at(provider, python, nonsense):
    settings.set_known_pythons(nonsense.replace("PYTHON", python))
    assert status()["STATE"] == "not looked at yet"


# --- the windows ------------------------------------------------------------------------------


@pytest.fixture
def plugin(fresh):
    made = classFactory(Desktop())
    made.initGui()
    yield made
    made.unload()


def press(qtbot, widget, text):
    button = next(item for item in widget.findChildren(QPushButton) if item.text() == text)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_a_killed_worker_leads_from_the_notice_to_the_help_and_the_diagnostics(
    plugin, qtbot, tmp_path
):
    load(write_scene(tmp_path, size=1600))
    dialog = plugin.open_dialog()
    output = tmp_path / "fused.tif"
    dialog.form.output.file.setFilePath(str(output))
    dialog.form.parameters.set_values({"window": 151})
    dialog.check()
    qtbot.waitUntil(lambda: plugin.watch.status is not None, timeout=RUN_MS)
    qtbot.mouseClick(dialog.bar.run, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(Path(f"{output}.part").exists, timeout=RUN_MS)
    errors = []
    dialog.runner.ended.connect(lambda job, report, error: errors.append(error))
    (worker,) = workers_of(os.getpid())
    os.kill(worker, signal.SIGKILL)
    qtbot.waitUntil(lambda: not dialog.runner.is_running(), timeout=RUN_MS)
    (notice,) = dialog.notices.items()
    assert notice.text.endswith("then run it again. [worker_killed]")
    assert_clean_failure(errors[0], output, [worker])

    press(qtbot, notice, "Help")
    window = plugin.iface.window.findChild(ErrorHelp)
    assert CATALOGUE["worker_killed"].advice in window.page()
    assert window.browser.verticalScrollBar().value() > 0  # it is not at the beginning
    press(qtbot, window, "Diagnostics …")
    page = plugin.iface.window.findChild(DiagnosticsDialog)
    press(qtbot, page, "Copy as Markdown")
    text = QgsApplication.clipboard().text()
    assert "worker_killed" in text
    assert Qgis.QGIS_VERSION in text
    assert "Worker: torch" in text
    assert str(Path.home()) + os.sep not in text
    assert not re.search(rf"\b{getpass.getuser()}\b", text)

    dialog.form.parameters.set_values({"window": 5})
    dialog.check()
    qtbot.mouseClick(dialog.bar.run, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not dialog.runner.is_running(), timeout=RUN_MS)
    assert output.exists()  # QGIS and the plugin go on


def test_the_help_explains_every_code(qgis_app, qtbot):
    window = ErrorHelp("write")
    qtbot.addWidget(window)
    text = window.page()
    for code, failure in CATALOGUE.items():
        assert code in text
        assert failure.meaning in text


def test_unload_closes_the_windows(plugin, qtbot):
    dialog = plugin.open_dialog()
    windows = [dialog.show_help("read"), dialog.show_diagnostics()]
    closed = []
    for window in windows:
        window.destroyed.connect(lambda *_: closed.append(True))
    plugin.unload()
    qtbot.waitUntil(lambda: len(closed) == 2, timeout=RUN_MS)
