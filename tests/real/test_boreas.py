"""BOREAS 2001: predicting Landsat from MODIS, against the trivial answers."""

from __future__ import annotations

import pytest
from boreas import BOREAS, BOREAS_BORDER, BOREAS_TASKS, TWO_PAIRS, boreas_job
from rasterfuse.plugin.engine.metrics import rmse
from tasks import read, run

pytestmark = pytest.mark.usefixtures("data")


def mean_rmse(path, after) -> float:
    """Mean over the bands in stored values, the border left out."""
    truth = read(BOREAS / f"tm{after}", BOREAS_BORDER)
    return float(rmse(truth, read(path, BOREAS_BORDER)).mean())


@pytest.mark.parametrize(("before", "after"), BOREAS_TASKS)
def test_starfm_beats_the_trivial_answers(tmp_path, before, after):
    errors = {"copy": mean_rmse(BOREAS / f"tm{before}", after)}
    for model in ("starfm", "fine_plus_change"):
        output = tmp_path / f"{model}.tif"
        run(boreas_job(model, before, after, output))
        errors[model] = mean_rmse(output, after)
    assert errors["starfm"] < errors["fine_plus_change"] < errors["copy"]


# Mean RMSE that the prototype of these methods reached, without moving the coarse images.
PROTOTYPE = {
    ("change_regression", "0524"): 97.8,
    ("change_regression", "0711"): 63.5,
    ("change_unmixing", "0524"): 98.5,
    ("change_unmixing", "0711"): 63.7,
}


@pytest.mark.parametrize(("before", "after"), BOREAS_TASKS)
@pytest.mark.parametrize("model", ["change_regression", "change_unmixing"])
def test_the_change_methods_are_as_good_as_their_prototype(tmp_path, model, before, after):
    output = tmp_path / "fused.tif"
    run(boreas_job(model, before, after, output))
    assert mean_rmse(output, after) <= PROTOTYPE[model, before]


# Mean RMSE of the shipped weights, and a little more: nobody has trained on this scene, but these
# figures have been looked at, so they guard against mistakes and prove nothing.
SHIPPED = ((("0524",), "0711", 90), (("0711",), "0812", 57), (TWO_PAIRS[:2], TWO_PAIRS[2], 56))


@pytest.mark.parametrize(("before", "after", "most"), SHIPPED)
def test_the_shipped_network_does_as_well_as_when_it_was_trained(tmp_path, before, after, most):
    output = tmp_path / "fused.tif"
    run(boreas_job("rasterfuse_net", before, after, output))
    assert mean_rmse(output, after) <= most
