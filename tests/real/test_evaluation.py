"""The page that `make evaluate` writes."""

from __future__ import annotations

from dataclasses import replace

import boreas
import landscapes
import pytest
from rasterfuse.models.cards import load_cards


def cells_of(section, first):
    """The rows of a table whose first cell is given."""
    lines = [line.strip("| ").split(" | ") for line in section.splitlines()]
    return [line for line in lines if line[0] == first]


@pytest.fixture(scope="module")
def small():
    return replace(landscapes.LANDSCAPES[0], name="Small", clouds=0.1)


def test_a_missing_real_scene_is_left_out_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(boreas, "BOREAS", boreas.DATA / "nowhere")
    section = boreas.section(tmp_path, tmp_path)
    assert "Left out: the scene is not part of this repository" in section
    assert "RASTERFUSE_DATA" in section


@pytest.fixture(scope="module")
def page(tmp_path_factory, small):
    """The section on a small landscape, and the folder of its pictures."""
    folder = tmp_path_factory.mktemp("page")
    return landscapes.section(folder, folder / "pictures", (small,), 96), folder / "pictures"


def test_a_simulated_landscape_is_answered_by_every_method(page):
    section, _ = page
    errors = {
        pairs: {row[1]: float(row[2].rstrip(" †")) for row in cells_of(section, pairs)}
        for pairs in ("before", "before & after")
    }
    cards = [card for card in load_cards().values() if card.family == "spatiotemporal"]
    names = {card.name for card in cards}
    names |= {f"{name}, fast mode" for name in ("STARFM", "ESTARFM", "Fit-FC", "FSDAF")}
    assert set(errors["before & after"]) == names
    # One pair is too few for ESTARFM.
    assert set(errors["before"]) == names - {"ESTARFM", "ESTARFM, fast mode"}
    # Spring to autumn: any fusion is better than the image of spring.
    assert errors["before"]["STARFM"] < errors["before"]["Copy of the fine reference"]


def test_what_is_worse_than_a_trivial_answer_is_marked_and_shown(page):
    section, folder = page
    rows = cells_of(section, "before")
    trivial = ("Copy of the fine reference", "Fine plus coarse change", "Fine plus mean change")
    best = min(float(row[2]) for row in rows if row[1] in trivial)
    for row in rows:
        worse = float(row[2].rstrip(" †")) > best and row[1] not in trivial
        assert row[2].endswith("†") == worse
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) >= 8
    assert all(f"({path.parent.name}/{path.name})" in section for path in pictures)


def test_coarse_images_get_worse_step_by_step(tmp_path, small, monkeypatch):
    monkeypatch.setattr(landscapes, "NOISES", (0.0, 1.0, 4.0))
    section = landscapes.noise_section(tmp_path, (small,), 96)
    [errors] = cells_of(section, "Fine plus coarse change")
    clean, *_, worst = (float(error.rstrip(" †")) for error in errors[1:])
    assert len(errors) == 1 + 3
    assert clean < worst
    assert cells_of(section, "*Best trivial answer*")
