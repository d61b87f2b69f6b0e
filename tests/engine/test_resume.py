"""A job that was stopped goes on from its finished tiles, and never from those of another one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterfuse.models.errors import CancelledError, InputError, WorkerError
from rasterfuse.plugin.engine import pipeline, shelf, unfinished
from rasterfuse.plugin.engine.worker import to_line
from rasterfuse.plugin.job import Limits
from rasterfuse.plugin.runtime.leftovers import Leftovers
from rasterfuse.plugin.runtime.runtime import Runtime
from rasters import WORKER
from test_runtime_and_worker import children

TESTS = Path(__file__).resolve().parents[1]
TILES = 36  # of 32 x 32 pixels
SOON = 60


@pytest.fixture(autouse=True)
def every_second_matters(monkeypatch):
    """Tiles are kept from the first one on."""
    monkeypatch.setattr(unfinished, "WORTH_S", 0.0)


@pytest.fixture
def job(rasters, rng):
    """A job of many tiles whose values, gaps and clipping show every mistake."""
    fields = rng.normal(size=(2, 24, 24)).repeat(8, axis=1).repeat(8, axis=2)
    fine = 100 + 40 * fields + rng.normal(size=fields.shape)
    coarse = fine.reshape(2, 24, 8, 24, 8).mean(axis=(2, 4))
    fine[:, 30:50, 60:90] = 255
    grid = rasters.grid(240.0)
    pair = (
        rasters.write("c", coarse, grid),
        rasters.write("f", fine.clip(0, 255), dtype="uint8", nodata=255),
    )
    return rasters.spatiotemporal(
        rasters.write("t", 1.7 * coarse, grid), pair, model="starfm", harmonise="never",
        parameters={"window": 5}, backend="torch", tile=32,
    )  # fmt: skip


def kept(cache):
    """The folders of unfinished jobs."""
    root = cache / "unfinished"
    return sorted(root.iterdir()) if root.exists() else []


def tiles_in(cache):
    """Lines in the only journal there is; 0 without one."""
    journals = [folder / "journal" for folder in kept(cache)]
    return journals[0].read_bytes().count(b"\n") if journals and journals[0].exists() else 0


def stop(job, share=0.5):
    """Cancel a job when so much of the fusion is done."""
    reached = [0.0]

    def on_progress(stage, fraction):
        reached[0] = fraction if stage == "Fusing" else 0.0

    with pytest.raises(CancelledError):
        pipeline.run(job, on_progress, lambda: reached[0] >= 0.12 + 0.85 * share)


def undisturbed(rasters, job):
    """Stored values and report of a run that knows of no other."""
    alone = replace(job, output=str(rasters.folder / "alone.tif"))
    report = pipeline.run(replace(alone, limits=replace(job.limits, resume=False)))
    return stored(alone.output), report


def stored(path):
    with rasterio.open(path) as file:
        return file.read()


def essence(report):
    """A report without what two runs need not share, the note on the resume included."""
    own = ("seconds", "cpu_seconds", "peak_memory_mb", "path", "job", "resumed")
    rest = {key: value for key, value in report.items() if key not in own}
    rest["notes"] = [note for note in report["notes"] if not note.startswith("Resumed")]
    return json.loads(to_line(rest))  # NaN is null on the way from the worker


def assert_resumed(rasters, job, report, expected):
    """The report of a job and its file are those of an undisturbed run; some tiles are old."""
    values, alone = expected
    np.testing.assert_array_equal(stored(job.output), values)
    assert essence(report) == essence(alone)
    assert 0 < report["resumed"] <= report["tiles"]
    note = f"Resumed: {report['resumed']} of {report['tiles']} tiles were taken over"
    assert any(sentence.startswith(note) for sentence in report["notes"])


def assert_begun_anew(rasters, job, report, expected):
    np.testing.assert_array_equal(stored(job.output), expected[0])
    assert report["resumed"] == 0
    assert not any("Resumed" in note for note in report["notes"])


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
        from rasterfuse.plugin.engine import unfinished
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


# --- another job ---


def test_another_content_of_the_same_size_and_time_is_another_job(rasters, job):
    stop(job)
    path = job.references[0].fine.path
    times = os.stat(path)
    with rasterio.open(path, "r+") as file:
        values = file.read()
        values[0, 3, 3] += 1
        file.write(values)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert os.stat(path).st_size == times.st_size
    assert_begun_anew(rasters, job, pipeline.run(job), undisturbed(rasters, job))


def test_content_counts_where_a_system_keeps_no_time_of_change(rasters, job, monkeypatch):
    """As on Windows: there the content alone tells."""
    real = os.stat

    class WithoutChange:
        st_ctime_ns = 0

        def __init__(self, *place, **options):
            self._real = real(*place, **options)

        def __getattr__(self, name):
            return getattr(self._real, name)

    monkeypatch.setattr("rasterfuse.plugin.engine.stamp.os.stat", WithoutChange)
    test_another_content_of_the_same_size_and_time_is_another_job(rasters, job)


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"window": 7}},
        {"coregister": "auto"},
        {"extent": (500_000.0, 5_295_000.0, 505_000.0, 5_300_000.0)},
        {"model": "fine_plus_change", "parameters": {}},
        {"backend": "auto"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_job_takes_nothing_and_takes_nothing_away(rasters, job, cache, change):
    expected = undisturbed(rasters, job)
    stop(job)
    other = replace(job, **change)
    assert_begun_anew(rasters, other, pipeline.run(other), undisturbed(rasters, other))
    assert_resumed(rasters, job, pipeline.run(job), expected)


@pytest.mark.parametrize("nested", [False, True])
def test_an_image_inside_a_vrt_counts(rasters, job, nested):
    fine = job.references[0].fine.path
    xml = """<VRTDataset rasterXSize="192" rasterYSize="192">
      <SRS>EPSG:32633</SRS><GeoTransform>500000, 30, 0, 5300000, 0, -30</GeoTransform>
      {bands}</VRTDataset>"""
    band = """<VRTRasterBand dataType="Byte" band="{n}"><NoDataValue>255</NoDataValue>
      <SimpleSource><SourceFilename relativeToVRT="0">{path}</SourceFilename>
      <SourceBand>{n}</SourceBand></SimpleSource></VRTRasterBand>"""
    for name in ("inner.vrt", "outer.vrt"):
        path = rasters.folder / name
        path.write_text(xml.format(bands="".join(band.format(n=n, path=fine) for n in (1, 2))))
        fine = str(path) if nested else fine
    pair = replace(job.references[0], fine=replace(job.references[0].fine, path=str(path)))
    job = replace(job, inputs={**job.inputs, "references": (pair,)})
    stop(job)
    with rasterio.open(rasters.folder / "f.tif", "r+") as file:
        values = file.read()
        values[0, 3, 3] += 1
        file.write(values)
    assert_begun_anew(rasters, job, pipeline.run(job), undisturbed(rasters, job))


def test_an_image_that_is_no_file_is_fused_without(rasters, job, cache):
    path = Path(job.references[0].fine.path)
    shutil.make_archive(str(rasters.folder / "packed"), "zip", path.parent, path.name)
    packed = f"/vsizip/{rasters.folder / 'packed.zip'}/{path.name}"
    pair = replace(job.references[0], fine=replace(job.references[0].fine, path=packed))
    job = replace(job, inputs={**job.inputs, "references": (pair,)})
    expected = undisturbed(rasters, job)
    stop(job)
    assert kept(cache) == []
    assert_begun_anew(rasters, job, pipeline.run(job), expected)


def test_two_at_once_do_not_share_a_folder(rasters, job, cache, tmp_path):
    job = replace(job, parameters={"window": 25})
    expected = undisturbed(rasters, job)
    process = worker(tmp_path, replace(job, output=str(tmp_path / "first.tif")))
    wait_for(lambda: tiles_in(cache) >= 1)
    report = pipeline.run(job)
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


# --- the cache itself ---


@pytest.fixture
def small_disk(cache):
    """The cache on a disk of 200 kB; root only."""
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(cache)]
    if os.geteuid() != 0 or subprocess.call(command):
        pytest.skip("Only root can mount a small disk, and not in every container.")
    yield cache
    subprocess.run(["umount", "-l", str(cache)], check=True)


@pytest.mark.parametrize("spare", [0, shelf.SPARE_BYTES], ids=["full", "nearly full"])
def test_a_full_disk_of_the_cache_does_not_end_the_job(
    rasters, job, small_disk, monkeypatch, spare
):
    monkeypatch.setattr(shelf, "SPARE_BYTES", spare)
    monkeypatch.setattr(shelf, "room_bytes", lambda folder: 10**9)
    expected = undisturbed(rasters, job)
    report = pipeline.run(job)
    np.testing.assert_array_equal(stored(job.output), expected[0])
    assert "Finished tiles could not be kept" in report["notes"][-1]
    assert "had this job been stopped" in report["notes"][-1]


def test_a_cache_that_cannot_be_written_does_not_end_the_job(rasters, job, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RASTERFUSE_CACHE", str(tmp_path / "file"))
    expected = undisturbed(rasters, job)
    report = pipeline.run(job)
    np.testing.assert_array_equal(stored(job.output), expected[0])
    assert "Finished tiles could not be kept" in report["notes"][-1]


def test_what_nobody_came_back_for_goes(rasters, job, cache):
    stop(job)
    (old,) = kept(cache)
    for path in old.iterdir():
        os.utime(path, (time.time() - 8 * 24 * 3600,) * 2)
    other = replace(job, parameters={"window": 7})
    stop(other)
    (left,) = kept(cache)
    assert left != old


def test_the_cache_does_not_outgrow_its_bound(rasters, job, cache, monkeypatch):
    jobs = [replace(job, parameters={"window": window}) for window in (5, 7, 9, 11)]
    stop(jobs[0], 0.9)
    size = sum(path.stat().st_size for path in kept(cache)[0].iterdir())
    monkeypatch.setattr(shelf, "MOST_BYTES", 2 * size)
    for one in jobs[1:]:
        stop(one, 0.9)
        total = sum(path.stat().st_size for folder in kept(cache) for path in folder.iterdir())
        assert total <= 2 * size
    assert pipeline.run(jobs[-1])["resumed"] > 0
    monkeypatch.setattr(shelf, "MOST_BYTES", size // 2)
    report = pipeline.run(jobs[0])
    assert "too little room" in report["notes"][-1]
