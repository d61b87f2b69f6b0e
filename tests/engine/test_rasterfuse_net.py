"""RasterFuse Net: what its answers do not depend on, its weights, its two back-ends."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rasterfuse.models.errors import InputError, ModelFileError
from rasterfuse.models.model_file import ModelCard
from rasterfuse.models.network_runtime import runner
from rasterfuse.models.spatiotemporal.gated_network import HALO, GatedNetwork, experts
from rasterfuse.models.spatiotemporal.network_inputs import CHANNELS, EXPERTS, SCALARS
from rasterfuse.models.spatiotemporal.rasterfuse_net import load_network, pooled
from rasterfuse.models.weights import load_weights, save_model
from rasterfuse.plugin.engine.simulate_training import CoarseCells, TrainingScene
from rasterfuse.plugin.engine.training.samples import samples_of

SIDE, RATIO = 96, 8.0
WORKER = Path(__file__).resolve().parents[2] / "plugin" / "engine" / "worker.py"


def random_network():
    """A network with weights that all count, as after a training."""
    torch.manual_seed(0)
    network = GatedNetwork().eval()
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(0.05 * torch.randn(tensor.shape))
    return network


def images(rng, bands=3):
    """Fine reference and coarse images of both days on the fine grid, float32 tensors."""
    cells = rng.normal(size=(2, bands, 12, 12))
    before, after = np.kron(cells, np.ones((8, 8))).astype(np.float32)
    fine = before + 0.3 * rng.normal(size=before.shape).astype(np.float32)
    return tuple(torch.from_numpy(image) for image in (fine, before, before + 0.5 * after))


def sample_of(fine, before, after):
    """What the network sees; the truth does not matter."""
    pixels = np.mgrid[:SIDE, :SIDE] + 0.5
    cells = (image[:, ::8, ::8].numpy() for image in (before, after))
    cells = CoarseCells(*cells, None, pixels[:, ::8, ::8] + 3.5, pixels / RATIO)
    images = (image.numpy() for image in (fine, fine, before, after))
    [sample] = samples_of(TrainingScene(*images, RATIO, cells))
    return sample


def answer(network, fine, before, after, hidden=None):
    """Change and log-variance, in the images' unit."""
    seen = fine if hidden is None else fine.masked_fill(hidden, torch.nan)
    sample = sample_of(seen, before, after)
    with torch.no_grad():
        return network(sample.planes.float(), sample.scalars)[:, 0] * sample.scale[:, None, None]


def test_the_order_of_the_bands_does_not_matter(rng):
    network, scene = random_network(), images(rng)
    order = [2, 0, 1]
    # The random waves are of the whitened bands, whose axes turn with the order.
    first = answer(network, *scene)
    other = answer(network, *(image[order] for image in scene))
    assert (first[order] - other).abs().mean() < 0.1 * first.abs().mean()


def test_gain_and_offset_of_a_unit_go_through(rng):
    network, scene = random_network(), images(rng)
    gain = torch.tensor([10_000.0, 0.01, 3.0])[:, None, None]
    first = answer(network, *scene)
    other = answer(network, *(gain * image - 5 for image in scene))
    torch.testing.assert_close(other / gain, first, rtol=0, atol=5e-3)


def test_what_is_hidden_does_not_matter(rng):
    network, (fine, before, after) = random_network(), images(rng)
    hidden = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    hidden[20:40, 30:60] = True
    first = answer(network, fine, before, after, hidden)
    other = answer(network, fine.masked_fill(hidden, 1e4), before, after, hidden)
    assert torch.isfinite(first).all()
    torch.testing.assert_close(other, first)


