"""FSDAF: change of classes by unmixing, residuals shared out, neighbours averaged."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ..base import FusionModel, Progress, SceneReader, Tile
from ..errors import InputError
from ..kernels.backend import choose_backend
from ..kernels.neighbours import find_neighbours
from .cells import cell_numbers, fill_cells, means_of_cells, to_fine
from .chosen_window import chosen_window
from .classes import Classes, find_classes, fit_to_cells
from .pairs import nearest_pair, nothing_in_common
from .statistics import fine_statistics, window_sum
from .thin_plate import ThinPlate

_PURE = 100  # coarse cells per class used for unmixing
_MOST = 10.0  # a pixel's share of its cell's residual, in means of the cell
_MARGIN = 0.25  # a result may leave the range of the inputs by this share of it


class Fsdaf(FusionModel):
    """Flexible spatiotemporal data fusion, one pair.

    1. Classes of the fine reference, fewer where there are few coarse cells, or the user's; mean
       change of every class by unmixing the coarse change.
    2. Temporal prediction L = F + change of the class; R = coarse change minus what L explains.
    3. Spatial prediction P: thin-plate spline (or inverse distances) through the coarse target.
    4. R is shared out within its cell by |P - L| * HI + |R| * (1 - HI), HI the homogeneity of
       classes around the pixel.
    5. The change is averaged over the most similar pixels of the fine reference.

    Shapes and units:
        coarse_target: (bands, rows, cols), coarse image on the fine grid, the fine image's unit.
        coarse_references, fine_references: (pairs, bands, rows, cols); the nearest pair is used.
        class_layer: (1, rows, cols) codes of classes, optional.
        result: (bands, rows, cols); NaN where one of the three images has nodata, and in the
            tile's halo.

    Raises:
        InputError: No coarse cell has data, or fewer than there are classes that the user chose;
            or the class layer holds no classes.

    Source: Zhu, Helmer, Gao, Liu, Chen & Lefsky (2016), doi:10.1016/j.rse.2015.11.016.
    """

    _reach = 0  # fine pixels that a coarse cell can reach from any of its pixels

    @property
    def halo(self) -> int:
        return self._radius + self._reach

    @property
    def _radius(self) -> int:
        return self.parameters["window"] // 2

    def prepare(self, scene: SceneReader, progress: Progress) -> None:
        """Classes, their change, and the residual of every coarse cell."""
        self.backend = choose_backend(self.wanted_backend, self.device, self.notes)
        self._scene = scene
        self._stats = fine_statistics(scene).to(self.device)
        self._pair = nearest_pair(scene.days)
        self._window = chosen_window(self)
        target = scene.cell_values("coarse_target")
        change = target - scene.cell_values(f"coarse {self._pair + 1}")
        classes, fractions = self._find_classes(scene, change, progress)
        moved = unmix(fractions, change)
        residual = change - torch.einsum("cb,cij->bij", moved, fractions)
        self._classes = classes.to(self.device)
        self._moved = moved.to(self.device)
        self._residual = torch.where(torch.isfinite(residual), residual, 0.0).to(self.device)
        filled = fill_cells(target).to(self.device)
        self._spline = ThinPlate(filled.cpu(), self.device)
        self._cells = filled
        self._reach = math.ceil(1.5 * scene.ratio) + self._homogeneity_radius(scene.ratio)
        self._around = self._homogeneity_radius(scene.ratio)
        self.notes.append(classes.note)

    def _find_classes(
        self, scene: SceneReader, change: Tensor, progress: Progress
    ) -> tuple[Classes, Tensor]:
        """Classes that the coarse cells can tell apart, and their shares in the cells."""
        count = self.parameters["classes"]
        classes = find_classes(scene, self._pair, count)
        fractions = classes.shares(scene, progress)
        known = torch.isfinite(fractions).all(dim=0) & torch.isfinite(change).all(dim=0)
        if not known.any():
            raise nothing_in_common(scene, self._pair)
        fitting = fit_to_cells(scene, classes, count, int(known.sum()))
        if fitting.count < classes.count:
            fractions = fitting.shares(scene, lambda _: None)  # few cells: soon done
        return fitting, fractions

    @staticmethod
    def _homogeneity_radius(ratio: float) -> int:
        return max(round(ratio / 2), 1)

    def fuse(self, tile: Tile) -> Tensor:
        fine = tile["fine_references"][self._pair]
        known = tile.masks["fine_references"][self._pair] & tile.masks["coarse_target"]
        known = (known & tile.masks["coarse_references"][self._pair]).all(dim=0)
        change = self._change(fine, known, tile)
        core = slice(self._reach, -self._reach)
        smooth = self._smooth(fine[:, core, core], change[:, core, core], known[core, core])
        result = torch.full_like(fine, torch.nan)
        inner = slice(self.halo, -self.halo)
        span = (self._stats.high - self._stats.low)[:, None, None]
        low = self._stats.low[:, None, None] - _MARGIN * span
        high = self._stats.high[:, None, None] + _MARGIN * span
        answer = torch.minimum(torch.maximum(fine[:, inner, inner] + smooth, low), high)
        result[:, inner, inner] = answer.where(known[inner, inner], torch.nan)
        return result

    def _change(self, fine: Tensor, known: Tensor, tile: Tile) -> Tensor:
        """(bands, rows, cols): change of the class plus the pixel's share of the residual."""
        labels = self._classes(tile)
        by_class = self._moved[labels].permute(2, 0, 1)
        places = self._scene.cell_positions(tile).to(self.device)
        residual = to_fine(self._residual, places, "nearest")
        spatial = self._spatial(places)
        off = spatial - (fine + by_class)
        # Where the spatial prediction points the other way than the residual it is no guide.
        off = off.where(off * residual > 0, 0.0)
        alike = self._homogeneity(labels, known)
        share = off.abs() * alike + residual.abs() * (1 - alike) + 1e-9 * self._stats.floor.max()
        numbers, count = cell_numbers(places)
        weights = known.to(share)
        share = share / means_of_cells(share, weights, numbers, count).clamp(min=1e-30)
        share = share.where(share <= _MOST, 1.0)
        share = share / means_of_cells(share, weights, numbers, count).clamp(min=1e-30)
        return by_class + share * residual

    def _spatial(self, places: Tensor) -> Tensor:
        if self.parameters["spatial_prediction"] == "thin-plate spline":
            return self._spline(places)
        return _inverse_distances(self._cells, places)

    def _homogeneity(self, labels: Tensor, known: Tensor) -> Tensor:
        """(rows, cols): share of pixels around that have the pixel's own class."""
        radius = self._around
        padded = functional.pad(known.float(), (radius,) * 4)
        total = window_sum(padded, radius).clamp(min=1)
        alike = torch.zeros_like(total)
        for number in labels.unique().tolist():
            mine = (labels == number) & known
            same = window_sum(functional.pad(mine.float(), (radius,) * 4), radius)
            alike = torch.where(labels == number, same / total, alike)
        return alike.float()

    def _smooth(self, fine: Tensor, change: Tensor, known: Tensor) -> Tensor:
        """Mean change of the most similar pixels, nearer and more similar ones weighing more."""
        spread = torch.maximum(self._stats.spread[self._pair], self._stats.floor)[:, None, None]
        level = self._stats.level[:, None, None]
        radius = self._radius
        similar = find_neighbours(
            (fine - level) / spread, known, self._window, self.parameters["similar"],
            float("inf"), self.backend,
        )  # fmt: skip
        apart = similar.score / len(fine)
        far = 1 + similar.distance() / max(radius, 1)
        weights = similar.normalised(1 / (far * (1 + apart)))
        return similar.weighted_sum(change.where(known, 0.0), weights)


