"""A job that was stopped goes on from its finished tiles; what is damaged is fused again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rasterfuse.models.errors import InputError, WorkerError
from rasterfuse.plugin.engine import pipeline
from rasterfuse.plugin.engine.resume import unfinished
from rasterfuse.plugin.job import Limits
from rasterfuse.plugin.runtime.leftovers import Leftovers
from rasterfuse.plugin.runtime.runtime import Runtime
from rasters import WORKER
from stopped import (
    TILES,
    assert_resumed,
    essence,
    job_of_many_tiles,
    kept,
    stop,
    stored,
    tiles_in,
    undisturbed,
)
from test_runtime_and_worker import children

TESTS = Path(__file__).resolve().parents[1]
SOON = 60


@pytest.fixture
def job(rasters, rng, monkeypatch):
    """A job that keeps tiles from the first one on."""
    monkeypatch.setattr(unfinished, "WORTH_S", 0.0)
    return job_of_many_tiles(rasters, rng)


# --- killed ---


def worker(folder, job):
    """Start the real worker with a job; it keeps tiles from the first one on."""
    script = folder / "worker.py"
    script.write_text(
        textwrap.dedent(f"""
        import runpy, sys
        sys.path.insert(0, {str(TESTS)!r})
        import conftest
        sys.path.pop(0)
        from rasterfuse.plugin.engine.resume import unfinished
        unfinished.WORTH_S = 0.0
        sys.argv[0] = {str(WORKER)!r}
        runpy.run_path({str(WORKER)!r}, run_name="__main__")
        """)
    )
    path = folder / "job.json"
    path.write_text(json.dumps(job.to_dict()))
    return subprocess.Popen(
        [sys.executable, "-E", str(script), str(path)], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for(condition):
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def report_of(process):
    answer, _ = process.communicate(timeout=SOON)
    assert process.returncode == 0
    return json.loads(answer)


@pytest.mark.parametrize(
    "done",
    [
        pytest.param(1, marks=pytest.mark.slow),
        TILES // 2,
        pytest.param(TILES - 4, marks=pytest.mark.slow),
    ],
)
def test_a_job_that_was_killed_goes_on_where_it_was(rasters, job, cache, tmp_path, done):
    job = replace(job, parameters={"window": 25})
    expected = undisturbed(rasters, job)
    before = sorted(os.listdir(tmp_path))
    leftovers = Leftovers(job)
    process = worker(tmp_path, job)
    wait_for(lambda: tiles_in(cache) >= done)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = tiles_in(cache)
    assert done <= finished
    assert leftovers.remove() == []
    assert sorted({*os.listdir(tmp_path)} - {"worker.py", "job.json"}) == before
    report = report_of(worker(tmp_path, job))
    assert_resumed(rasters, job, report, expected)
    assert report["resumed"] == finished
    assert kept(cache) == []


@pytest.mark.slow
def test_the_plugin_resumes_a_job_whose_worker_was_killed(rasters, job, cache):
    """With the true threshold, through the client, which cleans the worker's environment."""
    job = replace(job, parameters={"window": 71})
    expected = undisturbed(rasters, job)
    before = sorted(os.listdir(rasters.folder))
    runtime = Runtime(sys.executable)
    try:
        killed = []

        def kill(stage, fraction):
            if tiles_in(cache) and not killed:
                killed.extend(children())
                os.kill(killed[0], signal.SIGKILL)

        with pytest.raises(WorkerError, match="was killed"):
            runtime.run(job, kill, lambda: False)
        assert sorted(os.listdir(rasters.folder)) == before
        report = runtime.run(job, lambda stage, fraction: None, lambda: False)
    finally:
        runtime.close()
    assert_resumed(rasters, job, report, expected)


# --- cancelled, or failed ---


def test_a_job_that_was_cancelled_goes_on_where_it_was(rasters, job, cache):
    expected = undisturbed(rasters, job)
    stop(job, 0.3)
    stop(job, 0.7)  # the second run resumes the first one and goes farther
    assert rasters.leftovers() == []
    report = pipeline.run(job)
    assert_resumed(rasters, job, report, expected)
    assert report["resumed"] >= 0.7 * TILES
    assert report["tiles"] == TILES
    assert kept(cache) == []


