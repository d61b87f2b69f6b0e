"""Real scenes: not part of this repository, so their tests are left out where they are missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "evaluate"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the real scenes."""
    from tasks import DATA

    if not DATA.is_dir():
        pytest.skip(f"The real scenes are not in {DATA}; RASTERFUSE_DATA says where else.")
    return DATA
