"""The dialog, used as a user does: with the mouse and the keyboard, and with a real worker."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from desktop import COARSE, LEFT, TOP, Desktop, load, write_scene
from layers_rasters import write_raster
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsProject,
    QgsRectangle,
    QgsSettings,
)
from qgis.PyQt.QtCore import QDate, Qt
from qgis.PyQt.QtWidgets import QPushButton
from rasterfuse import classFactory
from rasterfuse.plugin import settings
from rasterfuse.plugin.gui.copy_job import as_text
from rasterfuse.plugin.gui.options_factory import PAGE
from rasterfuse.plugin.gui.report_dialog import ReportDialog
from rasterfuse.plugin.job import Job

LEFT_BUTTON = Qt.MouseButton.LeftButton
DEFAULT = "rasterfuse_net"  # the method that an empty dialog shows
RUN_MS = 120_000  # that anything may take on a busy machine; nothing may hang


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


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path)


@pytest.fixture
def filled(plugin, scene):
    """The dialog with a scene in the project, which it has found by itself."""
    load(scene)
    return plugin.open_dialog()


def click(qtbot, button):
    assert button.isEnabled(), button.toolTip()
    qtbot.mouseClick(button, LEFT_BUTTON)


def pick(qtbot, raster, name):
    """Choose a layer in a combo box by typing its name."""
    raster.combo.setFocus()
    qtbot.keyClicks(raster.combo, name)
    assert raster.layer().name() == name


def messages(bar):
    """What a message bar says: QGIS's own or that of the dialog."""
    parts = [(item.title, item.text) for item in bar.items()]
    texts = [[part() if callable(part) else part for part in pair] for pair in parts]
    return [": ".join(part for part in pair if part) for pair in texts]


def press(qtbot, bar, text):
    """Click a button of a message."""
    buttons = [b for item in bar.items() for b in item.findChildren(QPushButton)]
    click(qtbot, next(button for button in buttons if button.text() == text))


def wait_for_worker(qtbot, plugin):
    qtbot.waitUntil(lambda: plugin.watch.status is not None, timeout=RUN_MS)


def run(qtbot, dialog):
    click(qtbot, dialog.bar.run)
    qtbot.waitUntil(lambda: not dialog.runner.is_running(), timeout=RUN_MS)


def sentences(dialog, place):
    return " ".join(dialog.form.places()[place].sentences())


def says(qtbot, dialog, place, text):
    """Wait until the live check has said it."""
    qtbot.waitUntil(lambda: text in sentences(dialog, place), timeout=RUN_MS)


# --- the road from empty to a result ----------------------------------------------------------


def test_clicks_lead_from_an_empty_dialog_to_a_styled_and_dated_layer(
    plugin, scene, qtbot, tmp_path
):
    dialog = plugin.open_dialog()
    form = dialog.form
    assert form.is_empty()
    assert "is missing" in sentences(dialog, "coarse_target")
    assert not dialog.bar.run.isEnabled()
    assert "is missing" in dialog.bar.run.toolTip()
    layers = load(scene)

    pick(qtbot, form.images["coarse_target"].raster, "coarse_20240715")
    assert form.images["coarse_target"].date.iso() == "2024-07-15"
    row = form.pairs.rows[0]
    pick(qtbot, row.coarse, "coarse_20240512")
    pick(qtbot, row.fine, "fine_20240512")
    assert row.date.iso() == "2024-05-12"
    output = tmp_path / "result"
    form.output.file.lineEdit().clear()
    qtbot.keyClicks(form.output.file.lineEdit(), str(output))
    qtbot.waitUntil(dialog.bar.run.isEnabled, timeout=RUN_MS)
    says(qtbot, dialog, "references", "matched by")

    stages = []
    dialog.runner.stage.connect(lambda stage, _fraction: stages.append(stage))
    run(qtbot, dialog)
    fused = QgsProject.instance().mapLayersByName("fine_20240512_2024-07-15_" + DEFAULT)[0]
    assert Path(fused.source()) == output.with_suffix(".tif")
    assert fused.renderer().type() == layers["fine_20240512"].renderer().type()
    day = fused.temporalProperties().fixedTemporalRange().begin().date()
    assert day == QDate(2024, 7, 15)
    order = [layer.name() for layer in QgsProject.instance().layerTreeRoot().layerOrder()]
    assert order[0] == fused.name()
    assert len(set(stages)) > 2
    assert "agrees" in dialog.bar.stage.text()

    press(qtbot, dialog.notices, "Report")
    report = dialog.parentWidget().findChildren(ReportDialog)[0]
    assert report.isVisible()
    assert "Trust" in report.browser.toPlainText()


