"""A fixture: an empty folder of models."""

from __future__ import annotations

import pytest


@pytest.fixture()
def models_folder(tmp_path, monkeypatch):
    """The user's folder of models, which does not exist yet."""
    monkeypatch.setenv("RASTERFUSE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"