def unmix(fractions: Tensor, change: Tensor) -> Tensor:
    """Change of every class from the purest coarse cells, without the extreme ones.

    Args:
        fractions: (classes, cell_rows, cell_cols), NaN for nodata.
        change: (bands, cell_rows, cell_cols), NaN for nodata.

    Returns:
        (classes, bands).

    Raises:
        InputError: Fewer cells than classes have data.
    """
    shares, moved = fractions.flatten(1).double(), change.flatten(1).double()
    known = torch.isfinite(shares).all(dim=0) & torch.isfinite(moved).all(dim=0)
    shares, moved = shares[:, known], moved[:, known]
    if shares.shape[1] < len(shares):
        raise InputError(
            f"Only {shares.shape[1]} coarse cells have data in all images; FSDAF needs at least "
            f"{len(shares)}, one per class. Choose a larger extent or fewer classes."
        )
    answer = []
    for band in moved:
        rows = torch.cat([_purest(share, band) for share in shares]).unique()
        matrix, values = shares[:, rows].T, band[rows][:, None]
        answer.append(torch.linalg.lstsq(matrix, values, driver="gelsd").solution[:, 0])
    return torch.stack(answer, dim=1).float()


def _purest(share: Tensor, change: Tensor) -> Tensor:
    """Numbers of the cells with most of a class, those of a middling change."""
    order = torch.argsort(share, descending=True, stable=True)[:_PURE]
    order = order[share[order] > 0.01]
    if len(order) < 4:
        return order
    low, high = torch.quantile(change[order], torch.tensor([0.25, 0.75]).double())
    return order[(change[order] >= low) & (change[order] <= high)]


def _inverse_distances(cells: Tensor, places: Tensor) -> Tensor:
    """Mean of the 5 x 5 cells around, weighted by the inverse square of the distance."""
    rows, cols = cells.shape[-2:]
    row, col = places.floor().long()
    total = weights = torch.zeros((), device=places.device)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            r, c = (row + dy).clamp(0, rows - 1), (col + dx).clamp(0, cols - 1)
            squared = (places[0] - r - 0.5).square() + (places[1] - c - 0.5).square()
            weight = 1 / squared.clamp(min=1e-6)
            total = total + weight * cells[:, r, c]
            weights = weights + weight
    return total / weights
