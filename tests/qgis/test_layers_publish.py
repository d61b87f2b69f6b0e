"""A result in the project: its place, name, style, date and history."""

from __future__ import annotations

import json

import pytest
from layers_rasters import ramp, write_raster
from qgis.core import (
    Qgis,
    QgsColorRampShader,
    QgsContrastEnhancement,
    QgsMultiBandColorRenderer,
    QgsProject,
    QgsRasterLayer,
    QgsRasterMinMaxOrigin,
    QgsRasterShader,
    QgsSingleBandGrayRenderer,
    QgsSingleBandPseudoColorRenderer,
)
from qgis.PyQt.QtGui import QColor
from rasterfuse.models.errors import OutputError
from rasterfuse.plugin.job import Job, RasterSource, ReferencePair
from rasterfuse.plugin.layers.publish import (
    REPORT_PROPERTY,
    dress,
    publish,
    report_of,
    result_name,
)
from rasterfuse.plugin.layers.request import guess_date

COLOURS = ("red", "green", "blue")


@pytest.fixture
def project(qgis_new_project):
    project = QgsProject.instance()
    yield project
    project.clear()


@pytest.fixture
def write(tmp_path):
    def make(name, bands=4, **how):
        return write_raster(tmp_path / name, ramp(bands, dtype="float32"), **how)

    return make


def stretch(low, high):
    found = QgsContrastEnhancement(Qgis.DataType.Float32)
    found.setMinimumValue(low)
    found.setMaximumValue(high)
    found.setContrastEnhancementAlgorithm(
        QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum
    )
    return found


def coloured(path, bands=(3, 2, 1), name="fine"):
    """A layer with a stretch that no statistics would give."""
    layer = QgsRasterLayer(path, name)
    renderer = QgsMultiBandColorRenderer(layer.dataProvider(), *bands)
    renderer.setRedContrastEnhancement(stretch(11, 111))
    renderer.setGreenContrastEnhancement(stretch(22, 222))
    renderer.setBlueContrastEnhancement(stretch(33, 333))
    layer.setRenderer(renderer)
    layer.setBlendMode(layer.blendMode())
    return layer


def limits(layer):
    renderer = layer.renderer()
    found = (
        renderer.redContrastEnhancement(),
        renderer.greenContrastEnhancement(),
        renderer.blueContrastEnhancement(),
    )
    return [(item.minimumValue(), item.maximumValue()) for item in found]


def shown(layer):
    renderer = layer.renderer()
    return renderer.redBand(), renderer.greenBand(), renderer.blueBand()


def fusion(tmp_path, fine, bands=(), coarse="coarse.tif"):
    """A job and the report of its result, whose file is not written here."""

    def source(path, day):
        return RasterSource(str(path), bands, day)

    pair = ReferencePair(source(tmp_path / coarse, "2020-03-08"), source(fine, "2020-03-08"))
    inputs = {
        "coarse_target": source(tmp_path / "target.tif", "2020-04-02"),
        "references": (pair,),
    }
    job = Job("starfm", inputs, str(tmp_path / "fused.tif"), {"window": 31})
    report = {
        "model": "starfm", "name": "STARFM", "version": "0.1.0", "path": job.output,
        "device": "cpu", "seconds": {"total": 1.5}, "warnings": [],
        "trust": {"cells": 4, "answers": [], "verdict": "It agrees & how."},
        "job": job.to_dict(),
    }  # fmt: skip
    return job, report


def test_the_result_is_loaded_with_the_style_and_stretch_of_the_fine_image(
    project, write, tmp_path
):
    fine = coloured(write("fine.tif"))
    project.addMapLayer(fine)
    job, report = fusion(tmp_path, fine.source())
    write("fused.tif")
    layer = publish(job, report, fine_layer=fine)
    assert layer.isValid() and layer.id() in project.mapLayers()
    assert shown(layer) == (3, 2, 1)
    assert limits(layer) == [(11, 111), (22, 222), (33, 333)]
    # Not recomputed when the map moves: both images stay comparable.
    origin = layer.renderer().minMaxOrigin()
    assert QgsRasterMinMaxOrigin.limitsString(origin.limits()) == "None"
    assert shown(fine) == (3, 2, 1)


def test_the_style_follows_the_bands_of_the_job(project, write, tmp_path):
    fine = coloured(write("fine.tif", 6), bands=(4, 3, 2))
    job, report = fusion(tmp_path, fine.source(), bands=(2, 3, 4, 5))
    write("fused.tif", 4)
    layer = publish(job, report, fine_layer=fine)
    assert shown(layer) == (3, 2, 1)
    assert limits(layer) == [(11, 111), (22, 222), (33, 333)]