def test_the_output_may_have_another_name_the_second_time(rasters, job):
    expected = undisturbed(rasters, job)
    stop(job)
    other = replace(job, output=str(rasters.folder / "other.tif"))
    assert_resumed(rasters, other, pipeline.run(other), expected)


@pytest.mark.parametrize("side", [16, 40, 64, 192])
def test_tiles_of_another_size_take_over_what_covers_them(rasters, job, side):
    """A memory limit may have changed, or the memory that is free."""
    other = replace(job, limits=Limits(tile=side))
    expected = undisturbed(rasters, other)
    stop(job)
    report = pipeline.run(other)
    # Sums over a tile's window begin elsewhere: some last digits, rounded away in whole numbers.
    np.testing.assert_allclose(stored(job.output), expected[0], atol=1)
    assert (report["resumed"] > 0) == (side <= 64)
    assert report["nodata_share"] == expected[1]["nodata_share"]
    answers = [run["trust"]["answers"] for run in (report, expected[1])]
    for one, other_one in zip(*answers):
        assert one["rmse"] == pytest.approx(other_one["rmse"], rel=1e-3)


def test_a_job_that_fails_on_its_input_keeps_nothing(rasters, job, cache):
    empty = np.full((2, 192, 192), 255)
    empty[:, :10, :10] = 100
    rasters.write("f", empty, dtype="uint8", nodata=255)
    gap = np.full((2, 24, 24), np.nan)
    gap[:, 20:, 20:] = 100
    rasters.write("t", gap, rasters.grid(240.0))
    with pytest.raises(InputError, match="No pixel is valid"):
        pipeline.run(job)
    assert kept(cache) == []


def test_a_short_job_keeps_nothing(job, cache, monkeypatch):
    monkeypatch.setattr(unfinished, "WORTH_S", 1000.0)
    stop(job)
    assert kept(cache) == []


def test_who_does_not_want_it_gets_none(rasters, job, cache):
    never = replace(job, limits=replace(job.limits, resume=False))
    stop(never)
    assert kept(cache) == []
    stop(job)
    assert pipeline.run(never)["resumed"] == 0


def test_two_at_once_do_not_share_a_folder(rasters, job, cache, tmp_path):
    job = replace(job, parameters={"window": 25})
    expected = undisturbed(rasters, job)
    process = worker(tmp_path, replace(job, output=str(tmp_path / "first.tif")))
    wait_for(lambda: tiles_in(cache) >= 1)
    process.send_signal(signal.SIGSTOP)  # else it might end before the second one begins
    try:
        report = pipeline.run(job)
    finally:
        process.send_signal(signal.SIGCONT)
    np.testing.assert_array_equal(stored(job.output), expected[0])
    assert report["resumed"] == 0
    assert "in use by another process" in report["notes"][-1]
    assert essence(report_of(process)) == essence(expected[1])
    np.testing.assert_array_equal(stored(tmp_path / "first.tif"), expected[0])


# --- what lies in the cache is damaged ---


def cut_off(path, share):
    with open(path, "r+b") as file:
        file.truncate(int(os.path.getsize(path) * share))


def spoil(path, share):
    with open(path, "r+b") as file:
        file.seek(int(os.path.getsize(path) * share))
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("name", ["journal", "tiles"])
@pytest.mark.parametrize(
    ("damage", "share"), [(cut_off, 0.01), (cut_off, 0.99), (spoil, 0.01), (spoil, 0.5)]
)
def test_what_is_damaged_is_fused_again(rasters, job, cache, damage, name, share):
    expected = undisturbed(rasters, job)
    stop(job, 0.6)
    whole = tiles_in(cache)
    damage(kept(cache)[0] / name, share)
    stop(job, 0.8)  # writes behind the damage
    report = pipeline.run(job)
    assert_resumed(rasters, job, report, expected)
    assert report["resumed"] >= whole  # the second run has fused again what was lost


@pytest.mark.parametrize("name", ["journal", "tiles", "lock"])
def test_a_file_that_is_missing_is_made_anew(rasters, job, cache, name):
    expected = undisturbed(rasters, job)
    stop(job)
    (kept(cache)[0] / name).unlink()
    report = pipeline.run(job)
    np.testing.assert_array_equal(stored(job.output), expected[0])
    assert essence(report) == essence(expected[1])
    assert kept(cache) == []
