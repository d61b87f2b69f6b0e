"""Memory does not grow with the raster."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from rasterfuse.plugin.job import Limits
from rasters import WORKER

pytestmark = pytest.mark.slow

LIMIT_MB = 128  # for tiles and buffers; libraries and GDAL's cache come on top


def peak_mb(rasters, job):
    """Most memory that a process held which ran the job."""
    path = rasters.folder / "job.json"
    path.write_text(json.dumps(job.to_dict()))
    command = [sys.executable, "-E", str(WORKER), str(path)]
    with open(rasters.folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (rasters.folder / "log").read_text()
    return usage.ru_maxrss / 1024


def scene(rasters, model, side, ratio, cell_size=None):
    """Four bands of ``side`` x ``side`` pixels, int16, written strip by strip of one pattern."""
    rng = np.random.default_rng(1)
    strip = rng.integers(0, 9000, (4, 100, side), dtype="int16")
    fine = np.tile(strip, (1, side // 100, 1))
    coarse = np.ascontiguousarray(fine[:, ::ratio, ::ratio])
    grid = rasters.grid(30.0 * ratio)
    limits = Limits(memory_mb=LIMIT_MB)
    if model == "starfm":
        path = {"path": rasters.write("c", coarse, grid, dtype="int16"), "cell_size": cell_size}
        pair = path, rasters.write("f", fine, dtype="int16")
        return rasters.spatiotemporal(
            path, pair, model=model, parameters={"window": 5}, limits=limits
        )
    path = rasters.write("ms", coarse, grid, dtype="int16")
    pan = rasters.write("pan", fine[:1], dtype="int16")
    return rasters.pansharpening(path, pan, model=model, limits=limits)


@pytest.mark.parametrize(("model", "ratio"), [("starfm", 1), ("gsa", 2)], ids=str)
def test_four_times_the_pixels_take_hardly_more_memory(rasters, model, ratio):
    cell_size = 60.0 if ratio == 1 else None
    small = peak_mb(rasters, scene(rasters, model, 700, ratio, cell_size))
    large = peak_mb(rasters, scene(rasters, model, 1800, ratio, cell_size))
    # GDAL's cache fills, 32 MB, and there are more cells. Unbounded, it were 250 MB and more.
    assert large - small < 150, f"{small:.0f} MB for 700 x 700, {large:.0f} MB for 1800 x 1800"
