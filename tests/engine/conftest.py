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
