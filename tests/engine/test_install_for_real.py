"""The managed Python from nothing to a fused raster, with the real packages: some minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterfuse.plugin.job import Job
from rasterfuse.plugin.runtime import find
from rasterfuse.plugin.runtime.install import folder, steps
from rasterfuse.plugin.runtime.install.machine import this_machine
from rasterfuse.plugin.runtime.install.plan import builds, standard
from rasterfuse.plugin.runtime.runtime import Runtime

ROOT = Path(__file__).resolve().parents[2]
BASE = "/usr/bin/python3"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_from_the_systems_python_to_a_fused_raster(tmp_path, monkeypatch):
    root = tmp_path / "Länder und Städte" / "runtime"
    monkeypatch.setenv(folder.VARIABLE, str(root))
    monkeypatch.delenv(find.VARIABLE, raising=False)
    assert find.managed() == ""
    begun, fractions = [], []
    listener = steps.Listener(begun.append, fractions.append)
    cpu = builds(this_machine())[-1]

    steps.install(standard(cpu, base=BASE), folder.Place(root), listener)

    assert begun == list(steps.STEPS)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    python = find.managed()
    assert python.startswith(str(root))
    assert find.candidates()[0] == python
    assert_nothing_else_changed(python)
    assert_fuses(python, tmp_path)


def assert_nothing_else_changed(python):
    """The environment has what the lock says, on its own, and no installer is left behind."""
    code = (
        "import importlib.util, json, sys, torch, rasterio, numba\n"
        "names = 'openvino', 'openvino_telemetry'\n"
        "there = [importlib.util.find_spec(name) is not None for name in names]\n"
        "print(json.dumps([sys.path, rasterio.__file__, there]))"
    )
    words = [python, "-I", "-c", code]
    paths, module, there = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    assert there == [True, False]
    assert module.startswith(str(Path(python).parents[1]))
    assert [path for path in paths if "/.local/" in path or path.startswith(sys.prefix)] == []
    left = {path.name for path in Path(python).parents[2].iterdir()}
    assert left >= {"current.json", "install.log"}
    assert left & {"cache", "tools", "tmp"} == set()


def assert_fuses(python, tmp_path):
    """A scene that the new Python simulates is fused by it as the runtime does it."""
    scene = tmp_path / "scène"
    simulate = [python, ROOT / "plugin" / "engine" / "simulate.py", scene, "--size", "120"]
    subprocess.run([str(word) for word in simulate], check=True, stdout=subprocess.DEVNULL)
    job = Job.from_json((scene / "job.json").read_text(encoding="utf-8"))
    os.chdir(scene)
    runtime = Runtime()
    try:
        report = runtime.run(job, lambda stage, fraction: None, lambda: False)
    finally:
        runtime.close()
        os.chdir(ROOT)
    truth, copied = (next(scene.glob(f"{name}_*.tif")) for name in ("truth", "fine"))
    with rasterio.open(report["path"]) as fused, rasterio.open(truth) as known:
        assert (fused.crs.to_epsg(), fused.shape) == (32633, known.shape)
    assert error(report["path"], truth) < error(copied, truth)


def error(path, truth):
    with rasterio.open(path) as one, rasterio.open(truth) as other:
        return float(np.abs(one.read(masked=True) - other.read(masked=True).astype("f8")).mean())