def test_the_result_follows_the_coarse_change(filled, plugin, qtbot, tmp_path):
    filled.form.choose("starfm")
    wait_for_worker(qtbot, plugin)
    output = tmp_path / "fused.tif"
    filled.form.output.file.setFilePath(str(output))
    run(qtbot, filled)
    fine = gdal.Open(str(tmp_path / "fine_20240512.tif")).ReadAsArray()
    change = gdal.Open(str(output)).ReadAsArray() - fine
    # The land changed by 0.1 (1000 counts) in the right half. Pixels nearer to the border than
    # half the search window (25) may take from both sides; 6 % is what noise does to the rest.
    assert abs(change[:, :, :20].mean()) < 60
    assert abs(change[:, :, -20:].mean() - 1000) < 60


def test_pansharpening_runs_from_the_same_dialog(plugin, qtbot, tmp_path):
    rng = np.random.default_rng(5)
    colours = rng.uniform(500, 3000, (3, 24, 24)).astype("int16")
    grey = np.kron(colours.mean(0), np.ones((4, 4)))[None].astype("int16")
    paths = {
        "ms": write_raster(tmp_path / "ms.tif", colours, (LEFT, 40, 0, TOP, 0, -40)),
        "pan": write_raster(tmp_path / "pan.tif", grey, (LEFT, 10, 0, TOP, 0, -10)),
    }
    load(paths)
    dialog = plugin.open_dialog()
    dialog.form.choose("gsa")
    assert dialog.form.suggest()
    dialog.check()
    wait_for_worker(qtbot, plugin)
    run(qtbot, dialog)
    fused = QgsProject.instance().mapLayersByName("pan_gsa")[0]
    assert (fused.width(), fused.bandCount()) == (96, 3)


def test_files_can_be_chosen_instead_of_layers(plugin, scene, qtbot, tmp_path):
    dialog = plugin.open_dialog()
    form = dialog.form
    form.images["coarse_target"].raster.choose_file(scene["coarse_20240715"])
    form.pairs.rows[0].coarse.choose_file(scene["coarse_20240512"])
    form.pairs.rows[0].fine.choose_file(scene["fine_20240512"])
    assert form.images["coarse_target"].date.iso() == "2024-07-15"
    dialog.check()
    wait_for_worker(qtbot, plugin)
    run(qtbot, dialog)
    names = [layer.name() for layer in QgsProject.instance().mapLayers().values()]
    assert names == ["fine_20240512_2024-07-15_" + DEFAULT]


# --- the form ---------------------------------------------------------------------------------


def test_the_inputs_are_found_in_the_project(filled):
    form = filled.form
    assert form.images["coarse_target"].layer().name() == "coarse_20240715"
    row = form.pairs.rows[0]
    assert (row.coarse.layer().name(), row.fine.layer().name()) == (
        "coarse_20240512",
        "fine_20240512",
    )
    assert filled.bar.run.isEnabled()


def test_coarse_images_on_the_fine_grid_are_told_by_their_names(plugin, tmp_path):
    image = np.full((1, 8, 8), 100, dtype="int16")
    names = (
        "modis_20200308",
        "landsat_20200308",
        "modis_20200317",
        "MOD09A1_2020093",
        "LC_2020093",
    )
    load({name: write_raster(tmp_path / f"{name}.tif", image) for name in names})
    form = plugin.open_dialog().form
    chosen = [
        (r.date.iso(), r.coarse.layer().name(), r.fine.layer().name()) for r in form.pairs.rows
    ]
    assert chosen == [
        ("2020-03-08", "modis_20200308", "landsat_20200308"),
        ("2020-04-02", "MOD09A1_2020093", "LC_2020093"),
    ]
    assert form.images["coarse_target"].layer().name() == "modis_20200317"


