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
from .alignment import target_view
from .cells import CellMeans
from .observation import CellViews
from .scene import Scene

_NAMES = {
    "result": "This result",
    "copy_fine": "Copy of the fine reference",
    "fine_plus_change": "Fine reference plus coarse change",
    "fine_plus_mean_change": "Fine reference plus mean coarse change",
    "interpolated": "Coarse image, only interpolated",
}
_BY_CONSTRUCTION = {"fine_plus_change": ", since it follows the coarse image by construction"}
_CLEARLY = 0.98  # a figure below this share of another is clearly better
_COVERAGE = 0.9  # share of a cell that must be covered to be compared


class TrustCheck:
    """Collects what the coarse cells see of the result and of the trivial answers, tile by tile."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._means: dict[str, CellMeans] = {}
        self._views: CellViews | None = None
        self._names: list[str] = []
        # Of cells that are several coarse pixels taken together the PSF is not a Gaussian.
        if scene.cells.step == 1 and (view := target_view(scene.sights)) is not None:
            self._views = CellViews(scene.cell_centres(), view)

    def add(self, window: Window, tile: Tile, result: Tensor) -> None:
        """Add a tile's core: inputs and result, (bands, rows, cols) each."""
        answers = {"result": result, **trivial_answers(tile, self._scene)}
        self._names = list(answers)
        known = torch.ones_like(result, dtype=torch.bool)
        for answer in answers.values():
            known &= torch.isfinite(answer)  # all answers are compared on the same pixels
        if self._views is not None:
            self._views.add(list(answers.values()), known, window.row, window.col)
            return
        index = self._scene.cells.index(window)
        for name, answer in answers.items():
            if name not in self._means:
                self._means[name] = CellMeans(self._scene.cells, len(answer))
            self._means[name].add_at(answer.masked_fill(~known, torch.nan), index)

    def report(self) -> dict[str, Any] | None:
        """Root mean square differences to the coarse image per band, and a verdict; None when no
        cell is covered.
        """
        target = self._scene.cell_values(self._scene.main_coarse).flatten(1)
        seen = self._seen()
        if "copy_fine" in seen:
            seen["fine_plus_mean_change"] = seen["copy_fine"] + mean_change(self._scene)
        common = torch.isfinite(target)
        for image in seen.values():
            common = common & torch.isfinite(image)
        if not common.any():
            return None
        answers = [_answer(name, image, target, common) for name, image in seen.items()]
        spread = float(np.nanmean([float(t[c].std(correction=0)) for t, c in zip(target, common)]))
        return {
            "cells": int(common.any(dim=0).sum()),
            "seen_through": "cell means" if self._views is None else "observation model",
            "answers": answers,
            "verdict": _verdict(answers, spread, self._scene.card.id),
        }

    def _seen(self) -> dict[str, Tensor]:
        """(bands, cells) of every answer as the cells see it, NaN where they see too little."""
        if self._views is not None:
            return dict(zip(self._names, self._views.means()))
        return {name: mean.means(_COVERAGE).flatten(1) for name, mean in self._means.items()}


def trivial_answers(tile: Tile, scene: Scene) -> dict[str, Tensor]:
    """What a user would get without any method, (bands, rows, cols) each, NaN for nodata.

    The fine image plus the mean change is missing: it is seen as the copy is, plus the change.
    """
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


def mean_change(scene: Scene) -> Tensor:
    """(bands, 1): mean coarse change of the scene since the nearest pair; 0 where not known."""
    before = scene.cell_values(f"coarse {scene.nearest_pair + 1}")
    change = (scene.cell_values("coarse_target") - before).flatten(1).nanmean(dim=1)
    return torch.nan_to_num(change)[:, None]


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


def _verdict(answers: list[dict[str, Any]], spread: float, model: str) -> str:
    """One sentence on the result beside the trivial answers.

    Args:
        answers: The result and the trivial answers.
        spread: Standard deviation of the coarse image.
        model: Id of the method; one that is itself a trivial answer is not compared with itself.
    """
    mean = {answer["id"]: answer["mean"] for answer in answers if answer["id"] != model}
    result = mean.pop("result")
    best = min(mean, key=mean.__getitem__)
    if result < _CLEARLY * mean[best]:
        which = "every simple answer" if len(answers) - 1 == len(mean) else "the other simple ones"
        return (
            f"On the coarse grid the result agrees with the coarse image better than {which} "
            f"({result:.4g} against {mean[best]:.4g} for “{_NAMES[best]}”)."
        )
    if "interpolated" in mean:
        return (
            "Degraded to the coarse pixels, the result differs from the coarse image by "
            f"{result:.4g}, {result / max(spread, 1e-30):.0%} of its spread (only interpolated: "
            f"{mean['interpolated']:.4g}). The less, the truer the radiometry."
        )
    rival = "copy_fine" if "copy_fine" in mean else best
    if result >= _CLEARLY * mean[rival]:
        return (
            f"On the coarse grid the simple answer “{_NAMES[rival]}” agrees with the coarse image "
            f"as well as the result or better ({mean[rival]:.4g} against {result:.4g}). "
            "Compare both before you use the result."
        )
    return (
        "On the coarse grid the result agrees with the coarse image better than a copy of the fine "
        f"reference ({result:.4g} against {mean['copy_fine']:.4g}). “{_NAMES[best]}” agrees as "
        f"well or better ({mean[best]:.4g}){_BY_CONSTRUCTION.get(best, '')}. Compare both where "
        "small fields matter."
    )
