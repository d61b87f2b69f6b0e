"""The cards: every one is complete, and what is wrong in one or in a value is named."""

from __future__ import annotations

import ast
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers
from rasterfuse.models.cards import (
    FAMILIES,
    Parameter,
    find_card,
    load_cards,
    read_card,
)
from rasterfuse.models.errors import CardError, InputError

MODELS = Path(__file__).resolve().parents[2] / "models"
CARDS = load_cards()
WINDOW = Parameter("window", "Search window", "int", 51, "Side.", 3, 301, "pixels", odd=True)
SHARE = Parameter("share", "Share", "float", None, "A share.", 0, 1)
MODE = Parameter("mode", "Mode", "choice", "fast", "How.", choices=("fast", "good"))
FLAG = Parameter("flag", "Flag", "bool", False, "Whether.")


@pytest.fixture
def write_card(tmp_path):
    """Write STARFM's card with changes into a folder of its family; returns its path."""
    raw = json.loads((MODELS / "spatiotemporal" / "starfm.json").read_text(encoding="utf-8"))

    def write(name="starfm", family="spatiotemporal", without=(), **changes) -> Path:
        folder = tmp_path / family
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.json"
        card = {key: value for key, value in {**raw, **changes}.items() if key not in without}
        path.write_text(json.dumps(card), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_every_card_has_a_module_with_its_class(card):
    path = MODELS / f"{card.module.replace('.', '/')}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert card.class_name in classes


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_a_card_promises_the_standard_error_where_its_class_tells_it(card):
    path = MODELS / f"{card.module.replace('.', '/')}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    made = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == card.class_name)
    methods = {node.name for node in made.body if isinstance(node, ast.FunctionDef)}
    assert card.tells_error == ("fuse_with_error" in methods)


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_every_card_tells_a_user_what_to_know(card):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", card.id)
    assert card.summary.endswith(".")
    assert len(card.summary) < 120
    assert len(card.description) > len(card.summary)
    assert re.fullmatch(r"10\.\d{4,}/\S+", card.paper["doi"])
    assert str(card.paper["year"]) in card.citation
    assert card.ratio["min"] < card.ratio["max"]
    assert card.halo_pixels(card.check_parameters({})) >= 0
    assert {"bytes_per_pixel_band", "seconds_per_megapixel_band"} <= set(card.cost)
    assert card.tags
    for spec in card.inputs:
        assert spec.label
        assert spec.help.endswith(".")


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_every_parameter_has_help_and_a_default_it_accepts(card):
    for spec in card.parameters:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", spec.name)
        assert spec.label
        assert spec.help.endswith(".")
        assert spec.check(spec.default) == spec.default
        if spec.default is None:
            assert "Empty:" in spec.help
    names = [spec.name for spec in card.parameters]
    assert len(names) == len(set(names))


def test_a_method_that_lost_to_a_simple_answer_says_for_which_scenes():
    names = {card.name: card for card in CARDS.values()}
    page = (MODELS.parent / "docs" / "evaluation.md").read_text(encoding="utf-8")
    marked = [line for line in page.splitlines() if line.startswith("|") and "†" in line]
    cells = {cell.strip().replace(", fast mode", "") for line in marked for cell in line.split("|")}
    lost = [names[name] for name in sorted(cells & set(names))]
    assert lost
    silent = [
        card.id
        for card in lost
        if not re.search(r"simple answers (did|does) better\b.* (on|where) ", card.description)
    ]
    assert silent == []


def test_the_promised_methods_are_there():
    assert {"starfm", "fine_plus_change", "brovey", "gsa"} <= set(CARDS)


def test_every_method_file_has_a_card():
    for family in FAMILIES:
        modules = {path.stem for path in (MODELS / family).glob("*.py")} - {"__init__"}
        cards = {card.id for card in CARDS.values() if card.family == family}
        assert {name for name in modules if not name.startswith("_")} >= cards


def test_an_unknown_method_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"no method 'starfn'.*starfm"):
        find_card("starfn")


def test_an_unknown_role_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"no input 'pan'.*multispectral, panchromatic"):
        find_card("brovey").input("pan")


def test_parameters_are_completed_and_typed():
    values = find_card("starfm").check_parameters({"window": 31.0, "classes": 5})
    assert values["window"] == 31
    assert isinstance(values["window"], int)
    assert values["classes"] == 5
    assert "spatial_weight" in values