def test_enter_in_a_field_starts_nothing(filled, qtbot):
    qtbot.keyClick(filled.form.output.file.lineEdit(), Qt.Key.Key_Return)
    assert not filled.runner.is_running()
    assert len(filled.form.pairs.rows) == 1


def test_pairs_can_be_added_and_removed(filled, qtbot):
    pairs = filled.form.pairs
    click(qtbot, pairs.add_button)
    pick(qtbot, pairs.rows[1].coarse, "coarse_20240715")
    says(qtbot, filled, "references", "Pair 2 lacks its fine image")
    assert not filled.bar.run.isEnabled()
    click(qtbot, pairs.rows[1].remove)
    assert len(pairs.rows) == 1
    qtbot.waitUntil(filled.bar.run.isEnabled, timeout=RUN_MS)


def test_a_date_can_be_changed_and_taken_away(filled, qtbot):
    field = filled.form.images["coarse_target"].date
    field.setDate(QDate(2024, 5, 12))
    says(qtbot, filled, "references", "has the target date 2024-05-12")
    field.clear()
    says(qtbot, filled, "date", "target date is not known")
    assert field.lineEdit().text() == "unknown"
    assert filled.bar.run.isEnabled()


def test_a_parameter_that_the_method_cannot_take_is_said_beside_it(filled, qtbot):
    filled.form.choose("starfm")
    filled.form.parameters.editors["window"].setValue(32)
    says(qtbot, filled, "parameter:window", "Give an odd number")
    assert not filled.bar.run.isEnabled()
    assert "odd" in filled.bar.run.toolTip()
    click(qtbot, filled.form.parameters.reset_button)
    qtbot.waitUntil(filled.bar.run.isEnabled, timeout=RUN_MS)
    assert filled.form.parameters.values()["window"] == 51


def test_an_empty_number_means_that_the_method_decides(filled):
    filled.form.choose("starfm")
    editor = filled.form.parameters.editors["uncertainty_fine"]
    assert editor.parameter() is None
    assert editor.text() == "automatic"
    editor.setValue(0.0025)
    assert editor.parameter() == pytest.approx(0.0025)
    assert editor.text().startswith("0.0025 ")
    editor.clear()
    assert editor.parameter() is None


def test_images_of_different_places_are_told_apart_at_once(filled, qtbot, tmp_path):
    far = np.full((3, 12, 12), 700, dtype="int16")
    place = (LEFT + 100_000, COARSE, 0, TOP, 0, -COARSE)
    load({"far_20240715": write_raster(tmp_path / "far_20240715.tif", far, place)})
    pick(qtbot, filled.form.images["coarse_target"].raster, "far_20240715")
    says(qtbot, filled, "coarse_target", "does not overlap")
    assert not filled.bar.run.isEnabled()
    assert "does not overlap" in filled.bar.stage.text()


def test_a_file_that_is_no_image_is_said_beside_it(filled, qtbot, tmp_path):
    broken = tmp_path / "broken_20240715.tif"
    broken.write_bytes(b"no image")
    filled.form.images["coarse_target"].raster.choose_file(str(broken))
    says(qtbot, filled, "coarse_target", "cannot be opened")
    assert not filled.bar.run.isEnabled()


def test_bands_are_chosen_in_the_list_and_the_others_follow(filled, qtbot):
    target = filled.form.images["coarse_target"].bands
    target.choose((3, 1))
    qtbot.waitUntil(lambda: filled.form.pairs.bands.bands() == (3, 1), timeout=RUN_MS)
    filled.check()
    job = filled._draft.job
    assert job.references[0].fine.bands == (3, 1)
    assert target.text() == "3, 1 of 3"
    target.choose(())
    says(qtbot, filled, "coarse_target", "No band is ticked")


