"""Bring coarse images into the fine image's units, band by band. Pure functions.

Fine and coarse sensors differ in units (0 to 1 against 0 to 10000, counts against reflectance) and
in calibration. A line per band is fitted on the reference pairs at coarse cells and always
reported. It is applied where the units clearly differ: fitted gains also carry noise, so images
that are in the same units already are better left alone.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MIN_CELLS = 6
_MIN_CORRELATION = 0.3


@dataclass(frozen=True)
class BandFit:
    """fine = gain * coarse + offset for one band, and how well it fits at coarse cells.

    ``rmse_before`` and ``rmse_after`` are in the fine image's unit; NaN where there are no cells.
    """

    band: int
    gain: float
    offset: float
    correlation: float
    rmse_before: float
    rmse_after: float
    cells: int
    other_units: bool


@dataclass(frozen=True)
class Harmonisation:
    """What is done to the coarse images: value * gain + offset per band."""

    mode: str
    applied: bool
    reason: str
    fits: tuple[BandFit, ...]
    gains: Tensor
    offsets: Tensor

    def apply(self, coarse: Tensor) -> Tensor:
        """Harmonise (…, bands, rows, cols) physical values."""
        if not self.applied:
            return coarse
        return coarse * self.gains[:, None, None] + self.offsets[:, None, None]

    def report(self) -> dict[str, Any]:
        bands = [{k: v for k, v in asdict(fit).items() if k != "other_units"} for fit in self.fits]
        for band, gain, offset in zip(bands, self.gains.tolist(), self.offsets.tolist()):
            band.update(applied_gain=gain, applied_offset=offset)
        return {
            "mode": self.mode,
            "applied": self.applied,
            "reason": self.reason,
            "bands": bands,
        }


def fit_band(band: int, coarse: Tensor, fine: Tensor) -> BandFit:
    """Fit a line through cell values of one band.

    The slope is the reduced major axis (ratio of the spreads): both images are noisy, and least
    squares of one on the other would shrink every change. Cells off by more than three robust
    standard deviations (clouds in one image) are left out; correlation and units are judged
    without them.

    Args:
        band: 1-based number for the report.
        coarse: (cells,) values, NaN where missing.
        fine: (cells,) means of the fine image over the same cells.
    """
    both = torch.isfinite(coarse) & torch.isfinite(fine)
    c, f = coarse[both].double(), fine[both].double()
    if len(c) < _MIN_CELLS or c.std() == 0 or f.std() == 0:
        before = float((c - f).square().mean().sqrt()) if len(c) else math.nan
        return BandFit(band, 1.0, 0.0, math.nan, before, before, len(c), _apart(c, f))
    keep = _trusted(c, f)
    gain, offset = _line(c[keep], f[keep])
    return BandFit(
        band,
        gain,
        offset,
        float(torch.corrcoef(torch.stack([c[keep], f[keep]]))[0, 1]),
        float((c - f).square().mean().sqrt()),
        float((gain * c + offset - f).square().mean().sqrt()),
        len(c),
        _apart(c[keep], f[keep]),
    )


def _trusted(c: Tensor, f: Tensor) -> Tensor:
    """(cells,) bool: cells near the line; all where no line holds for most of them."""
    everything = torch.ones_like(c, dtype=torch.bool)
    # The middle half of either image starts the search, so that no cloud can pull the line.
    wide = [float(np.subtract(*np.quantile(values.numpy(), [0.75, 0.25]))) for values in (c, f)]
    if min(wide) <= 0:
        return everything
    centred = [(v - v.median()).clamp(-w, w) for v, w in zip((c, f), wide)]
    gain = wide[1] / wide[0] * (-1.0 if (centred[0] * centred[1]).mean() < 0 else 1.0)
    offset = float(f.median() - gain * c.median())
    keep = everything
    for _ in range(5):
        residual = f - gain * c - offset
        spread = 1.4826 * (residual - residual.median()).abs().median()
        keep = (residual - residual.median()).abs() <= 3 * spread
        if not spread > 0 or int(keep.sum()) < _MIN_CELLS:
            return everything
        if not (c[keep].std() > 0 and f[keep].std() > 0):
            return everything
        gain, offset = _line(c[keep], f[keep])
    return keep


def _line(c: Tensor, f: Tensor) -> tuple[float, float]:
    covariance = ((c - c.mean()) * (f - f.mean())).mean()
    gain = float(f.std() / c.std()) * (-1.0 if covariance < 0 else 1.0)
    return gain, float(f.mean() - gain * c.mean())


def _apart(c: Tensor, f: Tensor) -> bool:
    """Whether the values differ so much that the units must differ."""
    if len(c) < 2:
        return False
    spread, other = float(f.std()), float(c.std())
    if spread > 0 and other > 0 and not 0.4 <= spread / other <= 2.5:
        return True
    return bool((f.mean() - c.mean()).abs() > 3 * max(spread, other) > 0)


def _decade(coarse_means: list[float], fine_means: list[float]) -> float | None:
    """A power of ten that explains the difference of units in all bands, e.g. 10000."""
    ratios = [f / c for c, f in zip(coarse_means, fine_means) if c > 0 and f > 0]
    if len(ratios) < max(len(coarse_means), 1):
        return None
    decades = {round(math.log10(ratio)) for ratio in ratios}
    if len(decades) != 1 or decades == {0}:
        return None
    decade = 10.0 ** decades.pop()
    return decade if all(0.6 <= ratio / decade <= 1.7 for ratio in ratios) else None


def harmonise(mode: str, coarse: Tensor, fine: Tensor) -> Harmonisation:
    """Decide how to bring coarse images into the fine image's units.

    Args:
        mode: ``auto``, ``always`` or ``never``.
        coarse: (bands, cells) of all reference pairs, NaN where missing.
        fine: (bands, cells) means of the fine images over the same cells.
    """
    fits = tuple(fit_band(i, c, f) for i, (c, f) in enumerate(zip(coarse, fine), 1))
    ones, zeros = torch.ones(len(fits)), torch.zeros(len(fits))
    differ = any(fit.other_units for fit in fits)
    if mode == "never":
        reason = "Fitting the coarse images to the fine ones is switched off." + (
            " They seem to be in different units; switch it on, or state scale and offset."
            if differ
            else ""
        )
        return Harmonisation(mode, False, reason, fits, ones, zeros)
    if mode == "auto" and not differ:
        reason = "Coarse and fine images are in the same units; nothing was changed."
        return Harmonisation(mode, False, reason, fits, ones, zeros)
    decade = _decade(coarse.nanmean(dim=1).tolist(), fine.nanmean(dim=1).tolist())
    if mode == "auto" and decade is not None:
        reason = (
            f"The fine values are about {decade:g} times the coarse ones, so the coarse images "
            f"were multiplied by {decade:g}."
        )
        return Harmonisation(mode, True, reason, fits, ones * decade, zeros)
    unsure = [fit.band for fit in fits if not fit.correlation >= _MIN_CORRELATION]
    if unsure:
        reason = (
            f"Coarse and fine band {unsure[0]} hardly agree (correlation "
            f"{fits[unsure[0] - 1].correlation:.2f}), so no line could be fitted. State scale and "
            "offset of the coarse images."
        )
        return Harmonisation(mode, False, reason, fits, ones, zeros)
    reason = "The coarse images were fitted to the fine ones, one line per band."
    gains = torch.tensor([fit.gain for fit in fits], dtype=torch.float32)
    offsets = torch.tensor([fit.offset for fit in fits], dtype=torch.float32)
    return Harmonisation(mode, True, reason, fits, gains, offsets)
