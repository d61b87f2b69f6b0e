"""The client's end against the real worker process, which runs real jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from faults import processes_below, workers_of
from rasterfuse.models.errors import CancelledError, FusionError, InputError, RasterReadError
from rasterfuse.plugin.job import Job, Limits, RasterSource
from rasterfuse.plugin.runtime.runtime import Runtime
from rasterio.transform import from_origin

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def runtime():
    """One for all tests, so that the import of torch is paid for once; a test may kill it."""
    item = Runtime(sys.executable)
    yield item
    item.close()
    assert children() == []


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A multispectral and a panchromatic image."""
    folder = tmp_path_factory.mktemp("images")
    pan = np.random.default_rng(3).uniform(100, 900, (1, 384, 384)).astype("float32")
    coarse = pan.reshape(1, 96, 4, 96, 4).mean(axis=(2, 4)) * np.ones((3, 1, 1), "float32")
    for name, values, pixel in (("pan.tif", pan, 15.0), ("ms.tif", coarse, 60.0)):
        profile = {
            "driver": "GTiff", "count": len(values), "dtype": "float32", "crs": "EPSG:32633",
            "height": values.shape[1], "width": values.shape[2],
            "transform": from_origin(500_000, 5_000_000, pixel, pixel),
        }  # fmt: skip
        with rasterio.open(folder / name, "w", **profile) as file:
            file.write(values)
    return folder


@pytest.fixture
def job(images, tmp_path):
    """So many tiles that it takes a few seconds."""
    inputs = {
        "multispectral": RasterSource(str(images / "ms.tif")),
        "panchromatic": RasterSource(str(images / "pan.tif")),
    }
    return Job("gsa", inputs, str(tmp_path / "out.tif"), device="cpu", limits=Limits(tile=8))


@pytest.fixture
def quick(job):
    """The same in one tile."""
    return replace(job, limits=Limits())


def children():
    """Process ids of the workers that this process has started."""
    return workers_of(os.getpid())


def run(runtime, job, is_cancelled=lambda: False, on_progress=lambda stage, fraction: None):
    try:
        return runtime.run(job, on_progress, is_cancelled)
    except FusionError as error:
        return error


def nothing_left(job):
    return list(Path(job.output).parent.iterdir()) == []


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_a_job_runs_and_the_next_one_finds_the_worker_warm(runtime, quick):
    job, stages = quick, []
    report = run(runtime, job, on_progress=lambda stage, fraction: stages.append((stage, fraction)))
    with rasterio.open(report["path"]) as result:
        assert result.shape == (384, 384)
    assert (report["model"], report["path"]) == ("gsa", job.output)
    assert not Path(job.part).exists()
    names = [stage for stage, _ in stages]
    assert list(dict.fromkeys(names))[1:] == [
        "Opening", "Reading the scene", "Preparing", "Fusing", "Done",
    ]  # fmt: skip
    fractions = [fraction for _, fraction in stages]
    assert fractions == sorted(fractions)
    worker = children()
    assert len(worker) == 1
    assert run(runtime, job)["model"] == "gsa"
    assert children() == worker


def test_what_the_worker_says_of_itself_is_known(runtime):
    hello = runtime.status().hello
    assert hello["missing"] == []
    assert hello["devices"][-1]["id"] == "cpu"
    assert "GTiff" in hello["drivers"]


@pytest.mark.parametrize("stage", ["Opening", "Reading the scene", "Preparing", "Fusing"])
def test_a_cancel_at_any_stage_leaves_nothing(runtime, job, quick, stage):
    seen = []
    fault = run(runtime, job, lambda: stage in seen, lambda name, _: seen.append(name))
    assert isinstance(fault, CancelledError)
    assert "Done" not in seen  # it ended before its work was done
    assert nothing_left(job)
    assert run(runtime, quick)["model"] == "gsa"


def test_errors_of_the_worker_arrive_as_what_they_are(runtime, job, tmp_path):
    bad = Job("gsa", {**job.inputs, "multispectral": RasterSource("gone.tif")}, job.output)
    assert isinstance(run(runtime, bad), RasterReadError)
    odd = Job("gsa", job.inputs, job.output, {"no_such": 1})
    fault = run(runtime, odd)
    assert isinstance(fault, InputError)
    assert "no_such" in fault.sentence
    assert nothing_left(job)


def test_a_worker_that_is_killed_at_work_leaves_nothing_and_is_replaced(runtime, job, quick):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(run(runtime, job)))
    thread.start()
    wait_until(lambda: Path(job.part).exists())
    (worker,) = children()
    os.kill(worker, signal.SIGKILL)
    thread.join(60)
    assert "was killed, most often because memory ran out" in answers[0].sentence
    assert nothing_left(job)
    assert run(runtime, quick)["model"] == "gsa"
    assert children() != [worker]


def test_close_ends_a_running_job_and_its_worker(job):
    item, answers = Runtime(sys.executable), []
    before = set(children())
    thread = threading.Thread(target=lambda: answers.append(run(item, job)))
    thread.start()
    wait_until(lambda: Path(job.part).exists())
    item.close()
    assert set(children()) == before
    assert nothing_left(job)
    thread.join(60)
    assert isinstance(answers[0], CancelledError)


def test_when_qgis_is_killed_the_worker_leaves_and_removes_what_it_began(job, tmp_path):
    """Nobody is left to clean up but the worker itself."""
    (tmp_path / "tmp").mkdir()
    code = f"""
        import os, sys
        sys.path.insert(0, {str(TESTS)!r})
        import conftest
        from rasterfuse.plugin.job import Job
        from rasterfuse.plugin.runtime.runtime import Runtime

        def on_progress(stage, fraction):
            if stage == "Fusing" and os.path.exists({job.part!r}):
                os.kill(os.getpid(), 9)

        job = Job.from_json({job.to_json()!r})
        Runtime({sys.executable!r}).run(job, on_progress, lambda: False)
        """
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=False, timeout=60, env=environment
    )
    assert ended.returncode == -signal.SIGKILL
    wait_until(lambda: not processes_below(tmp_path / "tmp"))
    assert not Path(job.part).exists()
    assert not Path(job.output).exists()


def test_a_python_without_torch_is_refused_with_what_it_lacks():
    bare = Path(sys.base_exec_prefix) / "bin" / "python3"
    known = subprocess.run([bare, "-E", "-c", "import torch"], check=False, capture_output=True)
    if known.returncode == 0:
        pytest.skip("the base Python has torch")
    status = Runtime(str(bare)).status()
    assert not status.ready
    assert status.reason.startswith(f"{bare} cannot import torch")
    assert status.hello["missing"][0] == "torch"


def test_without_a_choice_the_managed_environment_is_found(monkeypatch):
    monkeypatch.delenv("RASTERFUSE_PYTHON", raising=False)
    status = Runtime().status()
    assert status.ready
    assert Path(status.python).is_file()