def test_scale_and_nodata_of_the_user_reach_the_job(filled, qtbot):
    fields = filled.form.radiometry.fields
    qtbot.keyClicks(fields["coarse", "scale"], "0,0001")
    qtbot.keyClicks(fields["fine", "nodata"], "nan")
    choice = filled.form.radiometry.coregister
    assert choice.currentData() == "never"
    choice.setCurrentIndex(choice.findData("auto"))
    filled.check()
    job = filled._draft.job
    assert job.coregister == "auto"
    assert job.inputs["coarse_target"].scale == 0.0001
    assert np.isnan(job.references[0].fine.nodata)
    qtbot.keyClicks(fields["fine", "scale"], "much")
    says(qtbot, filled, "radiometry", "“much” is no number")


def test_an_extent_limits_the_result(filled, plugin, qtbot, tmp_path):
    box = QgsRectangle(LEFT + 200, TOP - 500, LEFT + 600, TOP - 100)
    crs = QgsCoordinateReferenceSystem("EPSG:32633")
    filled.form.output.extent.setOutputExtentFromUser(box, crs)
    filled.form.output.file.setFilePath(str(tmp_path / "part.tif"))
    filled.check()
    wait_for_worker(qtbot, plugin)
    run(qtbot, filled)
    result = gdal.Open(str(tmp_path / "part.tif"))
    assert (result.RasterXSize, result.RasterYSize) == (40, 40)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("{folder}/missing/fused.tif", "does not exist"),
        ("{folder}/fused.png", "writes GeoTIFF"),
        ("{folder}/fine_20240512.tif", "is also the input"),
    ],
)
def test_an_output_that_cannot_be_is_said_beside_it(filled, qtbot, tmp_path, path, sentence):
    filled.form.output.file.setFilePath(path.format(folder=tmp_path))
    says(qtbot, filled, "output", sentence)
    assert not filled.bar.run.isEnabled()


def test_an_extent_that_is_none_is_said_beside_it(filled, qtbot):
    filled.form.output._extent_text.setText("here")
    says(qtbot, filled, "extent", "“here” is no extent")


def test_another_method_keeps_the_images_and_shows_its_own_settings(filled):
    filled.form.choose("fine_plus_change")
    assert filled.form.images["coarse_target"].layer().name() == "coarse_20240715"
    assert filled.form.parameters.editors == {}
    assert "Fine plus coarse change" in filled.help.toPlainText()
    filled.form.choose("starfm")
    assert "window" in filled.form.parameters.editors
    assert "10.1109/TGRS.2006.872081" in filled.help.toPlainText()


def test_a_layer_that_leaves_the_project_leaves_the_form(filled, qtbot):
    QgsProject.instance().removeMapLayer(filled.form.fine_layer().id())
    says(qtbot, filled, "references", "lacks its fine image")


def test_values_are_remembered_for_the_next_session(desktop, scene, qtbot):
    load(scene)
    first = classFactory(desktop)
    first.initGui()
    dialog = first.open_dialog()
    dialog.form.choose("starfm")
    dialog.form.parameters.set_values({"window": 31, "uncertainty_fine": 0.01})
    dialog.form.radiometry.fields["coarse", "scale"].setText("0.5")
    dialog.form.radiometry.coregister.setCurrentIndex(1)
    dialog.resize(1111, 666)
    click(qtbot, dialog.bar.close_button)
    assert not dialog.isVisible()
    first.unload()

    second = classFactory(desktop)
    second.initGui()
    dialog = second.open_dialog()
    assert dialog.form.parameters.values()["window"] == 31
    assert dialog.form.parameters.values()["uncertainty_fine"] == pytest.approx(0.01)
    assert dialog.form.radiometry.fields["coarse", "scale"].text() == "0.5"
    assert dialog.form.radiometry.coregister.currentIndex() == 1
    assert (dialog.width(), dialog.height()) == (1111, 666)
    second.unload()


