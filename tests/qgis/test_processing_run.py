"""The algorithms as a user of the toolbox or of processing.run meets them, with the real worker."""

from __future__ import annotations

import json
import os
import threading

import numpy as np
import processing
import pytest
from osgeo import gdal
from processing_calls import (
    PANSHARPENING,
    SPATIOTEMPORAL,
    Listener,
    files_in,
    parameters,
    pixels,
    run,
)
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProject,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QDate, QDateTime, QTime, QTimer
from rasterfuse.plugin.processing.dressing import Dresser

pytest_plugins = ["small_scene"]


@pytest.mark.parametrize("model", SPATIOTEMPORAL + PANSHARPENING)
def test_result_has_the_pixels_of_the_fine_image(provider, small_scene, tmp_path, model):
    result = run(small_scene, model, tmp_path / "fused.tif")
    fused, transform, kind = pixels(result["OUTPUT"])
    fine = small_scene.fine[0] if model in SPATIOTEMPORAL else small_scene.panchromatic
    assert fused.shape == (3, 64, 80)
    assert transform == pixels(fine)[1]
    assert kind == gdal.GDT_Int16
    assert files_in(tmp_path) == ["fused.tif"]


@pytest.mark.parametrize("model", SPATIOTEMPORAL + PANSHARPENING)
def test_outputs_are_the_declared_numbers_and_the_report(provider, small_scene, tmp_path, model):
    result = run(small_scene, model, tmp_path / "fused.tif")
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"rasterfuse:{model}")
    declared = {item.name() for item in algorithm.outputDefinitions()}
    assert set(result) == declared
    report = json.loads(result["REPORT"])
    assert report["model"] == model
    assert result["SECONDS"] == report["seconds"]["total"] > 0
    assert result["NODATA_SHARE"] == 0
    assert result["RMSE_RESULT"] == report["trust"]["answers"][0]["mean"]


def test_stages_notes_and_verdict_are_told(provider, small_scene, tmp_path):
    listener = Listener()
    result = run(small_scene, "gsa", tmp_path / "fused.tif", listener)
    assert "Fusing" in listener.stages
    report = json.loads(result["REPORT"])
    assert report["trust"]["verdict"] in listener.infos
    assert set(report["notes"]) <= set(listener.infos)


def test_warnings_of_the_checks_are_told_before_the_run(provider, small_scene, tmp_path):
    listener = Listener()
    run(small_scene, "fine_plus_change", tmp_path / "f.tif", listener, TARGET_DATE="2001-12-24")
    # The worker finds it too, but once is enough.
    assert len([text for text in listener.warnings if "lies outside the pairs" in text]) == 1


def test_pairs_are_made_by_date_whatever_the_order_of_the_lists(provider, small_scene, tmp_path):
    straight = run(small_scene, "starfm", tmp_path / "straight.tif")
    crossed = run(
        small_scene, "starfm", tmp_path / "crossed.tif",
        COARSE_REFERENCES=small_scene.coarse[::-1],
    )  # fmt: skip
    assert np.array_equal(pixels(straight["OUTPUT"])[0], pixels(crossed["OUTPUT"])[0])


@pytest.mark.parametrize(
    "day",
    ["2001-07-20", QDate(2001, 7, 20), QDateTime(QDate(2001, 7, 20), QTime(0, 0))],
    ids=["text", "QDate", "QDateTime"],
)
def test_target_date_of_any_kind_is_taken_over(provider, small_scene, tmp_path, day):
    result = run(small_scene, "fine_plus_change", tmp_path / "fused.tif", TARGET_DATE=day)
    job = json.loads(result["REPORT"])["job"]
    assert job["inputs"]["coarse_target"]["date"] == "2001-07-20"


def test_reference_dates_win_over_file_names(provider, small_scene, tmp_path):
    result = run(
        small_scene, "fine_plus_change", tmp_path / "fused.tif",
        REFERENCE_DATES="2001-06-01, 2001-09-01",
    )  # fmt: skip
    pairs = json.loads(result["REPORT"])["job"]["inputs"]["references"]
    assert [pair["fine"]["date"] for pair in pairs] == ["2001-06-01", "2001-09-01"]
    assert [pair["coarse"]["date"] for pair in pairs] == ["2001-06-01", "2001-09-01"]


