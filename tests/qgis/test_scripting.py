"""fuse() and fuse_async() as a user of the Python console calls them, with the real worker."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterfuse
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsReferencedRectangle,
)
from rasterfuse import fuse, fuse_async, methods
from rasterfuse.models.cards import load_cards
from rasterfuse.models.errors import CancelledError, FusionError
from rasterfuse.plugin import scripting
from rasterfuse.plugin.layers.publish import report_of
from rasterfuse.plugin.scripting import Image

pytest_plugins = ["small_scene"]


@pytest.fixture(autouse=True)
def clean_project(qgis_new_project):
    """Every test starts with an empty project."""


def pixels(layer):
    return gdal.Open(layer.source()).ReadAsArray()


def pairs(scene):
    return list(zip(scene.coarse, scene.fine))


def layer_of(path):
    layer = QgsRasterLayer(path, Path(path).stem)
    QgsProject.instance().addMapLayer(layer)
    return layer


def order():
    """Names of the layers from top to bottom."""
    return [node.name() for node in QgsProject.instance().layerTreeRoot().findLayers()]


def test_methods_are_listed_by_id_and_name():
    assert ("starfm", "STARFM") in methods()
    assert [model for model, _ in methods()] == list(load_cards())


def test_the_package_offers_the_names_and_says_which_others_it_lacks():
    assert rasterfuse.fuse is scripting.fuse
    with pytest.raises(AttributeError, match=r"rasterfuse has no 'fuze'\. It offers fuse, "):
        rasterfuse.fuze


def test_paths_become_a_layer_in_the_project(small_scene, tmp_path):
    output = tmp_path / "fused.tif"
    layer = fuse(
        "starfm", coarse_target=small_scene.target, references=pairs(small_scene),
        output=output, window=17,
    )  # fmt: skip
    assert layer.source() == str(output)
    assert layer.name() == "landsat_20010524_2001-07-11_starfm"
    assert order() == [layer.name()]
    assert pixels(layer).shape == (3, 64, 80)
    assert report_of(layer)["job"]["parameters"] == {"window": 17}


def test_layers_give_their_style_and_the_result_lies_above_them(small_scene):
    coarse, fine = layer_of(small_scene.coarse[0]), layer_of(small_scene.fine[0])
    target = layer_of(small_scene.target)
    fine.renderer().setRedBand(3)
    layer = fuse("fine_plus_change", coarse_target=target, references=[(coarse, fine)])
    assert order()[0] == layer.name()
    assert layer.renderer().redBand() == 3
    begin = layer.temporalProperties().fixedTemporalRange().begin().date()
    assert begin.toString("yyyy-MM-dd") == "2001-07-11"


def test_a_temporary_result_carries_the_name_of_the_layer(small_scene):
    layer = fuse(
        "gsa", multispectral=small_scene.multispectral, panchromatic=small_scene.panchromatic
    )
    assert Path(layer.source()).name == f"{layer.name()}.tif"
    assert Path(layer.source()).is_file()


def test_the_project_stays_as_it_is_when_asked(small_scene, tmp_path):
    layer = fuse(
        "brovey", multispectral=small_scene.multispectral,
        panchromatic=small_scene.panchromatic, coarse_bands=(3, 1),
        output=tmp_path / "sharp.tif", add_to_project=False,
    )  # fmt: skip
    assert order() == []
    assert layer.isValid()
    assert layer.bandCount() == 2
    assert report_of(layer)["model"] == "brovey"
    del layer


def test_what_is_said_of_one_image_wins_over_what_is_said_of_all(small_scene, tmp_path):
    target = Image(small_scene.target, bands=(2,), date="2001-07-20", nodata=-1.0)
    layer = fuse(
        "fine_plus_change", coarse_target=target, references=pairs(small_scene)[:1],
        coarse_bands=[2], fine_bands=[2], target_date="2001-07-11", harmonise="never",
        coregister="auto", device="cpu", backend="torch", memory_mb=512,
        output=tmp_path / "fused.tif",
    )  # fmt: skip
    job = report_of(layer)["job"]
    source = job["inputs"]["coarse_target"]
    assert (source["date"], source["bands"], source["nodata"]) == ("2001-07-20", [2], -1.0)
    assert job["inputs"]["references"][0]["fine"]["bands"] == [2]
    assert (job["harmonise"], job["coregister"], job["device"]) == ("never", "auto", "cpu")
    assert (job["backend"], job["limits"]["memory_mb"]) == ("torch", 512)


def test_dates_come_as_texts_or_dates(small_scene):
    day = date(2001, 7, 20)
    references = [(*pair, when) for pair, when in zip(pairs(small_scene), ["2001-06-01", day])]
    layer = fuse(
        "fine_plus_change", coarse_target=small_scene.target, references=references,
        target_date=date(2001, 6, 20),
    )  # fmt: skip
    inputs = report_of(layer)["job"]["inputs"]
    assert inputs["coarse_target"]["date"] == "2001-06-20"
    assert [pair["coarse"]["date"] for pair in inputs["references"]] == [
        "2001-06-01",
        "2001-07-20",
    ]


@pytest.mark.parametrize(
    "extent",
    [
        (500301, 4999101, 500899, 4999699),
        QgsRectangle(500301, 4999101, 500899, 4999699),
        QgsReferencedRectangle(
            QgsRectangle(500301, 4999101, 500899, 4999699),
            QgsCoordinateReferenceSystem("EPSG:32633"),
        ),
    ],
    ids=["numbers", "rectangle", "rectangle with CRS"],
)
def test_an_extent_cuts_the_result(small_scene, extent):
    layer = fuse(
        "fine_plus_change", coarse_target=small_scene.target, references=pairs(small_scene),
        extent=extent,
    )  # fmt: skip
    assert layer.extent() == QgsRectangle(500300, 4999100, 500900, 4999700)


def test_progress_is_told_with_stages_up_to_the_end(small_scene):
    heard = []
    fuse(
        "gsa", multispectral=small_scene.multispectral, panchromatic=small_scene.panchromatic,
        on_progress=lambda stage, share: heard.append((stage, share)),
    )  # fmt: skip
    assert "Fusing" in [stage for stage, _ in heard]
    assert heard[-1][1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"model": "fusion"}, "There is no method 'fusion'. Choose one of: "),
        ({"windov": 3}, "STARFM has no parameter windov. It offers "),
        ({"window": 20}, "Search window is 20. Give an odd number"),
        ({"coarse_target": None}, "Coarse image at the target date is missing"),
        ({"coarse_target": 7}, "7 is no image. Give a raster layer, a path or an Image"),
        ({"coarse_target": "gone.tif"}, "gone.tif does not exist"),
        ({"references": ["a.tif"]}, "Reference pair 1 is 'a.tif'. Give .coarse, fine. or"),
        ({"references": [("a.tif", None)]}, "Reference pair 1 lacks an image. Give two"),
        ({"references": []}, "needs at least 1 reference pair, got 0"),
        ({"target_date": "11.7.2001"}, "'11.7.2001' is no date. Write it as YYYY-MM-DD"),
        ({"extent": "all"}, "The extent is 'all'. Give .xmin, ymin, xmax, ymax."),
        ({"harmonise": True}, "harmonise is True. Choose one of: auto, always, never"),
        ({"coregister": "always"}, "coregister is 'always'. Choose one of: never, auto"),
        ({"output": "fused.jp2"}, "ends in .jp2, but RasterFuse writes GeoTIFF only"),
        ({"device": "gpu"}, "There is no device 'gpu' here. Choose auto or one of: "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_gets_a_sentence_and_leaves_nothing(
    small_scene, tmp_path, monkeypatch, more, sentence
):
    monkeypatch.chdir(tmp_path)
    given = {
        "model": "starfm",
        "coarse_target": small_scene.target,
        "references": pairs(small_scene),
        "output": "fused.tif",
    }
    with pytest.raises(FusionError, match=sentence):
        fuse(**{**given, **more})
    assert list(tmp_path.iterdir()) == []
    assert order() == []


# --- in the background ----------------------------------------------------------------------------


def test_a_task_publishes_its_result(small_scene, tmp_path, qtbot):
    done = []
    fine = layer_of(small_scene.fine[0])
    task = fuse_async(
        "starfm", coarse_target=small_scene.target, references=[(small_scene.coarse[0], fine)],
        output=tmp_path / "fused.tif", window=17, on_done=done.append,
    )  # fmt: skip
    assert "STARFM" in task.description()
    assert task in QgsApplication.taskManager().activeTasks()
    qtbot.waitUntil(lambda: done == [task], timeout=60_000)
    assert task.error is None
    assert task.layer.name() == "landsat_20010524_2001-07-11_starfm"
    assert order() == [task.layer.name(), fine.name()]
    assert task.report["model"] == "starfm"


def test_a_task_gives_the_same_pixels_as_the_call_that_waits(small_scene, qtbot):
    done = []
    given = {"coarse_target": small_scene.target, "references": pairs(small_scene)}
    waited = fuse("starfm", window=17, **given)
    task = fuse_async("starfm", window=17, on_done=done.append, add_to_project=False, **given)
    qtbot.waitUntil(lambda: len(done) == 1, timeout=60_000)
    assert np.array_equal(pixels(task.layer), pixels(waited))
    assert order() == [waited.name()]
    del task.layer


def test_a_cancelled_task_ends_without_a_layer(small_scene, tmp_path, qtbot):
    done = []
    task = fuse_async(
        "starfm", coarse_target=small_scene.target, references=pairs(small_scene),
        output=tmp_path / "fused.tif", on_done=done.append,
    )  # fmt: skip
    task.cancel()
    qtbot.waitUntil(lambda: len(done) == 1, timeout=60_000)
    assert task.layer is None
    assert isinstance(task.error, CancelledError)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_task_keeps_the_error(small_scene, tmp_path, qtbot):
    done = []
    task = fuse_async(
        "gsa", multispectral=small_scene.multispectral, panchromatic=small_scene.panchromatic,
        output=tmp_path / "sharp.tif", device="cuda:9", on_done=done.append,
    )  # fmt: skip
    qtbot.waitUntil(lambda: len(done) == 1, timeout=60_000)
    assert task.layer is None
    assert "There is no device 'cuda:9' here" in str(task.error)
    assert list(tmp_path.iterdir()) == []


def test_a_task_survives_the_removal_of_its_input_layer(small_scene, tmp_path, qtbot):
    done = []
    fine = layer_of(small_scene.fine[0])
    task = fuse_async(
        "fine_plus_change", coarse_target=small_scene.target,
        references=[(small_scene.coarse[0], fine)], output=tmp_path / "f.tif",
        on_done=done.append,
    )  # fmt: skip
    QgsProject.instance().removeMapLayer(fine.id())
    qtbot.waitUntil(lambda: len(done) == 1, timeout=60_000)
    assert order() == [task.layer.name()]


def test_what_is_known_to_be_wrong_is_said_before_a_task_starts(small_scene):
    with pytest.raises(FusionError, match="Search window is 20"):
        fuse_async(
            "starfm", coarse_target=small_scene.target, references=pairs(small_scene), window=20
        )


def test_all_tasks_of_the_console_can_be_cancelled_at_once(small_scene, tmp_path, qtbot):
    done = []
    for name in ("one.tif", "two.tif"):
        fuse_async(
            "starfm", coarse_target=small_scene.target, references=pairs(small_scene),
            output=tmp_path / name, on_done=done.append,
        )  # fmt: skip
    scripting.cancel_all(5)
    qtbot.waitUntil(lambda: len(done) == 2, timeout=60_000)
    assert all(isinstance(task.error, CancelledError) for task in done)
    assert list(tmp_path.iterdir()) == []


def test_unloading_the_plugin_ends_what_the_console_started(
    small_scene, tmp_path, qtbot, qgis_iface
):
    done = []
    plugin = rasterfuse.classFactory(qgis_iface)
    plugin.initProcessing()
    fuse_async(
        "starfm", coarse_target=small_scene.target, references=pairs(small_scene),
        output=tmp_path / "fused.tif", window=51, on_done=done.append,
    )  # fmt: skip
    plugin.unload()
    qtbot.waitUntil(lambda: len(done) == 1, timeout=60_000)
    assert done[0].layer is None
    assert isinstance(done[0].error, FusionError)
    assert list(tmp_path.iterdir()) == []
