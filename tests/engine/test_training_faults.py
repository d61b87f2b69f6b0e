"""Training: what is wrong with images, files, memory and disks, each made to happen for real."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import assert_explained
from model_files import CARD
from rasterfuse.models.errors import FusionError, InputError, ModelFileError, OutputError
from rasterfuse.models.model_file import read_model_card
from rasterfuse.models.spatiotemporal.gated_network import GatedNetwork
from rasterfuse.models.weights import load_weights, save_model
from rasterfuse.plugin.engine import training
from rasterfuse.plugin.engine.training import checkpoint
from rasterfuse.plugin.engine.training.verdict import judge
from rasterfuse.plugin.job import RasterSource, ReferencePair
from rasterfuse.plugin.training_job import TrainingJob

TESTS = Path(__file__).resolve().parents[1]
DAYS = ("2024-05-01", "2024-06-01")
SIDE = 96
TINY = {"width": 4, "blocks": 1}


def images(rng, side=SIDE):
    """Two days of a fine image of one band, and both coarse; pixels 8 times as large."""
    field = rng.random((1, side // 4, side // 4)).repeat(4, axis=1).repeat(4, axis=2)
    fine = [0.2 + 0.1 * field, 0.4 - 0.2 * field + 0.01 * rng.normal(size=field.shape)]
    cells = side // 8
    return [(day.reshape(1, cells, 8, cells, 8).mean(axis=(2, 4)), day) for day in fine]


@pytest.fixture
def start(tmp_path):
    """A small model, so that a training is a matter of moments."""
    return model(tmp_path / "start.safetensors")


def model(path, **fields):
    torch.manual_seed(1)
    card = replace(CARD, network=TINY, scale=None, ratio=None, **fields)
    save_model(str(path), card, GatedNetwork(**TINY).state_dict())
    return str(path)


@pytest.fixture
def make(rasters, rng, start):
    """Builds a job of images as ``images`` gives them."""

    def build(days=None, nodata=None, **settings):
        pairs = []
        for number, (day, arrays) in enumerate(zip(DAYS, days or images(rng))):
            written = [
                rasters.write(f"{kind}{number}", array, rasters.grid(size), nodata=nodata)
                for kind, array, size in zip("cf", arrays, (80.0, 10.0))
            ]
            pairs.append(ReferencePair(*(RasterSource(path, date=day) for path in written)))
        given = {
            "method": "rasterfuse_net", "pairs": tuple(pairs), "name": "Mine", "start_from": start,
            "output": str(rasters.folder / "out" / "mine.safetensors"), "steps": 3, "patch": 32,
            "batch": 2, "device": "cpu",
        }  # fmt: skip
        return TrainingJob(**{**given, **settings})

    return build


def refused(job, kind, sentence):
    """It fails with one sentence, and leaves nothing."""
    with pytest.raises(kind, match=sentence) as caught:
        training.run(job)
    assert_explained(caught.value.code, caught.value.sentence)
    folder = Path(job.output).parent
    assert not folder.is_dir() or os.listdir(folder) == []


# --- images ---


def test_images_of_a_few_pixels_are_too_little(make, rng):
    few = [(coarse[:, :1, :1], fine[:, :3, :3]) for coarse, fine in images(rng)]
    refused(make(few), InputError, "nothing to learn from")


def test_small_images_are_measured_on_with_care(make):
    report = training.run(make())
    assert np.isfinite(report["metrics"]["model"]["rmse"])
    assert all(np.isfinite(point).all() for point in report["curve"])


def test_areas_that_are_smaller_than_a_patch_and_no_squares_are_learnt_from(make, rng):
    days = [(coarse[:, :, :5], fine[:, :, :40]) for coarse, fine in images(rng)]
    for _, fine in days:
        fine[:, :, 30:] = np.nan
    report = training.run(make(days, patch=128, batch=8, steps=6))
    assert report["steps"] == 6


def test_patches_that_are_all_cloud_teach_nothing_and_harm_nothing(make, rng):
    days = images(rng)
    for _, fine in days:
        fine[:, :, : SIDE // 2] = -9
        fine[:, :10] = -9
    report = training.run(make(days, nodata=-9, patch=16, steps=12))
    assert all(np.isfinite(point).all() for point in report["curve"])
    assert report["metrics"]["model"]["rmse"] < 1  # of values from 0 to 0.4: no cloud of -9


def test_a_date_that_is_all_cloud_is_too_little(make, rng):
    days = images(rng)
    days[1][1][:] = -9
    days[1][1][0, 0, 0] = 0.3
    refused(make(days, nodata=-9), InputError, "nothing to learn from. .* clouds")


def test_nothing_is_said_of_a_target_date(make):
    warnings = " ".join(training.run(make())["warnings"])
    assert "target" not in warnings
    assert "coregister" not in warnings


# --- the loss ---


def test_a_learning_rate_that_makes_the_loss_no_number_keeps_the_best(make, monkeypatch):
    usual = training.Trainer._rate

    def rate(trainer):
        return 1e30 if trainer.reached.step > 4 else usual(trainer)

    monkeypatch.setattr(training.Trainer, "_rate", rate)
    report = training.run(make(steps=12))
    assert report["steps"] < 12
    said = [sentence for sentence in report["warnings"] if "no number" in sentence]
    assert len(said) == 1
    assert "were kept" in said[0]
    tensors = load_weights(report["path"]).values()
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def test_a_learning_rate_that_ruins_all_from_the_start_is_an_error(make, monkeypatch):
    monkeypatch.setattr(training.Trainer, "_rate", lambda trainer: 1e30)
    monkeypatch.setattr(training.Trainer, "_is_due", lambda trainer: False)
    with pytest.raises(FusionError, match=r"no number at step .*, before anything") as bad:
        training.run(make(steps=12))
    assert_explained(bad.value.code, bad.value.sentence)


@pytest.mark.parametrize("extreme", [1e30, 3e38, np.inf])
def test_an_extreme_pixel_ends_in_finite_weights_or_a_sentence(make, rng, extreme):
    days = images(rng)
    days[1][1][0, 40, 40] = extreme
    try:
        report = training.run(make(days))
    except FusionError as error:
        assert_explained(error.code, error.sentence)
    else:
        tensors = load_weights(report["path"]).values()
        assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


# --- memory ---

LIMITED = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import conftest, numba, rasterio, torch
from rasterfuse.plugin.engine import training
from rasterfuse.plugin.engine.training import Trainer
from rasterfuse.plugin.training_job import TrainingJob
torch.set_num_threads(1)
usual = Trainer.run
def run(trainer, *args):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes}_000_000,) * 2)
    return usual(trainer, *args)
Trainer.run = run
try:
    report = training.run(TrainingJob.from_json(Path(sys.argv[1]).read_text()))
    print(json.dumps([report["steps"], report["warnings"]]))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def limited(tmp_path, job, megabytes):
    """What a training says that gets so much memory for its steps."""
    script, message = tmp_path / "limited.py", tmp_path / "job.json"
    script.write_text(LIMITED.format(tests=str(TESTS), megabytes=megabytes))
    message.write_text(job.to_json())
    # What is freed goes back at once, else it depends on luck what fits into the rest.
    malloc = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    found = subprocess.run(
        [sys.executable, str(script), str(message)], capture_output=True, text=True, check=True,
        env={**os.environ, **malloc},
    )  # fmt: skip
    return json.loads(found.stdout.splitlines()[-1])


def test_too_little_memory_makes_smaller_batches_and_says_so(make, tmp_path):
    steps, warnings = limited(tmp_path, make(batch=1024, patch=96), 600)
    assert steps == 3
    said = [sentence for sentence in warnings if sentence.startswith("Memory ran out at step 1")]
    assert said
    assert "patches per step" in said[-1]


def test_too_little_memory_for_one_patch_is_a_sentence(make, tmp_path):
    kind, sentence = limited(tmp_path, make(), 1)
    assert kind == "MemoryLimitError"
    assert "even with one patch per step. Choose smaller patches than 32 pixels" in sentence


# --- model files to start from ---


class Payload:
    """Executed by whoever unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_file_that_tries_to_execute_code_is_refused_and_executes_nothing(make, tmp_path):
    trap = tmp_path / "executed"
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(pickle.dumps({"weights": Payload(trap)}))
    refused(make(start_from=str(bad)), ModelFileError, "pickle")
    torch.save({"weights": Payload(trap)}, bad)
    refused(make(start_from=str(bad)), ModelFileError, "zip archive")
    assert not trap.exists()
    pickle.loads(pickle.dumps(Payload(trap)))
    assert trap.exists(), "the trap does not work, so the test says nothing"


