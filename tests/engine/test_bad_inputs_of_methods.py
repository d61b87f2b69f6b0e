"""What a method may be asked for in vain: a sensible answer or one sentence, from every method."""

from __future__ import annotations

import numpy as np
import pytest
from rasterfuse.models.cards import load_cards
from rasterfuse.models.errors import FusionError, InputError
from rasters import methods

RATIO = 4
SPATIOTEMPORAL = [
    entry for entry in methods() if load_cards()[entry.values[0]].family == "spatiotemporal"
]
every_method = pytest.mark.parametrize("model", SPATIOTEMPORAL)


def pairs_of(model):
    """As few pairs as the method takes."""
    return load_cards()[model].input("references").min_pairs


def fields(rng, rows, cols, side=6):
    """(2, rows, cols) of fields with a little noise, 0.2 to 0.7."""
    patches = rng.random((2, rows // side + 1, cols // side + 1))
    patches = patches.repeat(side, axis=1).repeat(side, axis=2)[:, :rows, :cols]
    return 0.2 + 0.45 * patches + 0.05 * rng.random((2, rows, cols))


def seen(fine, ratio=RATIO):
    """Means over coarse cells."""
    bands, rows, cols = fine.shape
    return fine.reshape(bands, rows // ratio, ratio, cols // ratio, ratio).mean(axis=(2, 4))


class Stage:
    """Writes the images of a spatiotemporal scene and fuses them."""

    def __init__(self, rasters):
        self.rasters = rasters

    def coarse(self, name, values, ratio=RATIO, **source):
        grid = self.rasters.grid(10.0 * ratio)
        return {"path": self.rasters.write(name, values, grid, nodata=-9), **source}

    def fine(self, name, values, **source):
        path = self.rasters.write(name, values, self.rasters.grid(10.0), nodata=-9)
        return {"path": path, **source}

    def fuse(self, model, fine, before, after, **options):
        """One land at as many reference days as the method needs."""
        pair = self.coarse("c", before), self.fine("f", fine)
        target = self.coarse("t", after)
        job = self.rasters.spatiotemporal(target, *[pair] * pairs_of(model), model=model, **options)
        return self.rasters.fuse(job)


@pytest.fixture
def stage(rasters):
    return Stage(rasters)


# --- pairs --------------------------------------------------------------------------------------


def test_estarfm_with_one_pair_says_that_it_needs_two(stage, rng):
    fine = fields(rng, 24, 24)
    pair = stage.coarse("c", seen(fine)), stage.fine("f", fine)
    job = stage.rasters.spatiotemporal(stage.coarse("t", seen(fine)), pair, model="estarfm")
    with pytest.raises(InputError, match=r"ESTARFM needs at least 2 reference pairs, got 1\. Add"):
        stage.rasters.fuse(job)
    assert stage.rasters.leftovers() == []


@every_method
def test_the_order_of_the_pairs_does_not_matter(stage, rng, model):
    """Three pairs, two of which are as far from the target; clouds in each."""
    ground = fields(rng, 40, 48)
    days = ["2020-05-01", "2020-05-25", "2020-06-20"]
    pairs = []
    for number, (day, level) in enumerate(zip(days, (0.0, 0.5, 0.01))):
        fine = ground + level + 0.02 * fields(rng, 40, 48)
        noise = 0.02 * rng.random((2, 10, 12))
        coarse = stage.coarse(f"c{number}", 0.6 * seen(fine) + 0.2 + noise, date=day)
        fine[:, 5 * number : 5 * number + 8, 10:20] = -9
        pairs.append((coarse, stage.fine(f"f{number}", fine, date=day)))
    target = stage.coarse("t", seen(0.5 * ground + 0.4), date="2020-05-13")
    results = [
        stage.rasters.fuse(stage.rasters.spatiotemporal(target, *order, model=model))[0]
        for order in (pairs, pairs[::-1], pairs[1:] + pairs[:1])
    ]
    assert np.isfinite(results[0]).mean() > 0.9
    for other in results[1:]:
        # Sums run in another order, and ESTARFM's weights of like pixels enlarge the difference.
        np.testing.assert_allclose(other, results[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("swapped", [1, 2])
def test_swapped_images_of_one_pair_are_refused(stage, rng, swapped):
    fine = fields(rng, 24, 24)
    pairs = [(stage.coarse(f"c{k}", seen(fine)), stage.fine(f"f{k}", fine)) for k in (1, 2)]
    pairs[swapped - 1] = pairs[swapped - 1][::-1]
    job = stage.rasters.spatiotemporal(stage.coarse("t", seen(fine)), *pairs, model="starfm")
    sentence = (
        rf"f{swapped}\.tif of pair {swapped} has smaller pixels than its fine c{swapped}\.tif "
        r"\(ratio 0\.25\)\. Swap them"
    )
    with pytest.raises(InputError, match=sentence):
        stage.rasters.fuse(job)
    assert stage.rasters.leftovers() == []


@pytest.mark.parametrize("way", ["blocks", "interpolated"])
@pytest.mark.parametrize("gap", [False, True])
def test_swapped_images_on_one_grid_are_noticed_by_their_detail(stage, rng, way, gap):
    fine = fields(rng, 48, 48)
    coarse = seen(fine, 8).repeat(8, axis=1).repeat(8, axis=2)
    if way == "interpolated":
        at = np.arange(48)
        coarse = np.stack([smooth(smooth(band, at).T, at).T for band in seen(fine, 8)])
    if gap:
        fine[:, 10:30, 12:31] = coarse[:, 5:20, 20:44] = -9
    coarse, fine = stage.fine("c", 10_000 * coarse), stage.fine("f", fine)
    target = stage.fine("t", np.full((2, 48, 48), 0.4))
    said = "shows more detail than the fine image"
    _, report = stage.rasters.fuse(stage.rasters.spatiotemporal(target, (coarse, fine)))
    assert not any(said in text for text in report["warnings"])
    _, report = stage.rasters.fuse(stage.rasters.spatiotemporal(target, (fine, coarse)))
    sentence = (
        "f.tif, the coarse image of pair 1, shows more detail than the fine image c.tif. Swap the "
        "two if they were mistaken for each other."
    )
    assert sentence in report["warnings"]


def smooth(cells, at):
    """Linear interpolation of the columns of cells of 8 pixels."""
    centres = np.arange(len(cells)) * 8 + 3.5
    return np.stack([np.interp(at, centres, column) for column in cells.T], axis=1)


# --- a search window larger than the image --------------------------------------------------------


@pytest.mark.parametrize("model", ["starfm", "estarfm", "ubdf"])
def test_beyond_the_border_is_like_nodata_for_a_window_larger_than_the_image(stage, rng, model):
    """The same image with a broad frame of nodata, where nothing is beyond any border."""
    name = "coarse_window" if model == "ubdf" else "window"
    size = 19 if model == "ubdf" else 73
    ground = fields(rng, 24, 32)
    images = [ground, 0.8 * ground + 0.1, 0.5 * ground + 0.3 + 0.05 * fields(rng, 24, 32)]
    results = []
    for cells in (0, 10):
        grids = [stage.rasters.grid(s, 5e5 - 40 * cells, 5.3e6 + 40 * cells) for s in (40, 10)]
        paths = []
        for number, image in enumerate(images):
            both = (seen(image), cells), (image, cells * RATIO)
            framed = [np.pad(v, ((0, 0), (n, n), (n, n)), constant_values=-9) for v, n in both]
            paths.append(
                [stage.rasters.write(f"{number}{kind}", values, grid, nodata=-9)
                 for kind, values, grid in zip("cf", framed, grids)]
            )  # fmt: skip
        job = stage.rasters.spatiotemporal(
            paths[2][0], *paths[:2], model=model, parameters={name: size}
        )
        result, report = stage.rasters.fuse(job)
        results.append(result)
        if cells == 0 and name == "window":
            sentence = "Search window is 73 fine pixels, but the image has only 24 on one side."
            assert any(text.startswith(sentence) for text in report["notes"])
    inner = results[1][:, 40:-40, 40:-40]
    assert np.isfinite(inner).all()
    np.testing.assert_allclose(results[0], inner, rtol=0, atol=2e-6)


WIDE, SIMILAR = 61, 9


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("model", ["fit_fc", "fsdaf"])
def test_a_window_larger_than_the_image_searches_all_of_it(stage, rng, model, backend):
    """Two kinds of land that change by a line (or a step), so only the averaging is left."""
    kind = rng.integers(0, 2, (6, 6)).repeat(RATIO, axis=0).repeat(RATIO, axis=1)
    fine = np.stack([0.2 + 0.5 * kind, 0.6 - 0.3 * kind]) + 0.04 * rng.random((2, 24, 24))
    if model == "fit_fc":
        change, after = 0.25 * fine, 1.25 * seen(fine)
    else:
        change = np.broadcast_to(0.1 + 0.2 * kind, fine.shape)
        after = seen(fine) + seen(change)
    given = {"window": WIDE, "similar": SIMILAR, **({"classes": 2} if model == "fsdaf" else {})}
    result, report = stage.fuse(
        model, fine, seen(fine), after, parameters=given, backend=backend, harmonise="never"
    )
    assert report["backend"] == backend
    expected = averaged(fine.astype("float32"), fine if model == "fit_fc" else None, change, model)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)


def averaged(fine, level, change, model):
    """The mean of the most similar pixels of the image, by plain loops: Fit-FC's or FSDAF's.

    Fit-FC averages the predicted values, FSDAF the changes, with a weight for likeness too.
    """
    bands, rows, cols = fine.shape
    spread = fine.std(axis=(1, 2), dtype="float64")
    row, col = np.indices((rows, cols))
    result = np.empty(fine.shape)
    for r, c in np.ndindex(rows, cols):
        score = (np.abs(fine - fine[:, r, c, None, None]) / spread[:, None, None]).sum(axis=0)
        far = np.hypot(row - r, col - c)
        weight = 1 / (1 + far / (WIDE // 2))
        if model == "fsdaf":
            weight = weight / (1 + score / bands)
        nearest = np.lexsort((far.ravel(), score.ravel()))[:SIMILAR]
        share = weight.ravel()[nearest] / weight.ravel()[nearest].sum()
        source = change if level is None else level + change
        mean = (source.reshape(bands, -1)[:, nearest] * share).sum(axis=1)
        result[:, r, c] = mean if level is not None else fine[:, r, c] + mean
    return result


# --- one class only -------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["fsdaf", "ubdf"])
@pytest.mark.parametrize("classes", [None, 5])
def test_a_fine_image_of_one_value_is_one_class_and_is_told(stage, rng, model, classes):
    fine = np.full((2, 24, 24), 0.4)
    given = {} if classes is None else {"classes": classes}
    result, report = stage.fuse(model, fine, seen(fine), seen(fine) + 5, parameters=given)
    np.testing.assert_allclose(result, 5.4, rtol=1e-6)
    assert any("all of it is one class of land cover. Choose" in text for text in report["notes"])


@pytest.mark.parametrize("model", ["fsdaf", "ubdf"])
def test_more_classes_than_there_are_different_values_are_as_many_as_there_are(stage, rng, model):
    kind = rng.integers(0, 3, (32, 32))
    fine = np.stack([0.1 + 0.2 * kind, 0.7 - 0.1 * kind**2])
    after = seen(fine + 0.1 * kind)
    many, report = stage.fuse(model, fine, seen(fine), after, parameters={"classes": 30})
    sentence = "3 classes of land cover were found in the fine reference, not 30: it has no more"
    assert any(text.startswith(sentence) for text in report["notes"])
    three, report = stage.fuse(model, fine, seen(fine), after, parameters={"classes": 3})
    assert any("3 classes of land cover were found" in text for text in report["notes"])
    np.testing.assert_array_equal(many, three)


# --- the size of the coarse cells is not known ----------------------------------------------------


def on_fine_grid(stage, model, ground, after, resample, **source):
    """A job whose coarse images were brought to the fine grid beforehand."""
    pair = stage.fine("c", resample(seen(ground))), stage.fine("f", ground)
    target = {**stage.fine("t", resample(after)), **source}
    return stage.rasters.spatiotemporal(target, *[pair] * pairs_of(model), model=model)


@every_method
def test_cells_of_unknown_size_are_found_as_blocks(stage, rng, model):
    ground = fields(rng, 48, 52)
    after = seen(0.8 * ground + 0.1 + 0.05 * fields(rng, 48, 52))

    def blocks(cells):
        values = cells.repeat(RATIO, axis=1).repeat(RATIO, axis=2)
        values[:, :8, :12] = -9  # a part without data does not hide the blocks
        return values

    found, report = stage.rasters.fuse(on_fine_grid(stage, model, ground, after, blocks))
    assert any("blocks of 4 x 4 fine pixels" in text for text in report["notes"])
    assert any("original cells is not known" in text for text in report["warnings"])
    assert report["grid"]["ratio"] == RATIO
    job = on_fine_grid(stage, model, ground, after, blocks, cell_size=40.0)
    stated, report = stage.rasters.fuse(job)
    assert not any("cells is not known" in text for text in report["warnings"])
    np.testing.assert_array_equal(found, stated)


@every_method
def test_cells_that_cannot_be_found_are_assumed_and_that_is_told(stage, rng, model):
    ground = fields(rng, 160, 160)
    after = seen(0.8 * ground + 0.1 + 0.05 * fields(rng, 160, 160))
    at = np.arange(160) / 2

    def interpolated(cells):
        return np.stack([smooth(smooth(band, at).T, at).T for band in cells])

    found, report = stage.rasters.fuse(on_fine_grid(stage, model, ground, after, interpolated))
    sentence = "cells of 16 x 16 fine pixels are assumed. State the cell size if it is another."
    assert any(text.endswith(sentence) for text in report["notes"])
    assert any("give the cell size to be sure" in text for text in report["warnings"])
    assert np.isfinite(found).all()
    # A wrong guess must not spoil what is there: nearer to the truth than the old image is.
    truth = 0.8 * ground + 0.125
    if model not in {"copy_fine", "ubdf"}:
        assert np.abs(found - truth).mean() < 0.8 * np.abs(ground - truth).mean()


# --- constant bands -------------------------------------------------------------------------------


def constant_cases(varied):
    """Fine, coarse before and after, and where fine + 5 must come out exactly: (bands,)."""
    level = np.full_like(varied, 310.0)
    half = np.stack([varied[0], level[0]])
    return {
        "all constant": (level, level, level, [True, True]),
        "fine constant": (level, varied, varied, [True, True]),
        "coarse constant": (varied, level, level, [False, False]),
        "one band constant": (half, half, half, [False, True]),
        "one fine band constant": (half, varied, varied, [False, True]),
        "one coarse band constant": (varied, half, half, [False, False]),
    }


@every_method
@pytest.mark.parametrize("case", constant_cases(np.zeros((2, 1, 1))))
def test_constant_bands_take_part_in_a_change_of_five_kelvin(stage, rng, model, case):
    varied = 300 + 20 * fields(rng, 48, 48)
    fine, before, after, exact = constant_cases(varied)[case]
    with_gap = fine.copy()
    with_gap[:, 20:23, 5:9] = -9
    result, _ = stage.fuse(model, with_gap, seen(before), seen(after) + 5)
    gap = with_gap == -9
    assert (np.isnan(result) == gap).all()
    change = np.where(gap, np.nan, result - fine)
    if model == "copy_fine":
        np.testing.assert_allclose(change[~gap], 0, atol=1e-4)
        return
    if model == "ubdf":  # which takes its values from the coarse target alone
        coarse = (seen(after) + 5).repeat(RATIO, axis=1).repeat(RATIO, axis=2)
        assert np.nanmin(result) > coarse.min() - 2
        assert np.nanmax(result) < coarse.max() + 2
        np.testing.assert_allclose(np.nanmean(result), coarse.mean(), atol=0.2)
        return
    for band, surely in enumerate(exact):
        if surely:
            np.testing.assert_allclose(change[band][~gap[band]], 5, atol=1e-3)
        # Averages of like pixels move a value by some of the noise of 1 K, never by a field's.
        assert np.nanmean(change[band]) == pytest.approx(5, abs=0.1)
        assert np.nanmax(np.abs(change[band] - 5)) < 2


# --- very small images ----------------------------------------------------------------------------


@every_method
@pytest.mark.filterwarnings("error::UserWarning")  # of torch, say
@pytest.mark.parametrize(
    ("shape", "ratio"),
    [((1, 40), 4), ((40, 1), 4), ((2, 2), 4), ((9, 7), 16), ((12, 12), 3), ((1, 1), 1.5)],
    ids=str,
)
def test_very_small_images_give_a_result_or_a_sentence(stage, rng, model, shape, ratio):
    fine = fields(rng, *shape, side=2)
    cells = [int(np.ceil(n / ratio)) for n in shape]
    before = np.full((2, *cells), fine.mean()) + 0.02 * rng.random((2, *cells))
    pair = stage.coarse("c", before, ratio), stage.fine("f", fine)
    job = stage.rasters.spatiotemporal(
        stage.coarse("t", before + 1, ratio), *[pair] * pairs_of(model), model=model,
        harmonise="never",
    )  # fmt: skip
    try:
        result, _ = stage.rasters.fuse(job)
    except FusionError as error:
        assert model in {"fsdaf", "gpx", "ubdf"}  # these learn from several cells
        assert "coarse cells have data" in error.sentence
        assert stage.rasters.leftovers() == []
        return
    expected = {"copy_fine": fine, "ubdf": np.broadcast_to(fine.mean() + 1, fine.shape)}
    wanted = expected.get(model, fine + 1)
    assert np.isfinite(result).all()
    # Means of like pixels, or of all of a cell, lie within the 0.5 that the image spans.
    assert np.abs(result - wanted).max() < 0.5
    assert result.mean() == pytest.approx(wanted.mean(), abs=0.05)


@every_method
@pytest.mark.filterwarnings("error::UserWarning")  # of torch, say
@pytest.mark.parametrize("left", ["a pixel", "a cell", "a pixel of each cell"])
def test_clouds_that_leave_hardly_anything_leave_that_or_a_sentence(stage, rng, model, left):
    fine = fields(rng, 48, 48)
    clouds = np.ones(fine.shape[1:], bool)
    places = {"a pixel": np.s_[20, 21], "a cell": np.s_[20:24, 20:24]}
    clouds[places.get(left, np.s_[1::4, 2::4])] = False
    cloudy = np.where(clouds, -9, fine)
    try:
        result, _ = stage.fuse(model, cloudy, seen(fine), seen(fine) + 0.1)
    except FusionError as error:
        assert model in {"fsdaf", "gpx", "ubdf"}
        assert "coarse cells have data" in error.sentence
        assert stage.rasters.leftovers() == []
        return
    assert (np.isnan(result) == clouds).all()
    if model not in {"copy_fine", "ubdf", "fit_fc"}:  # Fit-FC's own lines and UBDF see no pixel
        np.testing.assert_allclose(result[:, ~clouds], fine[:, ~clouds] + 0.1, atol=0.02)
