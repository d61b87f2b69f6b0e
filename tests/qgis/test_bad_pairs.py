"""Pairs that cannot be fused get the same sentence in the dialog, in Processing and the console."""

from __future__ import annotations

import processing
import pytest
from desktop import Desktop
from qgis.core import QgsProcessingException, QgsSettings
from rasterfuse import classFactory, fuse
from rasterfuse.models.errors import InputError

pytest_plugins = ["small_scene"]


@pytest.fixture
def dialog(qgis_new_project):
    QgsSettings().remove("rasterfuse")
    plugin = classFactory(Desktop())
    plugin.initGui()
    yield plugin.open_dialog()
    plugin.unload()
    QgsSettings().remove("rasterfuse")


def one_pair(scene):
    return [(scene.coarse[0], scene.fine[0])]


def second_swapped(scene):
    return [(scene.coarse[0], scene.fine[0]), (scene.fine[1], scene.coarse[1])]


FAULTS = {
    "one pair": (
        "estarfm",
        one_pair,
        "ESTARFM needs at least 2 reference pairs, got 1. Add a coarse and a fine image of the "
        "same day.",
    ),
    "swapped": (
        "starfm",
        second_swapped,
        "The coarse image landsat_20010812.tif of pair 2 has smaller pixels than its fine "
        "modis_20010812.tif (ratio 0.12). Swap them.",
    ),
}
every_fault = pytest.mark.parametrize(
    ("model", "pairs", "sentence"), list(FAULTS.values()), ids=list(FAULTS)
)


@every_fault
def test_processing_refuses_them(provider, small_scene, tmp_path, model, pairs, sentence):
    coarse, fine = (list(images) for images in zip(*pairs(small_scene)))
    given = small_scene.spatiotemporal(
        COARSE_REFERENCES=coarse, FINE_REFERENCES=fine, OUTPUT=str(tmp_path / "fused.tif")
    )
    with pytest.raises(QgsProcessingException) as caught:
        processing.run(f"rasterfuse:{model}", given)
    assert sentence in str(caught.value)
    assert not list(tmp_path.iterdir())


@every_fault
def test_the_console_refuses_them(small_scene, tmp_path, model, pairs, sentence):
    with pytest.raises(InputError) as caught:
        fuse(
            model, coarse_target=small_scene.target, references=pairs(small_scene),
            output=tmp_path / "fused.tif",
        )  # fmt: skip
    assert caught.value.sentence == sentence
    assert not list(tmp_path.iterdir())


@every_fault
def test_the_dialog_says_so_below_the_pairs(dialog, small_scene, model, pairs, sentence):
    form = dialog.form
    form.choose(model)
    form.images["coarse_target"].raster.choose_file(small_scene.target)
    while len(form.pairs.rows) < len(pairs(small_scene)):
        form.pairs.add_button.click()
    for row, (coarse, fine) in zip(form.pairs.rows, pairs(small_scene)):
        row.coarse.choose_file(coarse)
        row.fine.choose_file(fine)
    dialog.check()
    assert sentence in " ".join(form.places()["references"].sentences())
    assert not dialog.bar.run.isEnabled()
    assert sentence in dialog.bar.run.toolTip()