def test_bands_that_the_result_lacks_give_a_fresh_stretch(project, write, tmp_path):
    fine = coloured(write("fine.tif", 6), bands=(6, 3, 2))
    job, report = fusion(tmp_path, fine.source(), bands=(1, 2, 3))
    write("fused.tif", 3)
    layer = publish(job, report, fine_layer=fine)
    assert shown(layer) == (1, 2, 3)
    found = limits(layer)
    assert found != [(11, 111), (22, 222), (33, 333)]
    assert all(0 <= low < high <= 1800 for low, high in found)


def test_a_fresh_style_shows_natural_colours_where_the_bands_are_known(project, write, tmp_path):
    names = ["blue", "green", "red", "nir"]
    path = write("fine.tif", 4, names=names)
    job, report = fusion(tmp_path, path)
    write("fused.tif", 4, names=names)
    assert shown(publish(job, report)) == (3, 2, 1)


def test_one_band_of_colours_is_shown_in_grey_with_its_stretch(project, write, tmp_path):
    fine = coloured(write("fine.tif", 4), bands=(3, 2, 1))
    job, report = fusion(tmp_path, fine.source(), bands=(2,))
    write("fused.tif", 1)
    layer = publish(job, report, fine_layer=fine)
    assert isinstance(layer.renderer(), QgsSingleBandGrayRenderer)
    found = layer.renderer().contrastEnhancement()
    assert (found.minimumValue(), found.maximumValue()) == (22, 222)


def test_a_pseudocolour_style_is_copied_with_its_classes(project, write, tmp_path):
    fine = QgsRasterLayer(write("fine.tif", 2), "ndvi")
    ramp_shader = QgsColorRampShader(5, 50)
    ramp_shader.setColorRampItemList(
        [QgsColorRampShader.ColorRampItem(value, QColor(colour), str(value))
         for value, colour in ((5.0, "#a00000"), (50.0, "#00a000"))]
    )  # fmt: skip
    shader = QgsRasterShader()
    shader.setRasterShaderFunction(ramp_shader)
    fine.setRenderer(QgsSingleBandPseudoColorRenderer(fine.dataProvider(), 2, shader))
    job, report = fusion(tmp_path, fine.source(), bands=(2,))
    write("fused.tif", 1)
    layer = publish(job, report, fine_layer=fine)
    assert isinstance(layer.renderer(), QgsSingleBandPseudoColorRenderer)
    assert layer.renderer().band() == 1
    items = layer.renderer().shader().rasterShaderFunction().colorRampItemList()
    assert [(item.value, item.color.name()) for item in items] == [(5, "#a00000"), (50, "#00a000")]


def test_a_sharpened_image_looks_like_the_multispectral_one(project, write, tmp_path):
    colours = coloured(write("ms.tif"), name="ms")
    pan = QgsRasterLayer(write("pan.tif", 1), "pan")
    project.addMapLayers([colours, pan])
    inputs = {
        "multispectral": RasterSource(colours.source()),
        "panchromatic": RasterSource(pan.source()),
    }
    job = Job("brovey", inputs, write("fused.tif"))
    layer = publish(job, {"path": job.output}, fine_layer=pan)
    assert shown(layer) == (3, 2, 1)
    assert limits(layer) == [(11, 111), (22, 222), (33, 333)]
    assert layer.name() == "pan_brovey"  # no date is known


def test_the_result_lies_just_above_its_topmost_input(project, write, tmp_path):
    root = project.layerTreeRoot()
    other = QgsRasterLayer(write("other.tif"), "other")
    fine = QgsRasterLayer(write("fine.tif"), "fine")
    target = QgsRasterLayer(write("target.tif"), "target")
    project.addMapLayers([other, fine, target], False)
    root.addLayer(other)
    group = root.addGroup("inputs")
    group.addLayer(target)
    group.addLayer(fine)
    job, report = fusion(tmp_path, fine.source())
    write("fused.tif")
    layer = publish(job, report, fine_layer=fine)
    assert [child.name() for child in group.children()] == [layer.name(), "target", "fine"]
    assert [child.name() for child in root.children()] == ["other", "inputs"]


def test_without_inputs_in_the_project_the_result_lies_on_top(project, write, tmp_path):
    project.addMapLayer(QgsRasterLayer(write("other.tif"), "other"))
    job, report = fusion(tmp_path, write("fine.tif"))
    write("fused.tif")
    layer = publish(job, report)
    assert next(node.layerId() for node in project.layerTreeRoot().findLayers()) == layer.id()


