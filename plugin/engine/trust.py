"""The trust check: does the result, degraded to coarse cells, agree with the coarse image?

Agreement is necessary, not sufficient. So the same figure is given for the trivial answers: where
one of them agrees as well, the user is told.
"""

from __future__ import annotations

import math
from typing import Any

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
        return {
            "cells": int(common.any(dim=0).sum()),
            "answers": answers,
            "verdict": _verdict(answers),
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


def _verdict(answers: list[dict[str, Any]]) -> str:
    result = answers[0]
    best = min(answers[1:], key=lambda answer: answer["mean"])
    figures = f"{result['mean']:.4g} against {best['mean']:.4g}"
    if result["mean"] < 0.98 * best["mean"]:
        return (
            "On the coarse grid the result agrees with the coarse image better than every simple "
            f"answer ({figures} for “{best['name']}”)."
        )
    return (
        f"On the coarse grid the simple answer “{best['name']}” agrees with the coarse image as "
        f"well as the result or better ({figures}). Compare both before you trust the detail."
    )
