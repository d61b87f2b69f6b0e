"""Change regression and unmixing on arrays, against plain loops and on data with known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rasterfuse.models.spatiotemporal.change_model import bank_of, regress, unmix
from rasterfuse.models.spatiotemporal.experts import experts_of
from rasterfuse.models.spatiotemporal.filter_bank import Map, block_means, smooth
from rasterfuse.models.spatiotemporal.reduced_pair import block_side, reduce_images

RATIO = 4  # reduced pixels are fine ones; maps of what is left have pixels of 2 x 2
SHAPE = (26, 31)
DOUBT = 1e-4  # what nothing weighs against what was seen


def weights_along(size, sigma):
    """(size, size) weights of a Gaussian that ends at three standard deviations."""
    reach = max(int(3 * sigma), 1)
    whole = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).sum()
    apart = np.arange(size)[:, None] - np.arange(size)
    return np.where(np.abs(apart) <= reach, np.exp(-0.5 * (apart / sigma) ** 2) / whole, 0)


def plain_smooth(image, weight, sigma):
    rows, cols = (weights_along(size, sigma) for size in weight.shape)
    total = rows @ weight @ cols.T + DOUBT
    return np.stack([rows @ (band * weight) @ cols.T / total for band in image])


def plain_rest(left, weight):
    """What is left, smoothed in blocks of 2 x 2 and brought back bilinearly."""
    rows, cols = (n + n % 2 for n in weight.shape)
    heavy = np.zeros((rows, cols))
    heavy[: weight.shape[0], : weight.shape[1]] = weight
    values = np.zeros((len(left), rows, cols))
    values[:, : weight.shape[0], : weight.shape[1]] = left * weight
    blocks = rows // 2, 2, cols // 2, 2
    few = heavy.reshape(blocks).mean(axis=(1, 3))
    sums = values.reshape(-1, *blocks).mean(axis=(2, 4))
    means = np.divide(sums, few, out=np.zeros_like(sums), where=few > 0)
    field = plain_smooth(means, few, 0.8 * RATIO / 2)
    at = [np.clip((np.arange(n) + 0.5) / 2 - 0.5, 0, None) for n in weight.shape]
    lines = [np.stack([np.interp(at[1], np.arange(f.shape[1]), row) for row in f]) for f in field]
    return np.stack(
        [np.stack([np.interp(at[0], np.arange(len(f)), col) for col in f.T], axis=1) for f in lines]
    )


def images(rng, bands=3, holes=True):
    """Fine reference and the two coarse images on the fine grid, with gaps."""
    fine = rng.random((bands, *SHAPE)) * np.array([1, 20, 300])[:bands, None, None]
    before = plain_smooth(fine, np.ones(SHAPE), 2) + rng.random(fine.shape)
    after = 0.8 * before + 0.3 * before[::-1] + rng.random(fine.shape)
    if holes:
        fine[:, 3:9, 4:12] = np.nan
        before[:, 15:20, 20:24] = np.nan
        after[-1, :6, 25:] = np.nan
    return fine, before, after


def pair_of(*arrays):
    return reduce_images(*(torch.from_numpy(a).float() for a in arrays), RATIO, 1)


def plain_parts(fine, before, after):
    """Scaled fine and change, where both are known, and both smoothed."""
    known = np.isfinite(fine).all(axis=0)
    level, scale = (f(fine[:, known], axis=1)[:, None, None] for f in (np.mean, np.std))
    f = np.where(known, (fine - level) / scale, 0)
    d = (after - before) / scale
    seen = np.isfinite(d).all(axis=0) & known
    mean = d[:, seen].mean(axis=1)[:, None, None]
    d = np.where(seen, d - mean, 0)
    view, quiet = plain_smooth(f, known, 0.5 * RATIO), plain_smooth(d, seen, 0.35 * RATIO)
    return f, known, seen.astype(float), mean, view, quiet


@pytest.mark.parametrize("holes", [False, True], ids=["whole", "with gaps"])
@pytest.mark.parametrize("bands", [1, 3])
def test_regression_is_that_of_plain_loops(rng, bands, holes):
    arrays = images(rng, bands, holes)
    f, known, weight, mean, view, quiet = plain_parts(*arrays)
    some = weight > 0
    x, y = view[:, some], quiet[:, some]
    xm, ym = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
    matrix = (x - xm) @ (x - xm).T / some.sum()
    cells = some.sum() / RATIO**2
    pull = 0.02 * (1 + bands**2 / cells) * np.trace(matrix) / bands + 1e-5
    slopes = np.linalg.solve(matrix + pull * np.eye(bands), (x - xm) @ (y - ym).T / some.sum()).T
    line = np.einsum("oi,irc->orc", slopes, f - xm[:, :, None]) + ym[:, :, None]
    left = quiet - np.einsum("oi,irc->orc", slopes, view - xm[:, :, None]) - ym[:, :, None]
    expected = line + mean + plain_rest(left, weight)
    pair = pair_of(*arrays)
    found = regress(bank_of(pair)).at(torch.nan_to_num(pair.fine), 0, 0).numpy()
    # Solved in double precision from sums in single.
    np.testing.assert_allclose(found[:, known], expected[:, known], atol=2e-4)


@pytest.mark.parametrize("holes", [False, True], ids=["whole", "with gaps"])
def test_unmixing_is_that_of_plain_loops(rng, holes):
    arrays = images(rng, 3, holes)
    f, known, weight, mean, _, quiet = plain_parts(*arrays)
    pair = pair_of(*arrays)
    centres = pair.look.centres.double().numpy()
    apart = ((f[None] - centres[:, :, None, None]) ** 2).sum(axis=1)
    members = np.exp(-apart / 3)
    members = members / members.sum(axis=0)
    some = weight > 0
    shares = plain_smooth(np.where(known, members, 0), known, 0.5 * RATIO)
    usual = quiet[:, some].mean(axis=1)
    a, y = shares[:, some].T, (quiet[:, some] - usual[:, None]).T
    classes = len(centres)
    pull = 0.01 * (1 + classes**2 / (some.sum() / RATIO**2)) / classes + 1e-5
    matrix = a.T @ a / some.sum() + pull * np.eye(classes)
    values = np.linalg.solve(matrix, a.T @ y / some.sum()).T
    left = quiet - usual[:, None, None] - np.einsum("bk,krc->brc", values, shares)
    by_class = np.einsum("bk,krc->brc", values + usual[:, None], members)
    expected = by_class + mean + plain_rest(left, weight)
    found = unmix(bank_of(pair), pair).at(torch.nan_to_num(pair.fine), 0, 0).numpy()
    np.testing.assert_allclose(found[:, known], expected[:, known], atol=2e-4)


def test_a_cloud_of_the_fine_image_seen_by_the_coarse_one_changes_nothing_around(rng):
    """The mask of the fine image tells of both; that of the coarse one may miss it."""
    fine, before, after = images(rng, 3, holes=False)
    fine[:, 3:9, 4:12] = np.nan
    clear = experts_of(pair_of(fine, before, after))
    before[:, 3:9, 4:12] += 500
    cloudy = experts_of(pair_of(fine, before, after))
    change = torch.from_numpy(after - before).float()
    looks = torch.nan_to_num(pair_of(fine, before, after).fine)
    one, other = (found.at(looks, change, 0, 0) for found in (clear, cloudy))
    for name in ("E4", "E5", "E6", "D1", "D2", "D3", "mismatch", "wide mismatch"):
        torch.testing.assert_close(one[name], other[name], msg=name)


def test_what_is_hidden_weighs_nothing(rng):
    weight = torch.from_numpy(rng.random((1, 30, 20)) > 0.4).float()
    level = smooth(torch.full((2, 30, 20), 7.0) * weight, weight, 3.0)
    # The doubt takes a ten thousandth where half of the surroundings are seen, and no more.
    torch.testing.assert_close(level, torch.full_like(level, 7.0), rtol=2e-3, atol=0)


def test_a_map_is_the_same_from_any_window(rng):
    field = Map(torch.from_numpy(rng.random((2, 7, 9))).float(), 5)
    whole = field.at(-4, -6, (50, 60))
    part = field.at(10, 3, (12, 17))
    assert torch.equal(part, whole[:, 14:26, 9:26])
    assert torch.equal(whole[:, 0, 0], field.values[:, 0, 0])
    torch.testing.assert_close(field.at(7, 12, (1, 1))[:, 0, 0], field.values[:, 1, 2])


def test_blocks_at_the_end_may_be_cut_and_skip_what_is_hidden():
    image = torch.arange(15.0).reshape(1, 3, 5)
    image[0, 0, 0] = torch.nan
    image[0, 2, 4] = torch.nan
    found = block_means(image, 2)
    expected = torch.tensor([[[4.0, 5.0, 6.5], [10.5, 12.5, torch.nan]]])
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_blocks_grow_in_huge_scenes_so_that_memory_is_bounded():
    assert [block_side(ratio, (400, 400)) for ratio in (2, 4, 8, 16, 40)] == [1, 1, 2, 4, 10]
    assert block_side(16, (5000, 5000)) == 4
    for side in (10_000, 50_000, 200_000):
        assert (side / block_side(2, (side, side))) ** 2 <= 2_000_000
