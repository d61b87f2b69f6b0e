"""The experts of the network: any ratio, bands, units and gaps; tiles as the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from rasterfuse.models.spatiotemporal import experts
from rasterfuse.models.spatiotemporal.experts import experts_of
from rasterfuse.models.spatiotemporal.filter_bank import block_means
from rasterfuse.models.spatiotemporal.reduced_pair import block_side, reduce_images

CELLS = 9


def scene(rng, ratio, bands, cells=CELLS):
    """Fine reference and two coarse images on the fine grid, of fields that change by kind."""
    n = round(ratio * cells)
    kinds = rng.integers(0, 4, (n // 3 + 1, n // 3 + 1)).repeat(3, axis=0).repeat(3, axis=1)[:n, :n]
    fine = rng.random((bands, 4))[:, kinds] + 0.05 * rng.random((bands, n, n))
    target = fine + 0.5 * rng.random((bands, 4))[:, kinds]
    blocks = (np.arange(n) / ratio).astype(int)
    square = np.ix_(np.arange(bands), blocks, blocks)

    def coarse(image):
        sums = np.zeros((bands, cells, cells))
        np.add.at(sums, square, image)
        count = np.bincount(blocks)
        return (sums / np.outer(count, count))[square]

    return [torch.from_numpy(a).float() for a in (fine, coarse(fine), coarse(target), target)]


def learn_from_images(fine, before, after, ratio):
    side = block_side(ratio, (fine.shape[1], fine.shape[2]))
    return experts_of(reduce_images(fine, before, after, ratio, side))


def images_of(learnt, fine, before, after):
    known = torch.isfinite(fine).all(dim=0)
    return learnt.at(learnt.look.known(fine, known), after - before, 0, 0)


def everything(learnt, images):
    found = images_of(learnt, *images)
    return torch.cat([*(image.flatten() for image in found.values()), learnt.scalars.flatten()])


@pytest.mark.parametrize("ratio", [2, 3.5, 5.9, 16, 30, 40])
@pytest.mark.parametrize("bands", [1, 2, 7])
def test_any_ratio_and_number_of_bands(rng, ratio, bands):
    fine, before, after, _ = scene(rng, ratio, bands)
    learnt = learn_from_images(fine, before, after, ratio)
    rows, cols = fine.shape[1:]
    for name, image in images_of(learnt, fine, before, after).items():
        assert image.shape == (1 if name.startswith("component") else bands, rows, cols)
    assert learnt.scalars.shape == (bands, len(experts.SCALARS))
    assert torch.isfinite(everything(learnt, (fine, before, after))).all()


def test_every_expert_is_nearer_to_the_truth_than_no_change(rng):
    fine, before, after, target = scene(rng, 8, 3, cells=16)
    learnt = learn_from_images(fine, before, after, 8)
    found = images_of(learnt, fine, before, after)
    truth = (target - fine) / learnt.look.scale[:, None, None]
    error = {"copy": truth.square().mean().sqrt()}
    for name in ("E4", "E5", "E6", "D1", "D2", "D3"):
        error[name] = (found[name] - truth).square().mean().sqrt()
    assert max(value for name, value in error.items() if name != "copy") < 0.8 * error["copy"]
    # Kinds of land change each in their own way: what knows kinds or bands knows best.
    assert max(error["E5"], error["E6"]) < min(error[f"D{k}"] for k in (1, 2, 3))


def test_units_do_not_matter(rng):
    images = scene(rng, 8, 3)[:3]
    gain = torch.tensor([0.01, 25.0, 10000.0])[:, None, None]
    other = [gain * image + 300 for image in images]
    found, same = (learn_from_images(*some, 8) for some in (images, other))
    # The band of a gain of 0.01 lies at 300 with steps of 3e-5, a two-hundredth of its spread.
    torch.testing.assert_close(
        everything(same, other), everything(found, images), rtol=0, atol=0.05
    )
    torch.testing.assert_close(same.look.scale, found.look.scale * gain[:, 0, 0], rtol=1e-3, atol=0)


@pytest.mark.parametrize("hide", ["fine", "before", "after", "all"])
def test_gaps_are_bridged(rng, hide):
    images = dict(zip(("fine", "before", "after"), scene(rng, 8, 2)[:3]))
    whole = images_of(learn_from_images(*images.values(), 8), *images.values())["D3"]
    clouds = torch.zeros(images["fine"].shape[1:], dtype=torch.bool)
    clouds[10:40, 20:45] = True
    for name in images if hide == "all" else [hide]:
        images[name] = images[name].masked_fill(clouds, torch.nan)
    learnt = learn_from_images(*images.values(), 8)
    assert torch.isfinite(everything(learnt, images.values())).all()
    change = images_of(learnt, *images.values())["D3"][:, clouds]
    # Beneath the clouds the change is that of the surroundings, not 0 and not unheard-of.
    assert (change - whole[:, clouds]).abs().max() < whole.std() * 4


@pytest.mark.parametrize("flat", [[0], [0, 1]], ids=["one band", "all bands"])
@pytest.mark.parametrize("value", [0.0, 1 / 3, 1e4])
def test_constant_bands(rng, flat, value):
    fine, before, after, _ = scene(rng, 8, 2)
    for band in flat:
        fine[band] = value
    learnt = learn_from_images(fine, before, after, 8)
    assert torch.isfinite(everything(learnt, (fine, before, after))).all()
    assert (learnt.look.scaled(fine)[flat] == 0).all()
    # The change is still told, in units of its own size.
    found = images_of(learnt, fine, before, after)["change"]
    change = (found * learnt.look.scale[:, None, None])[flat].mean(dim=(1, 2))
    torch.testing.assert_close(change, (after - before)[flat].mean(dim=(1, 2)), rtol=1e-3, atol=0)


@pytest.mark.parametrize("nothing", [torch.nan, 3.0], ids=["all hidden", "nothing varies"])
def test_nothing_to_learn_from(nothing):
    empty = torch.full((2, 20, 20), nothing)
    learnt = learn_from_images(empty, empty, empty, 4)
    assert torch.isfinite(everything(learnt, (empty, empty, empty))).all()
    found = images_of(learnt, empty, empty, empty)
    assert not any(found[name].any() for name in ("change", "E4", "E5", "E6"))


def test_a_tile_has_the_features_that_the_whole_has_there(rng):
    fine, before, after, _ = scene(rng, 12, 3)
    learnt = learn_from_images(fine, before, after, 12)
    whole = images_of(learnt, fine, before, after)
    part = np.s_[:, 31:77, 5:50]
    tile = learnt.at(learnt.look.scaled(fine[part]), (after - before)[part], 31, 5)
    for name, image in tile.items():
        torch.testing.assert_close(image, whole[name][part], rtol=0, atol=1e-5)


def test_the_same_scene_has_the_same_experts(rng):
    images = scene(rng, 8, 3)[:3]
    one, other = (everything(learn_from_images(*images, 8), images) for _ in range(2))
    assert torch.equal(one, other)


def test_reduced_images_alone_give_nearly_the_same(rng):
    fine, before, after, _ = scene(rng, 8, 2, cells=16)
    full = learn_from_images(fine, before, after, 8)
    blocks = [block_means(image, 2) for image in (fine, before, after)]
    reduced = experts_of(replace(reduce_images(*blocks, 8, 1), step=2))
    for name in ("E4", "E5"):
        one, other = (
            images_of(learnt, fine, before, after)[name] * learnt.look.scale[:, None, None]
            for learnt in (full, reduced)
        )
        assert (one - other).abs().mean() < 0.02 * one.std()
