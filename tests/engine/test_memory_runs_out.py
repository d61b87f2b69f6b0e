"""Too little memory makes smaller tiles, then the CPU takes over; the result is the same."""

from __future__ import annotations

import numpy as np
import pretend_gpu
import pytest
import torch
from pretend_gpu import DEVICE
from rasterfuse.models.cards import load_cards
from rasterfuse.models.errors import MemoryLimitError
from rasterfuse.plugin.engine import device, pipeline, workplace
from rasterfuse.plugin.job import Limits

CELLS = 44
SIDE = 8 * CELLS  # one tile, or two of 256 along an axis
MODELS = ("fine_plus_change", "starfm", "fsdaf")


@pytest.fixture
def scene(rasters, rng):
    """Paths of a pair and a target."""
    fields = rng.normal(size=(1, CELLS, CELLS)).repeat(8, axis=1).repeat(8, axis=2)
    fine = (5 + fields + 0.2 * rng.normal(size=fields.shape)).astype("float32")
    coarse = fine.reshape(1, CELLS, 8, CELLS, 8).mean(axis=(2, 4))
    grid = rasters.grid(240.0)
    return rasters.write("t", coarse * 1.2 + 0.1, grid), (
        rasters.write("c", coarse, grid), rasters.write("f", fine)
    )  # fmt: skip


def job_of(rasters, scene, model, **options):
    named = [spec.name for spec in load_cards()[model].parameters]
    options.setdefault("parameters", {"window": 5} if "window" in named else {})
    options.setdefault("backend", "torch")
    target, *pair = ({"path": path, "date": "2024-07-15"} for path in (scene[0], *scene[1]))
    return rasters.spatiotemporal(target, pair, model=model, **options)


def shortages(report):
    """What the report says of memory that ran out."""
    return [sentence for sentence in report["warnings"] if "ran out" in sentence]


def most(rasters, gpu, job):
    """Result, and bytes that the job takes of the GPU."""
    pretend_gpu.memory.most = 0
    with gpu:
        result, report = rasters.fuse(job)
    assert shortages(report) == []
    return result, pretend_gpu.memory.most


def test_the_pretended_gpu_has_so_much_memory_and_no_more(gpu):
    pretend_gpu.memory.limit = 1000
    with gpu:
        first = torch.ones(200, device=DEVICE)
        second = first[:100]  # shares its memory
        with pytest.raises(torch.OutOfMemoryError, match="allocate 400 bytes"):
            first[100:] + 1
        del first
        with pytest.raises(torch.OutOfMemoryError):
            second + torch.ones(1, device=DEVICE)
        del second
        assert torch.ones(200, device=DEVICE).sum().item() == 200


@pytest.mark.parametrize("model", MODELS)
def test_tiles_that_do_not_fit_are_made_smaller(rasters, scene, gpu, model):
    job = job_of(rasters, scene, model, device="cuda", tile=SIDE)
    expected, large = most(rasters, gpu, job)
    _, small = most(rasters, gpu, job_of(rasters, scene, model, device="cuda", tile=256))
    assert small < 0.8 * large
    pretend_gpu.memory.limit = (small + large) // 2
    with gpu:
        result, report = rasters.fuse(job)
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    assert report["device"] == str(DEVICE)
    assert report["tile"] == 256
    assert report["tiles"] == 4
    assert shortages(report) == [
        f"The memory of {DEVICE} ran out with tiles of {SIDE} x {SIDE} pixels, so smaller ones of "
        "256 x 256 were used."
    ]


@pytest.mark.parametrize("model", MODELS)
def test_where_the_smallest_tile_does_not_fit_the_cpu_goes_on(rasters, scene, gpu, model):
    expected, _ = rasters.fuse(job_of(rasters, scene, model))
    job = job_of(rasters, scene, model, device="cuda", tile=SIDE, backend="auto")
    pretend_gpu.memory.limit = 6_000_000 if model == "fsdaf" else 200_000  # enough to prepare
    progress = []
    with gpu:
        report = pipeline.run(job, lambda stage, fraction: progress.append(fraction))
    # The CPU has other kernels, which sum in another order.
    np.testing.assert_allclose(rasters.read(job.output), expected, rtol=1e-5)
    assert report["device"] == "cpu"
    assert report["backend"] == ("torch" if model == "fine_plus_change" else "numba")
    assert report["tile"] == SIDE
    assert shortages(report) == [
        f"The memory of {DEVICE} ran out even with tiles of 256 x 256 pixels, so the CPU fused "
        "100% of the scene."
    ]
    assert progress == sorted(progress)


