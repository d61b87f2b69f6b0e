"""The class layer through all doors: dialog, Processing and console, with the real worker."""

from __future__ import annotations

import json
import shlex

import numpy as np
import processing
import pytest
from desktop import FINE, LEFT, TOP, Desktop, load, write_scene
from layers_rasters import write_raster
from osgeo import gdal
from processing_calls import Listener
from qgis.core import QgsApplication, QgsProcessingContext, QgsProject, QgsRasterLayer, QgsSettings
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QLabel
from rasterfuse import classFactory, fuse
from rasterfuse.models.errors import FusionError
from rasterfuse.plugin.gui.copy_job import as_text
from rasterfuse.plugin.layers.publish import report_of
from rasterfuse.plugin.scripting import Image

pytest_plugins = ["small_scene"]
SIZE = 96
SENTENCES = {f"The class layer landcover{end} with 2 classes was used." for end in ("", ".tif")}
CHANGED, SAME = 311, 112


def classes(size=SIZE):
    """(1, size, size): the half of the scene that changes is one class, the other another."""
    columns = np.broadcast_to(np.arange(size) < size // 2, (1, size, size))
    return np.where(columns, SAME, CHANGED).astype("int16")


def write_classes(folder, values=None, name="landcover", **more):
    place = (LEFT, FINE, 0.0, TOP, 0.0, -FINE)
    values = classes() if values is None else values
    return write_raster(folder / f"{name}.tif", values, place, **more)


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path)


@pytest.fixture
def layer(tmp_path):
    return write_classes(tmp_path)


@pytest.fixture
def clean_project(qgis_new_project):
    """A project without layers."""


def spatiotemporal(scene, tmp_path, **more):
    return {
        "COARSE_TARGET": scene["coarse_20240715"],
        "COARSE_REFERENCES": [scene["coarse_20240512"]],
        "FINE_REFERENCES": [scene["fine_20240512"]],
        "OUTPUT": str(tmp_path / "fused.tif"),
        **more,
    }


# --- Processing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["ubdf", "fsdaf"])
def test_processing_takes_a_class_layer(provider, scene, layer, tmp_path, model):
    given = spatiotemporal(scene, tmp_path, CLASS_LAYER=layer)
    listener = Listener()
    result = processing.run(f"rasterfuse:{model}", given, feedback=listener)
    report = json.loads(result["REPORT"])
    assert SENTENCES & {*report["notes"]} & {*listener.infos}
    assert report["job"]["inputs"]["class_layer"]["path"] == layer
    assert gdal.Open(result["OUTPUT"]).RasterXSize == SIZE


def test_processing_works_without_one(provider, scene, tmp_path):
    result = processing.run("rasterfuse:ubdf", spatiotemporal(scene, tmp_path, CLASSES=3))
    notes = json.loads(result["REPORT"])["notes"]
    assert "3 classes of land cover were found in the fine reference." in notes


def test_a_band_and_a_nodata_value_can_be_stated(provider, scene, tmp_path):
    values = np.concatenate([0 * classes(), classes()])
    values[1, :8] = 255
    path = write_classes(tmp_path, values)
    given = spatiotemporal(
        scene, tmp_path, CLASS_LAYER=path, CLASS_LAYER_BANDS=2, CLASS_LAYER_NODATA=255
    )
    result = processing.run("rasterfuse:ubdf", given)
    assert SENTENCES & {*json.loads(result["REPORT"])["notes"]}


def refusal(given):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("rasterfuse:fsdaf")
    ok, sentence = algorithm.checkParameterValues(given, QgsProcessingContext())
    assert not ok
    return sentence


def test_a_missing_file_and_several_bands_are_said_before_the_run(provider, scene, tmp_path):
    gone = str(tmp_path / "gone.tif")
    assert "gone.tif" in refusal(spatiotemporal(scene, tmp_path, CLASS_LAYER=gone))
    two = write_classes(tmp_path, np.concatenate([classes(), classes()]))
    sentence = refusal(spatiotemporal(scene, tmp_path, CLASS_LAYER=two))
    assert "FSDAF takes 1 band of landcover.tif, 2 are chosen" in sentence


