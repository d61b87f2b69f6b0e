"""A miniature training in the window, with a real worker, and what can be done with the model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from dated_images import DAYS, write_dated
from desktop import Desktop
from model_files import write_model
from osgeo import gdal
from qgis.core import QgsProject, QgsSettings
from qgis.PyQt.QtCore import Qt
from rasterfuse import classFactory, export_model, fuse, methods, train_async
from rasterfuse.models.errors import CancelledError
from rasterfuse.models.model_file import read_model_card
from rasterfuse.plugin import scripting
from rasterfuse.plugin.gui import train_form

RUN_MS = 240_000  # that anything may take on a busy machine; nothing may hang
LEFT_BUTTON = Qt.MouseButton.LeftButton
TINY = {"steps": 3, "patch": 32, "batch": 2}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three days to learn from, and the coarse image of a fourth."""
    return write_dated(tmp_path_factory.mktemp("series"), DAYS, side=256, bands=1)


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RASTERFUSE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def plugin(qgis_new_project, qgis_processing, own_folder):
    QgsSettings().remove("rasterfuse")
    made = classFactory(Desktop())
    made.initGui()
    yield made
    made.unload()
    QgsSettings().remove("rasterfuse")


def test_a_model_trained_in_the_window_is_a_method_at_once_and_fuses(
    plugin, images, own_folder, qtbot, tmp_path, monkeypatch
):
    dialog = plugin.open_dialog()
    window = dialog.open_training()
    form = window.form
    assert form.table.rowCount() == 0
    assert not window.run.isEnabled()
    assert form.findings.sentences()[0].startswith("0 usable dates; training needs at least 2")
    form.fine.setFilePath(str(images / "fine"))
    form.coarse.setFilePath(str(images / "coarse"))
    assert form.table.rowCount() == 4
    form.table.item(3, 0).setCheckState(Qt.CheckState.Unchecked)
    form.name.setText("Drawn fields")
    qtbot.waitUntil(window.run.isEnabled, timeout=RUN_MS)
    shorten(monkeypatch)
    qtbot.mouseClick(window.run, LEFT_BUTTON)
    assert window.cancel.isEnabled()
    qtbot.waitUntil(lambda: not window.runner.is_running(), timeout=RUN_MS)
    assert len(window.curve.points) == TINY["steps"]
    assert not window.preview.picture.isNull()
    assert "Fine plus mean change" in window.result.text()
    told = window.notices.items()[0].text
    assert told.startswith("The training brought no gain: the error on what was kept aside was")
    assert "Drawn fields is in the list of methods now." in told
    assert dialog.form.card().id != "drawn_fields"  # it is there, but not pressed on the user
    assert plugin.provider.algorithm("drawn_fields").displayName() == "Drawn fields"
    card = read_model_card(own_folder / "drawn_fields.safetensors")
    assert card.dates == ("2024-05-12", "2024-06-28", "2024-07-15")
    assert os.listdir(own_folder) == ["drawn_fields.safetensors"]
    fuse_with("drawn_fields", images, tmp_path)


def test_only_a_model_that_is_better_is_chosen_at_once(plugin, images, own_folder):
    dialog = plugin.open_dialog()
    window = dialog.open_training()
    window.form.fine.setFilePath(str(images / "fine"))
    window.form.coarse.setFilePath(str(images / "coarse"))
    job, _ = window.form.job()
    write_model(Path(job.output), id=job.model_id, name="Mine")
    plugin.provider.refreshAlgorithms()
    report = {"metrics": {"model": {"rmse": 1.0}, "copy_fine": {"rmse": 2.0}}}
    for better in (False, True):
        verdict = f"It is {'' if better else 'not '}better."
        window.runner.ended.emit(job, {**report, "better": better, "verdict": verdict}, None)
        assert window.notices.items()[-1].text.startswith(verdict)
        assert (dialog.form.card().id == job.model_id) == better


def shorten(monkeypatch):
    """Three steps instead of ten minutes."""
    usual = train_form.build_training_job
    monkeypatch.setattr(
        train_form, "build_training_job", lambda *given, **more: usual(*given, **{**more, **TINY})
    )


def fuse_with(model, images, folder):
    layer = fuse(
        model,
        coarse_target=images / "coarse" / f"coarse_{DAYS[3]}.tif",
        references=[
            (images / "coarse" / f"coarse_{day}.tif", images / "fine" / f"fine_{day}.tif")
            for day in DAYS[:3]
        ],
        output=folder / "fused.tif",
    )
    job = json.loads(gdal.Open(layer.source()).GetMetadataItem("RASTERFUSE_JOB"))
    assert job["model"] == model
    assert job["model_file"].endswith(f"{model}.safetensors")
    QgsProject.instance().removeAllMapLayers()


@pytest.mark.slow
def test_a_cancelled_training_leaves_no_model_and_goes_on_later(
    qgis_processing, images, own_folder, qtbot, tmp_path
):
    given = {"fine": images / "fine", "coarse": images / "coarse", **TINY, "steps": 40}
    measured = []
    task = train_async("Later", **given)
    task.measured.connect(measured.append)
    qtbot.waitUntil(lambda: len(measured) > 2, timeout=RUN_MS)
    task.cancel()
    qtbot.waitUntil(task.ended.is_set, timeout=RUN_MS)
    qtbot.waitUntil(lambda: task.error is not None, timeout=RUN_MS)
    assert isinstance(task.error, CancelledError)
    assert "later" not in dict(methods())
    again = []
    task = train_async("Later", **given)
    task.measured.connect(again.append)
    qtbot.waitUntil(lambda: task.report is not None or task.error is not None, timeout=RUN_MS)
    assert task.error is None
    assert again[0]["step"] > measured[0]["step"]
    qtbot.waitUntil(lambda: not scripting.running_tasks().running(), timeout=RUN_MS)
    assert "later" in dict(methods())
    assert export_model("later", tmp_path / "shared").endswith("shared.safetensors")
