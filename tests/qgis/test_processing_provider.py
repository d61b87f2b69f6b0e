"""What the provider offers, before anything runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from qgis.core import (
    QgsApplication,
    QgsProcessingAlgorithm,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterNumber,
)
from rasterfuse.models.cards import load_cards

pytest_plugins = ["small_scene"]

ROOT = Path(__file__).resolve().parents[2]
FROZEN = Path(__file__).with_name("frozen_ids.json")
IDS = sorted(load_cards())
OTHERS = ["runtime_status", "train"]

# A Python of its own, since the tests themselves import NumPy and more.
LOAD = """
import sys, importlib.util
from qgis.core import QgsApplication
app = QgsApplication([], False)
app.initQgis()
root = sys.argv[1]
spec = importlib.util.spec_from_file_location(
    "rasterfuse", root + "/__init__.py", submodule_search_locations=[root])
module = sys.modules["rasterfuse"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import qgis.PyQt.QtWidgets  # the plugin's menu entry needs it anyway
before = set(sys.modules)
from rasterfuse.plugin.processing.provider import RasterFuseProvider
provider = RasterFuseProvider()
QgsApplication.processingRegistry().addProvider(provider)
names = sorted({name.split(".")[0] for name in set(sys.modules) - before})
print("RESULT", len(provider.algorithms()), *names)
QgsApplication.processingRegistry().removeProvider(provider)
app.exitQgis()
"""


def algorithm(model):
    found = QgsApplication.processingRegistry().createAlgorithmById(f"rasterfuse:{model}")
    assert found is not None
    return found


def interface():
    """The ids that scripts, models and histories of users contain."""
    algorithms = {model: algorithm(model) for model in [*IDS, *OTHERS]}  # own their definitions
    return {
        model: {
            "parameters": [item.name() for item in found.parameterDefinitions()],
            "outputs": [item.name() for item in found.outputDefinitions()],
        }
        for model, found in algorithms.items()
    }


def test_there_is_one_algorithm_per_card_and_one_for_the_worker_and_the_training(provider):
    assert sorted(item.name() for item in provider.algorithms()) == sorted([*IDS, *OTHERS])
    assert {"starfm", "fine_plus_change", "brovey", "gsa"} <= set(IDS)


def test_ids_of_algorithms_parameters_and_outputs_stay_as_they_are(provider):
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    now = interface()
    for model, ids in frozen.items():
        assert now[model] == ids, f"scripts that use {model} would break"
    assert set(now) == set(frozen), "add the ids of the new method to frozen_ids.json"


@pytest.mark.parametrize("model", IDS)
def test_every_algorithm_explains_itself(provider, model):
    card = load_cards()[model]
    found = algorithm(model)
    text = found.shortHelpString()
    assert found.displayName() == card.name
    assert found.group() == card.family_name
    assert found.groupId() == card.family
    assert set(card.tags) <= set(found.tags())
    assert found.shortDescription() == card.summary
    assert card.summary in text
    assert str(card.paper["year"]) in text
    assert card.paper["doi"] in text
    assert card.paper["doi"] in found.helpUrl()
    assert Path(found.svgIconPath()).is_file()
    assert not found.icon().isNull()


@pytest.mark.parametrize("model", IDS)
def test_every_parameter_has_help_that_the_help_page_repeats(provider, model):
    found = algorithm(model)
    text = found.shortHelpString()
    for definition in found.parameterDefinitions():
        assert definition.help(), definition.name()
        assert f"({definition.name()})" in text


@pytest.mark.parametrize("model", IDS)
def test_parameters_of_the_card_keep_range_default_and_rank(provider, model):
    found = algorithm(model)
    for spec in load_cards()[model].parameters:
        definition = found.parameterDefinition(spec.name.upper())
        advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
        optional = QgsProcessingParameterDefinition.Flag.FlagOptional
        assert definition.defaultValue() == spec.default
        assert bool(definition.flags() & advanced) == spec.advanced
        # A box may be missing in a model that was saved before there was one.
        assert bool(definition.flags() & optional) == (spec.default is None or spec.type == "bool")
        if isinstance(definition, QgsProcessingParameterNumber):
            whole = definition.dataType() == QgsProcessingParameterNumber.Type.Integer
            assert whole == (spec.type == "int")
            assert spec.minimum is None or definition.minimum() == spec.minimum
            assert spec.maximum is None or definition.maximum() == spec.maximum


@pytest.mark.parametrize("model", IDS)
def test_algorithms_run_in_the_background(provider, model):
    assert not algorithm(model).flags() & QgsProcessingAlgorithm.Flag.FlagNoThreading


def test_only_geotiff_is_offered_for_the_output(provider):
    assert provider.supportedOutputRasterLayerExtensions() == ["tif", "tiff"]
    assert provider.defaultRasterFileExtension() == "tif"


def test_loading_the_provider_imports_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(ROOT)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    line = next(item for item in done.stdout.splitlines() if item.startswith("RESULT"))
    _, count, *names = line.split()
    assert int(count) == len(IDS) + len(OTHERS)
    assert not {"torch", "rasterio", "numpy", "osgeo", "numba", "processing"} & set(names)
