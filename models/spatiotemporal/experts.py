"""Experts: simple estimates of the fine change, and what tells which of them to believe.

Everything scales with the ratio of the pixel sizes and is in units of the fine reference's
standard deviation per band, so that one network serves any sensor, unit and number of bands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .change_model import NOISE, REST, Bank, Regression, Unmixing, bank_of, filled, regress, unmix
from .filter_bank import Map, coarser, smooth, weighted_mean, widest_step
from .fine_look import FineLook
from .reduced_pair import ReducedPair

IMAGES = (
    "component 1", "component 2", "change", "E4", "E5", "E6",
    "D1", "D2", "D3", "mismatch", "wide mismatch", "texture",
)  # fmt: skip
SCALARS = ("ratio", "correlation", "spread", "size", "explained", "mean")

_WIDE = 2.0  # widths of filters in coarse pixels
_MISMATCH, _TEXTURE, _LOCAL = 1.2, 1.0, 1.5
_LOCAL_RIDGE = 0.1
_TINY = 1e-4
_USUAL_RATIO = 16.0


@dataclass(frozen=True)
class Experts:
    """What was learnt of a reference pair and the target, for the whole scene.

    Attributes:
        look: Scale, components and classes of the fine reference.
        regression: E5.
        unmixing: E6.
        local: E4, map of slopes and intercepts (2 x bands).
        narrow: Maps of D1 and the mismatch.
        middle: Maps of D2 and the texture.
        wide: Maps of D3 and the wide mismatch.
        scalars: (bands, 6).
    """

    look: FineLook
    regression: Regression
    unmixing: Unmixing
    local: Map
    narrow: tuple[Map, Map]
    middle: tuple[Map, Map]
    wide: tuple[Map, Map]
    scalars: Tensor

    def at(self, fine: Tensor, change: Tensor, row: int, col: int) -> dict[str, Tensor]:
        """(bands or 1, rows, cols) images of a window of the scene, as IMAGES names them.

        Args:
            fine: (bands, rows, cols) scaled fine reference, 0 where hidden.
            change: (bands, rows, cols) coarse target less coarse reference in the image's unit, NaN
                where hidden.
            row: Of the window's first pixel in the scene; may lie outside, as ``col`` may.
            col: Likewise.
        """
        shape = (fine.shape[1], fine.shape[2])
        d1, mismatch = (field.at(row, col, shape) for field in self.narrow)
        d2, texture = (field.at(row, col, shape) for field in self.middle)
        d3, wide = (field.at(row, col, shape) for field in self.wide)
        raw = change / self.look.scale[:, None, None]
        slope, intercept = self.local.at(row, col, shape).chunk(2)
        one, two = torch.tensordot(self.look.components, fine, dims=1).split(1)
        images = (
            one, two, torch.where(torch.isfinite(raw), raw, d2), slope * fine + intercept,
            self.regression.at(fine, row, col), self.unmixing.at(fine, row, col),
            d1, d2, d3, mismatch, wide, texture,
        )  # fmt: skip
        return dict(zip(IMAGES, images))

    def to(self, device: torch.device) -> Experts:
        """The same on another device."""
        narrow, middle, wide = (
            (one.to(device), other.to(device))
            for one, other in (self.narrow, self.middle, self.wide)
        )
        return Experts(
            self.look.to(device), self.regression.to(device), self.unmixing.to(device),
            self.local.to(device), narrow, middle, wide, self.scalars.to(device),
        )  # fmt: skip


def experts_of(pair: ReducedPair) -> Experts:
    """All experts of a reduced pair."""
    bank = bank_of(pair)
    regression = regress(bank)
    coarse, mismatch, wide_mismatch = _mismatch(bank, pair.coarse_reference)
    d1, d2, d3 = (
        _plus(bank.map(bank.change, bank.both, sigma), bank.mean) for sigma in (NOISE, REST, _WIDE)
    )
    return Experts(
        pair.look, regression, unmix(bank, pair), _local_lines(bank), (d1, mismatch),
        (d2, _texture(bank, pair.variance)), (d3, wide_mismatch),
        _scalars(bank, regression, coarse),
    )  # fmt: skip


def _plus(field: Map, level: Tensor) -> Map:
    return Map(field.values + level, field.pixel)


def _mismatch(bank: Bank, coarse: Tensor) -> tuple[Tensor, Map, Map]:
    """What the coarse reference shows otherwise than the fine one: smoothed coarse, two maps."""
    coarse, known = filled(coarse)
    weight = known * bank.fine_known
    seen = bank.smooth((coarse - weighted_mean(coarse, weight)) * weight, weight, NOISE)
    off = (seen - bank.view) * weight
    off = off - weight * off.sum(dim=(1, 2), keepdim=True) / weight.sum().clamp(min=1)
    return seen, bank.map(off, weight, NOISE), bank.map(off, weight, _MISMATCH)


def _texture(bank: Bank, inside: Tensor) -> Map:
    """Local standard deviation of the fine image."""
    inside = inside.where(bank.fine_known > 0, 0.0)
    stack = torch.cat([bank.fine, bank.fine.square() + inside])
    mean, squares = bank.map(stack, bank.fine_known, _TEXTURE).values.chunk(2)
    pixel = bank.step * widest_step(bank.pixels(_TEXTURE))
    return Map((squares - mean.square()).clamp(min=1e-6).sqrt(), pixel)


def _local_lines(bank: Bank) -> Map:
    """E4: in every band a line of its own around every place."""
    bands, factor = len(bank.view), widest_step(bank.pixels(_LOCAL))
    few, weight = coarser(torch.cat([bank.view, bank.quiet]), bank.both, factor)
    x, y = few.chunk(2)
    stack = torch.cat([x, y, x * x, x * y])
    mx, my, xx, xy = smooth(stack, weight, bank.pixels(_LOCAL) / factor).split(bands)
    variance = bank.view.var(dim=(1, 2), correction=0)[:, None, None]
    slope = (xy - mx * my) / ((xx - mx * mx).clamp(min=0) + _LOCAL_RIDGE * variance + _TINY)
    return Map(torch.cat([slope, my + bank.mean - slope * mx]), bank.step * factor)


def _scalars(bank: Bank, regression: Regression, coarse: Tensor) -> Tensor:
    """(bands, 6) what is true of the whole scene."""
    weight, count = bank.both, bank.both.sum().clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return (values * weight).sum(dim=(1, 2)) / count

    def centred(values: Tensor) -> Tensor:
        return values - mean(values)[:, None, None]

    x, y, change = centred(bank.view), centred(coarse), centred(bank.quiet)
    xs, ys = mean(x * x).sqrt(), mean(y * y).sqrt()
    return torch.stack(
        [
            torch.full_like(xs, math.log(bank.ratio / _USUAL_RATIO)),
            mean(x * y) / (xs * ys + 1e-6),
            (ys.clamp(min=1e-3) / xs.clamp(min=1e-3)).log().clamp(-1, 1),
            mean(change * change).sqrt(),
            regression.explained,
            bank.mean.flatten(),
        ],
        dim=1,
    )
