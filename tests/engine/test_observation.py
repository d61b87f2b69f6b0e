"""The PSF and the shift of a coarse image are found again after being put there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rasterfuse.plugin.engine.observation import CellViews, Observation, estimate

RATIO = 12
CELLS = 24


def ground(seed=1):
    """(2, rows, cols) of fields of a few pixels to a few cells."""
    rng = np.random.default_rng(seed)
    size = RATIO * CELLS
    fields = sum(
        np.kron(rng.random((2, -(-size // s), -(-size // s))), np.ones((s, s)))[:, :size, :size]
        for s in (5, 17, 40)
    )
    return fields.astype("float32")


def centres():
    at = (torch.arange(CELLS, dtype=torch.float64) + 0.5) * RATIO
    return torch.stack(torch.meshgrid(at, at, indexing="ij")).flatten(1)


def seen(fine, sigma, shift):
    """What cells see, by plain sums over all pixels (numpy)."""
    rows, cols = np.mgrid[0 : fine.shape[1], 0 : fine.shape[2]] + 0.5
    values = []
    for row, col in centres().T.numpy():
        squared = (rows - row - shift[0]) ** 2 + (cols - col - shift[1]) ** 2
        weight = np.exp(-squared / (2 * sigma**2))
        values.append((fine * weight).sum(axis=(1, 2)) / weight.sum())
    return np.array(values).T


@pytest.mark.parametrize(
    ("sigma", "shift"), [(6.0, (0.0, 0.0)), (6.0, (4.0, -7.0)), (9.0, (10.0, 3.0))]
)
def test_width_and_shift_are_found(sigma, shift):
    fine = ground()
    coarse = torch.from_numpy(seen(fine, sigma, shift).astype("float32"))
    found = estimate(torch.from_numpy(fine), coarse, centres(), RATIO)
    assert found.reliable
    assert found.correlation > 0.99
    assert found.shift == pytest.approx(shift, abs=1.0)  # the search ends at half pixels
    assert found.sigma == pytest.approx(sigma, rel=0.15)  # and at steps of 12 %


def test_images_that_have_nothing_in_common_give_usual_values():
    coarse = torch.rand(2, CELLS * CELLS, generator=torch.Generator().manual_seed(1))
    found = estimate(torch.from_numpy(ground()), coarse, centres(), RATIO)
    assert not found.reliable
    assert found.shift == (0.0, 0.0)
    assert found.sigma == pytest.approx(0.55 * RATIO)


def test_views_add_up_over_pieces():
    fine, observation = ground(), Observation(5.0, (2.0, -3.0), 1.0, 1.0, True)
    views = CellViews(centres(), observation)
    image = torch.from_numpy(fine)
    for row in range(0, fine.shape[1], 100):
        for col in range(0, fine.shape[2], 70):
            piece = image[:, row : row + 100, col : col + 70]
            views.add(piece, torch.ones(piece.shape[1:], dtype=torch.bool), row, col)
    means = views.means().numpy()
    expected = seen(fine, 5.0, (2.0, -3.0))
    known = np.isfinite(means)
    assert known.mean() > 0.9
    # The sums leave out what lies beyond 3.5 standard deviations.
    np.testing.assert_allclose(means[known], expected[known], atol=5e-3)
