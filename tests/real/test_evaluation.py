"""The page that `make evaluate` writes."""

from __future__ import annotations

from dataclasses import replace

import evaluate
import pytest
from rasterfuse.models.cards import load_cards


def test_a_missing_real_scene_is_left_out_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "BOREAS", tmp_path / "nowhere")
    section = evaluate.boreas(tmp_path)
    assert "Left out: the scene is not part of this repository" in section
    assert "RASTERFUSE_DATA" in section


@pytest.mark.slow
def test_a_simulated_landscape_is_answered_by_every_method(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "LANDSCAPE_SIZE", 96)
    landscape = replace(evaluate.LANDSCAPES[0], name="Small", clouds=0.1)
    section = evaluate.simulated(tmp_path, (landscape,))
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "| before" in line]
    answers = {(pairs, name): float(error) for pairs, name, error, *_ in rows}
    cards = [card for card in load_cards().values() if card.family == "spatiotemporal"]
    assert {name for pairs, name in answers if pairs != "before"} == {card.name for card in cards}
    assert ("before", "ESTARFM") not in answers
    # Spring to autumn: any fusion is better than the image of spring.
    assert answers["before", "STARFM"] < answers["before", "Copy of the fine reference"]
