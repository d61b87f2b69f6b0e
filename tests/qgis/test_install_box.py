"""The managed Python by clicks: installed from tiny wheels, or refused with words."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from desktop import Desktop
from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QPushButton
from rasterfuse import classFactory
from rasterfuse.plugin import settings
from rasterfuse.plugin.gui import install_box, installer
from rasterfuse.plugin.gui.network_settings import qgis_network
from rasterfuse.plugin.runtime import find
from rasterfuse.plugin.runtime.install import folder, steps
from tiny_wheels import tiny_plan

TESTS = Path(__file__).resolve().parents[1]
RUN_MS = 120_000


@pytest.fixture
def root(monkeypatch, tmp_path):
    """An empty place for the managed Python, and no other Python with torch."""
    place = tmp_path / "Länder und Städte"
    monkeypatch.setenv(folder.VARIABLE, str(place))
    monkeypatch.delenv(find.VARIABLE, raising=False)
    monkeypatch.setattr(find, "checkout", lambda: "")
    return place


@pytest.fixture
def plugin(qgis_new_project, root):
    QgsSettings().remove("rasterfuse")
    plugin = classFactory(Desktop())
    plugin.initGui()
    yield plugin
    plugin.unload()
    QgsSettings().remove("rasterfuse")


@pytest.fixture
def page(plugin, qtbot):
    """The options page, when it has looked at the machine."""
    page = plugin.iface.factories[0].createWidget()
    qtbot.addWidget(page)
    page.show()
    qtbot.waitUntil(lambda: page.install_box.plan() is not None, timeout=RUN_MS)
    return page


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Wheels of a few bytes instead of torch's."""
    plan = tiny_plan(tmp_path)
    for module in (installer, install_box):
        monkeypatch.setattr(module, "standard", lambda build, wheels="", base="": plan)
    return plan


def click(qtbot, button):
    assert button.isEnabled()
    assert button.isVisible()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def wait_for_end(qtbot, box):
    qtbot.waitUntil(lambda: not installer.shared().is_running(), timeout=RUN_MS)
    qtbot.waitUntil(box.build.isEnabled, timeout=RUN_MS)


def test_the_page_says_what_would_be_installed_and_how_large_it_is(page, root):
    box = page.install_box
    assert box.state.text().startswith("Not installed.")
    texts = [box.build.itemText(number) for number in range(box.build.count())]
    assert texts[-1] == "CPU: 400 MB to fetch, 1.5 GB on the disk"
    assert "torch 2.13.0 (about 220 MB to fetch)" in texts_of(box.steps)
    assert box.install_button.isVisible()
    assert not box.repair_button.isVisible()
    assert not root.exists()  # looking writes nothing


def texts_of(widget):
    return [label.text() for label in widget.findChildren(install_box.QLabel)]


def test_one_click_installs_another_repairs_a_third_removes(page, tiny, root, qtbot):
    box = page.install_box
    click(qtbot, box.install_button)
    assert box.cancel_button.isVisible()
    assert not box.build.isEnabled()
    seen = []
    installer.shared().changed.connect(lambda: seen.append(installer.shared().step))
    wait_for_end(qtbot, box)
    assert [step for step in seen if step] == [*steps.STEPS, "probe"]
    qtbot.waitUntil(lambda: box.state.text().startswith("Installed:"), timeout=RUN_MS)
    first = find.managed()
    assert first.startswith(str(root))
    assert "Not in use" not in box.state.text()
    settings.set_worker_python("/usr/bin/python3")
    box.refresh()
    assert box.state.text().endswith("Not in use, since another Python is chosen.")
    settings.set_worker_python(None)
    assert not box.install_button.isVisible()

    click(qtbot, box.repair_button)
    wait_for_end(qtbot, box)
    assert find.managed() != first
    assert not Path(first).exists()

    qtbot.waitUntil(box.remove_button.isVisible, timeout=RUN_MS)
    click(qtbot, box.remove_button)
    wait_for_end(qtbot, box)
    qtbot.waitUntil(lambda: box.state.text().startswith("Not installed."), timeout=RUN_MS)
    assert find.managed() == ""
    assert [path.name for path in root.iterdir()] == ["lock"]


def test_a_cancel_keeps_what_is_finished_and_the_button_says_continue(page, tiny, qtbot):
    box = page.install_box
    click(qtbot, box.install_button)
    qtbot.waitUntil(lambda: installer.shared().step == "environment", timeout=RUN_MS)
    click(qtbot, box.cancel_button)
    wait_for_end(qtbot, box)
    assert "was cancelled. What is finished is kept" in box.state.text()
    qtbot.waitUntil(lambda: box.install_button.text() == "Continue", timeout=RUN_MS)
    click(qtbot, box.install_button)
    wait_for_end(qtbot, box)
    assert find.managed()


def test_a_folder_without_the_wheels_is_refused_with_what_is_lacking(page, qtbot, tmp_path):
    box = page.install_box
    box.wheels.setFilePath(str(tmp_path))
    box.build.setCurrentIndex(box.build.count() - 1)
    click(qtbot, box.install_button)
    wait_for_end(qtbot, box)
    assert box.state.text().startswith("A package is not to be had (torch==2.13.0).")
    assert find.managed() == ""


