"""A fixture: fine and coarse images of four days."""

from __future__ import annotations

import pytest
from dated_images import write_dated


@pytest.fixture(scope="session")
def dated(tmp_path_factory):
    """Four days of fine and coarse images."""
    return write_dated(tmp_path_factory.mktemp("dated"))
