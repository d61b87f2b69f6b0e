"""A fixture: an empty folder of models, and a method that can be trained."""

from __future__ import annotations

import json

import pytest
from model_files import METHOD
from rasterfuse.models import cards


@pytest.fixture()
def models_folder(tmp_path, monkeypatch):
    """An empty folder of models, and a method that takes weights."""
    methods = tmp_path / "methods"
    for path in cards.FOLDER.glob("*/*.json"):
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["id"] == METHOD:
            raw["trainable"] = True
        (methods / path.parent.name).mkdir(parents=True, exist_ok=True)
        (methods / path.parent.name / path.name).write_text(json.dumps(raw), encoding="utf-8")
    monkeypatch.setattr(cards, "FOLDER", methods)
    monkeypatch.setenv("RASTERFUSE_MODELS", str(tmp_path / "models"))
    cards._cards.cache_clear()
    yield tmp_path / "models"
    cards._cards.cache_clear()
