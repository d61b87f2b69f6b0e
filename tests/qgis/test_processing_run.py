"""The algorithms as a user of the toolbox or of processing.run meets them, with the real worker."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import processing
import pytest
from layers_rasters import ramp, write_raster
from osgeo import gdal
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QDate, QDateTime, QTime
from rasterfuse.plugin import settings
from rasterfuse.plugin.layers.inspect import inspect
from rasterfuse.plugin.layers.request import Image, JobOptions, build_job
from rasterfuse.plugin.processing.dressing import Dresser
from rasterfuse.plugin.runtime.runtime import shared

pytest_plugins = ["small_scene"]

SPATIOTEMPORAL = ("fine_plus_change", "starfm")
PANSHARPENING = ("brovey", "gsa")


class Listener(QgsProcessingFeedback):
    """Notes what an algorithm says; cancels when it comes to a stage."""

    def __init__(self, cancel_at=None):
        super().__init__(False)
        self.infos, self.warnings, self.errors, self.stages = [], [], [], []
        self._cancel_at = cancel_at

    def pushInfo(self, text):
        self.infos.append(text)

    def pushWarning(self, text):
        self.warnings.append(text)

    def reportError(self, text, fatal=False):
        self.errors.append(text)

    def setProgressText(self, text):
        self.stages.append(text)
        if text == self._cancel_at:
            self.cancel()


def parameters(scene, model, **more):
    given = scene.spatiotemporal() if model in SPATIOTEMPORAL else scene.pansharpening()
    return {**given, **({"WINDOW": 17} if model == "starfm" else {}), **more}


def run(scene, model, output, feedback=None, **more):
    given = parameters(scene, model, OUTPUT=str(output), **more)
    return processing.run(f"rasterfuse:{model}", given, feedback=feedback)


def pixels(path):
    dataset = gdal.Open(str(path))
    return dataset.ReadAsArray(), dataset.GetGeoTransform(), dataset.GetRasterBand(1).DataType


def files_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.fixture()
def no_worker(tmp_path):
    """A user who chose a Python that is not there."""
    before = settings.worker_python()
    settings.set_worker_python(str(tmp_path / "python"))
    yield str(tmp_path / "python")
    settings.set_worker_python(before)


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
    assert any("2001-12-24 lies outside the pairs" in text for text in listener.warnings)


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
        FINE_NODATA=-2, COARSE_CELL_SIZE=240, HARMONISE="never", MEMORY=512,
    )  # fmt: skip
    job = json.loads(result["REPORT"])["job"]
    target, pair = job["inputs"]["coarse_target"], job["inputs"]["references"][1]
    for source in (target, pair["coarse"]):
        assert (source["scale"], source["offset"], source["nodata"]) == (0.0001, 0.5, -1)
        assert source["cell_size"] == 240
    assert (pair["fine"]["scale"], pair["fine"]["offset"]) == (0.0001, None)
    assert (pair["fine"]["nodata"], pair["fine"]["cell_size"]) == (-2, None)
    assert job["harmonise"] == "never"
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


# --- what is wrong is said ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"COARSE_TARGET": None}, "Coarse image at the target date is missing. Choose a layer"),
        ({"COARSE_TARGET": "/no/where.tif"}, "where.tif does not exist"),
        ({"COARSE_REFERENCES": []}, "There are 0 coarse and 2 fine reference images"),
        ({"COARSE_BANDS": "1,9"}, "has 3 bands, not a band 9. Choose others"),
        ({"COARSE_BANDS": "red"}, "COARSE_BANDS is 'red'. Give band numbers from 1"),
        ({"FINE_BANDS": [0]}, "Bands count from 1"),
        ({"TARGET_DATE": "11.7.2001"}, "'11.7.2001' is no date. Write it as YYYY-MM-DD"),
        ({"REFERENCE_DATES": "2001-05-24"}, "REFERENCE_DATES has 1 dates for 2 fine images"),
        ({"WINDOW": 20}, "Search window is 20. Give an odd number"),
        ({"WINDOW": "wide"}, "Search window is 'wide'. Give a whole number"),
        ({"CLASSES": 0}, "Land-cover classes is 0. Give a value from 1 to 100"),
        ({"COARSE_NODATA": "none"}, "COARSE_NODATA is 'none'. Give a number or leave it out"),
        ({"HARMONISE": "maybe"}, "HARMONISE is 'maybe'. Choose one of: auto, always, never"),
        ({"MEMORY": 1}, "MEMORY is 1 MB. Give at least 64"),
        ({"EXTENT": "0,1,0,1"}, "lies outside the fine image. Choose one that overlaps it"),
        ({"EXTENT": "here"}, "The extent here is empty. Give xmin,xmax,ymin,ymax"),
        ({"DEVICE": "gpu"}, "There is no device 'gpu' here. Choose auto or one of: "),
        ({"OUTPUT": "/no/folder/fused.tif"}, "The folder /no/folder does not exist. Create it"),
        ({"OUTPUT": "/tmp/fused.img"}, "ends in .img, but RasterFuse writes GeoTIFF only"),
        ({"OUTPUT": "/tmp/fused"}, "has no ending, .* Choose /tmp/fused.tif"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_value_gets_a_sentence(provider, small_scene, given, sentence):
    all_given = {"OUTPUT": "TEMPORARY_OUTPUT", **given}
    with pytest.raises(QgsProcessingException, match=sentence):
        processing.run("rasterfuse:starfm", {**parameters(small_scene, "starfm"), **all_given})


def test_the_sentence_is_that_of_the_dialog(provider, small_scene, tmp_path):
    far = write_raster(tmp_path / "far.tif", ramp(3, 8, 10), (9e5, 240.0, 0, 5e6, 0, -240.0))
    pairs = [(Image(c), Image(f)) for c, f in zip(small_scene.coarse, small_scene.fine)]
    output = str(tmp_path / "fused.tif")
    job = build_job("starfm", {"coarse_target": Image(far)}, pairs, output, JobOptions())
    errors = [item.sentence for item in inspect(job)[1] if item.level == "error"]
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("rasterfuse:starfm")
    given = parameters(small_scene, "starfm", COARSE_TARGET=far, OUTPUT=output)
    ok, sentence = algorithm.checkParameterValues(given, QgsProcessingContext())
    assert not ok
    assert sentence == errors[0]
    assert "does not overlap" in sentence


def test_checking_leaves_no_trace(provider, small_scene):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("rasterfuse:starfm")
    context = QgsProcessingContext()
    given = parameters(small_scene, "starfm", OUTPUT="TEMPORARY_OUTPUT")
    assert algorithm.checkParameterValues(given, context) == (True, "")
    assert not context.layersToLoadOnCompletion()


def test_a_step_that_was_not_checked_gets_the_sentence_all_the_same(provider, small_scene):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("rasterfuse:starfm")
    given = parameters(small_scene, "starfm", OUTPUT="TEMPORARY_OUTPUT", WINDOW=20)
    listener = Listener()
    _, ok = algorithm.run(given, QgsProcessingContext(), listener)
    assert not ok
    assert "Search window is 20. Give an odd number" in listener.errors[0]


def test_an_output_that_is_an_input_is_refused_and_kept(provider, small_scene, tmp_path):
    mine = shutil.copy(small_scene.fine[0], tmp_path / "landsat_20010524.tif")
    before = Path(mine).read_bytes()
    with pytest.raises(QgsProcessingException, match="is also the input"):
        run(small_scene, "starfm", mine, FINE_REFERENCES=[str(mine), small_scene.fine[1]])
    assert Path(mine).read_bytes() == before


def test_a_failing_worker_leaves_nothing(provider, small_scene, tmp_path):
    with pytest.raises(QgsProcessingException, match="There is no device 'cuda:7' here"):
        run(small_scene, "starfm", tmp_path / "fused.tif", DEVICE="cuda:7")
    assert files_in(tmp_path) == []


# --- cancelling and missing workers ---------------------------------------------------------------


@pytest.mark.parametrize("stage", ["Opening", "Fusing"])
def test_cancelling_leaves_nothing(provider, small_scene, tmp_path, stage):
    run(small_scene, "gsa", tmp_path / "warm.tif")
    (tmp_path / "warm.tif").unlink()
    listener = Listener(cancel_at=stage)
    result = run(small_scene, "starfm", tmp_path / "fused.tif", listener)
    assert result == {}
    assert listener.isCanceled()
    assert files_in(tmp_path) == []


def test_without_a_worker_the_run_says_what_to_do(provider, small_scene, tmp_path, no_worker):
    with pytest.raises(QgsProcessingException, match=no_worker):
        run(small_scene, "starfm", tmp_path / "fused.tif")
    assert files_in(tmp_path) == []


def test_the_toolbox_gives_the_reason_once_it_is_known(provider, no_worker):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("rasterfuse:starfm")
    assert algorithm.canExecute() == (True, "")  # nothing is known: never wait to find out
    shared().status()
    ok, reason = algorithm.canExecute()
    assert not ok
    assert no_worker in reason


def test_the_reason_goes_away_once_a_worker_is_chosen(provider, no_worker):
    shared().status()
    settings.set_worker_python(None)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("rasterfuse:starfm")
    assert algorithm.canExecute() == (True, "")


# --- the layer in QGIS ----------------------------------------------------------------------------


def test_a_loaded_result_is_named_styled_dated_and_tells_its_history(
    provider, small_scene, tmp_path, qgis_iface, qgis_new_project
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


def test_the_interface_stays_alive_while_an_algorithm_runs(provider, small_scene, tmp_path, qtbot):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("rasterfuse:starfm")
    context, listener = QgsProcessingContext(), Listener()
    context.setProject(QgsProject.instance())
    given = parameters(small_scene, "starfm", OUTPUT=str(tmp_path / "fused.tif"))
    task = QgsProcessingAlgRunnerTask(algorithm, given, context, listener)
    with qtbot.waitSignal(task.executed, timeout=60_000) as signal:
        QgsApplication.taskManager().addTask(task)
    ok, result = signal.args
    assert ok
    assert os.path.exists(result["OUTPUT"])
