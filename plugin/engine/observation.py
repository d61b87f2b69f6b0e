"""How a coarse pixel sees the fine image: width of its PSF and shift between the images.

C(cell) is modelled as the mean of F around the cell's centre plus a shift, weighted by a Gaussian.
Width and shift are those that make coarse and fine reference correlate best, mean over the bands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...models.base import ObservationModel

REGION = 1024  # side of the part of the scene that is searched, in fine pixels
_CELLS_ACROSS = 8  # pixels that a cell keeps when the fine image is thinned for the search
_WIDTHS = (0.35, 0.55, 0.8, 1.0)  # first tries of the width, in cells
_NARROWEST, _WIDEST = 0.2, 1.2
_FINER = 1.12  # step of the width
_TRUSTED = 0.3  # below this correlation the coarse image does not explain the fine one
_WORTH = 0.005  # a shift must gain this much correlation to be believed
_REACH = 3.5  # a Gaussian ends here, in standard deviations


@dataclass(frozen=True)
class Observation:
    """The observation model.

    Attributes:
        sigma: Standard deviation of the Gaussian PSF in fine pixels.
        shift: (rows, cols) in fine pixels: a cell sees the fine image around its centre + shift.
        correlation: Mean correlation over the bands with this width and shift.
        unshifted: The best correlation without shift.
        reliable: False when the images hardly correlate; width and shift are then usual values.
    """

    sigma: float
    shift: tuple[float, float]
    correlation: float
    unshifted: float
    reliable: bool


def estimate(fine: Tensor, coarse: Tensor, centres: Tensor, ratio: float) -> Observation:
    """Find width and shift.

    Args:
        fine: (bands, rows, cols) of a region of the fine reference, NaN for nodata.
        coarse: (bands, cells) of the coarse reference, NaN for nodata.
        centres: (2, cells) row and column of the cells' centres in pixels of the region; the
            centre of the first pixel is at (0.5, 0.5).
        ratio: Fine pixels per cell along one axis.
    """
    usual = Observation(0.55 * ratio, (0.0, 0.0), math.nan, math.nan, False)
    reach = min(1.5 * ratio, fine.shape[1] / 5, fine.shape[2] / 5)
    search = _Search(fine, coarse, centres, ratio, reach)
    if search.cells < 9:
        return usual
    step = max(reach / 4, 1.0)
    around = [k * step for k in range(-int(reach // step), int(reach // step) + 1)]
    tries = ((w * ratio, dy, dx) for w in _WIDTHS for dy in around for dx in around)
    best = max((search(*place), place) for place in tries)
    while step > 0.5:
        step /= 2
        best = search.climb(best, step)
    still = max((search(width * ratio, 0.0, 0.0), width * ratio) for width in _widths())
    if not best[0] >= _TRUSTED:
        return Observation(usual.sigma, (0.0, 0.0), best[0], still[0], False)
    if best[0] - still[0] < _WORTH:
        return Observation(still[1], (0.0, 0.0), still[0], still[0], True)
    sigma, dy, dx = best[1]
    return Observation(sigma, (dy, dx), best[0], still[0], True)


def _widths() -> Iterator[float]:
    width = _NARROWEST
    while width <= _WIDEST:
        yield width
        width *= _FINER


class _Search:
    """Correlation of coarse cells with the blurred and shifted fine image."""

    def __init__(
        self, fine: Tensor, coarse: Tensor, centres: Tensor, ratio: float, reach: float
    ) -> None:
        self._thin = max(int(ratio / _CELLS_ACROSS), 1)
        known = torch.isfinite(fine).all(dim=0, keepdim=True)
        stack = torch.cat([fine.where(known, 0.0), known.to(fine)])
        self._stack = functional.avg_pool2d(stack[None], self._thin)[0]
        self._ratio, self._reach = ratio, reach
        rows, cols = fine.shape[1:]
        inside = (centres[0] > reach) & (centres[0] < rows - reach)
        inside &= (centres[1] > reach) & (centres[1] < cols - reach)
        inside &= torch.isfinite(coarse).all(dim=0)
        self._coarse, self._centres = coarse[:, inside], centres[:, inside]
        self.cells = int(inside.sum())
        self._blurred: dict[float, Tensor] = {}
        self._known: dict[tuple[float, float, float], float] = {}

    def __call__(self, sigma: float, dy: float, dx: float) -> float:
        key = (round(sigma, 3), round(dy, 3), round(dx, 3))
        if key not in self._known:
            self._known[key] = self._correlation(*key)
        return self._known[key]

    def climb(
        self, best: tuple[float, tuple[float, float, float]], step: float
    ) -> tuple[float, tuple[float, float, float]]:
        """Walk uphill in width and shift until no neighbour is better."""
        better = True
        while better:
            better = False
            sigma, dy, dx = best[1]
            for place in (
                (sigma, dy + step, dx), (sigma, dy - step, dx), (sigma, dy, dx + step),
                (sigma, dy, dx - step), (sigma * _FINER, dy, dx), (sigma / _FINER, dy, dx),
            ):  # fmt: skip
                if max(abs(place[1]), abs(place[2])) > self._reach:
                    continue
                if not _NARROWEST <= place[0] / self._ratio <= _WIDEST:
                    continue
                value = self(*place)
                if value > best[0] + 1e-5:
                    best, better = (value, place), True
        return best

    def _correlation(self, sigma: float, dy: float, dx: float) -> float:
        if sigma not in self._blurred:
            self._blurred[sigma] = blur(self._stack, sigma / self._thin)
        image = self._blurred[sigma]
        rows, cols = image.shape[1:]
        row, col = (self._centres[0] + dy) / self._thin, (self._centres[1] + dx) / self._thin
        grid = torch.stack([col / cols * 2 - 1, row / rows * 2 - 1], dim=-1)
        seen = functional.grid_sample(
            image[None], grid[None, None].to(image), mode="bilinear", padding_mode="border",
            align_corners=False,
        )[0, :, 0]  # fmt: skip
        enough = seen[-1] > 0.75
        if int(enough.sum()) < 9:
            return -1.0
        f = (seen[:-1] / seen[-1].clamp(min=1e-6))[:, enough].double()
        c = self._coarse[:, enough].double()
        f, c = f - f.mean(dim=1, keepdim=True), c - c.mean(dim=1, keepdim=True)
        size = (f.square().sum(1) * c.square().sum(1)).sqrt()
        varies = size > 0
        if not varies.any():
            return -1.0
        return float(((f * c).sum(1)[varies] / size[varies]).mean())


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (bands, rows, cols), the border repeated."""
    radius = max(math.ceil(_REACH * sigma), 1)
    offset = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-offset.square() / (2 * sigma * sigma))
    kernel = kernel / kernel.sum()
    bands = image.shape[0]
    down = functional.pad(image[None], (0, 0, radius, radius), mode="replicate")
    down = functional.conv2d(down.transpose(0, 1), kernel[None, None, :, None])
    across = functional.pad(down, (radius, radius, 0, 0), mode="replicate")
    return functional.conv2d(across, kernel[None, None, None, :]).reshape(bands, *image.shape[1:])


