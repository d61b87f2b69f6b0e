"""Gaussian filters that know what they did not see, and their results as maps of a whole scene.

A hidden pixel weighs nothing (normalised convolution; Knutsson & Westin, 1993,
doi:10.1109/CVPR.1993.341081), and nothing lies beyond the border.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_REACH = 3.0  # standard deviations at which a filter ends
_NARROW = 0.2  # pixels: a narrower filter changes nothing
_LEAST = 1.2  # pixels of a map per standard deviation of what it holds
_DOUBT = 1e-4  # weight at which half of an answer is the one given for where nothing was seen


@dataclass(frozen=True)
class Map:
    """An image of the whole scene with large pixels.

    Attributes:
        values: (channels, rows, cols), no NaN.
        pixel: Side of a pixel in fine pixels; the first one starts at the scene's corner.
    """

    values: Tensor
    pixel: float

    def at(self, row: int, col: int, shape: tuple[int, int]) -> Tensor:
        """(channels, rows, cols) at the fine pixels of a window, bilinearly.

        Args:
            row: Of the window's first pixel in the scene; may lie outside, as ``col`` may.
            col: Likewise.
            shape: Rows and columns of the window.
        """
        rows, above, below, down = self._steps(row, shape[0], self.values.shape[1])
        cols, left, right, across = self._steps(col, shape[1], self.values.shape[2])
        part = self.values[:, rows, cols]
        part = torch.lerp(part[:, above], part[:, below], down[:, None])
        return torch.lerp(part[:, :, left], part[:, :, right], across)

    def _steps(self, start: int, count: int, size: int) -> tuple[slice, Tensor, Tensor, Tensor]:
        """Along an axis: the part of the map, and where in it the pixels lie.

        The latter as the pixels of the map before and after each, and how far between them.
        """
        before, after, between = steps_between(start, count, self.pixel, size)
        part = slice(int(before[0]), int(after[-1]) + 1)
        first, second = ((place - part.start).to(self.values.device) for place in (before, after))
        return part, first, second, between.to(self.values)

    def to(self, device: torch.device) -> Map:
        """The same map on another device."""
        return Map(self.values.to(device), self.pixel)


def steps_between(start: int, count: int, pixel: float, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where fine pixels lie among large ones along an axis.

    Args:
        start: The first fine pixel; may lie outside.
        count: How many.
        pixel: Side of a large one in fine pixels.
        size: How many large ones there are.

    Returns:
        (count,) the large pixels before and after each, and float64 how far between their middles.
    """
    pixels = torch.arange(start, start + count, dtype=torch.float64)
    at = ((pixels + 0.5) / pixel - 0.5).clamp(0, size - 1)
    before = at.floor().long()
    return before, (before + 1).clamp(max=size - 1), at - before


def smooth(values: Tensor, weight: Tensor, sigma: float, otherwise: float | Tensor = 0.0) -> Tensor:
    """Weighted mean of an image around every pixel.

    Args:
        values: (channels, rows, cols), no NaN.
        weight: (1, rows, cols), 0 where a pixel is hidden.
        sigma: Standard deviation of the Gaussian in pixels.
        otherwise: The answer where nothing was seen, a number or (channels, 1, 1).
    """
    filtered = _gaussian(torch.cat([values * weight, weight]), sigma)
    return (filtered[:-1] + _DOUBT * otherwise) / (filtered[-1:] + _DOUBT)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """(channels, 1, 1) mean over all pixels, (channels, rows, cols), by (1, rows, cols) weights."""
    total = (values * weight).sum(dim=(1, 2), keepdim=True, dtype=torch.float64)
    return (total / weight.sum().clamp(min=1)).float()


def coarser(values: Tensor, weight: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Weighted means of blocks of ``factor`` x ``factor`` pixels, and their weights."""
    if factor == 1:
        return values, weight
    rows, cols = weight.shape[-2:]
    beyond = (0, -cols % factor, 0, -rows % factor)
    stack = functional.pad(torch.cat([values * weight, weight]), beyond)
    means = functional.avg_pool2d(stack[None], factor)[0]
    total = means[-1:]
    return torch.where(total > 0, means[:-1] / total.clamp(min=1e-30), 0.0), total


def widest_step(sigma: float) -> int:
    """Pixels that one pixel of a map may span, a power of two, when it holds so smooth an image."""
    step = 1
    while 2 * step * _LEAST <= sigma:
        step *= 2
    return step


def block_means(image: Tensor, side: int) -> Tensor:
    """Means of the known pixels of every side x side block; at the end blocks may be cut.

    Args:
        image: (channels, rows, cols), NaN where hidden.
        side: Of a block in pixels.

    Returns:
        (channels, rows / side, cols / side), rounded up; NaN where a whole block is hidden.
    """
    rows, cols = image.shape[-2:]
    if torch.isfinite(image.sum()) and not rows % side and not cols % side:
        return functional.avg_pool2d(image[None], side)[0]
    known = torch.isfinite(image)
    beyond = (0, -cols % side, 0, -rows % side)
    parts = (image.where(known, 0.0), known.to(image))
    means, shares = (functional.avg_pool2d(functional.pad(x, beyond)[None], side)[0] for x in parts)
    return means / shares  # 0 / 0 where nothing is known


def _gaussian(image: Tensor, sigma: float) -> Tensor:
    """Sums under a Gaussian of total 1; zeros lie beyond the border."""
    if sigma < _NARROW:
        return image
    apart = range(max(int(_REACH * sigma), 1) + 1)
    weights = [math.exp(-0.5 * (distance / sigma) ** 2) for distance in apart]
    total = 2 * sum(weights) - weights[0]
    for dim in (1, 2):
        image = _symmetric(image, dim, [weight / total for weight in weights])
    return image


def _symmetric(image: Tensor, dim: int, weights: list[float]) -> Tensor:
    """Weighted sums along an axis, tap by tap: a convolution would hold many copies at once."""
    size = image.shape[dim]
    sums = image * weights[0]
    for apart, weight in enumerate(weights[1:size], 1):
        left = size - apart
        sums.narrow(dim, apart, left).add_(image.narrow(dim, 0, left), alpha=weight)
        sums.narrow(dim, 0, left).add_(image.narrow(dim, apart, left), alpha=weight)
    return sums
