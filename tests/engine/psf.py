"""What coarse cells see of a fine image, by plain sums over its pixels (numpy)."""

from __future__ import annotations

import numpy as np


def seen(fine, centres, sigma, shift=(0.0, 0.0), reach=np.inf, known=None):
    """(bands, cells) Gaussian-weighted means, and (bands, cells) how much of the weight was known.

    Args:
        fine: (bands, rows, cols).
        centres: (2, cells) rows and columns; the centre of the first pixel is at (0.5, 0.5).
        sigma: Of the Gaussian, in pixels.
        shift: (rows, cols) from the centres to where the cells look.
        reach: Pixels further away along an axis, in standard deviations, are not seen.
        known: (bands, rows, cols) bool; others are not seen.
    """
    known = np.ones(fine.shape, dtype=bool) if known is None else known
    filled = np.where(known, fine, 0.0)
    rows, cols = (np.arange(n) + 0.5 for n in fine.shape[1:])
    values, shares = [], []
    for row, col in np.asarray(centres).T:
        down, across = rows - row - shift[0], cols - col - shift[1]
        weight = np.outer(*(np.exp(-(d**2) / (2 * sigma**2)) * (abs(d) <= reach * sigma)
                            for d in (down, across)))  # fmt: skip
        share = (known * weight).sum(axis=(1, 2))
        with np.errstate(invalid="ignore"):
            values.append((filled * weight).sum(axis=(1, 2)) / share)
        shares.append(share / (2 * np.pi * sigma**2))
    return np.array(values).T, np.array(shares).T


def land(rng, rows, cols, sizes=(5, 17, 40), bands=2):
    """(bands, rows, cols) of square fields of several sizes."""
    parts = [
        np.kron(rng.random((bands, -(-rows // s), -(-cols // s))), np.ones((s, s))) for s in sizes
    ]
    return sum(part[:, :rows, :cols] for part in parts) / len(sizes)
