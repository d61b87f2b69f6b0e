"""The trust check: does the result, degraded to coarse cells, agree with the coarse image?

Agreement is necessary, not sufficient. So the same figure is given for the trivial answers: where
one of them agrees as well, the user is told.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...models.base import Tile
from ..grid import Window
from .cells import CellMeans
from .scene import Scene

_NAMES = {
    "result": "This result",
    "copy_fine": "Copy of the fine reference",
    "fine_plus_change": "Fine reference plus coarse change",
    "interpolated": "Coarse image, only interpolated",
}
_CLEARLY = 0.98  # a figure below this share of another is clearly better
_COVERAGE = 0.9  # share of a cell that must be covered to be compared


class TrustCheck:
    """Collects cell means of the result and the trivial answers while the tiles pass by."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._means: dict[str, CellMeans] = {}

    def add(self, window: Window, tile: Tile, result: Tensor) -> None:
        """Add a tile's core: inputs and result, (bands, rows, cols) each."""
        index = self._scene.cells.index(window)
        nowhere = ~torch.isfinite(result)
        for name, answer in {"result": result, **trivial_answers(tile, self._scene)}.items():
            if name not in self._means:
                self._means[name] = CellMeans(self._scene.cells, len(answer))
            # All answers are compared on the same pixels.
            self._means[name].add(answer.masked_fill(nowhere, torch.nan), index)

    def report(self) -> dict[str, Any] | None:
        """Root mean square differences to the coarse image per band, and a verdict; None when no
        cell is covered.
        """
        target = self._scene.cell_values(self._scene.main_coarse)
        means = {name: mean.means(_COVERAGE) for name, mean in self._means.items()}
        common = torch.isfinite(target)
        for mean in means.values():
            common = common & torch.isfinite(mean)
        if not common.any():
            return None
        answers = [_answer(name, mean, target, common) for name, mean in means.items()]
        spread = float(np.nanmean([float(t[c].std(correction=0)) for t, c in zip(target, common)]))
        return {
            "cells": int(common.any(dim=0).sum()),
            "answers": answers,
            "verdict": _verdict(answers, spread),
        }


def trivial_answers(tile: Tile, scene: Scene) -> dict[str, Tensor]:
    """What a user would get without any method, (bands, rows, cols) each, NaN for nodata."""
    if scene.card.family != "spatiotemporal":
        image = tile["multispectral"]
        return {"interpolated": image.masked_fill(~tile.masks["multispectral"], torch.nan)}
    pair = scene.nearest_pair
    fine = tile["fine_references"][pair].masked_fill(
        ~tile.masks["fine_references"][pair], torch.nan
    )
    change = tile["coarse_target"] - tile["coarse_references"][pair]
    known = tile.masks["coarse_target"] & tile.masks["coarse_references"][pair]
    return {
        "copy_fine": fine,
        "fine_plus_change": fine + change.masked_fill(~known, torch.nan),
    }


def _answer(name: str, mean: Tensor, target: Tensor, common: Tensor) -> dict[str, Any]:
    rmse = []
    for band in range(len(target)):
        off = (mean[band] - target[band])[common[band]].double()
        rmse.append(float(off.square().mean().sqrt()) if len(off) else math.nan)
    known = [value for value in rmse if not math.isnan(value)]
    return {
        "id": name,
        "name": _NAMES[name],
        "rmse": rmse,
        "mean": sum(known) / len(known),
    }


def _verdict(answers: list[dict[str, Any]], spread: float) -> str:
    """One sentence on the result beside the trivial answers; ``spread`` is the coarse image's."""
    mean = {answer["id"]: answer["mean"] for answer in answers}
    result = mean.pop("result")
    best = min(mean, key=mean.__getitem__)
    if result < _CLEARLY * mean[best]:
        return (
            "On the coarse grid the result agrees with the coarse image better than every simple "
            f"answer ({result:.4g} against {mean[best]:.4g} for “{_NAMES[best]}”)."
        )
    if "interpolated" in mean:
        return (
            "Degraded to the coarse pixels, the result differs from the coarse image by "
            f"{result:.4g}, {result / max(spread, 1e-30):.0%} of its spread (only interpolated: "
            f"{mean['interpolated']:.4g}). The less, the truer the radiometry."
        )
    if result >= _CLEARLY * mean["copy_fine"]:
        return (
            f"On the coarse grid a plain copy of the fine reference agrees with the coarse image "
            f"as well as the result or better ({mean['copy_fine']:.4g} against {result:.4g}). "
            "Compare both before you use the result."
        )
    return (
        "On the coarse grid the result agrees with the coarse image better than a copy of the fine "
        f"reference ({result:.4g} against {mean['copy_fine']:.4g}). “{_NAMES[best]}” agrees as "
        f"well or better ({mean[best]:.4g}), since it follows the coarse image by construction. "
        "Compare both where small fields matter."
    )
