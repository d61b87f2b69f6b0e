"""What the methods share that explain the coarse change over the whole scene."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..base import FusionModel, Progress, SceneReader, Tile
from .change_model import Bank, bank_of
from .fine_look import FineLook
from .pairs import notes_on_cells
from .reduced_pair import ReducedPair, reduce_scene

_SAMPLE, _STRIDE = 500_000, 4  # pixels to size a change by; of those each fourth row and column
_LEAST = 1e-6  # standard deviations: the smallest change that still counts


class ChangeModel(Protocol):
    """Tells the change of a pixel from its fine values, scaled."""

    def at(self, fine: Tensor, row: int, col: int) -> Tensor:
        """(bands, rows, cols) change in a window of the scene that starts at (row, col)."""

    def to(self, device: torch.device) -> ChangeModel:
        """The same on another device."""


class ChangeFusion(FusionModel):
    """Fine reference + change as explained; of several pairs the mean.

    A pair weighs in every band as the inverse of the change that it predicts.

    Subclasses override ``learn``, and ``classes`` where they need soft classes.
    """

    @property
    def classes(self) -> int:
        """How many soft classes of the fine reference are wanted."""
        return 0

    def learn(self, bank: Bank, pair: ReducedPair) -> ChangeModel:
        """Explain the change of one pair."""
        raise NotImplementedError(f"{type(self).__name__} has no learn().")

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """One pass over the scene for every pair.

        Raises:
            InputError: The coarse images of a pair are nowhere known where its fine one is.
        """
        self._pairs: list[tuple[FineLook, ChangeModel]] = []
        for number in range(scene.pairs):

            def part(done: float, number: int = number) -> None:
                progress((number + done) / scene.pairs)

            pair = reduce_scene(scene, number, part, moved=True, classes=self.classes)
            self.notes += notes_on_cells(pair.cells, scene, number)
            bank = bank_of(pair)
            self._pairs.append((pair.look.to(self.device), self.learn(bank, pair).to(self.device)))
        self._weights = [torch.ones_like(look.scale) for look, _ in self._pairs]
        if scene.pairs > 1:
            self._weights = [1 / self._size(scene, number) for number in range(scene.pairs)]

    def _size(self, scene: SceneReader, number: int) -> Tensor:
        """(bands,) root mean square of a pair's change over a sample of fine pixels."""
        look, _ = self._pairs[number]
        total, count, some = torch.zeros_like(look.scale), 0, slice(None, None, _STRIDE)
        for tile in scene.sample(_SAMPLE):
            at = tile.to(self.device)
            known = at.masks["fine_references"][number].all(dim=0)
            change = self._change(number, at["fine_references"][number], tile)[:, some, some]
            total += change[:, known[some, some]].square().sum(dim=1)
            count += int(known[some, some].sum())
        return (total / max(count, 1)).sqrt() + _LEAST * look.scale

    def _change(self, number: int, fine: Tensor, tile: Tile) -> Tensor:
        """(bands, rows, cols) change since a pair, in the fine image's unit."""
        look, model = self._pairs[number]
        return look.scale[:, None, None] * model.at(look.scaled(fine), tile.row, tile.col)

    def fuse(self, tile: Tile) -> Tensor:
        fine, valid = tile["fine_references"], tile.masks["fine_references"].all(dim=1)
        total = weights = torch.zeros((), device=self.device)
        for number, own in enumerate(self._weights):
            weight = own[:, None, None] * valid[number]
            answer = fine[number] + self._change(number, fine[number], tile)
            total, weights = total + weight * answer, weights + weight
        return total / weights
