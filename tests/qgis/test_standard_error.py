"""The standard error through every door: written, loaded, and offered only where it can be told."""

from __future__ import annotations

import json

import numpy as np
import processing
import pytest
from desktop import Desktop, load, write_scene
from osgeo import gdal
from qgis.core import QgsApplication, QgsProject, QgsSettings, QgsSingleBandPseudoColorRenderer
from qgis.PyQt.QtCore import QDate, Qt
from rasterfuse import classFactory, fuse
from rasterfuse.models.errors import InputError
from rasterfuse.plugin.gui.copy_job import as_text
from rasterfuse.plugin.layers.publish import report_of
from rasterfuse.plugin.layers.report import report_html

pytest_plugins = ["small_scene"]

RUN_MS = 120_000


@pytest.fixture(autouse=True)
def clean_project(qgis_new_project):
    """Every test starts with an empty project."""
    QgsSettings().remove("rasterfuse")
    yield
    QgsSettings().remove("rasterfuse")


@pytest.fixture
def form(tmp_path):
    """The dialog on a scene in the project."""
    plugin = classFactory(Desktop())
    plugin.initGui()
    load(write_scene(tmp_path))
    dialog = plugin.open_dialog()
    yield dialog.form
    plugin.unload()


def pixels(path):
    return gdal.Open(str(path)).ReadAsArray()


def order():
    """Names of the layers from top to bottom."""
    return [node.name() for node in QgsProject.instance().layerTreeRoot().findLayers()]


def named(name):
    (layer,) = QgsProject.instance().mapLayersByName(name)
    return layer


def assert_dressed(error):
    assert isinstance(error.renderer(), QgsSingleBandPseudoColorRenderer)
    assert error.renderer().classificationMax() > error.renderer().classificationMin() == 0
    day = error.temporalProperties().fixedTemporalRange().begin().date()
    assert day == QDate(2001, 7, 11)


# --- Processing ---


def test_processing_writes_both(provider, small_scene, tmp_path):
    given = small_scene.spatiotemporal(
        OUTPUT=str(tmp_path / "fused.tif"), STANDARD_ERROR=str(tmp_path / "error.tif")
    )
    result = processing.run("rasterfuse:rasterfuse_net", given)
    assert result["STANDARD_ERROR"] == str(tmp_path / "error.tif")
    error = pixels(tmp_path / "error.tif")
    assert error.shape == pixels(tmp_path / "fused.tif").shape
    assert (error > 0).all()
    report = json.loads(result["REPORT"])
    assert report["standard_error"] == pytest.approx(error.mean(axis=(1, 2)), rel=1e-4)
    html = report_html(report)
    assert str(tmp_path / "error.tif") in html


def test_processing_writes_none_that_was_not_asked_for(provider, small_scene, tmp_path):
    given = small_scene.spatiotemporal(OUTPUT=str(tmp_path / "fused.tif"))
    result = processing.run("rasterfuse:rasterfuse_net", given)
    assert "STANDARD_ERROR" not in result
    assert [path.name for path in tmp_path.iterdir()] == ["fused.tif"]


def test_processing_loads_both_dressed(desktop, provider, small_scene):
    given = small_scene.spatiotemporal(OUTPUT="TEMPORARY_OUTPUT", STANDARD_ERROR="TEMPORARY_OUTPUT")
    processing.runAndLoadResults("rasterfuse:rasterfuse_net", given)
    result = "landsat_20010524_2001-07-11_rasterfuse_net"
    assert sorted(order()) == [result, f"{result} (standard error)"]
    assert_dressed(named(f"{result} (standard error)"))


# --- console ---


def test_fuse_loads_it_below_the_result(small_scene, tmp_path):
    images = {
        "coarse_target": small_scene.target,
        "references": list(zip(small_scene.coarse, small_scene.fine)),
    }
    layer = fuse("rasterfuse_net", **images, error_output=tmp_path / "error.tif")
    assert order() == [layer.name(), f"{layer.name()} (standard error)"]
    assert_dressed(named(f"{layer.name()} (standard error)"))
    assert report_of(layer)["error_path"] == str(tmp_path / "error.tif")
    with pytest.raises(InputError, match="STARFM cannot tell the standard error"):
        fuse("starfm", **images, error_output=tmp_path / "error.tif")
    with pytest.raises(InputError, match=r"ends in \.png"):
        fuse("rasterfuse_net", **images, error_output=tmp_path / "error.png")


# --- dialog ---


def test_the_dialog_offers_it_only_where_it_can_be_told(form):
    for model, offered in (("starfm", False), ("rasterfuse_net", True), ("gsa", False)):
        form.choose(model)
        assert form.output.error.isVisible() == form.output.error_file.isVisible() == offered


def test_the_dialog_writes_and_loads_it(form, qtbot, tmp_path):
    dialog = form.window()
    form.choose("rasterfuse_net")
    assert not form.output.error_file.isEnabled()
    form.output.error.click()
    form.output.error_file.lineEdit().setFocus()
    qtbot.keyClicks(form.output.error_file.lineEdit(), str(tmp_path / "doubt"))
    qtbot.waitUntil(dialog.bar.run.isEnabled, timeout=RUN_MS)
    dialog.check()
    assert f"STANDARD_ERROR={tmp_path}/doubt.tif" in as_text(dialog._draft.job, "qgis_process")
    qtbot.mouseClick(dialog.bar.run, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not dialog.runner.is_running(), timeout=RUN_MS)
    result, error = order()[:2]
    assert error == f"{result} (standard error)"
    assert np.nanmin(pixels(tmp_path / "doubt.tif")) > 0
    form.choose("starfm")  # the box stays ticked for the next time, but asks for nothing
    dialog.check()
    assert dialog._draft.job.error_output is None
    assert not dialog._draft.obstacle


def test_the_dialog_names_what_is_wrong_beside_the_field(form):
    form.choose("rasterfuse_net")
    form.output.error.click()
    form.output.error_file.setFilePath("/nowhere/doubt.tif")
    form.window().check()
    said = " ".join(form.places()["error_output"].sentences())
    assert "The folder /nowhere does not exist" in said
    assert not form.window().bar.run.isEnabled()


def test_it_is_a_temporary_file_where_none_was_chosen(form):
    form.choose("rasterfuse_net")
    form.output.error.click()
    form.window().check()
    job = form.window()._draft.job
    assert job.error_output.endswith(".tif")
    form.window().copy_job("qgis_process")
    assert "STANDARD_ERROR=TEMPORARY_OUTPUT" in QgsApplication.clipboard().text()