@pytest.mark.parametrize("bands", [[3, 1], "3,1", "3;1", "3 1"])
def test_bands_come_in_the_order_asked_for(provider, small_scene, tmp_path, bands):
    result = run(
        small_scene, "fine_plus_change", tmp_path / "fused.tif",
        COARSE_BANDS=bands, FINE_BANDS=bands,
    )  # fmt: skip
    every = run(small_scene, "fine_plus_change", tmp_path / "all.tif")
    some, all_bands = pixels(result["OUTPUT"])[0], pixels(every["OUTPUT"])[0]
    assert np.array_equal(some, all_bands[[2, 0]])


@pytest.mark.parametrize(
    "extent",
    ["500301,500899,4999101,4999699 [EPSG:32633]", "500301,500899,4999101,4999699"],
    ids=["with-crs", "crs-of-the-project"],
)
def test_extent_is_fused_to_whole_pixels(provider, small_scene, tmp_path, qgis_new_project, extent):
    QgsProject.instance().setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
    whole = run(small_scene, "fine_plus_change", tmp_path / "whole.tif")
    part = run(small_scene, "fine_plus_change", tmp_path / "part.tif", EXTENT=extent)
    values, transform, _ = pixels(part["OUTPUT"])
    assert transform == (500300.0, 30.0, 0.0, 4999700.0, 0.0, -30.0)
    assert np.array_equal(values, pixels(whole["OUTPUT"])[0][:, 10:30, 10:30])


def test_extent_in_degrees_finds_the_same_place(provider, small_scene, tmp_path):
    part = run(
        small_scene, "gsa", tmp_path / "part.tif",
        EXTENT="15.0062,15.0092,45.1453,45.1480 [EPSG:4326]",
    )  # fmt: skip
    _, transform, _ = pixels(part["OUTPUT"])
    assert abs(transform[0] - 500487) <= 30
    assert 4999000 < transform[3] < 5000000


def test_stated_nodata_scale_and_offset_reach_the_job(provider, small_scene, tmp_path):
    result = run(
        small_scene, "fine_plus_change", tmp_path / "fused.tif",
        COARSE_SCALE=0.0001, COARSE_OFFSET=0.5, COARSE_NODATA=-1, FINE_SCALE=0.0001,
        FINE_NODATA=-2, COARSE_CELL_SIZE=240, HARMONISE="never",
        COREGISTER="auto", MEMORY=512,
    )  # fmt: skip
    job = json.loads(result["REPORT"])["job"]
    target, pair = job["inputs"]["coarse_target"], job["inputs"]["references"][1]
    for source in (target, pair["coarse"]):
        assert (source["scale"], source["offset"], source["nodata"]) == (0.0001, 0.5, -1)
        assert source["cell_size"] == 240
    assert (pair["fine"]["scale"], pair["fine"]["offset"]) == (0.0001, None)
    assert (pair["fine"]["nodata"], pair["fine"]["cell_size"]) == (-2, None)
    assert (job["harmonise"], job["coregister"]) == ("never", "auto")
    assert job["limits"]["memory_mb"] == 512


def test_empty_values_mean_the_defaults(provider, small_scene, tmp_path):
    result = run(
        small_scene, "starfm", tmp_path / "fused.tif",
        TARGET_DATE=None, REFERENCE_DATES="", COARSE_BANDS=None, FINE_BANDS="", EXTENT=None,
        COARSE_NODATA=None, MEMORY=None, UNCERTAINTY_FINE=None, SPATIAL_WEIGHT="",
    )  # fmt: skip
    job = json.loads(result["REPORT"])["job"]
    assert job["parameters"] == {"window": 17}
    assert job["inputs"]["coarse_target"]["date"] == "2001-07-11"
    assert job["limits"]["memory_mb"] is None


