"""The training job: what goes through JSON comes back, and what is wrong is named."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterfuse.models.errors import InputError
from rasterfuse.plugin.job import Job, RasterSource, ReferencePair
from rasterfuse.plugin.training_job import TrainingJob, job_of


def pair(day, coarse_day=None):
    return ReferencePair(
        RasterSource(f"coarse_{day}.tif", date=coarse_day), RasterSource("fine.tif", date=day)
    )


JOB = TrainingJob(
    "rasterfuse_net", (pair("2024-05-12"), pair("2024-07-15")), "fields.safetensors", "Fields"
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
jobs = st.builds(
    TrainingJob,
    method=texts,
    pairs=st.lists(st.dates(), min_size=2, max_size=4, unique=True).map(
        lambda days: tuple(pair(str(day)) for day in days)
    ),
    output=texts.map(lambda text: text + ".safetensors"),
    name=texts,
    start_from=st.none() | texts,
    minutes=st.floats(0.01, 1e5),
    steps=st.none() | st.integers(1, 10**9),
    patch=st.integers(16, 1024),
    batch=st.none() | st.integers(1, 999),
    seed=st.integers(0, 2**62),
    validation=st.floats(0, 0.5),
    device=texts,
    simulate=st.floats(0, 1),
    resume=st.booleans(),
    wavelengths=st.lists(st.floats(1, 1e5), max_size=3).map(tuple),
    licence=st.just("") | texts,
    notes=st.just("") | texts,
)


def spoil(**changes):
    return json.dumps({**JOB.to_dict(), **changes})


@settings(max_examples=60)
@given(job=jobs)
def test_a_training_job_comes_back_from_json(job):
    assert TrainingJob.from_json(job.to_json()) == job


def test_the_worker_tells_a_training_from_a_fusion():
    assert job_of(JOB.to_dict()) == JOB
    assert isinstance(job_of({"model": "starfm", "inputs": {}, "output": "x.tif"}), Job)


def test_what_is_left_out_takes_its_default():
    raw = {key: JOB.to_dict()[key] for key in ("kind", "method", "pairs", "output", "name")}
    assert TrainingJob.from_dict(raw) == JOB


def test_the_id_of_the_model_is_that_of_its_file():
    assert replace(JOB, output="/models/Mon été_2.safetensors").model_id == "mon_ete_2"


BAD = [
    ("[]", "is a list, not an object"),
    ("{", "is no JSON"),
    (spoil(version=2), "version 2, this RasterFuse reads 1"),
    (spoil(colour="red"), "unknown field 'colour'"),
    (spoil(kind="fuse"), "kind is 'fuse'. Choose one of: train"),
    (spoil(method=3), "method is 3, not a text"),
    (spoil(pairs="a"), "pairs are no list"),
    (spoil(pairs=[{"coarse": {"path": "a"}}]), "fine 1 is None"),
    (spoil(pairs=[]), "0 usable dates; training needs at least 2, each with a coarse and a fine"),
    (spoil(pairs=JOB.to_dict()["pairs"][:1]), "1 usable date; training needs at least 2"),
    (spoil(pairs=JOB.to_dict()["pairs"][:1] * 2), "1 usable date;"),
    (
        spoil(pairs=[{"coarse": {"path": "c"}, "fine": {"path": "f.tif"}}]),
        r"Pair 1 \(f.tif\) has no date",
    ),
    (spoil(output="model.pt"), "model.pt does not end in .safetensors"),
    (spoil(minutes=0), "minutes is 0. Give a value from 0.01"),
    (spoil(minutes="nan"), "minutes is nan"),
    (spoil(minutes="long"), "minutes is 'long', not a number"),
    (spoil(validation=0.9), "validation is 0.9. Give a value from 0 to 0.5"),
    (spoil(simulate=-0.1), "simulate is -0.1"),
    (spoil(steps=0), "steps is 0. Give a whole number above 0"),
    (spoil(batch=1.5), "batch is 1.5"),
    (spoil(wavelengths=482), "wavelengths are 482. Give numbers of nanometres"),
    (spoil(wavelengths=[482, "red"]), "Give numbers of nanometres"),
    (spoil(wavelengths=[-1]), "Give numbers of nanometres"),
    (spoil(patch=8), "patch is 8. Give a value from 16 to 1024"),
    (spoil(seed=-1), "seed is -1"),
    (spoil(resume="yes"), "resume is 'yes'. Give true or false"),
    (spoil(start_from=7), "start_from is 7"),
    (spoil(licence=["MIT"]), "licence is"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD)
def test_what_is_wrong_is_named(text, sentence):
    with pytest.raises(InputError, match=sentence):
        TrainingJob.from_json(text)


def test_simulated_scenes_alone_need_no_images():
    job = replace(JOB, pairs=(), simulate=1.0)
    assert TrainingJob.from_json(job.to_json()) == job


def test_paths_hold_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fine.tif").write_bytes(b"")
    job = replace(JOB, start_from="old.safetensors").with_absolute_paths()
    assert job.output == str(tmp_path / "fields.safetensors")
    assert job.start_from == str(tmp_path / "old.safetensors")
    assert {item.fine.path for item in job.pairs} == {str(tmp_path / "fine.tif")}
    assert job.pairs[0].coarse.path == "coarse_2024-05-12.tif"  # may be GDAL's own name
