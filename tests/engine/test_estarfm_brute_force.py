"""ESTARFM against plain loops over pixels, written from the published description."""

from __future__ import annotations

import numpy as np
import pytest

WINDOW, CLASSES, SIMILAR, CHANGE = 7, 2, 8, 0.5


def estarfm(fine, coarse, target, row, col):
    """One pixel of one band set: (bands,). Inputs (pairs, bands, rows, cols) and (bands, …)."""
    pairs, bands, rows, cols = fine.shape
    spread = fine.std(axis=(2, 3))
    threshold = 2 * spread / CLASSES
    radius = WINDOW // 2
    window = [
        (r, c)
        for r in range(max(row - radius, 0), min(row + radius + 1, rows))
        for c in range(max(col - radius, 0), min(col + radius + 1, cols))
    ]
    scored = []
    for r, c in window:
        apart = np.abs(fine[:, :, r, c] - fine[:, :, row, col]) / threshold
        if apart.max() < 1:
            far = np.hypot(r - row, c - col)
            scored.append((apart.sum(), far, r, c))
    similar = sorted(scored)[:SIMILAR]
    mean_change = np.array(
        [[np.mean([target[b, r, c] - coarse[k, b, r, c] for r, c in window])
          for b in range(bands)] for k in range(pairs)]
    )  # fmt: skip
    share = 1 / np.abs(mean_change)
    share = share / share.sum(axis=0)
    if len(similar) <= 5:
        return (share * (fine[:, :, row, col] + mean_change)).sum(axis=0)
    weights = []
    for _, far, r, c in similar:
        likeness = np.corrcoef(fine[:, :, r, c].ravel(), coarse[:, :, r, c].ravel())[0, 1]
        weights.append(1 / ((1 - likeness) * (1 + far / radius) + 1e-7))
    weights = np.array(weights) / np.sum(weights)
    answer = np.zeros(bands)
    for b in range(bands):
        x = np.array([coarse[k, b, r, c] for k in range(pairs) for _, _, r, c in similar])
        y = np.array([fine[k, b, r, c] for k in range(pairs) for _, _, r, c in similar])
        slope = conversion(x, y, spread[:, b].mean())
        for k in range(pairs):
            moved = sum(
                w * (target[b, r, c] - coarse[k, b, r, c])
                for w, (_, _, r, c) in zip(weights, similar)
            )
            answer[b] += share[k, b] * (fine[k, b, row, col] + slope * moved)
    return answer


def conversion(x, y, spread):
    half = len(x) // 2
    if abs(x[:half].mean() - x[half:].mean()) < CHANGE * spread:
        return 1.0
    slope, _ = np.polyfit(x, y, 1)
    r2 = np.corrcoef(x, y)[0, 1] ** 2
    freedom = len(x) - 2
    t = 1.96 + 2.72 / freedom
    significant = r2 >= t * t / (t * t + freedom)
    return slope if significant and 0 < slope <= 5 else 1.0


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_estarfm_agrees_with_plain_loops(rasters, backend):
    rng = np.random.default_rng(10)
    rows, cols = 14, 15
    ground = rng.random((2, rows, cols)).repeat(1, axis=0)
    ground = np.kron(rng.random((2, 5, 5)), np.ones((3, 3)))[:, :rows, :cols] + 0.1 * ground
    fine = np.stack([ground, 0.6 * ground + 0.5 + 0.05 * rng.random(ground.shape)])
    coarse = fine + 0.05 * rng.random(fine.shape)
    target = 0.5 * (coarse[0] + coarse[1]) + 0.05 * rng.random(ground.shape)
    pairs = [(rasters.write(f"c{k}", coarse[k]), rasters.write(f"f{k}", fine[k])) for k in range(2)]
    job = rasters.spatiotemporal(
        rasters.write("t", target), *pairs, model="estarfm", backend=backend,
        parameters={"window": WINDOW, "classes": CLASSES, "similar": SIMILAR, "change": CHANGE},
    )  # fmt: skip
    result, report = rasters.fuse(job)
    assert report["backend"] == backend
    stored = [a.astype("float32").astype("float64") for a in (fine, coarse, target)]
    expected = np.array(
        [[estarfm(*stored, row, col) for col in range(cols)] for row in range(rows)]
    ).transpose(2, 0, 1)
    # Sums in float32, and weights of up to 1e7 where images agree perfectly: 1e-3 of the range.
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-3)