def test_a_state_that_tries_to_execute_code_is_not_gone_on_with(make, tmp_path):
    trap, job = tmp_path / "executed", make()
    Path(job.output).parent.mkdir()
    torch.save({"weights": Payload(trap)}, f"{job.output}.training")
    assert training.run(job)["curve"][0][0] == 1
    assert not trap.exists()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda raw: raw[: len(raw) // 2], "cut off: .* bytes are missing"),
        (lambda raw: b"\xff" * 400, "no model"),
        (lambda raw: b"", "."),
    ],
    ids=["half", "noise", "empty"],
)
def test_a_damaged_model_to_start_from_is_named(make, start, tmp_path, spoil, sentence):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(spoil(Path(start).read_bytes()))
    refused(make(start_from=str(bad)), ModelFileError, sentence)


def test_a_missing_model_and_one_of_another_method_or_network_are_named(make, tmp_path):
    refused(make(start_from=str(tmp_path / "no.safetensors")), ModelFileError, "no.safetensors")
    other = model(tmp_path / "other.safetensors", method="starfm")
    refused(make(start_from=other), InputError, "is a model of the method starfm, not of")
    card = replace(CARD, network={**TINY, "width": 8})
    save_model(tmp_path / "wide.safetensors", card, GatedNetwork(**TINY).state_dict())
    refused(make(start_from=str(tmp_path / "wide.safetensors")), ModelFileError, "do not fit")