def test_at_the_edge_of_what_is_hidden_the_process_tells_what_is_known(rng):
    """Means of 2 x 2 pixels are those of the known ones."""
    fine = np.kron(rng.choice([-1.0, 1.0], (2, SIDE // 2, SIDE // 2)), np.ones((2, 2)))
    before = np.kron(fine.reshape(2, SIDE // 8, 8, SIDE // 8, 8).mean((2, 4)), np.ones((8, 8)))
    fine, before = (torch.from_numpy(image).float() for image in (fine, before))
    hidden = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    hidden[:, 33:60] = True
    whole, part = (
        sample_of(image, before, 1.5 * before).planes[:, CHANNELS.index("process"), :, 16].float()
        for image in (fine, fine.masked_fill(hidden, torch.nan))
    )
    assert whole.std() > 0.3  # half of the fine image's deviation is the change
    assert (part - whole).square().mean().sqrt() < 0.35 * whole.std()


def enlarged(image):
    """(samples, rows, cols) at twice the resolution."""
    return torch.nn.functional.interpolate(
        image[:, None], scale_factor=2, mode="bilinear", align_corners=False
    )[:, 0]


@pytest.mark.parametrize(("foretold", "share"), [(-0.2, 0.0), (0.5, 0.55 / 8), (1.0, 0.55)])
def test_an_untrained_network_trusts_the_smoothed_change_most_and_the_process_as_the_scene_says(
    rng, foretold, share
):
    sample = sample_of(*images(rng))
    planes, scalars = sample.planes.float(), sample.scalars.clone()
    scalars[:, SCALARS.index("foretold by the process")] = foretold
    with torch.no_grad():
        found = GatedNetwork()(planes, scalars)[:, 0]
    weights = torch.zeros(len(EXPERTS))
    weights[EXPERTS.index("D2")] = 1.5
    answers = experts(planes).transpose(0, 1)
    mixed = enlarged(torch.tensordot(weights.softmax(0), answers, dims=1))
    detail = [CHANNELS.index(f"detail of the process {number}") for number in range(4)]
    process = enlarged(answers[EXPERTS.index("process")])
    process += torch.nn.functional.pixel_shuffle(planes[:, detail], 2)[:, 0]
    torch.testing.assert_close(found, (1 - share) * mixed + share * process)


def test_the_mean_of_the_members_answers():
    network = random_network()
    planes, scalars = torch.randn(3, len(CHANNELS), 20, 24), torch.zeros(3, len(SCALARS))
    with torch.no_grad():
        found, alone = network(planes, scalars), network.alone(planes, scalars)
    assert len(alone) == 2
    assert (alone[0] - alone[1]).abs().mean() > 0.1  # they are not the same
    torch.testing.assert_close(found, (alone[0] + alone[1]) / 2)


def test_how_little_images_have_in_common_is_told_no_worse_than_networks_have_seen_it(rng):
    """Else they guess: one was off by twice as much as the smoothed change."""
    fine, before, after = images(rng)
    told = dict(zip(SCALARS, sample_of(fine, -3 * before, after).scalars.T))
    assert (told["correlation"] == 0.5).all()
    assert (told["spread"] == 0.4).all()


@pytest.mark.parametrize("bands", [1, 2, 7])
def test_any_number_of_bands_is_taken(rng, bands):
    found = answer(random_network(), *images(rng, bands))
    assert found.shape == (bands, SIDE, SIDE)
    assert torch.isfinite(found).all()


def test_a_pixel_depends_on_nothing_beyond_the_halo():
    network, side = random_network(), 4 * HALO
    planes = torch.randn(1, len(CHANNELS), side // 2, side // 2, requires_grad=True)
    found = network(planes, torch.zeros(1, len(SCALARS)))
    found[0, :, side // 2, side // 2].sum().backward()
    rows = planes.grad.abs().sum(dim=(0, 1, 3)).nonzero()
    assert side // 2 - 2 * int(rows.min()) <= HALO
    assert 2 * int(rows.max()) + 1 - side // 2 <= HALO


# --- weights ---


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "mine.safetensors"
    network = random_network()
    card = ModelCard("mine", "Mine", "rasterfuse_net", network=network.settings)
    save_model(path, card, network.state_dict())
    return path


def test_weights_come_back_as_they_were_written(model_file):
    found, expected = load_network(str(model_file)).state_dict(), random_network().state_dict()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor)


def test_weights_of_another_network_are_refused(model_file):
    card = ModelCard("mine", "Mine", "rasterfuse_net", network={"width": 16})
    save_model(model_file, card, load_weights(model_file))
    with pytest.raises(ModelFileError, match="do not fit the network"):
        load_network(str(model_file))


@pytest.mark.parametrize(
    "sizes",
    [
        {"width": 10**6}, {"width": 10**30}, {"blocks": 10**12}, {"members": 10**12},
        {"members": 0}, {"width": -1},
    ],
    ids=str,
)  # fmt: skip
def test_a_network_of_absurd_size_is_refused_without_taking_its_memory(model_file, sizes):
    """A width of a million would take 36 TB, and more blocks than there are tensors for ever."""
    card = ModelCard("mine", "Mine", "rasterfuse_net", network=sizes)
    for tensors in (load_weights(model_file), {"one": torch.zeros(2)}):
        save_model(model_file, card, tensors)
        with pytest.raises(ModelFileError, match="do not fit the network") as caught:
            load_network(str(model_file))
        assert "allocate" not in (caught.value.detail or "")


def test_weights_that_are_no_numbers_are_refused(model_file):
    tensors = load_weights(model_file)
    tensors["members.1.stem.weight"][0, 0, 0, 0] = torch.nan
    card = ModelCard("mine", "Mine", "rasterfuse_net", network=random_network().settings)
    save_model(model_file, card, tensors)
    with pytest.raises(ModelFileError, match="no numbers"):
        load_network(str(model_file))


def test_damaged_weights_are_refused(model_file):
    whole = model_file.read_bytes()
    model_file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match="cut off"):
        load_network(str(model_file))


# --- scenes ---


def job_of(rasters, rng, pairs=1, **options):
    """A scene of 160 x 160 pixels whose coarse cells are 8 pixels wide."""
    ground = np.kron(rng.normal(size=(2, 20, 20)), np.ones((8, 8))) + 5
    ground += 0.3 * rng.normal(size=ground.shape)
    coarse, fine = rasters.grid(80.0), rasters.grid(10.0)

    def seen(image):
        return image.reshape(2, 20, 8, 20, 8).mean(axis=(2, 4))

    names = []
    for number in range(pairs):
        image = ground * (1 + 0.1 * number)
        names.append((rasters.write(f"c{number}", seen(image), coarse),
                      rasters.write(f"f{number}", image, fine)))  # fmt: skip
    target = rasters.write("t", seen(1.2 * ground), coarse)
    return rasters.spatiotemporal(target, *names, model="rasterfuse_net", **options)


def test_a_trained_model_gives_the_same_with_any_tiles(rasters, rng, model_file):
    job = job_of(rasters, rng, 2, backend="torch", model_file=str(model_file))
    job = replace(job, model="mine")
    whole, _ = rasters.fuse(job)
    tiled, _ = rasters.fuse(replace(job, limits=replace(job.limits, tile=37)))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-4 * np.ptp(whole))


def test_a_pair_counts_in_every_band_also_by_what_the_others_say_whatever_their_units():
    first, second = torch.tensor([8.0, 1.0]), torch.tensor([2.0, 1.0])
    # 4 times as much in the first band, as much in the second: twice as much in all.
    expected = torch.tensor([math.sqrt(4 * 2), math.sqrt(1 * 2)])
    for unit in (torch.tensor([1.0, 1.0]), torch.tensor([1e8, 1e-9])):
        torch.testing.assert_close(pooled(first * unit) / pooled(second * unit), expected)


def test_the_report_names_the_backend(rasters, rng):
    _, report = rasters.fuse(job_of(rasters, rng, backend="torch"))
    assert report["backend"] == "torch"


def test_openvino_gives_what_torch_gives():
    pytest.importorskip("openvino")
    network, device = random_network(), torch.device("cpu")
    planes, scalars = torch.randn(3, len(CHANNELS), 76, 64), torch.randn(3, len(SCALARS))
    name, run = runner(network, device, "auto")
    assert name == "openvino"
    _, other = runner(network, device, "torch")
    for bands in (3, 1, 2):
        found, expected = (
            run(planes[:bands], scalars[:bands]),
            other(planes[:bands], scalars[:bands]),
        )
        # In standard deviations of an image; 1e-3 of reflectance is more.
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_openvino_reports_to_nobody():
    """Its package for that opens connections as soon as openvino is imported."""
    pytest.importorskip("openvino")
    code = (
        f"import sys; sys.argv = ['']; sys.path.insert(0, {str(WORKER.parent)!r}); import worker\n"
        "import socket\n"
        "def refuse(*words): raise SystemExit('it wants to connect')\n"
        "socket.socket.connect = refuse\n"
        "from rasterfuse.models.network_runtime import _openvino\n"
        "assert _openvino() is not None\n"
        "from openvino.tools.ovc.telemetry_utils import tm\n"
        "print(tm.__name__)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    done = subprocess.run(
        [sys.executable, "-E", "-c", code], capture_output=True, text=True, env=environment,
        check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub", done.stderr


def test_openvino_is_refused_where_it_cannot_run():
    with pytest.raises(InputError, match="needs the CPU"):
        runner(GatedNetwork(), torch.device("meta"), "openvino")