def test_tiles_that_the_gpu_has_fused_are_not_fused_again(rasters, scene, gpu, monkeypatch):
    """Another program takes the GPU's memory when the third of four tiles is due."""
    job = job_of(rasters, scene, "starfm", device="cuda", tile=256)
    expected, _ = rasters.fuse(job_of(rasters, scene, "starfm"))
    tiles = []

    def on_progress(stage, fraction):
        if stage == "Fusing":
            tiles.append(fraction)
        if len(tiles) == 2:
            pretend_gpu.memory.limit = 0

    with gpu:
        report = pipeline.run(job, on_progress)
    np.testing.assert_allclose(rasters.read(job.output), expected, rtol=1e-5)
    assert report["device"] == "cpu"
    assert "so the CPU fused 27% of the scene." in shortages(report)[0]


def test_a_method_that_cannot_even_be_prepared_is_prepared_for_the_cpu(rasters, scene, gpu):
    job = job_of(rasters, scene, "fsdaf", device="cuda", backend="auto")
    expected, _ = rasters.fuse(job_of(rasters, scene, "fsdaf"))
    pretend_gpu.memory.limit = 1000
    with gpu:
        result, report = rasters.fuse(job)
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    assert (report["device"], report["backend"]) == ("cpu", "numba")
    assert shortages(report) == [
        f"The memory of {DEVICE} ran out while the method looked at the whole scene, so the CPU "
        "did the fusion."
    ]


@pytest.mark.parametrize(("free_mb", "tile"), [(4000, SIDE), (20, 256)])
def test_the_size_of_tiles_follows_the_free_memory_of_the_gpu(
    rasters, scene, gpu, monkeypatch, free_mb, tile
):
    for module in (device, workplace):
        monkeypatch.setattr(module, "gpu_memory_mb", lambda device: (free_mb, 8000.0))
    pretend_gpu.memory.limit = free_mb * 2**20
    with gpu:
        _, report = rasters.fuse(job_of(rasters, scene, "starfm", device="cuda"))
    assert report["tile"] == tile
    assert shortages(report) == []


def test_the_report_says_how_much_memory_the_gpu_had(rasters, scene, gpu, monkeypatch):
    for module in (device, workplace):
        monkeypatch.setattr(module, "gpu_memory_mb", lambda device: (1234.5, 8000.0))
    pretend_gpu.memory.limit = 100_000
    with gpu:
        _, report = rasters.fuse(job_of(rasters, scene, "starfm", device="cuda"))
    assert f"The memory of {DEVICE} (1234 of 8000 MB were free) ran out" in shortages(report)[0]


def test_what_torch_keeps_for_itself_counts_as_free(monkeypatch):
    here = torch.device("cuda:0")
    for name, value in (
        ("mem_get_info", (3 * 2**30, 8 * 2**30)),
        ("memory_reserved", 2 * 2**30),
        ("memory_allocated", 2**30),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert device.gpu_memory_mb(here) == (4096.0, 8192.0)
    assert device.gpu_tile_bytes(here, None) == 2 * 2**30
    assert device.gpu_tile_bytes(here, 100) == 100 * 2**20
    assert device.gpu_tile_bytes(torch.device("cpu"), None) is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to ..."),
    ],
    ids=["python", "cuda", "mps", "triton", "cublas", "cpu"],
)
def test_every_library_has_its_own_words_for_it(error):
    def fail():
        raise error

    with pytest.raises(workplace.MemoryRanOutError):
        workplace.within_memory(fail)


def test_other_faults_are_no_lack_of_memory():
    def fail():
        raise RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")

    with pytest.raises(RuntimeError, match="must match"):
        workplace.within_memory(fail)


def test_without_memory_for_the_smallest_tile_the_job_ends_with_a_sentence(
    rasters, scene, gpu, monkeypatch
):
    """The CPU itself is the pretended one: there is nowhere to go."""
    monkeypatch.setattr(workplace, "_CPU", DEVICE)
    pretend_gpu.memory.limit = 200_000
    job = job_of(rasters, scene, "starfm", device="cuda", limits=Limits(tile=SIDE))
    with gpu, pytest.raises(MemoryLimitError, match=r"Memory ran out while fusing\. Lower the"):
        rasters.fuse(job)
    assert rasters.leftovers() == []