def test_a_model_of_another_scale_warns_with_the_numbers(make, tmp_path):
    path = tmp_path / "coarser.safetensors"
    card = replace(CARD, network=TINY, scale=(20.0, 45.0), ratio=(12.0, 24.0))
    save_model(path, card, GatedNetwork(**TINY).state_dict())
    warnings = " ".join(training.run(make(start_from=str(path)))["warnings"])
    assert "measure 10 m; Fields of 2024 is made for pixels of 20 to 45 m" in warnings
    assert "8.0 times as large as the fine ones; Fields of 2024 is made for 12 to 24" in warnings


def test_images_in_degrees_give_a_model_of_no_false_size(make, rasters):
    job = make()
    assert read_model_card(training.run(job)["path"]).scale == pytest.approx((10 / 1.5, 15))
    grids = rasters.grid(0.0008, 12.0, 48.0), rasters.grid(0.0001, 12.0, 48.0)
    for number in range(2):
        for kind, grid in zip("cf", grids):
            values = rasters.read(rasters.folder / f"{kind}{number}.tif")
            rasters.write(f"{kind}{number}", values, grid, crs="EPSG:4326")
    low, high = read_model_card(training.run(job)["path"]).scale
    assert low < 11.1 < high  # 0.0001 degrees of latitude


# --- disks ---


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_learnt(make, rasters):
    told = []
    job = make(output=str(rasters.folder / "f0.tif" / "mine.safetensors"))
    with pytest.raises(OutputError, match=r"mine\.safetensors\.training cannot be written") as bad:
        training.run(job, lambda stage, fraction, detail=None: told.append(stage))
    assert_explained(bad.value.code, bad.value.sentence)
    assert told == []


def test_a_read_only_disk(make, mounted):
    place = mounted("size=1m", "ro")
    refused(make(output=str(place / "mine.safetensors")), OutputError, "cannot be written.*Read-on")


@pytest.mark.parametrize("size", ["4k", "32k"])
def test_a_full_disk_is_said_and_left_as_it_was(make, mounted, size):
    place = mounted(f"size={size}")
    refused(make(output=str(place / "mine.safetensors")), OutputError, "free some space")


def test_a_disk_that_gets_full_leaves_the_last_state(make, mounted):
    place = mounted("size=4m")
    job = make(output=str(place / "mine.safetensors"), steps=16)

    def fill(stage, fraction, detail=None):
        if detail and detail["step"] == 3:
            room = os.statvfs(place)
            (place / "ballast").write_bytes(b"\0" * (room.f_bavail * room.f_frsize))

    with pytest.raises(OutputError, match="free some space"):
        training.run(job, fill)
    assert sorted(os.listdir(place)) == ["ballast", "mine.safetensors.training"]
    assert checkpoint.read_checkpoint(f"{job.output}.training").state["step"] == 3
    (place / "ballast").unlink()
    assert [point[0] for point in training.run(job)["curve"]] == list(range(1, 17))


# --- what it brought ---


def figures(model, before, copy=0.3, mean=0.2):
    named = {"model": model, "model_before": before, "copy_fine": copy, "fine_plus_mean": mean}
    return {name: {"rmse": value} for name, value in named.items()}


@pytest.mark.parametrize(
    ("found", "start", "other_day", "better", "words"),
    [
        (figures(0.1, 0.15), "Net", True, True, ["from 0.15 to 0.1 (33%)", "50% below", "(fine p"]),
        (figures(0.1, 0.15), None, True, True, ["50% below"]),
        (figures(0.1, 0.1), "Net", True, False, ["no gain", "0.1 before", "Use Net as it was"]),
        (
            figures(0.21, 0.4),
            "Net",
            True,
            False,
            ["(48%)", "no better than the simple answer fine"],
        ),
        (figures(0.1, 0.15), "Net", False, False, ["33%", "on another day it may be worse"]),
    ],
    ids=["gain", "anew", "no-gain", "trivial-is-better", "same-days"],
)
def test_the_verdict_says_what_to_use(found, start, other_day, better, words):
    verdict = judge(found, start, other_day)
    assert verdict.better == better
    assert all(word in verdict.sentence for word in words), verdict.sentence


def test_a_training_without_gain_says_so_in_its_report_and_in_the_model(make):
    report = training.run(make(steps=1))
    assert not report["better"]
    assert "no gain" in report["verdict"]
    assert report["verdict"] in read_model_card(report["path"]).notes
