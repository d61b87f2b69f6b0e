"""The plugin in QGIS: what it adds, what it takes away, and how light it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from desktop import Desktop, load, write_scene
from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QCoreApplication, QEvent, Qt
from qgis.PyQt.QtGui import QColor, QIcon, QImage, QPainter
from rasterfuse import classFactory
from rasterfuse.plugin import settings
from rasterfuse.plugin.gui.diagnostics_dialog import DiagnosticsDialog
from rasterfuse.plugin.gui.options_factory import PAGE

ROOT = Path(__file__).resolve().parents[2]
ICONS = sorted((ROOT / "resources" / "icons").glob("*.svg"))
START = """
import sys
sys.path[:0] = [{tests!r}, {tests!r} + "/qgis"]
import conftest
from qgis.core import QgsApplication
app = QgsApplication([], True)
app.initQgis()
from desktop import Desktop
desktop = Desktop()
import rasterfuse
# What the desktop above needed does not count, unless the plugin asks for it anew.
for name in [name for name in sys.modules if name.split(".")[0] in ("numpy", "osgeo")]:
    del sys.modules[name]
before = set(sys.modules)
plugin = rasterfuse.classFactory(desktop)
plugin.initGui()
new = set(sys.modules) - before
rooms = ("gui.dialog", "gui.options", "gui.diagnostics_dialog", "layers", "engine.pipeline",
         "tasks", "scripting", "facts", "runtime.runtime", "processing.road", "processing.values")
heavy = {{"torch", "rasterio", "numba", "numpy", "osgeo", "processing", "subprocess"}}
heavy |= {{"rasterfuse.plugin." + room for room in rooms}}
print("HEAVY", sorted(new & heavy))
plugin.unload()
"""


@pytest.fixture
def desktop(qgis_new_project):
    QgsSettings().remove("rasterfuse")
    yield Desktop()
    QgsSettings().remove("rasterfuse")


@pytest.fixture
def plugin(desktop):
    plugin = classFactory(desktop)
    plugin.initGui()
    yield plugin
    plugin.unload()


def provider():
    return QgsApplication.processingRegistry().providerById("rasterfuse")


def delete_what_is_due():
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def test_the_plugin_adds_a_menu_entry_a_tool_button_an_options_page_and_algorithms(plugin, desktop):
    assert [action.text() for action in desktop.menu.actions()] == ["Fuse coarse and fine images …"]
    assert not desktop.tools.actions()[0].icon().isNull()
    assert [factory.title() for factory in desktop.factories] == ["RasterFuse"]
    assert provider().algorithm("starfm") is not None


def test_unload_takes_all_of_it_away_again(desktop):
    plugin = classFactory(desktop)
    before = len(desktop.window.children())
    plugin.initGui()
    plugin.action.trigger()
    assert plugin.dialog.isVisible()
    plugin.unload()
    delete_what_is_due()
    assert desktop.menu.actions() == []
    assert desktop.tools.actions() == []
    assert desktop.factories == []
    assert provider() is None
    assert len(desktop.window.children()) == before


def test_unload_while_the_worker_is_looked_for_says_nothing_any_more(desktop, qtbot):
    plugin = classFactory(desktop)
    plugin.initGui()
    plugin.action.trigger()
    plugin.unload()
    qtbot.wait(1500)
    assert desktop.bar.items() == []


def test_a_plugin_can_be_loaded_again_after_unload(desktop):
    for _ in range(2):
        plugin = classFactory(desktop)
        plugin.initGui()
        assert len(desktop.menu.actions()) == 1
        plugin.unload()


def test_without_a_window_only_the_algorithms_are_there(qgis_app):
    plugin = classFactory(None)
    plugin.initProcessing()
    assert provider().algorithm("brovey") is not None
    plugin.unload()
    assert provider() is None


def test_loading_imports_nothing_heavy():
    code = START.format(tests=str(ROOT / "tests"))
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "HEAVY []" in result.stdout.splitlines()


def test_the_menu_entry_shows_one_window_however_often_it_is_used(plugin):
    plugin.action.trigger()
    first = plugin.dialog
    first.reject()
    plugin.action.trigger()
    assert plugin.dialog is first
    assert first.isVisible()
    assert not first.isModal()


@pytest.mark.parametrize("path", ICONS, ids=lambda path: path.stem)
@pytest.mark.parametrize("ground", ["#ffffff", "#2b2b2b"], ids=["light", "dark"])
def test_icons_stand_out_at_16_pixels_on_light_and_dark_ground(qgis_app, path, ground):
    image = QImage(16, 16, QImage.Format.Format_RGB32)
    image.fill(QColor(ground))
    painter = QPainter(image)
    QIcon(str(path)).paint(painter, 0, 0, 16, 16)
    painter.end()
    back = QColor(ground).lightness()
    seen = [QColor(image.pixel(x, y)) for x in range(16) for y in range(16)]
    clear = [c for c in seen if abs(c.lightness() - back) > 50 or c.saturation() > 100]
    assert len(clear) > 50


def test_the_options_page_says_that_the_worker_is_ready(plugin, desktop, qtbot):
    page = desktop.factories[0].createWidget()
    qtbot.addWidget(page)
    page.show()
    qtbot.waitUntil(lambda: page.state.text().startswith("Ready"), timeout=60_000)
    assert "torch" in page.details.text()
    assert page.objectName() == PAGE
    page.diagnostics_button.click()
    page.findChild(DiagnosticsDialog).copy()
    assert "torch" in QgsApplication.clipboard().text()


def test_the_options_page_says_what_is_wrong_with_an_interpreter(plugin, desktop, qtbot, tmp_path):
    page = desktop.factories[0].createWidget()
    qtbot.addWidget(page)
    missing = str(tmp_path / "python")
    page.python.setFilePath(missing)
    qtbot.mouseClick(page.check_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(page.check_button.isEnabled, timeout=60_000)
    assert missing in page.state.text()
    page.apply()
    assert settings.worker_python() == missing


def test_unload_while_a_fusion_runs_ends_it_and_leaves_nothing(desktop, qtbot, tmp_path):
    plugin = classFactory(desktop)
    plugin.initGui()
    load(write_scene(tmp_path, size=1600))
    dialog = plugin.open_dialog()
    output = tmp_path / "fused.tif"
    dialog.form.output.file.setFilePath(str(output))
    dialog.form.parameters.set_values({"window": 151})
    qtbot.waitUntil(lambda: plugin.watch.status is not None, timeout=60_000)
    qtbot.mouseClick(dialog.bar.run, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(Path(f"{output}.part").exists, timeout=120_000)
    tasks = plugin.tasks
    workers = plugin.watch.runtime
    plugin.unload()
    qtbot.waitUntil(lambda: tasks.running() == [], timeout=60_000)
    assert workers.is_closed
    assert not output.exists()
    assert not Path(f"{output}.part").exists()
    delete_what_is_due()
    qtbot.wait(200)  # signals of the task that were under way find nobody, which must not hurt
    assert desktop.bar.items() == []