def test_the_name_tells_fine_image_day_and_method(tmp_path, qgis_app, write):
    path = write("LC08_20200308.tif")
    job, _ = fusion(tmp_path, path)
    assert result_name(job) == "LC08_20200308_2020-04-02_starfm"
    assert result_name(job, QgsRasterLayer(path, "Landsat")) == "Landsat_2020-04-02_starfm"
    assert result_name(job, template="{method} of {date}") == "starfm of 2020-04-02"
    assert result_name(job, template="{nonsense}") == "LC08_20200308_2020-04-02_starfm"
    undated = Job("starfm", {**job.inputs, "coarse_target": RasterSource("x.tif")}, "o.tif")
    assert result_name(undated) == "LC08_20200308_starfm"
    assert result_name(Job("starfm", {}, "o.tif")) == "starfm"


def test_a_given_name_is_used(project, write, tmp_path):
    job, report = fusion(tmp_path, write("fine.tif"))
    write("fused.tif")
    assert publish(job, report, name="Mine").name() == "Mine"


def test_the_result_has_the_target_day_and_keeps_it_in_the_project_file(project, write, tmp_path):
    job, report = fusion(tmp_path, write("fine.tif"))
    write("fused.tif")
    identity = publish(job, report).id()
    file = str(tmp_path / "project.qgz")
    assert project.write(file)
    project.clear()
    assert project.read(file)
    layer = project.mapLayer(identity)
    temporal = layer.temporalProperties()
    assert temporal.isActive()
    assert temporal.mode() == Qgis.RasterTemporalMode.FixedTemporalRange
    range_ = temporal.fixedTemporalRange()
    assert range_.begin().toUTC().toString("yyyy-MM-dd HH:mm:ss") == "2020-04-02 00:00:00"
    assert range_.end().toUTC().toString("yyyy-MM-dd HH:mm:ss") == "2020-04-02 23:59:59"
    assert guess_date(layer) == "2020-04-02"
    assert report_of(layer) == report


def test_history_and_parameters_are_in_the_metadata(project, write, tmp_path):
    fine = write("fine.tif")
    job, report = fusion(tmp_path, fine)
    write("fused.tif")
    metadata = publish(job, report).metadata()
    assert metadata.title() == "fine_2020-04-02_starfm"
    assert "Fused with STARFM by RasterFuse 0.1.0" in metadata.abstract()
    assert "It agrees & how." in metadata.abstract()
    assert metadata.links()[0].url == "https://doi.org/10.1109/TGRS.2006.872081"
    history = "\n".join(metadata.history())
    assert "fused with STARFM (RasterFuse 0.1.0) on cpu in 1.500 s" in history
    assert f"Input fine 1: fine.tif, day 2020-03-08, bands all, {fine}" in history
    assert "window = 31" in history and "classes = " in history  # those left out, too
    written = next(item for item in metadata.history() if item.startswith("Job: "))
    assert Job.from_json(written[len("Job: ") :]) == job
    assert metadata.extent().temporalExtents()[0].begin().toUTC().toString("yyyy-MM-dd") == (
        "2020-04-02"
    )


def test_the_report_travels_with_the_layer(project, write, tmp_path):
    job, report = fusion(tmp_path, write("fine.tif"))
    write("fused.tif")
    layer = publish(job, report)
    assert json.loads(layer.customProperty(REPORT_PROPERTY)) == report
    assert report_of(QgsRasterLayer(job.output, "x")) is None


def test_a_layer_that_qgis_loaded_itself_can_be_dressed(project, write, tmp_path):
    fine = coloured(write("fine.tif"))
    job, report = fusion(tmp_path, fine.source())
    layer = QgsRasterLayer(write("fused.tif"), "Fused image")
    dress(layer, job, report, fine)
    assert layer.name() == "Fused image"
    assert shown(layer) == (3, 2, 1)
    assert layer.temporalProperties().isActive()


def test_a_fine_layer_that_is_gone_is_no_obstacle(project, write, tmp_path):
    job, report = fusion(tmp_path, str(tmp_path / "deleted.tif"))
    write("fused.tif")
    layer = publish(job, report)
    assert layer.isValid()
    undated = Job("starfm", {"coarse_target": RasterSource("x.tif")}, job.output)
    assert not publish(undated, {"path": job.output}).temporalProperties().isActive()


def test_a_result_that_is_gone_is_one_sentence(project, tmp_path):
    job, report = fusion(tmp_path, "fine.tif")
    with pytest.raises(OutputError, match=r"fused.tif was written but cannot be loaded"):
        publish(job, report)
    assert project.mapLayers() == {}
