"""The algorithms as steps of a graphical model, in a batch and in the toolbox's dialog."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import processing
import pytest
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsProcessing,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsRasterLayer,
)

pytest_plugins = ["small_scene"]

Source = QgsProcessingModelChildParameterSource


def pixels(path):
    return gdal.Open(str(path)).ReadAsArray()


def step(model, name, algorithm, values):
    """Add a step; plain values are constants."""
    child = QgsProcessingModelChildAlgorithm(algorithm)
    child.setChildId(name)
    for key, value in values.items():
        source = value if isinstance(value, Source) else Source.fromStaticValue(value)
        child.addParameterSources(key, [source])
    model.addChildAlgorithm(child)
    return child


def final_output(model, name, child_output):
    child = model.childAlgorithm(name)
    output = QgsProcessingModelOutput("result")
    output.setChildId(name)
    output.setChildOutputName(child_output)
    child.setModelOutputs({"result": output})
    model.setChildAlgorithm(child)


def add_inputs(model):
    several = QgsProcessing.SourceType.TypeRaster
    for definition in (
        QgsProcessingParameterRasterLayer("target", "Target"),
        QgsProcessingParameterMultipleLayers("coarse", "Coarse", several),
        QgsProcessingParameterMultipleLayers("fine", "Fine", several),
    ):
        place = QgsProcessingModelParameter(definition.name())
        model.addModelParameter(definition, place)


def values_for(model, scene, output):
    """What a user of the model gives; the name of the output differs between versions of QGIS."""
    definitions = model.parameterDefinitions()
    destination = next(item.name() for item in definitions if item.isDestination())
    return {
        "target": scene.target,
        "coarse": scene.coarse,
        "fine": scene.fine,
        destination: output,
    }


@pytest.fixture()
def model_file(provider, tmp_path):
    """A model saved to a file: fuse, then count the pixels of the result with another algorithm."""
    model = QgsProcessingModelAlgorithm("fuse and rescale", "tests")
    add_inputs(model)
    step(
        model, "fuse", "rasterfuse:starfm",
        {
            "COARSE_TARGET": Source.fromModelParameter("target"),
            "COARSE_REFERENCES": Source.fromModelParameter("coarse"),
            "FINE_REFERENCES": Source.fromModelParameter("fine"),
            "COARSE_BANDS": "2",
            "FINE_BANDS": "2",
            "WINDOW": 17,
            "CLASSES": 10,
            "DEVICE": "cpu",
            "HARMONISE": "never",
        },
    )  # fmt: skip
    step(
        model, "rescale", "native:rescaleraster",
        {
            "INPUT": Source.fromChildOutput("fuse", "OUTPUT"),
            "BAND": 1,
            "MINIMUM": 0,
            "MAXIMUM": Source.fromExpression("100 + 0 * @fuse_RMSE_RESULT"),
        },
    )  # fmt: skip
    final_output(model, "rescale", "OUTPUT")
    path = tmp_path / "fuse.model3"
    assert model.toFile(str(path))
    return path


def test_a_saved_model_runs_with_fusion_chained_to_another_step(model_file, small_scene, tmp_path):
    model = QgsProcessingModelAlgorithm()
    assert model.fromFile(str(model_file))
    model.initAlgorithm()
    assert model.validate() == (True, [])
    output = str(tmp_path / "rescaled.tif")
    result = processing.run(model, values_for(model, small_scene, output))
    assert output in result.values()
    rescaled = pixels(output)
    assert rescaled.shape == (64, 80)
    assert rescaled.min() == pytest.approx(0, abs=1e-3)
    assert rescaled.max() == pytest.approx(100, abs=1e-3)


def test_a_model_runs_in_the_background(provider, model_file, small_scene, tmp_path, qtbot):
    model = QgsProcessingModelAlgorithm()
    assert model.fromFile(str(model_file))
    model.initAlgorithm()
    output = tmp_path / "rescaled.tif"
    context, feedback = QgsProcessingContext(), QgsProcessingFeedback(False)
    given = values_for(model, small_scene, str(output))
    task = QgsProcessingAlgRunnerTask(model, given, context, feedback)
    with qtbot.waitSignal(task.executed, timeout=60_000) as signal:
        QgsApplication.taskManager().addTask(task)
    assert signal.args[0], feedback.textLog()
    assert pixels(output).shape == (64, 80)


def test_a_model_can_end_with_a_fusion_that_is_loaded_and_dated(
    provider, small_scene, tmp_path, desktop
):
    model = QgsProcessingModelAlgorithm("fuse the second band", "tests")
    add_inputs(model)
    step(
        model, "extract", "gdal:translate",
        {"INPUT": Source.fromModelParameter("target"), "OPTIONS": "", "DATA_TYPE": 0},
    )  # fmt: skip
    step(
        model, "fuse", "rasterfuse:fine_plus_change",
        {
            "COARSE_TARGET": Source.fromChildOutput("extract", "OUTPUT"),
            "COARSE_REFERENCES": Source.fromModelParameter("coarse"),
            "FINE_REFERENCES": Source.fromModelParameter("fine"),
            "TARGET_DATE": "2001-07-11",
        },
    )  # fmt: skip
    final_output(model, "fuse", "OUTPUT")
    model.initAlgorithm()
    output = str(tmp_path / "fused.tif")
    processing.runAndLoadResults(model, values_for(model, small_scene, output))
    layers = list(QgsProject.instance().mapLayers().values())
    assert [layer.source() for layer in layers] == [output]
    day = layers[0].temporalProperties().fixedTemporalRange().begin().date()
    assert day.toString("yyyy-MM-dd") == "2001-07-11"
    expected = processing.run(
        "rasterfuse:fine_plus_change", small_scene.spatiotemporal(OUTPUT="TEMPORARY_OUTPUT")
    )
    assert np.array_equal(pixels(output), pixels(expected["OUTPUT"]))
    del layers


def test_a_wrong_value_inside_a_model_gets_its_sentence(provider, small_scene, tmp_path):
    model = QgsProcessingModelAlgorithm("wrong", "tests")
    add_inputs(model)
    step(
        model, "fuse", "rasterfuse:starfm",
        {
            "COARSE_TARGET": Source.fromModelParameter("target"),
            "COARSE_REFERENCES": Source.fromModelParameter("coarse"),
            "FINE_REFERENCES": Source.fromModelParameter("fine"),
            "WINDOW": 20,
        },
    )  # fmt: skip
    final_output(model, "fuse", "OUTPUT")
    model.initAlgorithm()
    errors = []

    class Listener(QgsProcessingFeedback):
        def reportError(self, text, fatal=False):
            errors.append(text)

    given = values_for(model, small_scene, str(tmp_path / "fused.tif"))
    listener = Listener()
    _, ok = model.run(given, QgsProcessingContext(), listener)
    assert not ok
    assert any("Search window is 20. Give an odd number" in text for text in errors)
    assert list(tmp_path.iterdir()) == []


def batch_file(panel, rows, outputs):
    """A batch as this QGIS saves it: since 3.40 values, before that Python expressions."""
    modern = hasattr(panel, "CURRENT_FORMAT")
    listed = [
        {
            "PARAMETERS": row if modern else {name: repr(value) for name, value in row.items()},
            "OUTPUTS": {"OUTPUT": str(path)},
        }
        for row, path in zip(rows, outputs)
    ]
    return {panel.FORMAT: panel.CURRENT_FORMAT, panel.ROWS: listed} if modern else listed


def test_a_batch_from_a_file_fuses_every_row(
    provider, small_scene, tmp_path, desktop, qtbot, monkeypatch
):
    from processing.gui import BatchPanel
    from processing.gui.BatchAlgorithmDialog import BatchAlgorithmDialog

    outputs = [tmp_path / "one.tif", tmp_path / "two.tif"]
    rows = [small_scene.pansharpening(), small_scene.pansharpening(MULTISPECTRAL_BANDS="3;1")]
    batch = tmp_path / "batch.json"
    batch.write_text(json.dumps(batch_file(BatchPanel.BatchPanel, rows, outputs)))
    monkeypatch.setattr(BatchPanel.QFileDialog, "getOpenFileName", lambda *_args: (str(batch), ""))
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("rasterfuse:gsa")
    dialog = BatchAlgorithmDialog(algorithm)
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.mainWidget().load()
    dialog.mainWidget().checkLoadLayersOnCompletion.setChecked(False)
    dialog.runAlgorithm()
    # Since 3.40 the rows run in the background.
    qtbot.waitUntil(lambda: not dialog.cancelButton().isEnabled(), timeout=60_000)
    one, two = (pixels(path) for path in outputs)
    assert one.shape == (3, 64, 80)
    assert two.shape == (2, 64, 80)


def test_the_dialog_of_the_toolbox_runs_what_is_set_and_loads_the_result(
    provider, small_scene, tmp_path, desktop, qtbot
):
    layers = [QgsRasterLayer(path, Path(path).stem) for path in small_scene.fine]
    QgsProject.instance().addMapLayers(layers)
    output = tmp_path / "fused.tif"
    given = small_scene.spatiotemporal(
        OUTPUT=QgsProcessingOutputLayerDefinition(str(output), QgsProject.instance()),
        WINDOW=17,
        COARSE_BANDS=[1, 2],
        FINE_BANDS="1,2",
    )
    given["FINE_REFERENCES"] = [layer.id() for layer in layers]
    dialog = processing.createAlgorithmDialog("rasterfuse:starfm", given)
    shown = dialog.createProcessingParameters()
    assert shown["WINDOW"] == 17
    assert shown["COARSE_BANDS"] == [1, 2]
    assert shown["DEVICE"] == "auto"
    name = "landsat_20010524_2001-07-11_starfm"
    dialog.show()
    dialog.runAlgorithm()
    qtbot.waitUntil(lambda: bool(QgsProject.instance().mapLayersByName(name)), timeout=60_000)
    assert pixels(output).shape == (2, 64, 80)
    dialog.close()
