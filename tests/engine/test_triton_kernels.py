"""The kernels for GPUs: run in Triton's interpreter against plain loops, and compiled for GPUs.

Nothing here needs a GPU, so nothing here shows that a GPU gives the same; ``choose_backend`` looks
at that on the user's machine.
"""

from __future__ import annotations

import importlib.util
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import interpreted
import numpy as np
import pytest
import torch
from rasterfuse.models.errors import InputError
from rasterfuse.models.kernels.backend import choose_backend

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is made for Linux only"
)


@pytest.fixture(scope="module")
def interpreter():
    """Run a function of ``interpreted`` in a process where Triton interprets."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as child:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            child.submit(int).result()  # starts the process
        yield lambda function, *args: child.submit(function, *args).result()


def places_in(radius, every=1):
    """Places of a window, nearest first; with a step, only some rows and columns of it."""
    size = 2 * radius + 1
    offsets = [(dy, dx) for dy in range(-radius, radius + 1) for dx in range(-radius, radius + 1)]
    offsets = [(dy, dx) for dy, dx in offsets if dy % every == dx % every == 0]
    offsets.sort(key=lambda offset: offset[0] ** 2 + offset[1] ** 2)
    return [(dy + radius) * size + dx + radius for dy, dx in offsets]


# --- search ---------------------------------------------------------------------------------------


def plain_search(features, usable, radius, places, count, limit):
    """For every core pixel the places and scores by (score, order), as the definition says."""
    size = 2 * radius + 1
    found = {}
    for row in range(usable.shape[0] - 2 * radius):
        for col in range(usable.shape[1] - 2 * radius):
            candidates = []
            for order, place in enumerate(places):
                there = row + place // size, col + place % size
                apart = [
                    abs(image[there] - image[row + radius, col + radius]) for image in features
                ]
                if usable[there] and max(apart) < limit:
                    candidates.append((sum(apart), order, place))
            here = usable[row + radius, col + radius]
            found[row, col] = sorted(candidates)[:count] if here else []
    return found


def agree(place, score, expected):
    for (row, col), wanted in expected.items():
        held = place[:, row, col] >= 0
        got = sorted(zip(place[held, row, col].tolist(), score[held, row, col].tolist()))
        assert [p for p, _ in got] == sorted(p for _, _, p in wanted)
        # Sums of a few float32 in another order.
        np.testing.assert_allclose(
            [s for _, s in got], [s for _, s in sorted((p, s) for s, _, p in wanted)], atol=1e-5
        )
        assert (score[~held, row, col] == 0).all()


@needs_triton
@pytest.mark.parametrize(
    ("bands", "core", "radius", "every", "count", "limit"),
    [
        (3, (5, 37), 2, 1, 6, math.inf),
        (2, (4, 9), 2, 1, 7, 1.3),
        (1, (3, 5), 1, 1, 20, math.inf),
        (4, (1, 1), 3, 1, 1, 2.0),
        (2, (3, 33), 4, 2, 5, 2.5),
    ],
    ids=["two-blocks", "limit", "more-than-the-window", "one-pixel", "sparse"],
)
@pytest.mark.parametrize("whole_numbers", [False, True], ids=["smooth", "with-ties"])
def test_search_finds_what_plain_loops_find(  # noqa: PLR0917
    interpreter, rng, bands, core, radius, every, count, limit, whole_numbers
):
    shape = core[0] + 2 * radius, core[1] + 2 * radius
    features = (4 * rng.random((bands, *shape))).astype("float32")
    features = features.round() if whole_numbers else features
    usable = rng.random(shape) > 0.2
    places = places_in(radius, every)
    place, score = interpreter(interpreted.search, features, usable, (radius, places), count, limit)
    agree(place, score, plain_search(features, usable, radius, places, count, limit))


@needs_triton
def test_of_equally_similar_pixels_the_nearest_stay_whatever_came_between(interpreter):
    # Scores in the order of the search: 0 5 5 3 3 1. With three to keep, the second 3 takes the
    # place of the first 5 and so stands before the first 3; still it is the one to leave for the 1.
    features = np.full((1, 7, 7), 9.0, dtype="float32")
    features[0, 3] = [9, 3, 5, 0, 5, 3, 1]
    places = [24, 25, 23, 26, 22, 27]
    usable = np.ones((7, 7), dtype=bool)
    place, score = interpreter(interpreted.search, features, usable, (3, places), 3, math.inf)
    assert sorted(place[:, 0, 0].tolist()) == [24, 26, 27]
    expected = plain_search(features, usable, 3, places, 3, math.inf)
    agree(place, score, expected)


@needs_triton
def test_search_finds_nothing_where_nothing_is_usable(interpreter, rng):
    features = rng.random((2, 6, 7)).astype("float32")
    nothing = np.zeros((6, 7), dtype=bool)
    place, score = interpreter(
        interpreted.search, features, nothing, (2, places_in(2)), 3, math.inf
    )
    assert place.shape == (3, 2, 3)
    assert (place == -1).all()
    assert (score == 0).all()


# --- sums -----------------------------------------------------------------------------------------


def plain_sums(planes, kernel):
    """W and S by plain loops in float64."""
    feature, spectral, temporal, weight, value, most_spectral, most_temporal = planes
    radius = len(kernel) // 2
    rows, cols = feature.shape[0] - 2 * radius, feature.shape[1] - 2 * radius
    weights, sums = np.zeros((rows, cols)), np.zeros((rows, cols))
    for row in range(rows):
        for col in range(cols):
            here = row + radius, col + radius
            for dy in range(len(kernel)):
                for dx in range(len(kernel)):
                    there = row + dy, col + dx
                    similar = abs(feature[there] - feature[here]) <= 1
                    unmixed = spectral[there] < most_spectral[here]
                    if similar and unmixed and temporal[there] < most_temporal[here]:
                        share = float(kernel[dy, dx]) * float(weight[there])
                        weights[row, col] += share
                        sums[row, col] += share * float(value[there])
    return weights, sums


@needs_triton
@pytest.mark.parametrize(
    ("rows", "cols", "radius", "sparse"),
    [(3, 130, 2, False), (5, 4, 1, False), (1, 1, 3, False), (3, 6, 4, True)],
    ids=["two-blocks", "small", "one-pixel", "sparse"],
)
def test_sums_are_those_of_plain_loops(interpreter, rng, rows, cols, radius, sparse):
    shape = rows + 2 * radius, cols + 2 * radius
    planes = rng.random((7, *shape)).astype("float32")
    planes[0] = np.floor(4 * planes[0])  # exactly 1 apart counts
    planes[1], planes[5] = np.floor(4 * planes[1]), np.floor(5 * planes[5])  # the limit does not
    planes[4] -= 0.5
    nodata = rng.random(shape) < 0.2
    planes[0][nodata], planes[3][nodata] = 1e9, 0.0
    size = 2 * radius + 1
    kernel = (0.5 + rng.random((size, size))).astype("float32")
    if sparse:
        kernel[rng.random((size, size)) < 0.7] = 0
    weights, sums = interpreter(interpreted.sums, planes, kernel)
    expected_weights, expected_sums = plain_sums(planes, kernel)
    # Sums of a few dozen float32 numbers below 2.
    np.testing.assert_allclose(weights, expected_weights, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sums, expected_sums, rtol=1e-5, atol=2e-6)


# --- jobs -----------------------------------------------------------------------------------------


@needs_triton
@pytest.mark.parametrize("model", ["starfm", "fit_fc"])
def test_a_job_gives_the_same_image_with_triton(interpreter, rasters, rng, model):
    fields = rng.normal(size=(1, 4, 4)).repeat(4, axis=1).repeat(4, axis=2)
    fine = (fields + 0.2 * rng.normal(size=(1, 16, 16))).astype("float32")
    coarse = fine.reshape(1, 4, 4, 4, 4).mean(axis=(2, 4))
    fine[0, 3:6, 7:9] = -9999
    paths = {
        "fine": rasters.write("fine", fine, nodata=-9999),
        "before": rasters.write("before", coarse, rasters.grid(120.0)),
        "after": rasters.write("after", coarse + 0.3 * fields[:, ::4, ::4], rasters.grid(120.0)),
    }
    images = {}
    for backend in ("torch", "triton"):
        job = rasters.spatiotemporal(
            paths["after"], (paths["before"], paths["fine"]), model=model,
            parameters={"window": 5}, backend=backend, harmonise="never",
        )  # fmt: skip
        report = interpreter(interpreted.fuse, job.to_json())
        assert report["backend"] == backend
        images[backend] = rasters.read(job.output)
    assert np.isfinite(images["torch"]).mean() > 0.9
    # Sums run in another order; values are about 1.
    np.testing.assert_allclose(images["triton"], images["torch"], atol=1e-5)


# --- choice ---------------------------------------------------------------------------------------


@needs_triton
def test_triton_is_chosen_where_its_kernels_give_the_numbers_of_torch(interpreter):
    assert interpreter(interpreted.chosen, "triton") == "triton"


def test_without_a_gpu_triton_is_refused_in_one_sentence():
    with pytest.raises(InputError, match=r"cannot run on cpu: it needs a GPU .* Choose auto"):
        choose_backend("triton", torch.device("cpu"), [])


def test_on_the_cpu_nothing_is_said_of_triton():
    notes = []
    assert choose_backend("auto", torch.device("cpu"), notes) in ("numba", "torch")
    assert notes == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels do start on this machine")
def test_a_gpu_whose_kernels_do_not_start_is_used_with_torch_and_the_report_says_so():
    notes = []
    assert choose_backend("auto", torch.device("cuda"), notes) == "torch"
    assert len(notes) == 1
    assert "triton cannot run here, so torch was used" in notes[0]
    with pytest.raises(InputError, match=r"triton back-end cannot run on cuda: .* Choose auto"):
        choose_backend("triton", torch.device("cuda"), notes)


# --- compiling ------------------------------------------------------------------------------------


@needs_triton
@pytest.mark.parametrize(
    "target",
    [("cuda", 80, 32), ("cuda", 90, 32), ("hip", "gfx942", 64), ("hip", "gfx1100", 32)],
    ids=lambda target: f"{target[0]}-{target[1]}",
)
@pytest.mark.parametrize(
    ("kernel", "sizes", "warps"),
    [("sums", {"BLOCK": 128}, 4), ("search", {"SLOTS": 32, "BLOCK": 32}, 1),
     ("search", {"SLOTS": 256, "BLOCK": 32}, 8)],
    ids=["sums", "search", "search-for-200"],
)  # fmt: skip
def test_kernels_compile_for_gpus(tmp_path, monkeypatch, target, kernel, sizes, warps):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))  # or an earlier result would do
    import triton
    from rasterfuse.models.kernels import neighbours_triton, similar_triton
    from triton.backends.compiler import GPUTarget

    types = {
        "usable": "*i8", "shifts": "*i32", "places": "*i32", "place": "*i32", "limit": "fp32",
        **dict.fromkeys(("bands", "plane", "width", "radius", "window", "rows", "cols", "count"),
                        "i32"),
        **dict.fromkeys(sizes, "constexpr"),
    }  # fmt: skip
    function = {"sums": similar_triton.sums_kernel, "search": neighbours_triton.search_kernel}
    signature = {name: types.get(name, "*fp32") for name in function[kernel].arg_names}
    source = triton.compiler.ASTSource(function[kernel], signature, sizes)
    compiled = triton.compile(source, target=GPUTarget(*target), options={"num_warps": warps})
    assert len(compiled.asm["cubin" if target[0] == "cuda" else "hsaco"]) > 1000
