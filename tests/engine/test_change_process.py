"""The process among the experts: its two kernels, and what it tells from cells."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from rasterfuse.models.kernels.bilateral import bilateral
from rasterfuse.models.kernels.waves import Waves, change_of
from rasterfuse.models.spatiotemporal import process_strengths
from rasterfuse.models.spatiotemporal.change_process import Lens, learn_process
from rasterfuse.models.spatiotemporal.gaussian_process import (
    Views,
    coefficient_fields,
    random_waves,
)
from rasterfuse.models.spatiotemporal.patches import PatchCollector, PatchView
from rasterfuse.models.spatiotemporal.process_strengths import PRIOR_MEAN, likely_hyperparameters


def waves_of(rng, bands, count=5):
    def tensor(*shape):
        return torch.from_numpy(rng.normal(size=shape)).float()

    return Waves(tensor(bands), tensor(bands, bands), tensor(count, bands), tensor(count))


def image_of(rng, bands, rows=9, cols=11):
    return torch.from_numpy(rng.normal(size=(bands, rows, cols))).float()


def places_of(rows, cols, ratio, start=0.0):
    down, across = ((torch.arange(n) + 0.5 - start) / ratio for n in (rows, cols))
    return torch.stack(torch.meshgrid(down, across, indexing="ij"))


# --- the kernels ---


@pytest.mark.parametrize("wanted", ["torch", "numba"])
def test_the_change_is_the_sum_that_the_definition_says(rng, wanted):
    bands, ratio = 3, 4
    waves, image = waves_of(rng, bands), image_of(rng, bands)
    fields = torch.from_numpy(rng.normal(size=(2, bands + 5 + 1, 3, 3))).float()
    places = places_of(9, 11, ratio)
    found = change_of(waves, image, fields, places, wanted).numpy()
    middle, whitening, frequencies, phases = (
        getattr(waves, name).double().numpy() for name in waves.__annotations__
    )
    for row, col in ((0, 0), (4, 5), (8, 10)):
        z = np.clip(whitening @ (image[:, row, col].double().numpy() - middle), -4, 4)
        features = [*z, *(math.sqrt(2 / 5) * np.cos(frequencies @ z + phases)), 1.0]
        # Between the centres of the cells, which lie at half their numbers; beyond, the last one.
        y, x = (min(max(float(p[row, col]) - 0.5, 0), 2) for p in places)
        top, left = min(int(y), 1), min(int(x), 1)
        corners = fields[:, :, top : top + 2, left : left + 2].double().numpy()
        down = corners[:, :, 0] * (1 - y + top) + corners[:, :, 1] * (y - top)
        coefficients = down[:, :, 0] * (1 - x + left) + down[:, :, 1] * (x - left)
        np.testing.assert_allclose(found[:, row, col], coefficients @ features, atol=2e-5)


def test_the_compiled_sum_takes_a_single_cell_and_pixels_far_from_all(rng):
    waves, image = waves_of(rng, 1), image_of(rng, 1)
    fields = torch.from_numpy(rng.normal(size=(1, 7, 1, 1))).float()
    places = places_of(9, 11, 2, start=30)
    one, other = (change_of(waves, image, fields, places, wanted) for wanted in ("torch", "numba"))
    torch.testing.assert_close(other, one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("wanted", ["torch", "numba"])
def test_a_window_sees_the_cells_around_it_alone(rng, wanted):
    waves, image = waves_of(rng, 2), image_of(rng, 2, 40, 60)
    fields = torch.from_numpy(rng.normal(size=(2, 8, 12, 17))).float()
    places = places_of(40, 60, 4, start=-3)
    whole = change_of(waves, image, fields, places, wanted)
    part = np.s_[:, 13:22, 31:45]
    found = change_of(waves, image[part], fields, places[part], wanted)
    torch.testing.assert_close(found, whole[part], rtol=0, atol=1e-5)
    others = fields.clone()
    others[:, :, :3] = others[:, :, :, :7] = torch.nan
    torch.testing.assert_close(change_of(waves, image[part], others, places[part], wanted), found)


@pytest.mark.parametrize("wanted", ["torch", "numba"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_places_that_no_projection_knows_do_no_harm(rng, wanted, value):
    waves, image = waves_of(rng, 1), image_of(rng, 1)
    fields = torch.from_numpy(rng.normal(size=(1, 7, 3, 3))).float()
    places = places_of(9, 11, 4)
    expected = change_of(waves, image, fields, places, wanted)
    places[:, 2, 3] = value
    found = change_of(waves, image, fields, places, wanted)
    assert torch.isfinite(found).all()
    expected[:, 2, 3] = found[:, 2, 3]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("wanted", ["torch", "numba"])
def test_the_smoothed_image_is_the_weighted_mean_that_the_definition_says(rng, wanted):
    image, spread = image_of(rng, 2), torch.tensor([0.5, 2.0])
    known = torch.from_numpy(rng.random((9, 11)) > 0.2)
    found = bilateral(image, known, spread, 2, (1.25, 0.5), wanted)
    for row, col in ((4, 5), (0, 0), (8, 3)):
        total, weights = np.zeros(2), 0.0
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                y, x = min(max(row + dy, 0), 8), min(max(col + dx, 0), 10)
                there, here = image[:, y, x].numpy(), image[:, row, col].numpy()
                apart = (((there - here) / spread.numpy()) ** 2).mean()
                weight = np.exp(-apart / (2 * 0.5**2) - (dy**2 + dx**2) / (2 * 1.25**2))
                weight *= float(known[y, x])
                total, weights = total + weight * there, weights + weight
        np.testing.assert_allclose(found[:, row, col].numpy(), total / weights, rtol=1e-4)


@pytest.mark.parametrize("wanted", ["torch", "numba"])
def test_smoothing_leaves_alone_what_has_nothing_known_around(rng, wanted):
    image, known = image_of(rng, 2), torch.zeros(9, 11, dtype=torch.bool)
    found = bilateral(image, known, torch.ones(2), 2, (1.25, 0.5), wanted)
    torch.testing.assert_close(found, image)


# --- what it learns ---


def lens_for(bands):
    waves = Waves(torch.zeros(bands), torch.eye(bands), *random_waves(bands, 48, 1.0, seed=0))
    return Lens(torch.ones(bands), waves)


def sights_for(smooth, known, ratio, kinds=None):
    """Cells of so many pixels that look at the patches of an image."""
    rows, cols = known.shape
    kinds = torch.unique(smooth.flatten(1).T[:6], dim=0) if kinds is None else kinds
    collector = PatchCollector(kinds, torch.eye(len(smooth)), (rows, cols), ratio)
    collector.add(smooth, known, 0, 0)
    down, across = (ratio * (torch.arange(size // ratio) + 0.5) for size in (rows, cols))
    centres = torch.cartesian_prod(down, across).T
    return PatchView(collector.patches(), centres, 0.4 * ratio, "auto")


def nothing_alike(rng, side):
    """Cells that look at patches of no meaning."""
    image = image_of(rng, 2, 4 * side, 4 * side)
    return sights_for(image, torch.ones(image.shape[1:], dtype=torch.bool), 4)


def learnt(rng, cells=20, hidden=None):
    """Kinds of land of which each has its own change; cells see 4 x 4 pixels each."""
    kinds = rng.integers(0, 4, (4 * cells, 4 * cells))
    kinds = np.repeat(np.repeat(kinds[::2, ::2], 2, axis=0), 2, axis=1)
    fine = torch.from_numpy(rng.normal(size=(2, 4))[:, kinds]).float()
    change = torch.from_numpy(rng.normal(size=(2, 4))[:, kinds]).float()
    lens, known = lens_for(2), torch.ones(4 * cells, 4 * cells, dtype=torch.bool)

    def cell(image):
        return image.reshape(len(image), cells, 4, cells, 4).mean(dim=(2, 4))

    smooth = lens.smooth(fine, known, "auto")
    seen, coarse = cell(lens.planes(fine, smooth)), cell(change)
    if hidden is not None:
        coarse[hidden] = torch.nan
    process = learn_process(lens, seen, coarse, cell(fine), sights_for(smooth, known, 4))
    places = places_of(4 * cells, 4 * cells, 4)
    return process.at(fine, known, places, 0, 0, "auto"), change, process


def test_every_kind_of_land_gets_its_own_change(rng):
    found, change, process = learnt(rng)
    assert (found - change).square().mean().sqrt() < 0.25 * change.std()
    assert process.foretold.min() > 0.8


def test_noise_foretells_nothing(rng):
    lens = lens_for(2)
    seen, change, coarse = (
        torch.from_numpy(rng.normal(size=(count, 15, 15))).float() for count in (52, 2, 2)
    )
    process = learn_process(lens, seen, change, coarse, nothing_alike(rng, 15))
    assert process.foretold.max() < 0.2


def test_a_cell_that_changed_by_itself_is_missed_and_so_are_its_surroundings(rng):
    cells = 20
    seen = torch.from_numpy(rng.normal(size=(52, cells, cells))).float()
    change = 0.01 * torch.from_numpy(rng.normal(size=(2, cells, cells))).float()
    change[:, 8, 11] += 3.0
    process = learn_process(
        lens_for(2), seen, change, torch.zeros(2, cells, cells), nothing_alike(rng, cells)
    )
    missed, usual = process.missed
    assert (missed[:, 8, 11] > 2.0).all()
    assert (usual[:, 7:10, 10:13] > 0.5).all()
    assert usual[:, :5].max() < 0.2


def test_of_a_hidden_cell_nothing_is_known_to_be_missed(rng):
    *_, process = learnt(rng, hidden=np.s_[:, 3, 4])
    assert process.missed[0, :, 3, 4].abs().max() == 0
    assert (process.missed[1, :, 3, 4] > 0).all()


def test_what_is_missed_lies_where_its_cell_lies(rng):
    *_, process = learnt(rng)
    middles = torch.stack(
        torch.meshgrid(torch.arange(20) + 0.5, torch.arange(20) + 0.5, indexing="ij")
    )
    for found, cells in zip(process.missed_at(middles), process.missed):
        torch.testing.assert_close(found, cells, rtol=0, atol=1e-5)
    corners = torch.stack(
        torch.meshgrid(torch.arange(1.0, 20.0), torch.arange(1.0, 20.0), indexing="ij")
    )
    found, _ = process.missed_at(corners)
    missed = process.missed[0]
    mean = (missed[:, 1:, 1:] + missed[:, :-1, 1:] + missed[:, 1:, :-1] + missed[:, :-1, :-1]) / 4
    torch.testing.assert_close(found, mean, rtol=0, atol=1e-5)


def views_of(rng, side, bands=2, waves=6):
    seen = torch.from_numpy(rng.normal(size=(bands + waves, side * side)))
    return Views.of(seen, bands, torch.ones(side * side, dtype=torch.bool), (side, side))


def kernel_between(log, one, other, shared=None):
    """The definition at the head of the module, entry by entry."""
    a1, a2, a3, length, a4, reach = (math.exp(value) for value in log[:6])
    found = np.empty((len(one.linear), len(other.linear)))
    for i, j in np.ndindex(*found.shape):
        linear = float(one.linear[i] @ other.linear[j])
        waves = float(one.fourier[i] @ other.fourier[j])
        apart = float((one.places[i] - other.places[j]).square().sum())
        near = a3 * (linear + waves) * math.exp(-apart / (2 * length**2))
        rest = a4 * math.exp(-apart / (2 * reach**2))
        found[i, j] = 4 + a1 * linear + a2 * waves + near + rest
        if shared is not None:
            found[i, j] += math.exp(log[7]) * shared[i, j]
    return found


def missed_when_left_out(log, views, values, noise, shared=None):
    """Every cell told from all others, by solving for them anew."""
    scale = np.mean(values**2)
    covariance = scale * kernel_between(log, views, views, shared)
    own = (scale * (math.exp(log[6]) + 1e-6) + noise) * np.eye(len(values))
    found = []
    for cell in range(len(values)):
        others = np.arange(len(values)) != cell
        weights = np.linalg.solve((covariance + own)[np.ix_(others, others)], values[others])
        found.append(values[cell] - covariance[cell, others] @ weights)
    return np.array(found)


def test_cells_are_missed_by_what_the_others_tell(rng):
    views, noise = views_of(rng, 5), torch.tensor([0.02, 0.3])
    values = torch.from_numpy(rng.normal(size=(2, 25)))
    missed = coefficient_fields(views, (5, 5), values, noise, [PRIOR_MEAN] * 2).missed
    for band in range(2):
        expected = missed_when_left_out(
            PRIOR_MEAN.numpy(), views, values[band].numpy(), float(noise[band])
        )
        np.testing.assert_allclose(missed[band].flatten().numpy(), expected, rtol=1e-3, atol=1e-4)


def test_the_best_of_the_tried_strengths_tells_left_out_cells_best(rng):
    views = views_of(rng, 6)
    clean = views.linear @ torch.tensor([[1.0, -2.0]]).double().T
    values = torch.stack([clean[:, 0], torch.from_numpy(rng.normal(size=36))])
    noise = torch.zeros(2)
    sights = nothing_alike(rng, 6)
    shared = sights.of(torch.arange(36)).shared.numpy()
    found = likely_hyperparameters(views, (6, 6), values, noise, sights)
    # What the bands tell alone needs hardly any noise; what nothing tells, much.
    assert found[0][6] < found[1][6]
    # A stronger linear part is taken where it tells cells clearly better, not by luck.
    assert [float(log[0]) for log in found] == [-1.0, float(PRIOR_MEAN[0])]
    for log, band in zip(found, values.numpy()):
        best = np.square(missed_when_left_out(log.numpy(), views, band, 0.0, shared)).sum()
        for rest, patches, level in itertools.product((-1.5, 0.0), (-30.0, 0.0), (0.0, -3.0, -6.0)):
            other = np.append(PRIOR_MEAN.numpy(), patches)
            other[4], other[6] = rest, level
            off = np.square(missed_when_left_out(other, views, band, 0.0, shared)).sum()
            assert best <= off * (1 + 1e-6)


def test_fields_smaller_than_a_cell_that_look_alike_change_by_where_they_lie(rng, monkeypatch):
    ratio, cells = 16, 12
    size = ratio * cells
    at = np.arange(size)
    looks = torch.from_numpy(rng.integers(0, 2, (20, 20))[at // 10][:, at // 10]).float()
    # Of one look, some have grown and others are cut, by farms of 3 x 3 fields.
    whose = torch.from_numpy(rng.choice([-1.0, 1.0], (7, 7))[at // 30][:, at // 30]).float()
    change = torch.stack([looks * whose, -looks * whose])
    fine = torch.stack([looks, 0.01 * torch.from_numpy(rng.normal(size=(size, size))).float()])
    lens, known = lens_for(2), torch.ones(size, size, dtype=torch.bool)
    smooth = lens.smooth(fine, known, "auto")
    kinds = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    sights = sights_for(smooth, known, ratio, kinds=kinds)
    middles = ratio * (torch.arange(cells) + 0.5)[:, None]
    weights = torch.exp(-(torch.arange(size) + 0.5 - middles).square() / (2 * sights.sigma**2))
    weights /= weights.sum(dim=1, keepdim=True)
    seen, coarse, reference = (
        weights @ image @ weights.T for image in (lens.planes(fine, smooth), change, fine)
    )

    def error():
        process = learn_process(lens, seen, coarse, reference, sights)
        found = process.at(fine, known, places_of(size, size, ratio), 0, 0, "auto")
        return float((found - change).square().mean().sqrt())

    told = error()
    monkeypatch.setattr(process_strengths, "_RESTS", ((-1.5, -30.0), (0.0, -30.0)))
    assert told < 0.9 * error()


def test_hidden_cells_are_left_out(rng):
    found, change, _ = learnt(rng, hidden=np.s_[:, 3:9, 4:12])
    assert torch.isfinite(found).all()
    assert (found - change).square().mean().sqrt() < 0.35 * change.std()


@pytest.mark.parametrize("cells", [0, 1, 5])
def test_few_cells_tell_their_mean(cells, rng):
    lens = lens_for(1)
    seen = torch.from_numpy(rng.normal(size=(50, 3, 3))).float()
    change = torch.full((1, 9), torch.nan)
    change[:, :cells] = 3.0
    known = torch.ones(6, 6, dtype=torch.bool)
    sights = sights_for(torch.zeros(1, 6, 6), known, 2)
    process = learn_process(lens, seen, change.reshape(1, 3, 3), torch.zeros(1, 3, 3), sights)
    found = process.at(torch.zeros(1, 6, 6), known, places_of(6, 6, 2), 0, 0, "auto")
    torch.testing.assert_close(found, torch.full((1, 6, 6), 3.0 if cells else 0.0))
