"""Jobs that are stopped, and whether the next run takes over what they had finished."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterfuse.models.errors import CancelledError
from rasterfuse.plugin.engine import pipeline
from rasterfuse.plugin.engine.worker import to_line

TILES = 36  # of 32 x 32 pixels


def job_of_many_tiles(rasters, rng):
    """A job of 36 tiles whose values, gaps and clipping show every mistake."""
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
