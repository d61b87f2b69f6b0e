"""What a fine image is like: its scale, its main components and its soft classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .classes import k_means

CLASSES = 6
_SOFTNESS = 1.0  # squared distance per band, in standard deviations, at which a class fades
_LEARNT_FROM = 4_000  # pixels
_SAME = 1e-6  # of its level: a band that varies less is constant
_ROBUST = 1.4826  # a Gaussian's standard deviation in median deviations
_LEAST_SHARE = 0.05  # of a band's variance: a smaller component is not blown up to 1


@dataclass(frozen=True)
class FineLook:
    """Figures of a fine image over the whole scene.

    Attributes:
        level: (bands,) mean.
        scale: (bands,) what counts as 1: the standard deviation, but of a constant band.
        flat: (bands,) bool, which bands are constant.
        spread: (bands,) robust standard deviation of the scaled bands.
        components: (2, bands) weights of scaled bands; 0 for a second one of a single band.
        centres: (classes, bands) of the soft classes, scaled.
    """

    level: Tensor
    scale: Tensor
    flat: Tensor
    spread: Tensor
    components: Tensor
    centres: Tensor

    def scaled(self, fine: Tensor) -> Tensor:
        """(bands, rows, cols) in standard deviations from the mean; 0 in constant bands."""
        varied = (~self.flat).to(fine.dtype) / self.scale
        return (fine - self.level[:, None, None]) * varied[:, None, None]

    def known(self, fine: Tensor, valid: Tensor) -> Tensor:
        """The same of an image that is known in some places only; 0 elsewhere."""
        return self.scaled(fine.where(valid, self.level[:, None, None]))

    def memberships(self, scaled: Tensor) -> Tensor:
        """(classes, rows, cols): how much every pixel belongs to each class, 1 in all."""
        # The square of a pixel itself is the same for all classes.
        nearness = 2 * self.centres @ scaled.flatten(1) - self.centres.square().sum(1, keepdim=True)
        softness = _SOFTNESS * len(scaled)
        return torch.softmax(nearness / softness, dim=0).reshape(-1, *scaled.shape[1:])

    def to(self, device: torch.device) -> FineLook:
        """The same on another device."""
        return FineLook(*(getattr(self, name).to(device) for name in self.__annotations__))


def look_at(pixels: Tensor, classes: int = CLASSES) -> FineLook:
    """Learn the figures.

    Args:
        pixels: (bands, n) of the fine image, no NaN, spread evenly; n may be 0.
        classes: How many soft classes to find, less where the pixels differ less; 0 for none.
    """
    values = pixels.double()
    if not values.numel():
        values = torch.zeros(len(pixels), 1, dtype=torch.float64)
    level = values.mean(dim=1)
    scale = values.std(dim=1, correction=0)
    flat = scale <= _SAME * level.abs()
    scale = torch.where(flat, 1.0, scale)
    scaled = (values - level[:, None]) / scale[:, None]
    scaled[flat] = 0.0
    every = max(scaled.shape[1] // _LEARNT_FROM, 1)
    some = scaled[:, ::every].T.contiguous()
    count = min(classes, len(torch.unique(some, dim=0)))
    centres = k_means(some, count) if count else some[:0]
    components = _components(scaled @ scaled.T / scaled.shape[1])
    figures = (level, scale, flat, _spread(some), components, centres)
    return FineLook(*(t if t.dtype == torch.bool else t.float() for t in figures))


def _spread(pixels: Tensor) -> Tensor:
    """(bands,) of (n, bands): 1.48 times the median deviation from the median; 1 where it is 0."""
    away = (pixels - pixels.median(dim=0).values).abs().median(dim=0).values
    return torch.where(away > _SAME, _ROBUST * away, 1.0)


def _components(correlation: Tensor) -> Tensor:
    """(2, bands) float64: the two main components, each of variance 1, signs told by the bands."""
    bands = len(correlation)
    sizes, vectors = torch.linalg.eigh(correlation)
    found = torch.zeros(2, bands, dtype=torch.float64)
    for number in range(min(bands, 2)):
        vector = vectors[:, -1 - number]
        sign = 1.0 if vector[vector.abs().argmax()] >= 0 else -1.0
        found[number] = sign * vector / sizes[-1 - number].clamp(min=_LEAST_SHARE).sqrt()
    return found
