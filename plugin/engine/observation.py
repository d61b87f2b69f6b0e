"""How a coarse pixel sees the fine image: width of its PSF and shift between the images.

C(cell) is modelled as the mean of F around the cell's centre plus a shift, weighted by a Gaussian.
Width and shift are those with which the fine bands together explain the coarse ones best. So units
do not matter, nor that contrasts turn round between two dates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from ...models.base import ObservationModel

_PIXELS_PER_SIGMA = 2.0  # of the fine image when it is thinned for the search
_NARROWEST, _FINER, _WIDEST = 0.2, 1.12, 18  # first width in cells, step of the width, last step
_USUAL = 9  # the width tried first: 0.55 cells
_FARTHEST = 2.0  # cells: largest shift tried
_INSIDE = 0.9  # share of it within which a shift is believed
_PRECISE = 0.5  # where the search for the shift ends, in fine pixels
_FEWEST, _FEWEST_PER_BAND = 9, 3  # cells
_CONSTANT = 1e-5  # a band whose spread is a smaller share of its values has none
_ALIKE = 1e-6  # fine bands that differ less count as one
_TRUSTED = 0.3  # below this correlation the coarse image does not explain the fine one
_CHANCE = 4.0  # nor below this over the root of the number of cells
_WORTH = 0.005  # a shift must gain this much correlation to be believed
_LIKELIER = 20.0  # and this much log-likelihood (twice), as if the cells were independent
_COVERAGE = 0.75  # share of the PSF that must see valid pixels
_TOGETHER = 16  # cells that are summed at once; more see pixels in vain
_LATTICE = 256  # the same where they share their rows and columns
_REACH = 3.5  # a Gaussian ends here, in standard deviations


@dataclass(frozen=True)
class Observation:
    """The observation model.

    Attributes:
        sigma: Standard deviation of the Gaussian PSF in fine pixels.
        shift: (rows, cols) in fine pixels: a cell sees the fine image around its centre + shift.
        correlation: Multiple correlation (adjusted) of the coarse bands with the fine ones, mean
            over the coarse bands, with this width and shift.
        unshifted: The best correlation without shift.
        reliable: False when the images hardly correlate; width and shift are then usual values.
    """

    sigma: float
    shift: tuple[float, float]
    correlation: float
    unshifted: float
    reliable: bool


class FineView:
    """A region of a fine image, blurred to any width; several coarse images may look at it.

    Args:
        fine: (bands, rows, cols), NaN for nodata.
        ratio: Fine pixels per cell along one axis.
    """

    def __init__(self, fine: Tensor, ratio: float) -> None:
        known = torch.isfinite(fine).all(dim=0, keepdim=True)
        whole = torch.cat([fine.where(known, 0.0), known.to(fine)])
        self._halves = [whole]  # each is the one before at half the size
        self._blurred: dict[int, tuple[Tensor, int]] = {}
        self.rows, self.cols = fine.shape[1:]
        self.ratio = ratio

    def sigma(self, width: int) -> float:
        """Standard deviation of a width in fine pixels; each is 12 % wider than the one before."""
        return self.ratio * _NARROWEST * _FINER**width

    def sample(self, width: int, rows: Tensor, cols: Tensor) -> Tensor:
        """(bands, cells) seen around positions, NaN where a quarter or more is nodata."""
        if width not in self._blurred:
            self._blurred[width] = self._blur(self.sigma(width))
        return _sampled(*self._blurred[width], rows, cols)

    def look(self, sigma: float, rows: Tensor, cols: Tensor) -> Tensor:
        """The same with a Gaussian of any standard deviation, in fine pixels."""
        return _sampled(*self._blur(sigma), rows, cols)

    def _blur(self, sigma: float) -> tuple[Tensor, int]:
        """The blurred image, and how many of its pixels were first taken together to save time."""
        half = max(int(math.log2(max(sigma / _PIXELS_PER_SIGMA, 1.0))), 0)
        while len(self._halves) <= half:
            self._halves.append(functional.avg_pool2d(self._halves[-1][None], 2)[0])
        image, thin = self._halves[half], 2**half
        # Means of pixels and the interpolation between them have blurred the image already.
        spent = (1 - 1 / thin**2) / 12 + 1 / 6
        return blur(image, math.sqrt(max((sigma / thin) ** 2 - spent, 0.01))), thin


def _sampled(image: Tensor, thin: int, rows: Tensor, cols: Tensor) -> Tensor:
    """A blurred image and its share of known pixels at positions, as ``FineView.sample`` says.

    Args:
        image: (bands + 1, rows, cols).
        thin: Fine pixels along a side of its pixels.
        rows: (cells,) positions in fine pixels.
        cols: Likewise.
    """
    across = cols / (image.shape[2] * thin) * 2 - 1
    down = rows / (image.shape[1] * thin) * 2 - 1
    seen = functional.grid_sample(
        image[None], torch.stack([across, down], dim=-1)[None, None].to(image),
        mode="bilinear", padding_mode="border", align_corners=False,
    )[0, :, 0]  # fmt: skip
    return (seen[:-1] / seen[-1]).where(seen[-1] > _COVERAGE, torch.nan)


def estimate(
    view: FineView, coarse: Tensor, centres: Tensor, likely: tuple[float, float] = (0.0, 0.0)
) -> Observation:
    """Find width and shift of a coarse image against a fine one.

    Args:
        view: A region of the fine image.
        coarse: (bands, cells), NaN for nodata.
        centres: (2, cells) row and column of the cells' centres in pixels of the region; the
            centre of the first pixel is at (0.5, 0.5).
        likely: A shift that is taken unless another one explains clearly more.
    """
    search = _Search(view, coarse, centres)
    usual = Observation(view.sigma(_USUAL), (0.0, 0.0), math.nan, math.nan, False)
    if search.cells < search.fewest:
        return usual
    step = max(search.reach / 4, 1.0)
    around = [k * step for k in range(-int(search.reach // step), int(search.reach // step) + 1)]
    best = max((search(_USUAL, dy, dx), (_USUAL, dy, dx)) for dy in around for dx in around)
    while step > _PRECISE:
        step /= 2
        best = search.climb(best, step)
    still, guess = (search.width_at(*shift) for shift in ((0.0, 0.0), likely))
    chosen = still
    for other in (guess, best):
        if _is_worth_it(other[0], chosen[0], search.cells):
            chosen = other
    # Among many tries on few cells, one always correlates; and where the best is the last that was
    # tried, the images share no more than a trend.
    trusted = best[0] >= max(_TRUSTED, _CHANCE / math.sqrt(search.cells))
    if not trusted or search.ends_at(best[1]) or search.ends_at(chosen[1]):
        return replace(usual, correlation=best[0], unshifted=still[0])
    correlation, (width, dy, dx) = chosen
    return Observation(view.sigma(width), (dy, dx), correlation, still[0], True)


def _is_worth_it(better: float, worse: float, cells: int) -> bool:
    """Whether a shift explains so much more that it is neither chance nor of no consequence."""
    ratio = (1 - max(worse, 0.0) ** 2) / max(1 - better**2, 1e-12)
    return better - worse >= _WORTH and cells * math.log(max(ratio, 1e-12)) >= _LIKELIER


Place = tuple[int, float, float]  # width, rows, columns


class _Search:
    """Correlation of coarse cells with the blurred and shifted fine image."""

    def __init__(self, view: FineView, coarse: Tensor, centres: Tensor) -> None:
        self._view = view
        self.reach = reach = min(_FARTHEST * view.ratio, view.rows / 5, view.cols / 5)
        inside = (centres[0] > reach) & (centres[0] < view.rows - reach)
        inside &= (centres[1] > reach) & (centres[1] < view.cols - reach)
        inside &= torch.isfinite(coarse).all(dim=0)
        self._coarse, self._centres = coarse[:, inside].double(), centres[:, inside]
        self.cells = int(inside.sum())
        self.fewest = max(_FEWEST, _FEWEST_PER_BAND * len(coarse))
        self._known: dict[Place, float] = {}

    def __call__(self, width: int, dy: float, dx: float) -> float:
        place = (width, dy, dx)
        if place not in self._known:
            self._known[place] = self._correlation(*place)
        return self._known[place]

    def ends_at(self, place: Place) -> bool:
        """Whether a place lies at the end of what is searched."""
        width, dy, dx = place
        return width == _WIDEST or max(abs(dy), abs(dx)) > _INSIDE * self.reach

    def width_at(self, dy: float, dx: float) -> tuple[float, Place]:
        """The best width for a shift."""
        return self.climb((self(_USUAL, dy, dx), (_USUAL, dy, dx)), 0.0)

    def climb(self, best: tuple[float, Place], step: float) -> tuple[float, Place]:
        """Walk uphill in width and shift until no neighbour is better; step 0 keeps the shift."""
        better = True
        while better:
            better = False
            width, dy, dx = best[1]
            for place in (
                (width + 1, dy, dx), (width - 1, dy, dx), (width, dy + step, dx),
                (width, dy - step, dx), (width, dy, dx + step), (width, dy, dx - step),
            ):  # fmt: skip
                far = max(abs(place[1]), abs(place[2])) > self.reach
                if far or not 0 <= place[0] <= _WIDEST:
                    continue
                value = self(*place)
                if value > best[0] + 1e-5:
                    best, better = (value, place), True
        return best

    def _correlation(self, width: int, dy: float, dx: float) -> float:
        f = self._view.sample(width, self._centres[0] + dy, self._centres[1] + dx).double()
        enough = torch.isfinite(f[0])
        if int(enough.sum()) < self.fewest:
            return -1.0
        if enough.all():
            return _explained(_standard(f), self._standard_coarse)
        return multiple_correlation(f[:, enough], self._coarse[:, enough])

    @cached_property
    def _standard_coarse(self) -> Tensor:
        return _standard(self._coarse)


def multiple_correlation(fine: Tensor, coarse: Tensor) -> float:
    """How well the fine bands together explain the coarse ones, 0 to 1, mean over the latter.

    Args:
        fine: (bands, cells) float64, no NaN, more cells than bands.
        coarse: Likewise.

    Returns:
        Adjusted for what as many bands of noise would explain; -1 where all bands are constant.
    """
    return _explained(_standard(fine), _standard(coarse))


def _explained(fine: Tensor, coarse: Tensor) -> float:
    """``multiple_correlation`` of what ``_standard`` made."""
    if not len(fine) or not len(coarse):
        return -1.0
    values, vectors = torch.linalg.eigh(fine @ fine.T)
    kept = values > _ALIKE
    shared = vectors[:, kept].T @ (fine @ coarse.T)
    explained = (shared.square() / values[kept, None]).sum(dim=0)
    freedom = fine.shape[1] - 1
    missing = (1 - explained) * freedom / (freedom - int(kept.sum()))
    return float((1 - missing).clamp(min=0).sqrt().mean())


def _standard(values: Tensor) -> Tensor:
    """(bands, cells) less their mean and with a norm of one; constant bands are left out."""
    least = _CONSTANT * math.sqrt(values.shape[1]) * values.abs().amax(dim=1)
    values = values - values.mean(dim=1, keepdim=True)
    norm = values.norm(dim=1)
    varies = norm > least
    return values[varies] / norm[varies, None]


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (bands, rows, cols), the border repeated."""
    radius = max(math.ceil(_REACH * sigma), 1)
    offset = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-offset.square() / (2 * sigma * sigma))
    kernel = kernel / kernel.sum()
    down = functional.pad(image[None], (0, 0, radius, radius), mode="replicate")[0]
    image = _weighted([down.narrow(1, k, image.shape[1]) for k in range(len(kernel))], kernel)
    across = functional.pad(image[None], (radius, radius, 0, 0), mode="replicate")[0]
    return _weighted([across.narrow(2, k, image.shape[2]) for k in range(len(kernel))], kernel)


