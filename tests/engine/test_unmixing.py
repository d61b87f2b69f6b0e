"""Classes and their change: k-means and unmixing on data with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rasterfuse.models.errors import InputError
from rasterfuse.models.spatiotemporal.classes import k_means, separation
from rasterfuse.models.spatiotemporal.fsdaf import unmix


def clusters(seed=1):
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 5.0], [6.0, 6.0]])
    points = np.concatenate([c + 0.3 * rng.standard_normal((200, 2)) for c in centres])
    return centres, torch.from_numpy(rng.permutation(points))


def test_k_means_finds_separate_clusters():
    centres, points = clusters()
    found = k_means(points, 4).numpy()
    apart = np.linalg.norm(found[:, None] - centres[None], axis=2)
    assert sorted(apart.argmin(axis=1)) == [0, 1, 2, 3]
    # Standard error of a mean of 200 points of spread 0.3 is 0.02 per axis.
    assert apart.min(axis=1).max() < 0.1


def test_k_means_gives_the_same_answer_twice():
    _, points = clusters()
    assert torch.equal(k_means(points, 5), k_means(points, 5))


def test_the_right_number_of_clusters_stands_apart_best():
    _, points = clusters()
    figures = {count: separation(points, k_means(points, count)) for count in range(2, 8)}
    assert max(figures, key=figures.get) == 4


def test_unmixing_recovers_the_change_of_every_class():
    rng = np.random.default_rng(5)
    shares = rng.dirichlet(np.full(4, 0.4), size=(15, 20)).transpose(2, 0, 1)
    truth = np.array([[0.1, -0.2], [0.0, 0.3], [-0.15, 0.05], [0.25, 0.1]])
    change = np.einsum("cb,cij->bij", truth, shares)
    shares[:, 3, 4] = np.nan
    moved = unmix(torch.from_numpy(shares), torch.from_numpy(change))
    np.testing.assert_allclose(moved, truth, atol=1e-5)


def test_unmixing_needs_a_cell_per_class():
    shares = torch.full((4, 1, 3), 0.25)
    with pytest.raises(InputError, match=r"Only 3 coarse cells .* at least 4"):
        unmix(shares, torch.zeros(2, 1, 3))
