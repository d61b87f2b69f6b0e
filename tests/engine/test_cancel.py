"""A cancel at any moment ends the job and leaves nothing behind."""

from __future__ import annotations

import numpy as np
import pytest
from rasterfuse.models.cards import load_cards
from rasterfuse.models.errors import CancelledError
from rasterfuse.plugin.engine import pipeline
from rasters import methods


def scene(rasters, rng, card):
    """A job of four tiles."""
    ground = rng.random((2, 12, 10)).repeat(8, axis=1).repeat(8, axis=2).astype("float32")
    coarse = rasters.write("c", ground[:, ::8, ::8], rasters.grid(80.0))
    fine = rasters.write("f", ground, rasters.grid(10.0))
    if card.family == "spatiotemporal":
        target = rasters.write("t", ground[:, ::8, ::8] + 0.1, rasters.grid(80.0))
        pairs = [(coarse, fine)] * card.input("references").min_pairs
        return rasters.spatiotemporal(target, *pairs, model=card.id, tile=64)
    pan = rasters.write("pan", ground.mean(axis=0), rasters.grid(10.0))
    return rasters.pansharpening(coarse, pan, model=card.id, tile=64)


class From:
    """Says cancelled from the n-th question on."""

    def __init__(self, n):
        self.n, self.asked = n, 0

    def __call__(self):
        self.asked += 1
        return self.asked >= self.n


@pytest.mark.parametrize("model", methods())
def test_a_cancel_at_any_question_leaves_nothing(rasters, rng, model):
    job = scene(rasters, rng, load_cards()[model])
    never = From(10**9)
    pipeline.run(job, is_cancelled=never)
    assert never.asked >= 10  # often enough to be noticed soon
    for n in range(1, never.asked + 1):
        (rasters.folder / "result.tif").unlink(missing_ok=True)
        cancelled = From(n)
        with pytest.raises(CancelledError, match="cancelled"):
            pipeline.run(job, is_cancelled=cancelled)
        assert rasters.leftovers() == [], f"after question {n}"
        assert cancelled.asked <= n + 1  # it stops at once


def test_a_cancel_keeps_the_older_result(rasters, rng):
    job = scene(rasters, rng, load_cards()["starfm"])
    before, _ = rasters.fuse(job)
    for n in (1, 5, 9):
        with pytest.raises(CancelledError):
            pipeline.run(job, is_cancelled=From(n))
    np.testing.assert_array_equal(rasters.read(job.output), before)
    assert rasters.leftovers() == ["result.tif"]


def test_progress_that_fails_ends_the_job_and_leaves_nothing(rasters, rng):
    """The listener is gone: its exception must not leave a part."""
    job = scene(rasters, rng, load_cards()["starfm"])

    def on_progress(stage, fraction):
        if stage == "Fusing":
            raise BrokenPipeError("nobody listens")

    with pytest.raises(BrokenPipeError):
        pipeline.run(job, on_progress)
    assert rasters.leftovers() == []


def test_every_tile_is_a_chance_to_cancel(rasters, rng):
    job = scene(rasters, rng, load_cards()["fine_plus_change"])
    asked_in_stage = {}
    stage_now = ["Opening"]

    def on_progress(stage, fraction):
        stage_now[0] = stage

    def is_cancelled():
        asked_in_stage[stage_now[0]] = asked_in_stage.get(stage_now[0], 0) + 1
        return False

    pipeline.run(job, on_progress, is_cancelled)
    assert {"Opening", "Reading the scene", "Preparing", "Fusing"} <= set(asked_in_stage)
    assert asked_in_stage["Fusing"] >= 4