def _weighted(images: list[Tensor], weights: Tensor) -> Tensor:
    """Weighted sum of images; on a CPU many times faster than a convolution."""
    total = torch.zeros_like(images[0])
    for image, weight in zip(images, weights.tolist()):
        total.add_(image, alpha=weight)
    return total


class CellViews:
    """What the cells see of fine images that pass by in pieces: sums weighted by the PSF.

    Args:
        centres: (2, cells) row and column of the cells' centres on the target grid; neighbours
            should follow each other.
        observation: Width and shift.
    """

    def __init__(self, centres: Tensor, observation: ObservationModel) -> None:
        self._rows = centres[0] + observation.shift[0]
        self._cols = centres[1] + observation.shift[1]
        self._sigma = observation.sigma
        self._sums: Tensor | None = None  # (images * bands + masks, cells)
        self._shape = (0, 0, 0)  # images, bands, masks

    def add(self, images: Sequence[Tensor], known: Tensor, row: int, col: int) -> None:
        """Add a piece of each image whose first pixel is (row, col) on the target grid.

        Args:
            images: (bands, rows, cols) each.
            known: (bands, rows, cols) bool, or (1, rows, cols) where it is the same in all bands.
            row: Of the first pixel.
            col: Likewise.
        """
        masks, rows, cols = known.shape
        if self._sums is None:
            self._shape = len(images), len(images[0]), masks
            planes = len(images) * len(images[0]) + masks
            self._sums = torch.zeros(planes, len(self._rows), dtype=torch.float64)
        reach = _REACH * self._sigma
        near = (self._rows > row - reach) & (self._rows < row + rows + reach)
        near &= (self._cols > col - reach) & (self._cols < col + cols + reach)
        stack = self._stack(images, known)
        for block in near.nonzero()[:, 0].split(_LATTICE):
            # Where the cells lie as the pixels do, they share their rows and columns.
            places = len(self._rows[block].unique()) * len(self._cols[block].unique())
            for cells in block.split(_LATTICE if places <= 2 * len(block) else _TOGETHER):
                self._sums[:, cells] += self._seen(cells, stack, row, col).double()

    def _seen(self, cells: Tensor, stack: Tensor, row: int, col: int) -> Tensor:
        """(planes, cells): what some cells see of a piece, from ``_stack``."""
        downs, which_down = self._rows[cells].unique(return_inverse=True)
        across, which_across = self._cols[cells].unique(return_inverse=True)
        some_rows, weight_down = self._weights(downs, row, len(stack))
        some_cols, weight_across = self._weights(across, col, stack.shape[-1])
        part = stack[some_rows, :, some_cols]
        seen = torch.tensordot(weight_down.to(part), part, dims=1)
        return (seen @ weight_across.to(part).T)[which_down, :, which_across].T

    def _stack(self, images: Sequence[Tensor], known: Tensor) -> Tensor:
        """(rows, planes, cols): all images, 0 where not known, and the masks."""
        images_, bands, masks = self._shape
        rows, cols = known.shape[1:]
        stack = torch.empty(rows, images_ * bands + masks, cols)
        everywhere = bool(known.all())
        for number, image in enumerate(images):
            place = stack[:, number * bands : (number + 1) * bands].transpose(0, 1)
            place.copy_(image if everywhere else image.where(known, 0.0))
        stack[:, images_ * bands :].transpose(0, 1).copy_(known)
        return stack

    def _weights(self, centres: Tensor, first: int, count: int) -> tuple[slice, Tensor]:
        """The pixels of a piece that some cells see along one axis, and (cells, pixels) weights."""
        reach = _REACH * self._sigma
        start = min(max(math.floor(float(centres.min()) - reach) - first, 0), count)
        stop = min(max(math.ceil(float(centres.max()) + reach) - first, start), count)
        away = centres[:, None] - (torch.arange(start, stop) + first + 0.5)
        weight = torch.exp(-away.square() / (2 * self._sigma**2)).where(away.abs() <= reach, 0.0)
        return slice(start, stop), weight / (math.sqrt(2 * math.pi) * self._sigma)

    def means(self) -> Tensor:
        """(images, bands, cells); NaN where a quarter of the PSF or more saw nothing valid."""
        if self._sums is None:
            raise ValueError("No image was added.")
        images, bands, masks = self._shape
        sums, seen = self._sums[:-masks].reshape(images, bands, -1), self._sums[-masks:]
        return (sums / seen).where(seen > _COVERAGE, torch.nan).float()
