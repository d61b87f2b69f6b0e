"""The PSF and the shift of a coarse image are found again after being put there."""

from __future__ import annotations

import numpy as np
import psf
import pytest
import torch
from rasterfuse.plugin.engine.observation import CellViews, FineView, Observation, estimate

RATIO = 12
CELLS = 24


def ground(seed=1):
    size = RATIO * CELLS
    return psf.land(np.random.default_rng(seed), size, size).astype("float32")


def centres(cells=CELLS, ratio=RATIO):
    at = (torch.arange(cells, dtype=torch.float64) + 0.5) * ratio
    return torch.stack(torch.meshgrid(at, at, indexing="ij")).flatten(1)


def seen(fine, sigma, shift):
    return torch.from_numpy(psf.seen(fine, centres(), sigma, shift)[0].astype("float32"))


def found(fine, coarse, **options):
    return estimate(FineView(torch.from_numpy(fine), RATIO), coarse, centres(), **options)


@pytest.mark.parametrize(
    ("sigma", "shift"), [(6.0, (0.0, 0.0)), (6.0, (4.0, -7.0)), (9.0, (10.0, 3.0))]
)
def test_width_and_shift_are_found(sigma, shift):
    fine = ground()
    answer = found(fine, seen(fine, sigma, shift))
    assert answer.reliable
    assert answer.correlation > 0.99
    assert answer.shift == pytest.approx(shift, abs=0.8)  # the search ends at half pixels
    assert answer.sigma == pytest.approx(sigma, rel=0.12)  # and at steps of 12 %


def test_other_units_and_contrasts_turned_round_do_not_matter():
    fine = ground()
    coarse = seen(fine, 6.0, (4.0, -7.0))
    turned = torch.stack([300.0 - 20.0 * coarse[0], 5.0 * coarse[0] + coarse[1]])
    answer = found(fine, turned)
    assert answer.correlation > 0.99
    assert answer.shift == pytest.approx((4.0, -7.0), abs=0.8)


def test_clouds_in_both_images_do_not_hide_the_shift():
    fine = ground()
    coarse = seen(fine, 6.0, (4.0, -7.0))
    fine[:, 100:160, 50:200] = np.nan
    coarse[:, ::5] = torch.nan
    answer = found(fine, coarse)
    assert answer.reliable
    assert answer.shift == pytest.approx((4.0, -7.0), abs=1.0)


@pytest.mark.parametrize("cells", [CELLS, 10, 6])
def test_images_that_have_nothing_in_common_give_usual_values(cells):
    for seed in range(5):
        coarse = torch.rand(2, cells**2, generator=torch.Generator().manual_seed(seed))
        fine = torch.from_numpy(ground(seed)[:, : RATIO * cells, : RATIO * cells])
        answer = estimate(FineView(fine, RATIO), coarse, centres(cells))
        assert not answer.reliable
        assert answer.shift == (0.0, 0.0)
        assert answer.sigma == pytest.approx(0.55 * RATIO, rel=0.02)


@pytest.mark.parametrize("which", ["fine", "coarse", "both"])
def test_constant_images_give_usual_values(which):
    fine = ground()
    coarse = seen(fine, 6.0, (4.0, -7.0))
    if which != "coarse":
        fine[:] = 300.1
    if which != "fine":
        coarse[:] = 0.1
    answer = found(fine, coarse)
    assert not answer.reliable
    assert (answer.shift, np.isfinite(answer.sigma)) == ((0.0, 0.0), True)


def test_a_constant_band_does_not_hinder_the_other():
    fine = ground()
    coarse = seen(fine, 6.0, (4.0, -7.0))
    fine[0], coarse[0] = 0.3, 0.2
    answer = found(fine, coarse)
    assert answer.shift == pytest.approx((4.0, -7.0), abs=0.8)


def test_a_likely_shift_is_taken_where_none_is_clearly_better():
    fine = ground()
    coarse = seen(fine, 6.0, (4.0, -7.0))
    rng = np.random.default_rng(3)
    coarse += torch.from_numpy(rng.normal(0, 0.02, coarse.shape).astype("float32"))
    assert found(fine, coarse, likely=(4.25, -6.75)).shift == (4.25, -6.75)
    assert found(fine, coarse, likely=(-6.0, 6.0)).shift == pytest.approx((4.0, -7.0), abs=1.0)


@pytest.mark.parametrize("pieces", [(100, 70), (33, 400), (400, 400)])
def test_views_add_up_over_pieces(pieces):
    fine, observation = ground(), Observation(5.0, (2.0, -3.0), 1.0, 1.0, True)
    known = np.random.default_rng(2).random(fine.shape) > 0.1
    views = CellViews(centres(), observation)
    images = [torch.from_numpy(fine), torch.from_numpy(-2 * fine)]
    mask = torch.from_numpy(known)
    for row in range(0, fine.shape[1], pieces[0]):
        for col in range(0, fine.shape[2], pieces[1]):
            part = np.s_[:, row : row + pieces[0], col : col + pieces[1]]
            views.add([image[part] for image in images], mask[part], row, col)
    means = views.means().numpy()
    expected, share = psf.seen(fine, centres(), 5.0, (2.0, -3.0), reach=3.5, known=known)
    assert (np.isfinite(means[0]) == (share > 0.75)).all()
    assert np.isfinite(means).mean() > 0.8
    expected[share <= 0.75] = np.nan
    np.testing.assert_allclose(means[0], expected, rtol=1e-5)
    np.testing.assert_allclose(means[1], -2 * expected, rtol=1e-5)
