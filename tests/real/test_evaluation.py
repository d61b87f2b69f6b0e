"""The page that `make evaluate` writes."""

from __future__ import annotations

from dataclasses import replace

import evaluate
from rasterfuse.models.cards import load_cards


def test_a_missing_real_scene_is_left_out_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "BOREAS", tmp_path / "nowhere")
    section = evaluate.boreas(tmp_path)
    assert "Left out: the scene is not part of this repository" in section
    assert "RASTERFUSE_DATA" in section


def test_a_simulated_landscape_is_answered_by_every_method(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "LANDSCAPE_SIZE", 96)
    landscape = replace(evaluate.LANDSCAPES[0], name="Small", clouds=0.1)
    section = evaluate.simulated(tmp_path, (landscape,))
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "| before" in line]
    answers = {(pairs, name): float(error) for pairs, name, error, *_ in rows}
    cards = [card for card in load_cards().values() if card.family == "spatiotemporal"]
    names = {card.name for card in cards}
    names |= {f"{name}, fast mode" for name in ("STARFM", "ESTARFM", "Fit-FC", "FSDAF")}
    assert {name for pairs, name in answers if pairs == "before & after"} == names
    # One pair is too few for ESTARFM.
    without = names - {"ESTARFM", "ESTARFM, fast mode"}
    assert {name for pairs, name in answers if pairs == "before"} == without
    # Spring to autumn: any fusion is better than the image of spring.
    assert answers["before", "STARFM"] < answers["before", "Copy of the fine reference"]