@pytest.mark.parametrize(
    "nonsense",
    [
        {"model": "gone", "parameters": {"starfm": {"window": "x", "old": 1}}},
        {"model": ["starfm"], "parameters": [1], "radiometry": "x", "device": None},
        {"parameters": {"starfm": 3}},
    ],
)
def test_nonsense_in_the_settings_does_no_harm(plugin, nonsense):
    settings.set_form_values(nonsense)
    dialog = plugin.open_dialog()
    assert dialog.form.card().id == DEFAULT
    dialog.form.choose("starfm")
    assert dialog.form.parameters.values()["window"] == 51


# --- what goes wrong --------------------------------------------------------------------------


def test_cancel_ends_a_fusion_and_leaves_no_file(plugin, qtbot, tmp_path):
    load(write_scene(tmp_path, size=1600))
    dialog = plugin.open_dialog()
    dialog.form.choose("starfm")
    dialog.form.parameters.set_values({"window": 151})
    output = tmp_path / "fused.tif"
    dialog.form.output.file.setFilePath(str(output))
    stages = []
    dialog.runner.stage.connect(lambda stage, _fraction: stages.append(stage))
    wait_for_worker(qtbot, plugin)
    click(qtbot, dialog.bar.run)
    assert not dialog.bar.run.isEnabled()
    qtbot.waitUntil(Path(f"{output}.part").exists, timeout=RUN_MS)
    click(qtbot, dialog.bar.cancel)
    qtbot.waitUntil(lambda: not dialog.runner.is_running(), timeout=RUN_MS)
    assert "Cancelled: Nothing was written." in messages(dialog.notices)
    assert "Done" not in stages  # it ended before its work was done
    assert not output.exists()
    assert not Path(f"{output}.part").exists()
    assert dialog.bar.run.isEnabled()


def test_a_failed_fusion_says_why_and_the_dialog_goes_on(plugin, desktop, qtbot, tmp_path):
    load(write_scene(tmp_path))
    nothing = np.full((3, 12, 12), -9999, dtype="int16")
    place = (LEFT, COARSE, 0, TOP, 0, -COARSE)
    path = write_raster(tmp_path / "void_20240715.tif", nothing, place, nodata=-9999)
    load({"void_20240715": path})
    dialog = plugin.open_dialog()
    pick(qtbot, dialog.form.images["coarse_target"].raster, "void_20240715")
    dialog.check()
    wait_for_worker(qtbot, plugin)
    run(qtbot, dialog)
    failed = [text for text in messages(dialog.notices) if text.startswith("Fusion failed")]
    assert len(failed) == 1
    assert "void_20240715" in failed[0]
    press(qtbot, dialog.notices, "Open log")
    assert desktop.log_opened

    pick(qtbot, dialog.form.images["coarse_target"].raster, "coarse_20240715")
    dialog.check()
    run(qtbot, dialog)
    assert messages(dialog.notices) == ["Fused: fine_20240512_2024-07-15_" + DEFAULT]


def test_a_fusion_goes_on_when_the_window_is_closed(filled, plugin, desktop, qtbot):
    wait_for_worker(qtbot, plugin)
    click(qtbot, filled.bar.run)
    click(qtbot, filled.bar.close_button)
    qtbot.waitUntil(lambda: not filled.runner.is_running(), timeout=RUN_MS)
    assert messages(desktop.bar) == ["Fused: fine_20240512_2024-07-15_" + DEFAULT]
    press(qtbot, desktop.bar, "Report")
    assert desktop.window.findChildren(ReportDialog)
    plugin.unload()
    assert messages(desktop.bar) == []


def test_the_fine_layer_may_leave_the_project_while_a_fusion_runs(filled, plugin, qtbot):
    wait_for_worker(qtbot, plugin)
    click(qtbot, filled.bar.run)
    QgsProject.instance().removeMapLayer(filled.form.fine_layer().id())
    qtbot.waitUntil(lambda: not filled.runner.is_running(), timeout=RUN_MS)
    assert any(text.startswith("Fused") for text in messages(filled.notices))


