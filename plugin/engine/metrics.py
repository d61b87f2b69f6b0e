"""Measures of agreement between a reference image and a fused one. Pure numpy.

Images are (bands, rows, cols) arrays (or CPU tensors) in one unit, NaN for nodata. A value counts
where both images are valid; the spectral angle needs all bands of a pixel. Sums run in float64.
Definitions: Wald (2000) for ERGAS, Wang et al. (2004, doi:10.1109/TIP.2003.819861) for SSIM.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...models.errors import InputError

Array = NDArray[np.float64]

_SIDE, _SIGMA = 11, 1.5  # Wang's window
_K1, _K2 = 0.01, 0.03


def rmse(reference: ArrayLike, fused: ArrayLike) -> Array:
    """(bands,) root mean square error, in the unit of the images; NaN for a band without values.

    Raises:
        InputError: The images differ in shape (so do all measures here).
    """
    true, found = _both(reference, fused)
    return np.sqrt(_mean((true - found) ** 2))


def bias(reference: ArrayLike, fused: ArrayLike) -> Array:
    """(bands,) mean of fused minus reference, in the unit of the images."""
    true, found = _both(reference, fused)
    return _mean(found - true)


def cc(reference: ArrayLike, fused: ArrayLike) -> Array:
    """(bands,) Pearson correlation, -1 to 1; NaN for a constant band."""
    true, found = _both(reference, fused)
    true = true - _mean(true)[:, None, None]
    found = found - _mean(found)[:, None, None]
    spread = np.sqrt(_mean(true**2) * _mean(found**2))
    return _mean(true * found) / np.where(spread > 0, spread, np.nan)


def sam(reference: ArrayLike, fused: ArrayLike) -> float:
    """Mean angle between the spectra of a pixel, in degrees; pixels of zero length do not count."""
    true, found = _both(reference, fused)
    length = np.sqrt((true**2).sum(axis=0) * (found**2).sum(axis=0))
    cosine = (true * found).sum(axis=0) / np.where(length > 0, length, np.nan)
    angles = np.degrees(np.arccos(cosine.clip(-1, 1)))
    return float(_mean(angles[None])[0])


def ergas(reference: ArrayLike, fused: ArrayLike, ratio: float) -> float:
    """Relative error over all bands in percent: 100 / ratio * sqrt(mean((RMSE / mean) ** 2)).

    Args:
        reference: Its band means divide the errors; NaN where one of them is 0.
        fused: The image to judge.
        ratio: Coarse over fine pixel size.
    """
    true, found = _both(reference, fused)
    level = _mean(true) ** 2
    relative = _mean((true - found) ** 2) / np.where(level > 0, level, np.nan)
    return float(100 / ratio * math.sqrt(relative.mean()))


def ssim(reference: ArrayLike, fused: ArrayLike, data_range: float) -> Array:
    """(bands,) mean structural similarity over all 11 x 11 windows without nodata, at most 1.

    Args:
        reference: The true image.
        fused: The image to judge.
        data_range: Difference between the largest and the smallest value the data may have, e.g.
            1 for reflectance. It changes the result, so state it with every number.

    Raises:
        InputError: The images differ in shape or are smaller than a window; no data range.
    """
    if not data_range > 0:
        raise InputError(f"The data range is {data_range}. Give one above 0, e.g. 1.")
    true, found = _both(reference, fused)
    if min(true.shape[1:]) < _SIDE:
        raise InputError(
            f"{true.shape[1]} x {true.shape[2]} pixels are less than the {_SIDE} x {_SIDE} window "
            "of SSIM. Compare a larger area."
        )
    holes = np.isnan(true)
    true, found = np.where(holes, 0, true), np.where(holes, 0, found)
    mean_t, mean_f = _blur(true), _blur(found)
    variance_t, variance_f = _blur(true**2) - mean_t**2, _blur(found**2) - mean_f**2
    covariance = _blur(true * found) - mean_t * mean_f
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    similarity = (2 * mean_t * mean_f + c1) / (mean_t**2 + mean_f**2 + c1)
    similarity *= (2 * covariance + c2) / (variance_t + variance_f + c2)
    # A window with a hole has less than full weight; what remains of it is rounding.
    similarity[_blur(holes.astype(np.float64)) > 1e-9] = np.nan
    return _mean(similarity)


def assess(
    reference: ArrayLike, fused: ArrayLike, ratio: float, data_range: float
) -> dict[str, Any]:
    """All measures by name: per band as lists, and ``mean_rmse``, the mean of the band RMSEs."""
    errors = rmse(reference, fused)
    return {
        "rmse": errors.tolist(),
        "mean_rmse": float(errors.mean()),
        "bias": bias(reference, fused).tolist(),
        "cc": cc(reference, fused).tolist(),
        "ssim": ssim(reference, fused, data_range).tolist(),
        "sam": sam(reference, fused),
        "ergas": ergas(reference, fused, ratio),
    }


def _both(reference: ArrayLike, fused: ArrayLike) -> tuple[Array, Array]:
    """Both images in float64, NaN in both where one is not finite."""
    true, found = (np.asarray(image).astype(np.float64) for image in (reference, fused))
    if true.shape != found.shape or true.ndim != 3:
        raise InputError(
            f"The reference has the shape {true.shape}, the fused image {found.shape}. Give two "
            "images of (bands, rows, cols) on one grid."
        )
    holes = ~(np.isfinite(true) & np.isfinite(found))
    true[holes] = np.nan
    found[holes] = np.nan
    return true, found


def _mean(values: Array) -> Array:
    """(bands,) mean of the values that are no NaN; NaN where there are none."""
    valid = ~np.isnan(values)
    count = valid.sum(axis=(1, 2))
    total = np.where(valid, values, 0).sum(axis=(1, 2))
    return total / np.where(count > 0, count, np.nan)


def _blur(image: Array) -> Array:
    """Gaussian means of all whole windows: (bands, rows - 10, cols - 10)."""
    offsets = np.arange(_SIDE) - _SIDE // 2
    weights = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    weights /= weights.sum()
    rows, cols = image.shape[1] - _SIDE + 1, image.shape[2] - _SIDE + 1
    image = sum(weight * image[:, i : i + rows] for i, weight in enumerate(weights))
    return sum(weight * image[:, :, i : i + cols] for i, weight in enumerate(weights))
