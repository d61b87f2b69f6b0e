"""Fixtures for the tests of the engine."""

from __future__ import annotations

import numpy as np
import pytest
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
