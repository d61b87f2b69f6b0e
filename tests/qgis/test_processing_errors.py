"""What the algorithms say when something is wrong, with the real worker; nothing is left then."""

from __future__ import annotations

import shutil
from pathlib import Path

import processing
import pytest
from layers_rasters import ramp, write_raster
from processing_calls import Listener, files_in, parameters, run
from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingException
from rasterfuse.plugin import settings
from rasterfuse.plugin.layers.inspect import inspect
from rasterfuse.plugin.layers.request import Image, JobOptions, build_job
from rasterfuse.plugin.runtime.runtime import shared

pytest_plugins = ["small_scene"]


@pytest.fixture()
def no_worker(tmp_path):
    """A user who chose a Python that is not there."""
    before = settings.worker_python()
    settings.set_worker_python(str(tmp_path / "python"))
    yield str(tmp_path / "python")
    settings.set_worker_python(before)


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
        ({"COREGISTER": 2}, "COREGISTER is 2. Choose one of: never, auto"),
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
