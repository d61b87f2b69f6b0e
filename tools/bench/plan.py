"""What is measured, how large and how often."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from measure import WORKER

sys.path.append(str(WORKER.parent))
import worker  # noqa: F401  # makes the checkout importable as the package rasterfuse
from rasterfuse.models.cards import Card, load_cards

_WINDOWED = ("starfm", "estarfm", "fit_fc")  # also measured at the window of the literature
_WINDOW = 51


@dataclass(frozen=True)
class Plan:
    """Sizes in fine pixels; ``crop`` is for the eager fallback, which may be 50 times slower."""

    size: int = 1200
    bands: int = 6
    crop: int = 400
    large: int = 10000
    large_bands: int = 4
    full: int = 7800
    sizes: tuple[int, ...] = (300, 600, 1200, 2400)
    windows: tuple[int, ...] = (15, 31, 51, 101)
    repeats: int = 3
    warm_up: bool = True
    kernel: int = 2048
    quick: bool = False

    @property
    def threads(self) -> tuple[int, ...]:
        """1, 2, 4 … and all cores."""
        cores = os.cpu_count() or 1
        return tuple(sorted({2**k for k in range(cores.bit_length())} | {cores}))


FULL = Plan()
QUICK = Plan(
    size=128, bands=2, crop=64, large=320, large_bands=2, full=320, sizes=(64, 128),
    windows=(5, 9), repeats=1, warm_up=False, kernel=128, quick=True,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A method with some settings."""

    name: str
    card: Card
    parameters: dict[str, Any]

    def job(self, inputs: dict[str, Any], device: str = "cpu", **more: Any) -> dict[str, Any]:
        """The job without its output; takes as many pairs as the method needs."""
        if "references" in inputs:
            pairs = self.card.input("references").min_pairs
            inputs = {**inputs, "references": inputs["references"][:pairs]}
        parameters = {**self.parameters, **more.pop("parameters", {})}
        return {
            "model": self.card.id, "inputs": inputs, "parameters": parameters, "device": device,
            **more,
        }  # fmt: skip


def cases(family: str) -> list[Case]:
    """Every method at its defaults, the windowed ones at the usual window and in fast mode too."""
    found = []
    for card in load_cards().values():
        if card.family != family:
            continue
        found.append(Case(card.name, card, {}))
        default = card.check_parameters({}).get("window")
        if card.id in _WINDOWED and default != _WINDOW:
            found.append(Case(f"{card.name}, window {_WINDOW}", card, {"window": _WINDOW}))
        if "fast_mode" in card.check_parameters({}):
            found.append(Case(f"{card.name}, fast mode", card, {"fast_mode": True}))
    return found


def starfm() -> Case:
    """STARFM at its defaults, by which scaling is measured."""
    return next(case for case in cases("spatiotemporal") if case.card.id == "starfm")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
