"""Metrics against values found by hand, by plain loops, and by what must hold for any image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.strategies import floats, integers
from rasterfuse.models.errors import InputError
from rasterfuse.plugin.engine.metrics import assess, bias, cc, ergas, rmse, sam, ssim

NAN = float("nan")


def random_image(seed: int, bands: int = 3, rows: int = 16, cols: int = 18) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 0.6, (bands, rows, cols))


def ssim_by_loops(reference: np.ndarray, fused: np.ndarray, data_range: float) -> float:
    """One band, one window after the other, as in equation 13 of Wang et al. (2004)."""
    weights = [
        [math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2)) for j in range(11)]
        for i in range(11)
    ]
    total = sum(map(sum, weights))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    rows, cols = reference.shape
    for top in range(rows - 10):
        for left in range(cols - 10):
            x = reference[top : top + 11, left : left + 11]
            y = fused[top : top + 11, left : left + 11]
            if np.isnan(x).any() or np.isnan(y).any():
                continue
            w = np.array(weights) / total
            mx, my = (w * x).sum(), (w * y).sum()
            vx, vy = (w * (x - mx) ** 2).sum(), (w * (y - my) ** 2).sum()
            cov = (w * (x - mx) * (y - my)).sum()
            values.append(
                (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
            )
    return sum(values) / len(values)


def test_rmse_and_bias_are_those_of_pencil_and_paper():
    reference = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    fused = np.array([[[2.0, 2.0], [3.0, 7.0]]])
    assert rmse(reference, fused) == pytest.approx([math.sqrt(10 / 4)])
    assert bias(reference, fused) == pytest.approx([1.0])


def test_nodata_of_either_image_does_not_count():
    reference = np.array([[[1.0, NAN], [3.0, 4.0]]])
    fused = np.array([[[2.0, 2.0], [3.0, NAN]]])
    assert rmse(reference, fused) == pytest.approx([math.sqrt(1 / 2)])


def test_a_band_without_values_is_nan_and_warns_nobody(recwarn):
    reference = np.stack([np.full((12, 12), NAN), np.ones((12, 12))])
    result = assess(reference, np.ones((2, 12, 12)), ratio=4, data_range=1)
    assert math.isnan(result["rmse"][0])
    assert result["rmse"][1] == 0
    assert not recwarn.list


def test_an_image_agrees_perfectly_with_itself():
    image = random_image(1)
    result = assess(image, image, ratio=16, data_range=1)
    assert result["rmse"] == [0, 0, 0]
    assert result["ssim"] == pytest.approx([1, 1, 1])
    assert result["cc"] == pytest.approx([1, 1, 1])
    # Rounding of the cosine by 1e-16 is an angle of 1e-6 degrees.
    assert result["sam"] == pytest.approx(0, abs=1e-5)
    assert result["ergas"] == 0


@given(seed=integers(0, 999), added=floats(-0.5, 0.5), factor=floats(0.1, 5), ratio=floats(1, 60))
@settings(deadline=None, max_examples=30)
def test_an_offset_shows_in_the_rmse_only_and_a_factor_not_in_the_angle(seed, added, factor, ratio):
    image = random_image(seed)
    assert rmse(image, image + added) == pytest.approx([abs(added)] * 3, abs=1e-9)
    assert cc(image, image * factor + added) == pytest.approx([1] * 3)
    assert sam(image, image * factor) == pytest.approx(0, abs=1e-4)
    means = image.mean(axis=(1, 2))
    wald = 100 / ratio * math.sqrt(np.mean((added / means) ** 2))
    assert ergas(image, image + added, ratio) == pytest.approx(wald, abs=1e-9)


def test_the_spectral_angle_of_two_axes_is_90_degrees_and_black_pixels_are_left_out():
    reference = np.array([[[1.0, 0.0]], [[0.0, 0.0]]])
    fused = np.array([[[0.0, 1.0]], [[2.0, 1.0]]])
    assert sam(reference, fused) == pytest.approx(90)


def test_the_spectral_angle_needs_all_bands_of_a_pixel():
    reference = np.array([[[1.0, 1.0]], [[0.0, NAN]]])
    fused = np.array([[[1.0, 0.0]], [[1.0, 1.0]]])
    assert sam(reference, fused) == pytest.approx(45)


def test_correlation_of_mirrored_and_of_constant_bands():
    reference = random_image(2, bands=1)
    assert cc(reference, -reference) == pytest.approx([-1])
    assert np.isnan(cc(reference, np.ones_like(reference))).all()


@pytest.mark.parametrize("data_range", [1.0, 0.5, 255.0])
def test_ssim_equals_plain_loops_over_all_windows(data_range):
    reference = random_image(3, bands=2)
    fused = reference + np.random.default_rng(4).normal(0, 0.1, reference.shape)
    expected = [ssim_by_loops(*pair, data_range) for pair in zip(reference, fused)]
    assert ssim(reference, fused, data_range) == pytest.approx(expected, abs=1e-9)


def test_ssim_leaves_out_windows_with_nodata():
    reference, fused = random_image(5, bands=1), random_image(6, bands=1)
    reference[0, 2, 3] = NAN
    expected = ssim_by_loops(reference[0], fused[0], 1)
    assert ssim(reference, fused, 1) == pytest.approx([expected], abs=1e-9)


def test_ssim_keeps_its_value_on_counts_when_the_range_is_scaled_too():
    reference, fused = random_image(7), random_image(8)
    counts = ssim(reference * 10000, fused * 10000, 10000)
    assert counts == pytest.approx(ssim(reference, fused, 1))


def test_tensors_and_arrays_give_the_same_numbers():
    reference, fused = random_image(9), random_image(10)
    as_tensors = assess(torch.from_numpy(reference), torch.from_numpy(fused), 16, 1)
    assert as_tensors == assess(reference, fused, 16, 1)


def test_the_mean_rmse_is_the_mean_of_the_bands():
    reference = np.zeros((2, 12, 12))
    fused = np.stack([np.full((12, 12), 1.0), np.full((12, 12), 3.0)])
    assert assess(reference, fused, 16, 1)["mean_rmse"] == pytest.approx(2)


def test_images_of_other_shape_are_refused_with_both_shapes():
    with pytest.raises(InputError, match=r"\(3, 16, 18\).*\(2, 16, 18\).*one grid"):
        rmse(random_image(1), random_image(1)[:2])


def test_ssim_says_when_an_image_is_smaller_than_its_window():
    with pytest.raises(InputError, match=r"10 x 18 pixels .* larger area"):
        ssim(random_image(1, rows=10), random_image(2, rows=10), 1)


def test_ssim_wants_a_data_range():
    with pytest.raises(InputError, match="data range is 0"):
        ssim(random_image(1), random_image(2), 0)