# --- console --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "layer", "image"])
def test_the_console_takes_paths_layers_and_images(clean_project, scene, layer, tmp_path, kind):
    given = {
        "path": layer,
        "layer": QgsRasterLayer(layer, "landcover.tif"),
        "image": Image(layer, bands=(1,), nodata=0),
    }[kind]
    fused = fuse(
        "ubdf", coarse_target=scene["coarse_20240715"],
        references=[(scene["coarse_20240512"], scene["fine_20240512"])],
        class_layer=given, output=tmp_path / "fused.tif", coarse_window=3,
    )  # fmt: skip
    report = report_of(fused)
    assert SENTENCES & {*report["notes"]}
    # The target's halves differ by 0.1, and the classes tell where one ends.
    values = 1e-4 * gdal.Open(fused.source()).ReadAsArray()
    step = values[:, :, SIZE // 2 :].mean() - values[:, :, : SIZE // 2].mean()
    assert step == pytest.approx(0.1, abs=0.01)


def test_other_methods_say_that_they_take_none(clean_project, scene, layer):
    with pytest.raises(FusionError, match="STARFM has no input 'class_layer'"):
        fuse(
            "starfm", coarse_target=scene["coarse_20240715"],
            references=[(scene["coarse_20240512"], scene["fine_20240512"])], class_layer=layer,
        )  # fmt: skip


# --- dialog ---------------------------------------------------------------------------------------


@pytest.fixture
def plugin(clean_project):
    QgsSettings().remove("rasterfuse")
    plugin = classFactory(Desktop())
    plugin.initGui()
    yield plugin
    plugin.unload()
    QgsSettings().remove("rasterfuse")


@pytest.fixture
def dialog(plugin, scene, layer):
    """The dialog with a scene and a class layer in the project."""
    load({**scene, "landcover.tif": layer})
    return plugin.open_dialog()


def test_only_methods_that_can_use_it_show_the_field(dialog):
    dialog.form.choose("starfm")
    assert "class_layer" not in dialog.form.images
    for model in ("fsdaf", "ubdf"):
        dialog.form.choose(model)
        field = dialog.form.images["class_layer"]
        assert "Class layer (optional)" in [label.text() for label in field.findChildren(QLabel)]
        assert field.date is None
        assert field.layer() is None
        dialog.check()
        assert not dialog.form.places()["class_layer"].sentences()
        assert dialog.bar.run.isEnabled()


def test_a_layer_chosen_by_name_is_used_and_its_job_can_be_copied(dialog, qtbot, layer):
    dialog.form.choose("ubdf")
    combo = dialog.form.images["class_layer"].raster.combo
    combo.setFocus()
    qtbot.keyClicks(combo, "landcover.tif")
    dialog.form.radiometry.fields["coarse", "scale"].setText("0.0001")
    dialog.check()
    job = dialog._draft.job
    assert job.inputs["class_layer"].path == layer
    assert job.inputs["class_layer"].scale is None
    assert job.inputs["coarse_target"].scale == 0.0001
    qtbot.mouseClick(dialog.bar.run, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not dialog.runner.is_running(), timeout=60_000)
    fused = QgsProject.instance().mapLayersByName("fine_20240512_2024-07-15_ubdf")
    assert SENTENCES & {*report_of(fused[0])["notes"]}
    words = shlex.split(as_text(job, "qgis_process"))
    assert f"CLASS_LAYER={layer}" in words
    assert f"    class_layer={layer!r},\n" in as_text(job, "python")


def test_a_copied_job_keeps_the_band_and_nodata_of_the_classes(dialog, qtbot, tmp_path):
    two = write_classes(tmp_path, np.concatenate([classes(), classes()]), "two")
    dialog.form.choose("fsdaf")
    field = dialog.form.images["class_layer"]
    field.raster.choose_file(two)
    dialog.check()
    assert dialog._draft.job.inputs["class_layer"].bands == (1,)
    field.bands.choose((2,))
    dialog.check()
    job = dialog._draft.job
    assert "CLASS_LAYER_BANDS=2" in shlex.split(as_text(job, "qgis_process"))
    assert f"class_layer=Image({two!r}, bands=(2,))" in as_text(job, "python")


def test_what_is_wrong_with_the_layer_stands_at_its_field(dialog, tmp_path):
    dialog.form.choose("fsdaf")
    field = dialog.form.images["class_layer"]
    gone = tmp_path / "gone.tif"
    gone.write_text("no raster", encoding="utf-8")
    field.raster.choose_file(str(gone))
    dialog.check()
    assert "gone.tif" in " ".join(field.findings.sentences())
    assert not dialog.bar.run.isEnabled()