def test_the_installation_goes_on_when_the_page_is_gone(plugin, tiny, qtbot):
    page = plugin.iface.factories[0].createWidget()
    page.show()
    qtbot.waitUntil(lambda: page.install_box.plan() is not None, timeout=RUN_MS)
    click(qtbot, page.install_box.install_button)
    page.deleteLater()
    qtbot.wait(100)
    again = plugin.iface.factories[0].createWidget()
    qtbot.addWidget(again)
    again.show()
    assert again.install_box.cancel_button.isVisible()
    wait_for_end(qtbot, again.install_box)
    assert find.managed()


def test_unload_ends_an_installation(page, plugin, tiny, qtbot, root):
    click(qtbot, page.install_box.install_button)
    qtbot.waitUntil(lambda: installer.shared().step == "environment", timeout=RUN_MS)
    plugin.unload()
    with steps.lock.held(root / "lock"):  # nobody installs any more
        assert find.managed() == ""


def test_a_second_window_is_told_who_installs(page, root, qtbot):
    code = f"""
        import sys, time
        sys.path.insert(0, {str(TESTS)!r})
        import conftest
        from pathlib import Path
        from rasterfuse.plugin.runtime.install import lock
        with lock.held(Path({str(root / "lock")!r})):
            print("held", flush=True)
            time.sleep(300)
        """
    words = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        installer.shared().look()
        who = f"Another window of QGIS (process {other.pid}, since "
        qtbot.waitUntil(lambda: page.install_box.state.text().startswith(who), timeout=RUN_MS)
        assert not page.install_box.install_button.isEnabled()
        other.kill()


def test_another_folder_is_remembered_and_looked_at(page, monkeypatch, qtbot, tmp_path):
    monkeypatch.delenv(folder.VARIABLE)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert folder.root() == tmp_path / "data" / "rasterfuse" / "runtime"
    page.install_box.folder.setFilePath(str(tmp_path / "mine"))
    page.apply()
    assert settings.runtime_folder() == str(tmp_path / "mine")
    assert folder.root() == tmp_path / "mine"


# --- the dialog, and a Python of one's own ----------------------------------------------------


def press(qtbot, bar, text):
    """Press a button of a notice; the notice may be replaced while it is waited for."""

    def find_button():
        buttons = [b for item in bar.items() for b in item.findChildren(QPushButton)]
        return next((b for b in buttons if b.text() == text and b.isVisible()), None)

    qtbot.waitUntil(lambda: find_button() is not None, timeout=RUN_MS)
    click(qtbot, find_button())


def notice(dialog):
    return " ".join(item.text for item in dialog.notices.items())


def test_the_dialog_offers_to_install_and_says_how_much_that_is(plugin, tiny, qtbot):
    dialog = plugin.open_dialog()
    qtbot.waitUntil(lambda: "let RasterFuse install one" in notice(dialog), timeout=RUN_MS)
    press(qtbot, dialog.notices, "Install")
    assert "are being installed" in notice(dialog)
    qtbot.waitUntil(lambda: not installer.shared().is_running(), timeout=RUN_MS)
    managed = find.managed()
    assert managed
    # The tiny torch is none, and the dialog looks anew by itself.
    qtbot.waitUntil(lambda: plugin.watch.status is not None, timeout=RUN_MS)
    assert plugin.watch.status.python == managed


def test_what_ones_own_python_lacks_is_a_line_to_copy(plugin, qtbot):
    settings.set_worker_python("/usr/bin/python3")
    dialog = plugin.open_dialog()
    qtbot.waitUntil(lambda: "cannot import" in notice(dialog), timeout=RUN_MS)
    assert "let RasterFuse install one" not in notice(dialog)  # the choice stands
    press(qtbot, dialog.notices, "Copy command")
    line = QgsApplication.clipboard().text()
    assert line.startswith('"/usr/bin/python3" -m ')
    assert '-m pip install "torch>=2.4" rasterio' in line
    page = plugin.iface.factories[0].createWidget()
    qtbot.addWidget(page)
    page.show()
    qtbot.waitUntil(page.command.isVisible, timeout=RUN_MS)
    QgsApplication.clipboard().setText("")
    click(qtbot, page.command.copy_button)
    assert QgsApplication.clipboard().text() == line


# --- network ----------------------------------------------------------------------------------


@pytest.fixture
def proxy_settings():
    yield QgsSettings()
    QgsSettings().remove("proxy")


def test_the_proxy_of_qgis_is_read_with_its_account(qgis_app, proxy_settings):
    for name, value in {
        "proxyEnabled": True, "proxyType": "HttpProxy", "proxyHost": "proxy.example",
        "proxyPort": "3128", "proxyUser": "me@work", "proxyPassword": "a:b/c",
        "noProxyUrls": ["http://intranet.example/maps"],
    }.items():  # fmt: skip
        proxy_settings.setValue(f"proxy/{name}", value)
    network = qgis_network()
    assert network.proxy == "http://me%40work:a%3Ab%2Fc@proxy.example:3128"
    assert network.no_proxy == "intranet.example"


def test_without_a_proxy_in_qgis_the_systems_settings_are_left_alone(qgis_app, proxy_settings):
    proxy_settings.remove("proxy")
    assert qgis_network().proxy == ""
    assert set(qgis_network().variables(Path())) == {"UV_SYSTEM_CERTS"}