def test_without_a_worker_the_dialog_opens_and_says_what_to_do(
    plugin, desktop, scene, qtbot, tmp_path
):
    missing = str(tmp_path / "python")
    settings.set_worker_python(missing)
    load(scene)
    dialog = plugin.open_dialog()
    qtbot.waitUntil(lambda: bool(messages(dialog.notices)), timeout=RUN_MS)
    assert missing in messages(dialog.notices)[0]
    assert not dialog.bar.run.isEnabled()
    assert missing in dialog.bar.run.toolTip()
    press(qtbot, dialog.notices, "Open options")
    assert desktop.options_page == PAGE

    page = desktop.factories[0].createWidget()
    qtbot.addWidget(page)
    page.python.setFilePath("")
    page.apply()
    qtbot.waitUntil(dialog.bar.run.isEnabled, timeout=RUN_MS)
    assert messages(dialog.notices) == []


def test_a_slow_interpreter_does_not_hold_up_qgis(plugin, scene, qtbot, tmp_path):
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 120\n")
    slow.chmod(0o755)
    settings.set_worker_python(str(slow))
    load(scene)
    dialog = plugin.open_dialog()
    dialog.check()
    assert plugin.watch.status is None  # the interpreter has not answered, and will not
    assert dialog.bar.run.isEnabled()
    qtbot.wait(200)
    assert plugin.watch.status is None


# --- the job as text --------------------------------------------------------------------------


def test_the_job_is_copied_as_json(filled, qtbot):
    next(a for a in filled.bar.copy.menu().actions() if "JSON" in a.text()).trigger()
    job = Job.from_dict(json.loads(QgsApplication.clipboard().text()))
    assert job == filled._draft.job


def test_the_copied_python_runs_in_the_console(filled, plugin, qtbot, tmp_path):
    filled.form.choose("starfm")
    filled.form.radiometry.fields["coarse", "scale"].setText("0.0001")
    filled.form.radiometry.coregister.setCurrentIndex(1)
    filled.form.parameters.set_values({"window": 11})
    filled.form.output.file.setFilePath(str(tmp_path / "again.tif"))
    filled.bar.copy_wanted.emit("python")
    exec(compile(QgsApplication.clipboard().text(), "clipboard", "exec"), {})
    assert QgsProject.instance().mapLayersByName("fine_20240512_2024-07-15_starfm")
    history = json.loads(gdal.Open(str(tmp_path / "again.tif")).GetMetadata()["RASTERFUSE_JOB"])
    assert history["parameters"]["window"] == 11
    assert history["coregister"] == "auto"
    assert history["inputs"]["coarse_target"]["scale"] == 0.0001


@pytest.mark.parametrize("model", ["starfm", "gsa"])
def test_the_copied_command_says_the_same_job(plugin, scene, qgis_processing, model, tmp_path):
    from qgis import processing

    load(scene)
    dialog = plugin.open_dialog()
    form = dialog.form
    form.choose(model)
    if model == "gsa":
        form.images["multispectral"].raster.choose_file(scene["coarse_20240512"])
        form.images["panchromatic"].raster.choose_file(scene["fine_20240512"])
        form.images["multispectral"].bands.choose((3, 1))
        form.images["panchromatic"].bands.choose((2,))
    else:
        form.radiometry.coregister.setCurrentIndex(1)
    form.output.file.setFilePath(str(tmp_path / "again.tif"))
    dialog.check()
    words = shlex.split(as_text(dialog._draft.job, "qgis_process"))
    assert words[:4] == ["qgis_process", "run", f"rasterfuse:{model}", "--"]
    values: dict[str, object] = {}
    for name, value in (word.split("=", 1) for word in words[4:]):
        values[name] = [value] if name.endswith("REFERENCES") else value
    processing.run(words[2], values)
    history = json.loads(gdal.Open(str(tmp_path / "again.tif")).GetMetadata()["RASTERFUSE_JOB"])
    again, first = Job.from_dict(history), dialog._draft.job
    for name, source in first.sources.items():
        assert (again.sources[name].path, again.sources[name].date) == (source.path, source.date)
        assert again.sources[name].bands == source.bands
    assert again.output == first.output
    assert again.coregister == first.coregister
