"""Fixtures for the tests of the engine."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pretend_gpu
import pytest
import torch
from rasterfuse.plugin.engine import pipeline
from rasters import Rasters


@pytest.fixture
def rasters(tmp_path):
    return Rasters(tmp_path)


@pytest.fixture
def rng():
    return np.random.default_rng(20060801)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache of RasterFuse of this test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("RASTERFUSE_CACHE", str(folder))
    return folder


@pytest.fixture
def gpu(monkeypatch):
    """Jobs for ``cuda`` run on a pretended GPU; Triton, which needs a real one, does not."""
    monkeypatch.setattr(torch, "tensor", pretend_gpu.tensor)
    monkeypatch.setattr(pretend_gpu, "memory", pretend_gpu.Memory())
    usual = pipeline.choose_device
    monkeypatch.setattr(
        pipeline,
        "choose_device",
        lambda name: pretend_gpu.DEVICE if name == "cuda" else usual(name),
    )
    return pretend_gpu.PretendGpu()


@pytest.fixture
def mounted(tmp_path):
    """Mount a small file system; root only. It is unmounted whatever happens."""
    places = []

    def mount(*options):
        place = tmp_path / f"mount{len(places)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.call(command):
            pytest.skip("Only root can mount a small disk, and not in every container.")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", "-l", str(place)], check=True)
