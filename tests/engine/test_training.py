"""Training: a miniature one to its end, stopped and resumed, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterfuse.models.errors import CancelledError, FusionError, InputError
from rasterfuse.models.model_file import ModelCard, read_model_card
from rasterfuse.models.spatiotemporal import fine_look
from rasterfuse.models.spatiotemporal.gated_network import GatedNetwork
from rasterfuse.models.spatiotemporal.network_inputs import CHANNELS
from rasterfuse.models.weights import load_weights, save_model
from rasterfuse.plugin.engine import training
from rasterfuse.plugin.engine.simulate_training import draw_scene
from rasterfuse.plugin.engine.training.batches import draw_batch
from rasterfuse.plugin.engine.training.samples import samples_of
from rasterfuse.plugin.engine.training.series import read_series
from rasterfuse.plugin.engine.training.trainer import Plan, Trainer
from rasterfuse.plugin.job import RasterSource, ReferencePair
from rasterfuse.plugin.training_job import TrainingJob

WORKER = Path(__file__).resolve().parents[2] / "plugin" / "engine" / "worker.py"
DAYS = ("2024-05-01", "2024-06-01", "2024-07-01")


@pytest.fixture
def job(rasters, rng):
    """Three dates of 128 x 128 pixels of two classes; coarse pixels 8 times as large."""
    classes = np.kron(rng.random((32, 32)) < 0.5, np.ones((4, 4)))
    pairs = []
    for number, day in enumerate(DAYS):
        values = [0.2 + 0.1 * number * classes, 0.5 - 0.15 * number * (1 - classes)]
        fine = np.stack(values) + 0.01 * rng.normal(size=(2, 128, 128))
        coarse = fine.reshape(2, 16, 8, 16, 8).mean(axis=(2, 4))
        paths = (rasters.write(f"c{number}", coarse, rasters.grid(80.0)),
                 rasters.write(f"f{number}", fine, rasters.grid(10.0)))  # fmt: skip
        pairs.append(ReferencePair(*(RasterSource(path, date=day) for path in paths)))
    return TrainingJob(
        "rasterfuse_net", tuple(pairs), str(rasters.folder / "mine.safetensors"), "Mine",
        steps=12, patch=32, batch=6, seed=3, validation=0.3, device="cpu",
        wavelengths=(655.0, 865.0),
    )  # fmt: skip


def leftovers(job):
    return sorted(p.name for p in Path(job.output).parent.iterdir() if p.suffix != ".tif")


def test_a_miniature_training_lowers_the_error_and_leaves_a_model(job, tmp_path):
    told = []
    # The shipped weights do well on so simple a scene; there is more to learn for untrained ones.
    network, start = GatedNetwork(), str(tmp_path / "untrained.safetensors")
    card = ModelCard("untrained", "Untrained", "rasterfuse_net", network=network.settings)
    save_model(start, card, network.state_dict())
    job = replace(job, start_from=start, steps=48)
    report = training.run(job, lambda stage, fraction, detail=None: told.append((stage, fraction)))
    first, last = report["curve"][0], report["curve"][-1]
    assert last[0] == 48
    assert last[2] < first[2]
    metrics = report["metrics"]
    assert metrics["model"]["rmse"] < metrics["model_before"]["rmse"]
    assert metrics["model"]["rmse"] < metrics["copy_fine"]["rmse"]
    card = read_model_card(job.output)
    assert (card.id, card.method, card.name) == ("mine", "rasterfuse_net", "Mine")
    assert card.dates == DAYS
    assert card.wavelengths == (655.0, 865.0)
    assert card.ratio[0] < 8 < card.ratio[1]
    assert card.metrics == metrics
    assert leftovers(job) == ["mine.safetensors", "untrained.safetensors"]
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert told[-1] == ("Done", 1.0)


def test_the_preview_shows_the_reference_the_fused_image_and_the_truth(job):
    pictures = []

    def look(stage, fraction, detail=None):
        if detail is not None:
            with rasterio.open(detail["preview"]) as picture:
                pictures.append(picture.read().astype(float))

    training.run(replace(job, steps=40), look)
    side = (pictures[-1].shape[2] - 12) // 3
    panels = [pictures[-1][:, :, n * (side + 6) : n * (side + 6) + side] for n in range(3)]
    off = [np.abs(panel - panels[2]).mean() for panel in panels]
    assert off[1] < off[0]
    assert np.ptp(panels[2]) > 100


@pytest.mark.slow
def test_simulated_scenes_alone_do_and_give_a_model_for_any_ratio(job, monkeypatch):
    monkeypatch.setattr(training, "_SCENES", 2)
    monkeypatch.setattr(training, "_SCENES_ASIDE", 1)
    report = training.run(replace(job, pairs=(), simulate=1.0, steps=2))
    assert report["kept_aside"] == "simulated scenes"
    assert read_model_card(job.output).ratio is None


def test_a_training_that_is_killed_goes_on_as_if_it_had_not_been(job, tmp_path):
    alone = training.run(replace(job, output=str(tmp_path / "alone.safetensors")))
    message = tmp_path / "job.json"
    message.write_text(job.to_json(), encoding="utf-8")
    child = subprocess.Popen(
        [sys.executable, str(WORKER), str(message)], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    state = Path(f"{job.output}.training")
    give_up = time.monotonic() + 60
    while not state.exists() and child.poll() is None and time.monotonic() < give_up:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not Path(job.output).exists()
    begun = []
    report = training.run(
        job, lambda stage, fraction, detail=None: begun.append(detail["step"]) if detail else None
    )
    assert begun[0] > 1
    assert report["curve"] == alone["curve"]
    first, other = (load_weights(path) for path in (alone["path"], report["path"]))
    assert all(torch.equal(first[name], other[name]) for name in first)


def test_a_cancelled_training_keeps_its_state_and_writes_no_model(job):
    steps = []

    def on_progress(stage, fraction, detail=None):
        if detail:
            steps.append(detail["step"])

    with pytest.raises(CancelledError, match="go on"):
        training.run(job, on_progress, lambda: len(steps) > 2)
    assert leftovers(job) == ["mine.safetensors.training"]
    raw = Path(f"{job.output}.training").read_bytes()  # nothing in it could be executed
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert "rasterfuse_training" in header["__metadata__"]


@pytest.mark.slow
def test_another_training_does_not_go_on_with_the_state_of_this_one(job):
    steps = []
    with pytest.raises(CancelledError):
        training.run(job, lambda *_: steps.append(1), lambda: len(steps) > 20)
    report = training.run(replace(job, seed=4, steps=4))
    assert [point[0] for point in report["curve"]] == [1, 2, 3, 4]


def test_fine_tuning_starts_from_given_weights(job, tmp_path):
    training.run(replace(job, steps=4))
    again = replace(job, start_from=job.output, output=str(tmp_path / "tuned.safetensors"), steps=1)
    report = training.run(again)
    before = read_model_card(job.output).metrics["model"]["rmse"]
    assert report["metrics"]["model_before"]["rmse"] == pytest.approx(before, rel=1e-4)


# --- data ---


def test_nothing_that_is_kept_aside_is_learnt_from(job):
    series = read_series(job, lambda done: None, lambda: None)
    assert series.training
    assert series.aside
    # The two earlier dates as targets of the two others each, left of the line and the strip.
    pixels = sum(sample.known.numel() for sample in series.training)
    assert pixels == 4 * 128 * 80  # 128 * 0.7 - 8 = 81.6, in whole twos
    # The last date as the target of both others, right of them.
    assert sum(sample.known.numel() for sample in series.aside) == 2 * 128 * 30


def test_pairs_of_one_day_are_too_little(job):
    with pytest.raises(InputError, match="1 usable date"):
        training.run(replace(job, pairs=job.pairs[:1]))


def test_images_that_are_all_cloud_are_too_little(job, rasters):
    cloud = np.full((2, 128, 128), -1.0)
    cloud[:, 0, 0] = 0.5
    path = rasters.write("cloud", cloud, rasters.grid(10.0), nodata=-1)
    pairs = tuple(replace(pair, fine=replace(pair.fine, path=path)) for pair in job.pairs)
    with pytest.raises(InputError, match="nothing to learn from"):
        training.run(replace(job, pairs=pairs))


# --- what goes wrong on the way ---


class Faulty:
    """Batches of one scene that go wrong at a step."""

    def __init__(self, samples, step, fault):
        self.samples, self.step, self.fault = samples, step, fault

    def batch(self, step, size, rng):
        batch = draw_batch(self.samples, size, 32, rng)
        return self.fault(batch, size) if step >= self.step else batch


@pytest.fixture(scope="module")
def samples():
    return samples_of(draw_scene(np.random.default_rng(5), 128, ratio=(4, 8)))


def turned(scene):
    """A quarter turn of the fine grid; the cells stay as they are."""

    def turn(image):
        return np.ascontiguousarray(np.rot90(image, axes=(1, 2)))

    rows, cols = scene.cells.centres
    cells = replace(
        scene.cells,
        centres=np.stack([len(scene.fine_reference[0]) - cols, rows]),
        places=turn(scene.cells.places),
    )
    images = ("fine_reference", "fine_target", "coarse_reference", "coarse_target")
    return replace(scene, cells=cells, **{name: turn(getattr(scene, name)) for name in images})


def cache_first(function):
    """Answers what it answered first."""
    found = []

    def answer(*given):
        found.extend([] if found else [function(*given)])
        return found[0]

    return answer


def test_a_turned_scene_gives_the_turned_sample(monkeypatch):
    """Though the coarse image is shifted: cells may lie along other axes than pixels."""
    scene = draw_scene(
        np.random.default_rng(5), 120, ratio=(8, 8), bands=(3, 3), second=0, turned=0, clouded=0,
        common_shift=(0.3, 0.3), date_shift=(0, 0),
    )  # fmt: skip
    # The classes of the patches would be found from other pixels.
    monkeypatch.setattr(fine_look, "k_means", cache_first(fine_look.k_means))
    [straight], [other] = samples_of(scene), samples_of(turned(scene))
    for name in ("process", "missed", "D2"):
        number = CHANNELS.index(name)
        expected = torch.rot90(straight.planes[:, number].float(), dims=(1, 2))
        off = (other.planes[:, number].float() - expected).abs()
        if name == "process":  # but for pixels between two classes
            assert (off > 0.01).float().mean() < 0.002
        else:
            assert off.max() < 0.01, name


def trainer(samples, step, fault, batch=4):
    torch.manual_seed(0)
    plan = Plan(minutes=1, steps=8, batch=batch, rate=1e-3, seed=0, choose=True)
    return Trainer(GatedNetwork(), plan, Faulty(samples, step, fault), samples)


def no_number(batch, size):
    return replace(batch, change=torch.full_like(batch.change, torch.nan))


def test_a_loss_that_is_no_number_ends_the_training_with_the_best_weights(samples):
    tried = trainer(samples, 4, no_number)
    weights = tried.run(lambda score: None, lambda: None)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    assert "no number at step 5" in tried.reached.warnings[-1]


def test_a_loss_that_is_no_number_from_the_start_is_an_error(samples):
    with pytest.raises(FusionError, match="no number at step 1"):
        trainer(samples, 0, no_number).run(lambda score: None, lambda: None)


def test_too_little_memory_makes_the_batches_smaller(samples):
    def full(batch, size):
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return batch

    tried = trainer(samples, 1, full, batch=8)
    tried.run(lambda score: None, lambda: None)
    assert tried.reached.step == 8
    assert tried.reached.batch == 2
    assert "2 patches" in tried.reached.warnings[-1]
