"""STARFM against plain loops over pixels and pairs, written from the paper's formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

NAN = np.nan


def brute_force(target, pairs, parameters):
    """(bands, rows, cols) by plain loops, float64.

    ``pairs`` are (coarse, fine) images of the shape of ``target``; NaN is nodata.
    """
    result = np.full(target.shape, NAN)
    for band in range(len(target)):
        noise_fine, noise_coarse, spreads = noises(band, pairs, parameters)
        for row in range(target.shape[1]):
            for col in range(target.shape[2]):
                result[band, row, col] = one_pixel(
                    target[band], [(c[band], f[band]) for c, f in pairs], (row, col),
                    noise_fine, noise_coarse, spreads, parameters,
                )  # fmt: skip
    return result


def noises(band, pairs, parameters):
    """Uncertainties of both sensors and the spread of every fine reference in one band."""
    spreads = [float(np.nanstd(fine[band])) for _, fine in pairs]
    level = abs(float(np.mean([np.nanmean(fine[band]) for _, fine in pairs])))
    floor = max(1e-6 * level, 1e-9)
    usual = float(np.mean(spreads))
    fine, coarse = parameters["uncertainty_fine"], parameters["uncertainty_coarse"]
    return (
        max(0.1 * usual if fine is None else fine, floor),
        max(0.4 * usual if coarse is None else coarse, floor),
        [max(spread, floor * parameters["classes"] / 2) for spread in spreads],
    )


def one_pixel(target, pairs, place, noise_fine, noise_coarse, spreads, parameters):
    row, col = place
    known = [k for k, (c, f) in enumerate(pairs) if not math.isnan(c[place] + f[place])]
    if math.isnan(target[place]) or not known:
        return NAN
    spectral_limit = max(abs(pairs[k][1][place] - pairs[k][0][place]) for k in known)
    temporal_limit = max(abs(pairs[k][0][place] - target[place]) for k in known)
    spectral_limit += math.sqrt(noise_fine**2 + noise_coarse**2)
    temporal_limit += math.sqrt(2) * noise_coarse
    radius = parameters["window"] // 2
    half = parameters["spatial_weight"] or max(radius, 1)
    weights = total = 0.0
    for k in known:
        coarse, fine = pairs[k]
        for i in range(max(row - radius, 0), min(row + radius + 1, target.shape[0])):
            for j in range(max(col - radius, 0), min(col + radius + 1, target.shape[1])):
                if math.isnan(target[i, j] + coarse[i, j] + fine[i, j]):
                    continue
                spectral = abs(fine[i, j] - coarse[i, j])
                temporal = abs(coarse[i, j] - target[i, j])
                tolerance = 2 * spreads[k] / parameters["classes"]
                if abs(fine[i, j] - fine[place]) > tolerance:
                    continue
                if spectral >= spectral_limit or temporal >= temporal_limit:
                    continue
                distance = 1 + math.hypot(i - row, j - col) / half
                weight = 1 / ((spectral + noise_fine) * (temporal + noise_fine) * distance)
                weights += weight
                total += weight * (fine[i, j] + target[i, j] - coarse[i, j])
    return total / weights


def images(rng, shape, level, spread):
    """A coarse target and three pairs on one grid: fields, a gradual change and noise."""
    fields = rng.normal(size=(shape[0], 3, 3)).repeat(5, axis=1).repeat(6, axis=2)
    fields = fields[:, : shape[1], : shape[2]]
    pairs = []
    for _ in range(3):
        fine = fields + 0.3 * rng.normal(size=shape)
        coarse = fields + 0.2 * rng.normal(size=shape)
        pairs.append(((level + spread * coarse), (level + spread * fine)))
    target = level + spread * (fields + 0.4 + 0.2 * rng.normal(size=shape))
    as_stored = [(c.astype("float32"), f.astype("float32")) for c, f in pairs]
    return target.astype("float32"), as_stored


def settings(**changed):
    usual = {
        "window": 7, "classes": 3, "uncertainty_fine": None, "uncertainty_coarse": None,
        "spatial_weight": None,
    }  # fmt: skip
    return {**usual, **changed}


def run(rasters, target, pairs, parameters, backend, nodata=None):
    paths = []
    for number, (coarse, fine) in enumerate(pairs):
        paths.append(
            (
                {"path": rasters.write(f"c{number}", coarse, nodata=nodata), "cell_size": 150.0},
                {"path": rasters.write(f"f{number}", fine, nodata=nodata)},
            )
        )
    target = {"path": rasters.write("target", target, nodata=nodata), "cell_size": 150.0}
    given = {k: v for k, v in parameters.items() if v is not None}
    job = rasters.spatiotemporal(
        target, *paths, model="starfm", parameters=given, backend=backend, harmonise="never"
    )
    result, report = rasters.fuse(job)
    assert report["backend"] == backend
    return result


def compare(result, expected, spread):
    assert (np.isnan(result) == np.isnan(expected)).all()
    # Sums of a few dozen float32 numbers: 1e-5 of the spread is some float steps.
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-5 * spread)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(
    ("level", "spread"), [(0.2, 0.1), (3000.0, 800.0), (0.0, 0.4)], ids=["share", "dn", "index"]
)
def test_starfm_is_what_the_formulas_say(rasters, rng, backend, count, level, spread):
    target, pairs = images(rng, (2, 13, 14), level, spread)
    parameters = settings()
    result = run(rasters, target, pairs[:count], parameters, backend)
    compare(result, brute_force(target, pairs[:count], parameters), spread)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize(
    "changed",
    [
        {"window": 3},
        {"window": 31},
        {"classes": 1},
        {"classes": 40},
        {"uncertainty_fine": 0.01, "uncertainty_coarse": 0.02},
        {"uncertainty_fine": 0.0, "uncertainty_coarse": 0.0},
        {"spatial_weight": 0.7},
        {"spatial_weight": 200.0},
    ],
    ids=str,
)
def test_every_setting_of_starfm_acts_as_the_formulas_say(rasters, rng, backend, changed):
    target, pairs = images(rng, (1, 12, 15), 0.3, 0.1)
    parameters = settings(**changed)
    result = run(rasters, target, pairs[:2], parameters, backend)
    compare(result, brute_force(target, pairs[:2], parameters), 0.1)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("count", [1, 3])
def test_starfm_leaves_out_nodata_of_every_band_and_pair(rasters, rng, backend, count):
    target, pairs = images(rng, (3, 13, 14), 0.3, 0.1)
    pairs = pairs[:count]
    for image in [target, *(image for pair in pairs for image in pair)]:
        image[rng.random(image.shape) < 0.15] = -9999
    target[1, 4:8, 4:8] = -9999
    parameters = settings()
    result = run(rasters, target, pairs, parameters, backend, nodata=-9999)
    holes = [np.where(i == -9999, NAN, i) for i in [target, *(i for p in pairs for i in p)]]
    known = [(holes[1 + 2 * k], holes[2 + 2 * k]) for k in range(count)]
    # The result is one file: a pixel that lacks one band keeps its others.
    expected = brute_force(holes[0], known, parameters)
    assert np.isnan(expected[1, 5, 5])
    assert np.isfinite(expected).any(axis=(1, 2)).all()
    compare(result, expected, 0.1)


def test_two_backends_agree_on_a_scene_of_many_tiles(rasters, rng):
    target, pairs = images(rng, (1, 15, 18), 280.0, 12.0)
    big = [np.tile(image, (1, 20, 17)) for image in (target, *pairs[0])]
    parameters = settings(window=11)
    one = run(rasters, big[0], [(big[1], big[2])], parameters, "numba")
    other = run(rasters, big[0], [(big[1], big[2])], parameters, "torch")
    # Kelvin in float32 has steps of 3e-5.
    np.testing.assert_allclose(one, other, rtol=0, atol=3e-4)


def test_neighbours_at_exactly_the_tolerance_are_similar(rasters):
    fine = np.indices((8, 8)).sum(axis=0)[None] % 2 * 1.0  # spread 0.5, tolerance 1.0 with 1 class
    coarse = np.full_like(fine, 0.5)
    target = np.full_like(fine, 0.75)
    parameters = settings(classes=1, window=3)
    expected = brute_force(target, [(coarse, fine)], parameters)
    for backend in ("numba", "torch"):
        result = run(rasters, target, [(coarse, fine)], parameters, backend)
        compare(result, expected, 0.5)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("value", [0.0, 0.1, 300.1, 12345.0, -0.3])
def test_constant_images_give_the_constant(rasters, backend, value):
    fine = np.full((2, 12, 12), value, "float32")
    result = run(rasters, fine, [(fine, fine)], settings(), backend)
    np.testing.assert_allclose(result, fine, rtol=1e-6)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_where_nothing_changed_the_fine_reference_stays(rasters, rng, backend):
    _, pairs = images(rng, (1, 12, 12), 0.3, 0.1)
    coarse, fine = pairs[0]
    result = run(rasters, coarse, [(coarse, fine)], settings(classes=100), backend)
    # With a hundred classes only all but equal neighbours (within 0.2 % of the spread) count.
    np.testing.assert_allclose(result, fine, atol=2e-2 * fine.std())
