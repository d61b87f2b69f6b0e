"""Tiles are never taken over from another job, and the cache that holds them stays small."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterfuse.plugin.engine import pipeline
from rasterfuse.plugin.engine.resume import shelf, unfinished
from stopped import (
    assert_begun_anew,
    assert_resumed,
    job_of_many_tiles,
    kept,
    stop,
    stored,
    undisturbed,
)


@pytest.fixture
def job(rasters, rng, monkeypatch):
    """A job that keeps tiles from the first one on."""
    monkeypatch.setattr(unfinished, "WORTH_S", 0.0)
    return job_of_many_tiles(rasters, rng)


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

    monkeypatch.setattr("rasterfuse.plugin.engine.resume.stamp.os.stat", WithoutChange)
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
