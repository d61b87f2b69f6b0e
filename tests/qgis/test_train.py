"""The doors of training before anything is trained: dates, pairs, what is wrong and what to do."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from dated_images import DAYS, write_dated
from model_files import CARD, METHOD, write_model
from processing_calls import Listener
from qgis.core import QgsApplication, QgsProcessingContext, QgsRasterLayer
from rasterfuse import import_model, methods, remove_model, train
from rasterfuse.models.errors import InputError, ModelFileError
from rasterfuse.plugin.checks import ERROR
from rasterfuse.plugin.layers.request import Image
from rasterfuse.plugin.layers.training import (
    build_training_job,
    images_in,
    inspect_training,
    match_dates,
)

pytest_plugins = ["dated_folder", "model_folder", "small_scene"]


def iso(day):
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"


def matched(folder, tolerance=0):
    return match_dates(images_in(folder / "fine"), images_in(folder / "coarse"), tolerance)


# --- dates and pairs ---


def test_images_of_a_folder_are_paired_by_their_dates(dated):
    found = matched(dated)
    assert [item.day for item in found] == [iso(day) for day in DAYS]
    assert [item.coarse.label for item in found] == [f"coarse_{day}.tif" for day in DAYS]
    assert not any(item.sentence or item.apart for item in found)


def test_what_lies_beside_images_is_no_image(dated, tmp_path):
    shutil.copytree(dated / "fine", tmp_path / "fine")
    for name in ("readme.txt", "fine_20240512.tif.aux.xml", "fine_20240512.tfw", "notes.pdf"):
        (tmp_path / "fine" / name).write_text("<PAMDataset></PAMDataset>")
    (tmp_path / "fine" / "older").mkdir()
    assert len(images_in(tmp_path / "fine")) == len(DAYS)


def test_a_pair_may_be_some_days_apart_and_every_image_is_used_once():
    fine = [Image("f", date=day) for day in ("2024-05-10", "2024-05-12", "2024-06-01")]
    coarse = [Image("c", date=day) for day in ("2024-05-11", "2024-06-03")]
    found = match_dates(fine, coarse, 1)
    assert [(item.coarse and item.coarse.date, item.apart) for item in found] == [
        ("2024-05-11", 1),
        (None, 0),
        (None, 0),
    ]
    assert found[1].sentence == "There is no coarse image of 2024-05-12 within 1 days for f."
    assert match_dates(fine, coarse, 2)[2].apart == 2


def test_a_second_image_of_a_day_and_one_without_a_day_are_left_out_and_said_so():
    days = ("2024-05-10", "2024-05-10", "")
    fine = [Image(name, date=day) for name, day in zip("abc", days)]
    found = match_dates(fine, [Image("x", date="2024-05-10"), Image("y", date="2024-05-10")])
    assert [item.coarse is not None for item in found] == [True, False, False]
    assert found[1].sentence == "b is of the same day as a. Only the first is used."
    assert found[2].sentence.startswith("c has no date in its name or metadata.")


def test_a_job_names_every_pair_with_its_day_and_a_free_file(dated, models_folder):
    job = build_training_job(METHOD, matched(dated), " My fields ", minutes=3, seed=9)
    assert [pair.date for pair in job.pairs] == [iso(day) for day in DAYS]
    assert (job.name, job.minutes, job.seed) == ("My fields", 3, 9)
    assert job.output == str(models_folder / "my_fields.safetensors")
    assert job.wavelengths == ()  # the images do not say
    assert inspect_training(job) == []


def test_a_trained_model_can_be_trained_on(dated, models_folder):
    path = write_model(models_folder / "a.safetensors")
    for model, start in ((CARD.id, None), (METHOD, CARD.id), (METHOD, str(path))):
        job = build_training_job(model, matched(dated), "Next", start_from=start)
        assert (job.method, job.start_from) == (METHOD, str(path))
        assert inspect_training(job) == []


# --- what is wrong ---


def fault_of(job):
    found = [item.sentence for item in inspect_training(job) if item.level == ERROR]
    assert found, "nothing is wrong"
    return " ".join(found)


def test_one_day_is_too_few(dated, models_folder):
    job = build_training_job(METHOD, matched(dated)[:1], "Fields")
    assert fault_of(job).startswith("1 usable date; training needs at least 2, each with a coarse")


def test_images_with_other_bands_are_named(dated, models_folder, tmp_path):
    write_dated(tmp_path, DAYS[1:2], bands=3)
    found = [*matched(dated)[:1], *matched(tmp_path)]
    assert "has 3 bands, coarse_20240512.tif has 2" in fault_of(
        build_training_job(METHOD, found, "Fields")
    )


def test_images_of_other_places_are_named(dated, models_folder, tmp_path):
    write_dated(tmp_path, DAYS[1:2], shift=1e6)
    job = build_training_job(METHOD, [*matched(dated)[:1], *matched(tmp_path)], "Fields")
    assert "fine_20240628.tif does not overlap fine_20240512.tif" in fault_of(job)


def test_a_coarse_image_in_place_of_a_fine_one_is_named(dated, models_folder):
    swapped = [replace(m, fine=m.coarse, coarse=m.fine) for m in matched(dated)]
    assert "Swap" in fault_of(build_training_job(METHOD, swapped, "Fields"))


def test_a_damaged_image_is_named(dated, models_folder, tmp_path):
    shutil.copytree(dated, tmp_path / "half")
    path = tmp_path / "half" / "fine" / "fine_20240628.tif"
    path.write_bytes(path.read_bytes()[:2000])
    job = build_training_job(METHOD, matched(tmp_path / "half"), "Fields")
    assert "fine_20240628.tif is damaged" in fault_of(job)


def test_a_start_of_another_method_is_named(dated, models_folder, tmp_path):
    path = write_model(tmp_path / "other.safetensors", method="starfm")
    job = build_training_job(METHOD, matched(dated), "Fields", start_from=str(path))
    assert "Fields of 2024 is a model of the method starfm, not of" in fault_of(job)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fine": "/nowhere"}, r"folder /nowhere cannot be read \(No such file"),
        ({"fine": ()}, "0 usable dates; training needs at least 2"),
        ({"method": "starfm"}, "STARFM has nothing to train. .*: rasterfuse_net"),
        ({"method": "nice_net"}, "no method 'nice_net'"),
        ({"name": " "}, "The model has no name"),
        ({"minutes": -1}, "minutes is -1"),
        ({"epochs": 3}, "no such argument .*epochs"),
        ({"start_from": "nobody"}, "no method 'nobody'"),
        ({"output": "model.pt"}, "does not end in .safetensors"),
        ({"fine": [3]}, "3 is no image"),
    ],
)
def test_the_console_says_what_is_wrong_before_anything_runs(
    dated, models_folder, change, sentence
):
    given = {"name": "Fields", "fine": dated / "fine", "coarse": str(dated / "coarse")}
    with pytest.raises(InputError, match=sentence):
        train(**{**given, **change})


# --- Processing ---


def check(**parameters):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("rasterfuse:train")
    return algorithm.checkParameterValues(parameters, QgsProcessingContext())


def test_processing_takes_folders_lists_of_files_and_layers(dated, models_folder, provider):
    folders = {"FINE_FOLDER": str(dated / "fine"), "COARSE_FOLDER": str(dated / "coarse")}
    assert check(NAME="Fields", **folders) == (True, "")
    fine = [str(path) for path in sorted((dated / "fine").glob("*.tif"))]
    coarse = [QgsRasterLayer(str(path)) for path in sorted((dated / "coarse").glob("*.tif"))]
    assert check(NAME="Fields", FINE_IMAGES=fine, COARSE_IMAGES=coarse) == (True, "")
    assert check(NAME="Fields", FINE_IMAGES=fine, COARSE_FOLDER=folders["COARSE_FOLDER"])[0]


def test_processing_says_what_is_wrong(dated, models_folder, provider):
    folders = {"FINE_FOLDER": str(dated / "fine"), "COARSE_FOLDER": str(dated / "coarse")}
    for change, sentence in (
        ({"FINE_FOLDER": ""}, "There are no fine images. Give FINE_FOLDER or FINE_IMAGES."),
        ({"FINE_FOLDER": "/nowhere"}, "The folder /nowhere cannot be read"),
        ({"FINE_BANDS": "red"}, "FINE_BANDS is 'red'. Give band numbers"),
        ({"FINE_BANDS": "1", "COARSE_BANDS": "1,2"}, "has 1 bands|has 2 bands"),
        ({"START_FROM": "nobody"}, "There is no method 'nobody'"),
    ):
        good, said = check(**{"NAME": "Fields", **folders, **change})
        assert not good
        assert any(part in said for part in sentence.split("|")), said


def test_every_parameter_of_the_training_is_explained(models_folder, provider):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("rasterfuse:train")
    for definition in algorithm.parameterDefinitions():
        assert definition.help().endswith("."), definition.name()
        assert definition.name() in algorithm.shortHelpString()
    assert {"MODEL", "RMSE_MODEL", "RMSE_COPY_FINE", "REPORT", "OUTPUT"} <= {
        item.name() for item in algorithm.outputDefinitions()
    }


# --- models as methods ---


def test_an_imported_model_is_an_algorithm_at_once_until_it_is_removed(
    models_folder, provider, tmp_path
):
    path = write_model(tmp_path / "from a friend.safetensors")
    assert import_model(path) == CARD.id
    assert (CARD.id, CARD.name) in methods()
    algorithm = provider.algorithm(CARD.id)
    assert algorithm.displayName() == CARD.name
    assert "two days of fields" in algorithm.shortHelpString()
    remove_model(CARD.id)
    assert provider.algorithm(CARD.id) is None


def test_a_file_that_is_no_model_is_refused_and_qgis_starts_with_it(
    models_folder, provider, tmp_path
):
    (tmp_path / "bad.safetensors").write_bytes(b"PK\x03\x04" + b"\0" * 99)
    with pytest.raises(ModelFileError, match="zip archive"):
        import_model(tmp_path / "bad.safetensors")
    models_folder.mkdir()
    shutil.copy(tmp_path / "bad.safetensors", models_folder)
    before = len(provider.algorithms())
    provider.refreshAlgorithms()
    assert len(provider.algorithms()) == before


def test_bands_of_another_sensor_than_trained_on_are_warned_of_with_the_numbers(
    models_folder, tmp_path
):
    other = write_model(models_folder / "a.safetensors", wavelengths=[482.0, 561.0, 2200.0])
    named = write_dated(tmp_path, names=("655 nm", "865 nm"))
    job = build_training_job(METHOD, matched(named), "Fields")
    assert job.wavelengths == (655.0, 865.0)
    said = " ".join(item.sentence for item in inspect_training(replace(job, start_from=other)))
    assert (
        "has bands at 655, 865 nm; Fields of 2024 was trained on bands at 482, 561, 2200 nm" in said
    )


def test_pixels_of_another_size_than_trained_on_are_warned_of_with_the_numbers(
    models_folder, provider, small_scene
):
    write_model(models_folder / "a.safetensors", scale=[10.0, 10.0], ratio=[20.0, 30.0])
    provider.refreshAlgorithms()
    feedback = Listener()
    algorithm = provider.algorithm(CARD.id).create()
    given = small_scene.spatiotemporal(OUTPUT="TEMPORARY_OUTPUT")
    assert algorithm.prepare(given, QgsProcessingContext(), feedback)
    said = " ".join(feedback.warnings)
    assert "measure 30 m; Fields of 2024 is made for pixels of 10 m" in said
    assert "8.0 times as large as the fine ones; Fields of 2024 is made for 20 to 30" in said
