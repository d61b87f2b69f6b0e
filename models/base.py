"""The contract between the engine and the methods.

Arrays are float32 tensors ``(bands, rows, cols)`` in physical units. The engine fills nodata before
a tile reaches a method and says with masks where; a method answers NaN where it has no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .cards import CLASS_LAYER, Card

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Tile:
    """A window of the target grid with its halo, all roles on the fine grid.

    Attributes:
        arrays: By role. Single images are (bands, rows, cols). The spatiotemporal family has
            ``coarse_target``, and ``coarse_references`` and ``fine_references`` stacked as
            (pairs, bands, rows, cols). No NaN: nodata is filled with the band's mean. Where the
            user gave one, ``class_layer`` holds the codes of classes, (1, rows, cols).
        masks: By role, bool, same shape as the array; False where the image has nodata.
        row: Row of the first pixel in the target grid; negative in the halo above it.
        col: Column of the first pixel, likewise.
    """

    arrays: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    row: int = 0
    col: int = 0

    def __getitem__(self, role: str) -> Tensor:
        return self.arrays[role]

    @property
    def valid(self) -> Tensor:
        """(1, rows, cols) bool: every image has all its bands here, in at least one pair.

        The class layer does not count: where it says nothing, a class can be guessed.
        """
        valid: Tensor | None = None
        for role, mask in self.masks.items():
            if role == CLASS_LAYER:
                continue
            complete = mask.all(dim=-3, keepdim=True)
            if complete.dim() == 4:
                complete = complete.any(dim=0)
            valid = complete if valid is None else valid & complete
        if valid is None:
            raise ValueError("The tile has no roles.")
        return valid

    def part(self, rows: slice, cols: slice) -> Tile:
        """Some rows and columns of it, counted from its first pixel."""
        return Tile(
            {role: array[..., rows, cols] for role, array in self.arrays.items()},
            {role: mask[..., rows, cols] for role, mask in self.masks.items()},
            self.row + rows.start,
            self.col + cols.start,
        )

    def to(self, device: torch.device) -> Tile:
        """The same tile on another device."""
        return Tile(
            {role: array.to(device) for role, array in self.arrays.items()},
            {role: mask.to(device) for role, mask in self.masks.items()},
            self.row,
            self.col,
        )


class ObservationModel(Protocol):
    """How a coarse cell sees the fine image."""

    @property
    def sigma(self) -> float:
        """Standard deviation of the Gaussian PSF in fine pixels."""

    @property
    def shift(self) -> tuple[float, float]:
        """(rows, cols) in fine pixels: the cell sees the image around its centre plus this."""


class SceneReader(Protocol):
    """What a method may ask of the scene in ``prepare``; the engine fulfils it."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the target grid."""

    @property
    def ratio(self) -> float:
        """Coarse over fine pixel size, the mean of both axes."""

    @property
    def days(self) -> tuple[float, ...]:
        """Days from the target date to every reference pair, negative before it.

        Empty without dates or pairs; a pair without a date has the mean distance of the others.
        """

    @property
    def pairs(self) -> int:
        """Number of reference pairs; 0 outside the spatiotemporal family."""

    def label(self, role: str) -> str | None:
        """What the user calls the image of a role; None where none was given."""

    def sample(self, max_pixels: int = 4_000_000) -> Iterator[Tile]:
        """Tiles without halo, spread evenly over the scene; all of it when it is small.

        They hold all roles but the coarse ones: see ``cell_values`` for those.
        """

    def cell_values(self, name: str) -> Tensor:
        """(bands, cell_rows, cell_cols): an image over the native coarse cells, NaN for nodata.

        Their own values for a coarse image, means over each cell for a fine one. ``name`` is a
        role, or ``coarse 1``, ``fine 1`` and so on for a reference pair.
        """

    def cell_samples(self, name: str) -> Tensor:
        """(bands, cell_rows, cell_cols): what the cells saw, NaN for nodata.

        As ``cell_values``, but of a coarse image that was resampled to the fine grid beforehand the
        values at the cells' centres: means over the cells would be blurred once more.
        """

    def cell_centres(self) -> Tensor:
        """(2, cells) row and column of the cells' centres in fine pixels, the corner at 0."""

    def cell_positions(self, tile: Tile, shift: tuple[float, float] = (0.0, 0.0)) -> Tensor:
        """(2, rows, cols): where a tile's pixels lie among the cells, as row and column.

        Cell (i, j) reaches from (i, j) to (i + 1, j + 1), its centre is at (i + 0.5, j + 0.5).
        With a shift (rows, cols) in fine pixels, the cells are moved by it first.
        """

    def average(self, image: Callable[[Tile], Tensor], progress: Progress) -> Tensor:
        """(bands, cell_rows, cell_cols): means over cells of an image made from every tile.

        ``image`` gives (bands, rows, cols) for a tile without halo and coarse images, NaN for
        nodata. All of the scene is read, so this costs a pass over it.
        """

    def observation(self, pair: int) -> ObservationModel:
        """Width of the PSF and shift of a pair's coarse image, estimated once."""

    def observe(
        self,
        image: Callable[[Tile], tuple[Tensor, Tensor]],
        halo: int,
        observation: ObservationModel,
        progress: Progress,
    ) -> Tensor:
        """(bands, cell_rows, cell_cols): what the cells see of an image made from every tile.

        ``image`` gives (bands, rows, cols) and where it is valid, (rows, cols), for a tile with
        its halo and without coarse images. NaN where a quarter of the PSF or more saw nothing
        valid.
        """

    def reduced(
        self, image: Callable[[Tile], Tensor], pair: int, step: int, progress: Progress
    ) -> Tensor:
        """(bands, rows / step, cols / step): block means of an image made from every tile.

        The tiles have no halo. They hold the coarse target, and of the references only that pair,
        as the first one. ``image`` gives (bands, rows, cols), NaN for nodata; the mean of a block
        is that of its other pixels. All of the scene is read, so this costs a pass over it.
        """


class FusionModel:
    """A fusion method. Subclasses override ``fuse``, and ``prepare`` where they need the scene.

    ``fuse`` must give the same pixels however the raster was tiled: what depends on the whole
    image is computed in ``prepare``.
    """

    def __init__(
        self,
        card: Card,
        parameters: Mapping[str, Any],
        device: torch.device,
        backend: str = "auto",
    ) -> None:
        self.card = card
        self.parameters = card.check_parameters(parameters)
        self.device = device
        self.wanted_backend = backend
        self.backend = "torch"  # which kernel runs, for the report
        self.notes: list[str] = []  # sentences for the report

    @property
    def halo(self) -> int:
        """Fine pixels needed around a tile's core."""
        return self.card.halo_pixels(self.parameters)

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Learn from the whole scene, once, before the first tile."""

    def fuse(self, tile: Tile) -> Tensor:
        """Fuse one tile.

        Returns:
            (bands, rows, cols) of the whole tile, halo included; NaN where there is no answer.
        """
        raise NotImplementedError(f"{type(self).__name__} has no fuse().")

    def fuse_with_error(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """Fuse one tile, and tell how far each value may be off.

        Only of methods whose card says ``tells_error``; others are never asked.

        Returns:
            What ``fuse`` returns, and the standard deviation of its error: same shape, same unit,
            above 0.
        """
        raise NotImplementedError(f"{type(self).__name__} has no fuse_with_error().")