def test_layers_of_the_project_do_as_well_as_paths(
    provider, small_scene, tmp_path, qgis_new_project
):
    project = QgsProject.instance()
    names = [small_scene.target, *small_scene.coarse, *small_scene.fine]
    layers = [QgsRasterLayer(path, f"layer {n}") for n, path in enumerate(names)]
    project.addMapLayers(layers)
    target, coarse_1, coarse_2, fine_1, fine_2 = layers
    result = processing.run(
        "rasterfuse:fine_plus_change",
        {
            "COARSE_TARGET": target.id(),
            "COARSE_REFERENCES": [coarse_1, coarse_2.name()],
            "FINE_REFERENCES": [fine_1.id(), fine_2],
            "OUTPUT": "TEMPORARY_OUTPUT",
        },
    )
    by_path = run(small_scene, "fine_plus_change", tmp_path / "fused.tif")
    assert np.array_equal(pixels(result["OUTPUT"])[0], pixels(by_path["OUTPUT"])[0])


# --- the layer in QGIS ----------------------------------------------------------------------------


def test_a_loaded_result_is_named_styled_dated_and_tells_its_history(
    provider, small_scene, tmp_path, desktop
):
    fine = QgsRasterLayer(small_scene.fine[0], "landsat_20010524")
    fine.setOpacity(0.5)
    renderer = fine.renderer()
    renderer.setRedBand(3)
    renderer.setBlueBand(1)
    QgsProject.instance().addMapLayer(fine)
    given = parameters(small_scene, "starfm", OUTPUT=str(tmp_path / "fused.tif"))
    given["FINE_REFERENCES"] = [fine, small_scene.fine[1]]
    processing.runAndLoadResults("rasterfuse:starfm", given)
    found = QgsProject.instance().mapLayersByName("landsat_20010524_2001-07-11_starfm")
    assert len(found) == 1
    layer = found[0]
    assert (layer.renderer().redBand(), layer.renderer().blueBand()) == (3, 1)
    temporal = layer.temporalProperties()
    assert temporal.isActive()
    assert temporal.mode() == Qgis.RasterTemporalMode.FixedTemporalRange
    assert temporal.fixedTemporalRange().begin().date() == QDate(2001, 7, 11)
    history = "\n".join(layer.metadata().history())
    assert "STARFM" in history
    assert str(tmp_path / "fused.tif") in history
    assert not Dresser.waiting()


def test_a_relative_output_lies_where_the_user_works(provider, small_scene, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(small_scene, "gsa", "fused.tif")
    assert result["OUTPUT"] == "fused.tif"
    assert files_in(tmp_path) == ["fused.tif"]


class WaitsForTicks(Listener):
    """Holds the algorithm up when it fuses, until a timer of the interface has ticked."""

    def __init__(self, ticks):
        super().__init__()
        self.is_fusing, self.was_ticked = threading.Event(), False
        self._wanted, self._enough = ticks, threading.Event()

    def tick(self):
        self._wanted -= self.is_fusing.is_set()
        if self._wanted == 0:
            self._enough.set()

    def setProgressText(self, text):
        super().setProgressText(text)
        if text == "Fusing":
            self.is_fusing.set()
            self.was_ticked = self._enough.wait(30)


def test_the_interface_stays_alive_while_an_algorithm_runs(provider, small_scene, tmp_path, qtbot):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("rasterfuse:starfm")
    context, listener = QgsProcessingContext(), WaitsForTicks(5)
    context.setProject(QgsProject.instance())
    given = parameters(small_scene, "starfm", OUTPUT=str(tmp_path / "fused.tif"))
    task = QgsProcessingAlgRunnerTask(algorithm, given, context, listener)
    timer = QTimer()
    timer.timeout.connect(listener.tick)
    timer.start(10)
    with qtbot.waitSignal(task.executed, timeout=60_000) as signal:
        QgsApplication.taskManager().addTask(task)
    ok, result = signal.args
    assert ok
    assert listener.was_ticked
    assert os.path.exists(result["OUTPUT"])
