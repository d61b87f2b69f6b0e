"""Piecewise thin-plate splines against one spline through all cells."""

from __future__ import annotations

import numpy as np
import torch
from rasterfuse.models.spatiotemporal.thin_plate import ThinPlate


def one_spline(field, places):
    """Thin-plate spline through all cell centres, solved in one go (numpy, float64)."""
    rows, cols = field.shape
    nodes = np.array([(r + 0.5, c + 0.5) for r in range(rows) for c in range(cols)])

    def kernel(a, b):
        squared = ((a[:, None] - b[None]) ** 2).sum(-1)
        return 0.5 * squared * np.log(np.maximum(squared, 1e-30))

    plane = np.c_[np.ones(len(nodes)), nodes]
    system = np.block([[kernel(nodes, nodes), plane], [plane.T, np.zeros((3, 3))]])
    weights = np.linalg.solve(system, np.r_[field.ravel(), np.zeros(3)])
    return kernel(places, nodes) @ weights[:-3] + np.c_[np.ones(len(places)), places] @ weights[-3:]


def places_between(low, high, count, seed):
    return np.random.default_rng(seed).uniform(low, high, (count, 2))


def test_spline_passes_through_the_cells():
    field = np.random.default_rng(1).random((1, 11, 19)).astype("float32")
    spline = ThinPlate(torch.from_numpy(field), torch.device("cpu"))
    rows, cols = np.mgrid[0:11, 0:19] + 0.5
    values = spline(torch.from_numpy(np.stack([rows, cols]).astype("float32")))
    # The kernel sums 256 float32 terms of some ten units each.
    np.testing.assert_allclose(values[0], field[0], atol=2e-3)


def test_pieces_agree_with_one_spline_inside():
    rng = np.random.default_rng(2)
    rows, cols = np.mgrid[0:24, 0:24]
    field = np.sin(rows / 5) + np.cos(cols / 4) + 0.2 * rng.random((24, 24))
    spline = ThinPlate(torch.from_numpy(field[None].astype("float32")), torch.device("cpu"))
    places = places_between(6, 18, 300, 3)
    values = spline(torch.from_numpy(places.T[:, None].astype("float32")))[0, 0]
    # The margin of four cells leaves 1 % of the range of the field (about 4).
    np.testing.assert_allclose(values, one_spline(field, places), atol=0.04)


def test_no_step_where_pieces_meet():
    rows, cols = np.mgrid[0:24, 0:24]
    field = (np.sin(rows / 3) + np.cos(cols / 3))[None].astype("float32")
    spline = ThinPlate(torch.from_numpy(field), torch.device("cpu"))
    edge = 8.0  # blocks are eight cells wide
    along = np.linspace(2, 22, 50)
    sides = [np.stack([along, np.full(50, edge + off)]) for off in (-1e-3, 1e-3)]
    left, right = (spline(torch.from_numpy(s[:, None].astype("float32")))[0, 0] for s in sides)
    np.testing.assert_allclose(left, right, atol=0.01)
