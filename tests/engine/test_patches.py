"""Patches of a fine image: what they are made of, what cells see of them, what they change."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterfuse.models.spatiotemporal.patches import Kinds, PatchChange, PatchCollector, Patches

CENTRES = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
TURN = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
PART, SIDE = 4, 12  # of a small scene of a small ratio


def scene(rng, rows=40, cols=31):
    """(bands, rows, cols) values and what is known of them."""
    image = torch.from_numpy(rng.normal(size=(2, rows, cols))).float()
    return image, torch.from_numpy(rng.random((rows, cols)) > 0.1)


def collected(image, known, windows=((0, 0, 999, 999),), ratio=8.0):
    collector = PatchCollector(CENTRES, TURN, tuple(known.shape), ratio)
    for row, col, rows, cols in windows:
        part = (slice(row, row + rows), slice(col, col + cols))
        collector.add(image[(slice(None), *part)], known[part], row, col)
    return collector.patches()


def nearest(image):
    away = ((image[None] - CENTRES[:, :, None, None]) ** 2).sum(dim=1)
    return away.argmin(dim=0)


def test_a_patch_is_the_known_pixels_of_a_class_in_a_block(rng):
    image, known = scene(rng)
    patches, kind = collected(image, known), nearest(image)
    assert patches.part == PART
    assert int(patches.counts.sum()) == int(known.sum())
    for k, row, col in ((0, 0, 0), (1, 2, 1), (2, 3, 2)):  # the last one is cut by the border
        inside = torch.zeros_like(known)
        inside[SIDE * row : SIDE * (row + 1), SIDE * col : SIDE * (col + 1)] = True
        pixels = image[:, inside & known & (kind == k)]
        assert pixels.shape[1] > 0
        torch.testing.assert_close(
            patches.colours[k, row, col], TURN @ pixels.mean(dim=1), atol=1e-5, rtol=0
        )
        part = known & (kind == k)
        at = (slice(SIDE * row + PART, SIDE * row + 2 * PART), slice(SIDE * col, SIDE * col + PART))
        assert patches.counts[k, 3 * row + 1, 3 * col] == part[at].sum()


def test_windows_in_any_order_give_the_patches_of_the_whole(rng):
    image, known = scene(rng)
    windows = [(17, 0, 23, 31), (0, 13, 17, 18), (0, 0, 17, 13)]
    whole, parts = collected(image, known), collected(image, known, windows)
    torch.testing.assert_close(parts.counts, whole.counts)
    torch.testing.assert_close(parts.colours, whole.colours, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("ratio", "part"), [(2.0, 4), (16.0, 4), (30.0, 5), (40.0, 7)])
def test_blocks_grow_with_the_cells(rng, ratio, part):
    assert collected(*scene(rng), ratio=ratio).part == part


def test_a_huge_scene_has_no_more_patches_than_fit():
    collector = PatchCollector(CENTRES, TURN, (120_000, 90_000), 16.0)
    patches = collector.patches()
    assert patches.number <= 3 * 1_500_000
    assert not patches.there.any()


def covariance(patches, centres, sigma):
    """What cells share, by the sums over all parts of all patches."""
    counts, part = patches.counts.double().numpy(), patches.part
    kinds, rows, cols = counts.shape
    spread = sigma**2 - part**2 / 12
    found = []
    for down, across in centres:
        y = (np.arange(rows) + 0.5) * part - down
        x = (np.arange(cols) + 0.5) * part - across
        far = max(np.abs(y).min(), np.abs(x).min())
        weight = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * spread)) * counts
        share = weight.reshape(kinds, rows // 3, 3, cols // 3, 3).sum(axis=(2, 4)).ravel()
        found.append(share / share.sum() if far < 3 * sigma else 0 * share)
    share = np.stack(found)
    colour = patches.colours.double().reshape(share.shape[1], -1).numpy()
    place = patches.places.double().reshape(share.shape[1], 2).numpy()
    apart = ((colour[:, None] - colour[None]) ** 2).sum(axis=2) / (2 * 0.45**2 * 2 / 3)
    apart += ((place[:, None] - place[None]) ** 2).sum(axis=2) / (2 * 20.0**2)
    return share @ np.exp(-apart) @ share.T, share @ np.exp(-apart)


@pytest.mark.parametrize("wanted", ["auto", "torch"])
def test_cells_share_what_the_definition_says(rng, wanted):
    patches = collected(*scene(rng, 60, 48))
    centres, sigma = [(13.0, 9.5), (20.2, 9.1), (58.0, 44.0), (3.0, 47.0)], 6.0
    sight = patches.seen(torch.tensor(centres).T, sigma, wanted)
    shared, reached = covariance(patches, centres, sigma)
    np.testing.assert_allclose(sight.shared.numpy(), shared, atol=0.01)
    np.testing.assert_allclose(sight.reached.numpy(), reached[:, sight.index.numpy()], atol=0.02)
    assert patches.there.flatten()[sight.index].all()


def test_what_lies_beyond_the_scene_shares_nothing(rng):
    patches = collected(*scene(rng))
    sight = patches.seen(torch.tensor([[20.0, -90.0], [15.0, 15.0]]), 4.0, "auto")
    assert sight.shared[0, 0] > 0.1
    assert sight.shared[1].abs().max() == 0


def test_nothing_known_is_nothing_shared(rng):
    image, known = scene(rng)
    sight = collected(image, torch.zeros_like(known)).seen(
        torch.tensor([[20.0], [15.0]]), 4.0, "auto"
    )
    assert sight.shared.abs().max() == 0


def changes(rng, rows=3, cols=4):
    """What the patches of a scene change, all of them there."""
    counts = torch.ones(3, 3 * rows, 3 * cols)
    nothing = torch.zeros(3, rows, cols, 2)
    patches = Patches(Kinds(CENTRES), counts, nothing, nothing, PART)
    change = torch.from_numpy(rng.normal(size=(2, 3 * rows * cols))).float()
    return PatchChange.of(patches, change), change.reshape(2, 3, rows, cols)


def test_a_pixel_changes_as_the_patches_of_its_class_around_it(rng):
    found, change = changes(rng)
    image, _ = scene(rng, 36, 48)
    answer, kind = found.at(image, 0, 0), nearest(image)
    for row, col in ((0, 0), (17, 23), (35, 47), (11, 30)):
        y = min(max((row + 0.5) / SIDE - 0.5, 0), 2)
        x = min(max((col + 0.5) / SIDE - 0.5, 0), 3)
        top, left = min(math.floor(y), 1), min(math.floor(x), 2)
        four = change[:, kind[row, col], top : top + 2, left : left + 2]
        down = four[:, 0] * (1 - y + top) + four[:, 1] * (y - top)
        expected = down[:, 0] * (1 - x + left) + down[:, 1] * (x - left)
        torch.testing.assert_close(answer[:, row, col], expected, atol=1e-5, rtol=0)


@given(st.integers(-7, 30), st.integers(-7, 40), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_a_window_changes_as_the_whole_scene_does(row, col, rows, cols):
    rng = np.random.default_rng(3)
    found, _ = changes(rng)
    image, _ = scene(rng, 60, 70)
    whole = found.at(image, -10, -10)
    top, left = row + 10, col + 10
    part = (slice(None), slice(top, top + rows), slice(left, left + cols))
    torch.testing.assert_close(found.at(image[part], row, col), whole[part])


def test_of_patches_that_are_not_there_the_nearest_ones_tell():
    """A pixel of a class lies beside a block that has none of it."""
    counts = torch.ones(3, 9, 12)
    counts[1, 3:6, 3:6] = 0
    nothing = torch.zeros(3, 3, 4, 2)
    patches = Patches(Kinds(CENTRES), counts, nothing, nothing, PART)
    change = torch.zeros(2, 3, 3, 4)
    change[:, 1] = 5.0
    change[:, 1, 1, 1] = 0.0  # nothing was learnt of it
    found = PatchChange.of(patches, change.flatten(1))
    image = CENTRES[1][:, None, None].expand(2, 36, 48)
    torch.testing.assert_close(
        found.at(image, 0, 0), torch.full((2, 36, 48), 5.0), rtol=1e-3, atol=0
    )
