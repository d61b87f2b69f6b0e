"""The search for similar pixels against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rasterfuse.models.kernels.neighbours import find_neighbours
from rasterfuse.models.kernels.window import search_window

BACKENDS = ["numba", "torch"]


def brute_force(features, usable, radius, count, limit):
    """Places by (score, distance, order) for every core pixel, as the definition says."""
    size = 2 * radius + 1
    rows, cols = usable.shape[0] - 2 * radius, usable.shape[1] - 2 * radius
    found = {}
    for row in range(rows):
        for col in range(cols):
            candidates = []
            for place in range(size * size):
                dy, dx = divmod(place, size)
                apart = np.abs(
                    features[:, row + dy, col + dx] - features[:, row + radius, col + radius]
                )
                if usable[row + dy, col + dx] and apart.max() < limit:
                    far = (dy - radius) ** 2 + (dx - radius) ** 2
                    candidates.append((apart.sum(), far, place))
            if not usable[row + radius, col + radius]:
                candidates = []
            found[row, col] = sorted(candidates)[:count]
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("limit", [1.2, float("inf")])
def test_search_finds_what_plain_loops_find(backend, limit):
    rng = np.random.default_rng(3)
    features = (4 * rng.random((3, 17, 19))).astype("float32")
    usable = rng.random((17, 19)) > 0.15
    radius, count = 4, 6
    similar = find_neighbours(
        torch.from_numpy(features),
        torch.from_numpy(usable),
        search_window(radius),
        count,
        limit,
        backend,
    )
    for (row, col), wanted in brute_force(features, usable, radius, count, limit).items():
        places = similar.place[:, row, col]
        assert sorted(places[places >= 0].tolist()) == sorted(place for _, _, place in wanted)
        scores = similar.score[:, row, col][places >= 0]
        # Sums of three float32 differences in another order.
        np.testing.assert_allclose(sorted(scores), [s for s, _, _ in wanted], atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kinds", [1, 2, 4, 6, 7])
def test_any_number_of_features_over_many_rows(backend, kinds):
    """More rows than are searched in one go, and a window of more places than are kept apart."""
    rng = np.random.default_rng(kinds)
    features = rng.random((kinds, 56, 24)).astype("float32")
    usable = rng.random((56, 24)) > 0.1
    similar = find_neighbours(
        torch.from_numpy(features), torch.from_numpy(usable), search_window(10), 9, 0.8, backend
    )
    for (row, col), wanted in brute_force(features, usable, 10, 9, 0.8).items():
        places = similar.place[:, row, col]
        assert set(places[places >= 0].tolist()) == {place for _, _, place in wanted}


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_flat_land_the_nearest_pixels_are_found(backend):
    features = torch.full((2, 25, 26), 0.3)
    usable = torch.ones(25, 26, dtype=torch.bool)
    usable[12, 11] = False
    similar = find_neighbours(features, usable, search_window(10), 20, float("inf"), backend)
    for (row, col), wanted in brute_force(features.numpy(), usable.numpy(), 10, 20, 1.0).items():
        places = similar.place[:, row, col]
        assert set(places[places >= 0].tolist()) == {place for _, _, place in wanted}


@pytest.mark.parametrize("backend", BACKENDS)
def test_weighted_sum_adds_what_the_neighbours_hold(backend):
    rng = np.random.default_rng(4)
    features = torch.from_numpy(rng.random((2, 12, 13)).astype("float32"))
    usable = torch.ones(12, 13, dtype=torch.bool)
    values = torch.from_numpy(rng.random((2, 12, 13)).astype("float32"))
    similar = find_neighbours(features, usable, search_window(3), 5, float("inf"), backend)
    weights = torch.from_numpy(rng.random(similar.place.shape).astype("float32"))
    total = similar.weighted_sum(values, weights)
    for row in range(6):
        for col in range(7):
            expected = np.zeros(2)
            for n in range(5):
                dy, dx = divmod(int(similar.place[n, row, col]), 7)
                expected += float(weights[n, row, col]) * values[:, row + dy, col + dx].numpy()
            np.testing.assert_allclose(total[:, row, col], expected, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_shares_go_by_likeness_and_distance(backend):
    rng = np.random.default_rng(9)
    features = torch.from_numpy(rng.random((2, 12, 13)).astype("float32"))
    usable = torch.from_numpy(rng.random((12, 13)) > 0.3)
    unlike = torch.from_numpy(rng.random((12, 13)).astype("float32"))
    unlike[5, 5] = 0.0
    similar = find_neighbours(features, usable, search_window(3), 6, 0.3, backend)
    shares = similar.shares(unlike)
    for row in range(6):
        for col in range(7):
            expected = np.zeros(6)
            for n, place in enumerate(similar.place[:, row, col].tolist()):
                if place >= 0:
                    dy, dx = divmod(place, 7)
                    far = 1 + np.hypot(dy - 3, dx - 3) / 3
                    expected[n] = 1 / (float(unlike[row + dy, col + dx]) * far + 1e-7)
            expected /= max(expected.sum(), 1e-30)
            np.testing.assert_allclose(shares[:, row, col], expected, rtol=1e-4, atol=1e-7)


def test_distance_is_measured_from_the_pixel():
    features = torch.zeros(1, 7, 7)
    usable = torch.ones(7, 7, dtype=torch.bool)
    similar = find_neighbours(features, usable, search_window(3), 49, 1.0, "torch")
    place = similar.place[:, 0, 0]
    distance = similar.distance()[:, 0, 0]
    assert distance[place == 24].item() == 0.0
    assert distance[place == 0].item() == pytest.approx(18**0.5)


def test_sparse_window_is_dense_near_the_centre_and_keeps_every_ninth_place_beyond():
    window = search_window(25, sparse=True)
    rows, cols = window.offsets
    kept = {(int(row) - 25, int(col) - 25) for row, col in zip(rows, cols)}
    wanted = {
        (row, col)
        for row in range(-25, 26)
        for col in range(-25, 26)
        if max(abs(row), abs(col)) <= 6 or (row % 3 == 0 and col % 3 == 0)
    }
    assert kept == wanted
    distances = (rows - 25) ** 2 + (cols - 25) ** 2
    assert (distances.diff() >= 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_search_looks_at_the_places_of_a_sparse_window_only(backend):
    features = torch.zeros(1, 30, 30)
    usable = torch.ones(30, 30, dtype=torch.bool)
    window = search_window(10, sparse=True)
    similar = find_neighbours(features, usable, window, 441, 1.0, backend)
    assert set(similar.place[:, 4, 4].tolist()) == set(window.places.tolist())


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_equally_similar_pixels_the_nearer_are_found(backend):
    """Whole numbers tie all the time: a lake, an image of few levels."""
    features = torch.from_numpy(np.random.default_rng(5).integers(0, 3, (2, 15, 16))).float()
    usable = torch.ones(15, 16, dtype=torch.bool)
    similar = find_neighbours(features, usable, search_window(4), 7, float("inf"), backend)
    for (row, col), wanted in brute_force(features.numpy(), usable.numpy(), 4, 7, np.inf).items():
        assert set(similar.place[:, row, col].tolist()) == {place for _, _, place in wanted}


def _agree(features, usable, window, count, limit):
    """That both back-ends find the same places but for ties in the last digit."""
    found, wanted = (
        find_neighbours(features, usable, window, count, limit, backend) for backend in BACKENDS
    )
    torch.testing.assert_close(found.found.sum(dim=0), wanted.found.sum(dim=0))
    scores = [similar.score.sort(dim=0).values for similar in (found, wanted)]
    torch.testing.assert_close(*scores, rtol=1e-5, atol=1e-5)
    alike = found.place.sort(dim=0).values == wanted.place.sort(dim=0).values
    assert alike.float().mean() > 0.999


@pytest.mark.parametrize("limit", [0.7, float("inf")])
def test_the_sparse_window_over_many_rows_and_columns(limit):
    rng = np.random.default_rng(6)
    features = torch.from_numpy(rng.normal(0, 0.5, (4, 92, 181)).astype("float32"))
    usable = torch.from_numpy(rng.random((92, 181)) > 0.1)
    _agree(features, usable, search_window(16, sparse=True), 12, limit)


@pytest.mark.parametrize("scale", [1e-4, 30.0, 1e5], ids=["a lake", "wide", "far outliers"])
def test_features_of_any_size(scale):
    """Differences far below and far above what the rough scores tell apart."""
    rng = np.random.default_rng(7)
    features = torch.from_numpy(rng.normal(0, scale, (3, 30, 31)).astype("float32"))
    features[:, ::7] *= 0.001
    _agree(features, torch.ones(30, 31, dtype=torch.bool), search_window(8), 15, float("inf"))


def test_nearly_no_pixel_is_usable():
    rng = np.random.default_rng(8)
    features = torch.from_numpy(rng.random((5, 40, 40)).astype("float32"))
    _agree(features, torch.from_numpy(rng.random((40, 40)) > 0.97), search_window(9), 20, 0.9)
