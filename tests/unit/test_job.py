"""The job: what goes through JSON comes back, and what is wrong is named."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterfuse.models.errors import InputError
from rasterfuse.plugin.job import (
    COREGISTER,
    HARMONISE,
    Job,
    Limits,
    RasterSource,
    ReferencePair,
    parse_date,
)

COARSE = RasterSource("coarse.tif", bands=(2, 1), date="2024-07-15", scale=0.0001)
PAIR = ReferencePair(
    RasterSource("c1.tif", date="2024-05-12"), RasterSource("f1.tif", date="2024-05-11")
)
JOB = Job("starfm", {"coarse_target": COARSE, "references": (PAIR,)}, "out.tif")

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
numbers = st.floats(allow_nan=False, allow_infinity=True)
days = st.none() | st.dates().map(str)
sources = st.builds(
    RasterSource,
    path=texts,
    bands=st.lists(st.integers(1, 300), max_size=5).map(tuple),
    date=days,
    scale=st.none() | numbers,
    offset=st.none() | numbers,
    nodata=st.none() | numbers,
    cell_size=st.none() | numbers,
    name=st.text(st.characters(codec="utf-8"), max_size=9),
)
pairs = st.lists(st.builds(ReferencePair, sources, sources), max_size=3).map(tuple)
whole = st.none() | st.integers(1, 10**6)
parameters = st.dictionaries(
    texts, st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
)


@st.composite
def extents(draw):
    finite = st.floats(-1e9, 1e9)
    xmin, ymin = draw(finite), draw(finite)
    width, height = draw(st.floats(1, 1e9)), draw(st.floats(1, 1e9))
    return xmin, ymin, xmin + width, ymin + height


jobs = st.builds(
    Job,
    model=texts,
    inputs=st.fixed_dictionaries({"coarse_target": sources, "references": pairs}),
    output=texts,
    parameters=parameters,
    extent=st.none() | extents(),
    device=texts,
    harmonise=st.sampled_from(HARMONISE),
    coregister=st.sampled_from(COREGISTER),
    backend=texts,
    limits=st.builds(Limits, whole, whole, whole, st.booleans()),
    error_output=st.none() | texts,
)


def spoil(**changes) -> str:
    """The JSON of a good job with fields replaced."""
    return json.dumps({**json.loads(JOB.to_json()), **changes})


def spoil_source(**changes) -> str:
    raw = json.loads(JOB.to_json())
    raw["inputs"]["coarse_target"].update(changes)
    return json.dumps(raw)


@given(job=jobs)
@settings(deadline=None)
def test_a_job_survives_json_without_loss(job):
    finite = {
        name: value
        for name, value in job.parameters.items()
        if not isinstance(value, float) or math.isfinite(value)
    }
    job = Job(**{**vars(job), "parameters": finite})
    assert Job.from_json(job.to_json()) == job


def test_a_job_is_one_line_of_strict_json():
    job = Job("starfm", {"coarse_target": RasterSource("c.tif", nodata=math.nan)}, "out\n.tif")
    text = job.to_json()
    assert "\n" not in text
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert math.isnan(Job.from_json(text).sources["coarse_target"].nodata)


def test_a_hand_written_job_needs_model_inputs_and_output_only():
    job = Job.from_json('{"model": "brovey", "inputs": {}, "output": "out.tif"}')
    assert job == Job("brovey", {}, "out.tif")


def test_sources_have_names_that_say_their_place():
    assert list(JOB.sources) == ["coarse_target", "coarse 1", "fine 1"]
    assert JOB.sources[JOB.grid_source("references")] == PAIR.fine
    assert JOB.grid_source("panchromatic") == "panchromatic"


def test_the_day_of_a_pair_is_that_of_its_fine_image():
    assert PAIR.date == "2024-05-11"
    assert ReferencePair(PAIR.coarse, RasterSource("f.tif")).date == "2024-05-12"


@pytest.mark.parametrize(
    ("path", "label"),
    [("/data/a.tif", "a.tif"), (r"C:\data\a.tif", "a.tif"), ("a.tif", "a.tif")],
)
def test_an_image_without_a_name_is_called_as_its_file(path, label):
    assert RasterSource(path).label == label
    assert RasterSource(path, name="June").label == "June"


def test_the_unfinished_result_lies_beside_the_finished_one():
    assert JOB.part == "out.tif.part"
    assert JOB.with_output("b.tif").part == "b.tif.part"
    assert JOB.output == "out.tif"


def test_the_standard_error_is_one_of_the_outputs_where_it_is_wanted(tmp_path, monkeypatch):
    both = replace(JOB, error_output="error.tif")
    assert JOB.outputs == ("out.tif",)
    assert both.outputs == ("out.tif", "error.tif")
    monkeypatch.chdir(tmp_path)
    there = [str(tmp_path / name) for name in both.outputs]
    assert list(both.with_absolute_paths().outputs) == there
    assert JOB.with_absolute_paths().error_output is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "a list, not an object"),
        (spoil(version=2), "version 2, this RasterFuse reads 1"),
        (spoil(colour=1), "unknown field 'colour'"),
        (spoil(model=""), "model is ''"),
        (spoil(output=None), "output is None"),
        (spoil(output="a\0b"), "not a text"),
        (spoil(error_output=""), "error_output is ''"),
        (spoil(error_output=True), "error_output is True, not a text"),
        (spoil(parameters=[]), r"parameters is \[\]"),
        (spoil(harmonise="maybe"), "maybe.*Choose one of: auto, always, never"),
        (spoil(coregister=True), "coregister is True. Choose one of: never, auto"),
        (spoil(device=3), "device is 3"),
        (spoil(inputs=None), "inputs is None"),
        (spoil(inputs={"references": {}}), "references are no list"),
        (spoil(inputs={"references": [{"coarse": {"path": "a"}}]}), "fine 1 is None"),
        (spoil(inputs={"coarse_target": "a.tif"}), "coarse_target is 'a.tif', not an object"),
        (spoil(extent=[1, 2, 3]), "xmin, ymin, xmax, ymax"),
        (spoil(extent=[0, 0, 0, 1]), "is empty"),
        (spoil(extent=["a", 0, 1, 1]), "not a number"),
        (spoil(extent=[0, 0, "inf", 1]), "is empty"),
        (spoil(limits={"tile": 0}), "tile is 0. Give a whole number above 0"),
        (spoil(limits={"tile": 1.5}), "tile is 1.5"),
        (spoil(limits={"threads": True}), "threads is True"),
        (spoil(limits={"resume": 1}), "resume is 1. Give true or false"),
        (spoil(limits={"cores": 2}), "unknown field 'cores'"),
        (spoil_source(bands=[0]), r"bands of coarse_target are \[0\]"),
        (spoil_source(bands="1"), "Give numbers from 1"),
        (spoil_source(bands=[True]), "Give numbers from 1"),
        (spoil_source(date="15.7.2024"), "'15.7.2024' is no date. Write it as YYYY-MM-DD"),
        (spoil_source(date=20240715), "date of coarse_target is 20240715"),
        (spoil_source(scale="big"), "scale of coarse_target is 'big'"),
        (spoil_source(nodata=10**400), "nodata of coarse_target is too large"),
        (spoil_source(path=""), "path of coarse_target is ''"),
        (spoil_source(file="x"), "unknown field 'file'"),
    ],
)
def test_what_is_wrong_in_a_job_is_named(text, sentence):
    with pytest.raises(InputError, match=sentence):
        Job.from_json(text)


@given(
    raw=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["model", "inputs", "output", "limits", "extent", "coarse_target",
                     "references", "coarse", "fine", "path", "bands", "date", "nodata", "tile"]
                ),
                inner,
                max_size=6,
            )
        ),
        max_leaves=12,
    )
)  # fmt: skip
@settings(deadline=None, max_examples=300)
def test_garbage_is_never_more_than_an_input_error(raw):
    try:
        job = Job.from_dict(raw)
    except InputError as error:
        assert error.sentence.endswith((".", "…].", "}."))
    else:
        assert isinstance(job, Job)


def test_dates_are_read_or_refused_but_never_guessed():
    assert parse_date(None) is None
    assert parse_date("") is None
    assert str(parse_date("2024-02-29")) == "2024-02-29"
    with pytest.raises(InputError, match="'2023-02-29' is no date"):
        parse_date("2023-02-29")
