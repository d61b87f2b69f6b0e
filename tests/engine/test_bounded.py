"""Least squares within bounds, against the conditions that hold at a minimum and nowhere else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from rasterfuse.models.spatiotemporal.bounded import bounded_minimum


def problems(count, unknowns, seed, alike=0.0):
    """Random problems; ``alike`` near 1 makes their unknowns hard to tell apart."""
    rng = np.random.default_rng(seed)
    system = (1 - alike) * rng.random((count, 25, unknowns)) + alike * rng.random((count, 25, 1))
    matrix = system.transpose(0, 2, 1) @ system + 1e-4 * np.eye(unknowns)
    vector = (system * rng.standard_normal((count, 25, 1))).sum(axis=1)
    low, high = -0.3 * rng.random((count, unknowns)), 0.3 * rng.random((count, unknowns))
    return matrix, vector, low, high


def solved(*problem):
    return bounded_minimum(*(torch.from_numpy(part) for part in problem)).numpy()


def brute_force(matrix, vector, low, high):
    """The best of all ways to put every unknown on its lower bound, its upper one, or on none."""
    best, lowest = None, np.inf
    for combination in itertools.product((-1, 0, 1), repeat=len(vector)):
        sides = np.array(combination)
        free = sides == 0
        x = np.where(sides < 0, low, high)
        rest = vector[free] - matrix[np.ix_(free, ~free)] @ x[~free]
        x[free] = np.linalg.solve(matrix[np.ix_(free, free)], rest)
        value = x @ matrix @ x / 2 - vector @ x
        if (low - 1e-12 <= x).all() and (x <= high + 1e-12).all() and value < lowest:
            best, lowest = x, value
    return best


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_the_minimum_is_the_best_of_all_combinations_of_bounds(alike):
    found = solved(*problems(60, 4, seed=1, alike=alike))
    for number, one in enumerate(zip(*problems(60, 4, seed=1, alike=alike))):
        np.testing.assert_allclose(found[number], brute_force(*one), atol=1e-7)


@pytest.mark.parametrize(("unknowns", "alike"), [(1, 0.0), (9, 0.0), (9, 0.99), (40, 0.99)])
def test_no_step_inside_the_bounds_leads_lower(unknowns, alike):
    matrix, vector, low, high = problems(300, unknowns, seed=2, alike=alike)
    x = solved(matrix, vector, low, high)
    assert (low <= x).all()
    assert (x <= high).all()
    slope = np.einsum("pij,pj->pi", matrix, x) - vector
    downhill = np.where(x < high, np.maximum(-slope, 0), 0) + np.where(
        x > low, np.maximum(slope, 0), 0
    )
    # Slopes are of the size of 25 and more where the minimum is missed.
    assert downhill.max() < 1e-8
    on_bounds = ((x == low) | (x == high)).mean()
    assert 0.1 < on_bounds < 1


def test_without_need_of_bounds_it_is_plain_least_squares():
    matrix, vector, low, high = problems(20, 5, seed=3)
    found = solved(matrix, vector, 1e6 * low, 1e6 * high)
    np.testing.assert_allclose(found, np.linalg.solve(matrix, vector[..., None])[..., 0])


def test_bounds_that_leave_no_room_decide():
    matrix, vector, low, _ = problems(20, 5, seed=4)
    np.testing.assert_array_equal(solved(matrix, vector, low, low), low)