class CellViews:
    """What the cells see of fine images that pass by in pieces: sums weighted by the PSF.

    Args:
        centres: (2, cells) row and column of the cells' centres on the target grid.
        observation: Width and shift.
    """

    def __init__(self, centres: Tensor, observation: ObservationModel) -> None:
        self._rows = centres[0] + observation.shift[0]
        self._cols = centres[1] + observation.shift[1]
        self._sigma = observation.sigma
        self._sums: Tensor | None = None

    def add(self, image: Tensor, known: Tensor, row: int, col: int) -> None:
        """Add a piece whose first pixel is (row, col).

        Args:
            image: (bands, rows, cols).
            known: (rows, cols) bool.
            row: Of the first pixel on the target grid.
            col: Likewise.
        """
        rows, cols = known.shape
        reach = _REACH * self._sigma
        near = (self._rows > row - reach) & (self._rows < row + rows + reach)
        near &= (self._cols > col - reach) & (self._cols < col + cols + reach)
        at = near.nonzero()[:, 0]
        if self._sums is None:
            self._sums = torch.zeros(len(image) + 1, len(self._rows), dtype=torch.float64)
        if not len(at):
            return
        stack = torch.cat([image.where(known, 0.0), known.to(image)[None]])
        down = self._weights(self._rows[at], row, rows).to(stack)
        across = self._weights(self._cols[at], col, cols).to(stack)
        partly = torch.matmul(down, stack)  # (bands + 1, cells, cols)
        self._sums[:, at] += (partly * across).sum(dim=2).double()

    def _weights(self, centres: Tensor, first: int, count: int) -> Tensor:
        place = torch.arange(count) + first + 0.5
        squared = (centres[:, None] - place[None, :]).square()
        weight = torch.exp(-squared / (2 * self._sigma**2))
        return weight / (math.sqrt(2 * math.pi) * self._sigma)

    def means(self, coverage: float = 0.75) -> Tensor:
        """(bands, cells); NaN where less than ``coverage`` of the PSF saw valid pixels."""
        if self._sums is None:
            raise ValueError("No image was added.")
        seen = self._sums[-1]
        return (self._sums[:-1] / seen).where(seen > coverage, torch.nan).float()
