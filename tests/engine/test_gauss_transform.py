"""Sums of Gaussians around many points, as by their definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rasterfuse.models.kernels.gauss_transform import FARTHEST, gauss_transform

BACKENDS = ("auto", "torch")


def by_definition(weights, points):
    """The sums in double precision, of all pairs that are near enough."""
    apart = ((points[:, None].astype(float) - points[None].astype(float)) ** 2).sum(axis=2)
    return weights @ np.where(apart <= FARTHEST**2, np.exp(-apart / 2), 0)


@pytest.mark.parametrize("wanted", BACKENDS)
@pytest.mark.parametrize(("count", "coordinates"), [(1, 1), (7, 2), (200, 5)])
def test_sums_are_those_of_the_definition(rng, wanted, count, coordinates):
    points = rng.normal(0, 3, (count, coordinates)).astype(np.float32)
    weights = (rng.random((9, count)) * (rng.random((9, count)) < 0.3)).astype(np.float32)
    found = gauss_transform(torch.from_numpy(weights), torch.from_numpy(points), wanted)
    np.testing.assert_allclose(found.numpy(), by_definition(weights, points), atol=2e-5)


@pytest.mark.parametrize("wanted", BACKENDS)
def test_points_in_the_same_place_count_each(wanted):
    found = gauss_transform(torch.tensor([[1.0, 2.0, 4.0]]), torch.zeros(3, 2), wanted)
    torch.testing.assert_close(found, torch.full((1, 3), 7.0))


@pytest.mark.parametrize("wanted", BACKENDS)
def test_what_is_too_far_away_counts_nothing(wanted):
    points = torch.tensor([[0.0, 0.0], [0.0, FARTHEST + 0.1], [FARTHEST + 0.1, 0.0]])
    found = gauss_transform(torch.tensor([[1.0, 0.0, 0.0]]), points, wanted)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0, 0.0]]))


@pytest.mark.parametrize("wanted", BACKENDS)
def test_no_points_and_no_sets_are_no_sums(wanted):
    assert gauss_transform(torch.zeros(3, 0), torch.zeros(0, 4), wanted).shape == (3, 0)
    assert gauss_transform(torch.zeros(0, 2), torch.zeros(2, 4), wanted).shape == (0, 2)