def test_an_unknown_parameter_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"no parameter windw\. It offers .*window"):
        find_card("starfm").check_parameters({"windw": 3})
    with pytest.raises(InputError, match="offers no parameters"):
        find_card("brovey").check_parameters({"window": 3})


def test_the_halo_follows_the_window():
    assert find_card("starfm").halo_pixels({"window": 31}) == 15
    assert find_card("brovey").halo_pixels({}) == 0


@pytest.mark.parametrize(
    ("spec", "value", "sentence"),
    [
        (WINDOW, 1, "Search window is 1 pixels. Give a value from 3 to 301 pixels."),
        (WINDOW, 303, "from 3 to 301 pixels"),
        (WINDOW, 4, "is 4. Give an odd number"),
        (WINDOW, 5.5, "is 5.5. Give a whole number"),
        (WINDOW, "5", "is '5'. Give a whole number"),
        (WINDOW, True, "is True. Give a whole number"),
        (WINDOW, math.inf, "is inf. Give a whole number"),
        (Parameter("x", "X", "float", 1, ""), math.inf, "X is inf. Give a number"),
        (Parameter("x", "X", "float", 1, ""), 10**400, "000. Give a number"),
        (SHARE, math.nan, "is nan. Give a number"),
        (SHARE, 1.01, "Share is 1.01. Give a value from 0 to 1."),
        (MODE, "slow", "Mode is 'slow'. Choose one of: fast, good."),
        (FLAG, 1, "Flag is 1. Give true or false."),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(spec, value, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        spec.check(value)


@given(value=integers(1, 150).map(lambda half: 2 * half + 1))
def test_every_odd_number_in_range_is_a_window(value):
    assert WINDOW.check(value) == value


@given(value=floats(0, 1))
def test_every_number_in_range_is_a_share(value):
    assert SHARE.check(value) == value


def test_empty_means_the_default():
    assert WINDOW.check(None) == 51
    assert WINDOW.check("") == 51
    assert SHARE.check(None) is None
    assert FLAG.check(None) is False


@pytest.mark.parametrize(
    ("minimum", "maximum", "words"),
    [(0, 1, "from 0 to 1"), (0, None, "of at least 0"), (None, 2, "of at most 2")],
)
def test_the_range_is_put_in_words(minimum, maximum, words):
    spec = Parameter("x", "X", "float", None, "", minimum, maximum)
    assert spec.range_text() == words


def test_a_good_card_is_read(write_card):
    assert read_card(write_card()).name == "STARFM"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"without": ["summary"]}, "summary"),
        ({"colour": 1}, "colour"),
        ({"id": "other"}, "its id 'other' differs from the file name"),
        ({"family": "pansharpening"}, "starfm"),
        ({"inputs": []}, "its inputs are"),
        ({"parameters": [{"name": "a"}]}, "label"),
        (
            {"parameters": [{"name": "a", "label": "A", "type": "int", "default": 9,
                             "maximum": 3, "help": ""}], "halo": 0},
            "the default of 'a' is not allowed",
        ),
        (
            {"parameters": [{"name": "a", "label": "A", "type": "colour", "default": 9,
                             "help": ""}], "halo": 0},
            "unknown type 'colour'",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_card_is_named_with_its_path(write_card, changes, sentence):
    path = write_card(**changes)
    with pytest.raises(CardError, match=sentence) as raised:
        read_card(path)
    assert str(path) in str(raised.value)
    assert str(raised.value).endswith("Mend the file.")


def inputs_with(*more):
    raw = json.loads((MODELS / "spatiotemporal" / "starfm.json").read_text(encoding="utf-8"))
    return [*raw["inputs"], *more]


LAYER = {"role": "class_layer", "label": "Class layer", "optional": True, "max_bands": 1}


def test_optional_inputs_may_follow_those_of_the_family(write_card):
    card = read_card(write_card(inputs=inputs_with(LAYER)))
    assert card.input("class_layer").optional
    assert not card.input("coarse_target").optional


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (inputs_with({**LAYER, "optional": False}), "after which optional ones may follow"),
        ([LAYER, *inputs_with()], "after which optional ones may follow"),
        (
            inputs_with({**LAYER, "role": "window"}),
            "an input and a parameter are both called 'window'",
        ),
    ],
    ids=["not optional", "first", "name of a parameter"],
)
def test_other_inputs_are_refused(write_card, inputs, sentence):
    with pytest.raises(CardError, match=sentence):
        read_card(write_card(inputs=inputs))


def test_a_card_that_is_no_json_is_named(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(CardError, match=r"broken\.json is no valid card"):
        read_card(path)
