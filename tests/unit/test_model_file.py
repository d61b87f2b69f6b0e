"""Model files: good ones become methods at once, bad ones are named and break nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_files import CARD, METHOD, header_of, write, write_model
from rasterfuse.models.cards import find_card, load_cards, model_faults
from rasterfuse.models.errors import FusionError, InputError, ModelFileError, OutputError
from rasterfuse.models.model_file import ModelCard, id_of_name, is_model_id, read_model_card
from rasterfuse.models.trained import about
from rasterfuse.plugin import model_store

pytest_plugins = ["model_folder"]


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


words = st.text(st.characters(codec="utf-8"), max_size=20)
finite = st.floats(-1e9, 1e9)
spans = st.tuples(finite, finite).map(lambda pair: (min(pair), max(pair)))
model_cards = st.builds(
    ModelCard,
    id=st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
    name=words,
    method=st.just(METHOD),
    sensors=st.lists(words, max_size=3).map(tuple),
    bands=st.lists(words, max_size=3).map(tuple),
    wavelengths=st.lists(finite, max_size=3).map(tuple),
    scale=st.none() | spans,
    ratio=st.none() | spans,
    dates=st.lists(words, max_size=3).map(tuple),
    seed=st.integers(0, 2**40),
    minutes=finite,
    metrics=st.dictionaries(words, st.dictionaries(words, finite, max_size=3), max_size=3),
    network=st.dictionaries(words, st.integers() | words | st.booleans(), max_size=3),
)


@given(card=model_cards)
def test_a_model_card_comes_back_from_json(card):
    assert ModelCard.from_json(card.to_json()) == card


@given(card=model_cards)
def test_whatever_a_card_says_it_can_be_told(card):
    assert isinstance(about(card), str)


@given(name=words)
def test_every_name_gives_an_id(name):
    assert is_model_id(id_of_name(name))


def test_an_id_looks_like_its_name():
    assert id_of_name("Étang, été 2024") == "etang_ete_2024"
    assert id_of_name("2024 夏") == "model_2024"


def test_a_model_file_says_what_it_is(tmp_path):
    assert read_model_card(write_model(tmp_path / "a.safetensors")) == CARD


def zipped(path, bomb):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(bomb))


def pickled(path, bomb):
    path.write_bytes(pickle.dumps([bomb] * 50, protocol=2))


def pickled_anew(path, bomb):
    path.write_bytes(pickle.dumps([bomb, os.urandom(70_000)], protocol=5))


def nested(path, bomb):
    write(path, b"[" * 100_000)


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BAD = {
    "empty": (lambda p, b: p.write_bytes(b""), "only 0 bytes"),
    "a zip of torch": (zipped, "zip archive, as torch.save writes it, which can execute code"),
    "a pickle": (pickled, "Python pickle, as torch.save writes it, which can execute code"),
    "a newer pickle": (pickled_anew, "which can execute code|header would have"),
    "text": (lambda p, b: p.write_text("hello, this is no model"), "header would have"),
    "a header of 4 GB": (lambda p, b: write(p, header_of(CARD), length=2**32), "4294967296 bytes"),
    "a header that is cut off": (lambda p, b: write(p, b"{}", b"", 100), "2 of the 100 bytes"),
    "a header that is no JSON": (lambda p, b: write(p, b"\xff\xfe{]"), "header is no JSON"),
    "a header that is too deep": (nested, "header is no JSON"),
    "a header that is a list": (lambda p, b: write(p, b"[]"), "header is no object"),
    "too short": (lambda p, b: write(p, header_of(CARD), b"\0" * 5), "3 bytes are missing"),
    "too long": (lambda p, b: write(p, header_of(CARD), b"\0" * 20), "12 bytes too many"),
    "a gap": (
        lambda p, b: write(p, {"w": {**TENSOR, "data_offsets": [4, 12]}}, b"\0" * 12),
        "'w' begins at byte 4 instead of 0",
    ),
    "an overlap": (lambda p, b: write(p, {"w": TENSOR, "v": TENSOR}), "at byte 0 instead of 8"),
    "another size than the shape": (
        lambda p, b: write(p, {"w": {**TENSOR, "shape": [3]}}),
        "'w' is damaged",
    ),
    "a shape below zero": (
        lambda p, b: write(p, {"w": {**TENSOR, "shape": [-2, -1]}}),
        "'w' is damaged",
    ),
    "a tensor that is none": (lambda p, b: write(p, {"w": 3}), "'w' is damaged"),
    "an unknown type": (lambda p, b: write(p, {"w": {**TENSOR, "dtype": "Q9"}}), "'w' is damaged"),
    "foreign": (lambda p, b: write(p, header_of(None)), "no model card of RasterFuse"),
    "too new": (
        lambda p, b: write_model(p, format=99),
        "format 99, this RasterFuse reads 1. Update RasterFuse",
    ),
    "a card without a name": (
        lambda p, b: write(
            p, {"w": TENSOR, "__metadata__": {"rasterfuse": '{"format": 1, "id": "x"}'}}
        ),
        "lacks name, method",
    ),
    "a card that is no JSON": (
        lambda p, b: write(p, {"w": TENSOR, "__metadata__": {"rasterfuse": "{"}}),
        "model card is no JSON",
    ),
    "a number that is none": (lambda p, b: write_model(p, minutes=float("nan")), "is no JSON"),
    "an id that is a path": (lambda p, b: write_model(p, id="../x"), "id is '../x', no id"),
    "a seed in words": (lambda p, b: write_model(p, seed="seven"), "seed is 'seven'"),
    "an unknown field": (lambda p, b: write_model(p, colour="red"), "unknown field 'colour'"),
    "of a method that is not there": (
        lambda p, b: write_model(p, method="nice_net"),
        "the method nice_net, which this RasterFuse does not have. Update RasterFuse",
    ),
    "of a method without weights": (
        lambda p, b: write_model(p, method="starfm"),
        "starfm, which this RasterFuse cannot give weights",
    ),
    "with the id of a method": (
        lambda p, b: write_model(p, id="estarfm"),
        "the id estarfm|id estarfm of the model file",
    ),
    "a pipe": (lambda p, b: os.mkfifo(p), "It is no file"),
    "a folder": (lambda p, b: p.mkdir(), "It is no file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_and_breaks_neither_the_list_nor_the_import(models_folder, kind):
    make, sentence = BAD[kind]
    good = write_model(models_folder / "good.safetensors")
    outside = models_folder.parent / "bad.safetensors"
    bomb = models_folder.parent / "executed"
    for path in (models_folder / "bad.safetensors", outside):
        make(path, Bomb(bomb))
    assert CARD.id in load_cards()
    (fault,) = model_faults()
    assert re.search(sentence, fault), fault
    assert "bad.safetensors" in fault
    good.unlink()
    with pytest.raises(FusionError, match=sentence):
        model_store.import_model(outside)
    assert not bomb.exists()
    assert os.listdir(models_folder) == ["bad.safetensors"]


def test_of_two_files_with_one_id_the_second_is_left_out_and_said_so(models_folder):
    write_model(models_folder / "a.safetensors", name="First")
    write_model(models_folder / "b.safetensors", name="Second")
    assert load_cards()[CARD.id].name == "First"
    assert model_faults() == [
        "The model files a.safetensors and b.safetensors have the same id fields_2024; the second "
        "was left out. Remove one of them."
    ]


def test_a_model_is_a_method_of_its_own_beside_the_one_it_was_made_of(models_folder):
    before = list(load_cards())
    path = write_model(models_folder / "any name.safetensors")
    card = find_card(CARD.id)
    base = find_card(METHOD)
    assert [model for model in load_cards() if model not in before] == [CARD.id]
    assert list(load_cards()).index(CARD.id) == list(load_cards()).index(METHOD) + 1
    assert (card.module, card.class_name, card.inputs) == (
        base.module,
        base.class_name,
        base.inputs,
    )
    assert card.weights["path"] == str(path)
    assert card.summary == "RasterFuse Net, trained on Landsat 8 and MODIS."
    for fact in ("two days of fields", "CC-BY-4.0", "2024-07-15", "rmse 0.012 (copy fine 0.02)"):
        assert fact in card.description
    assert card.ratio == {"min": 8.0, "max": 16.0}
    path.unlink()
    assert list(load_cards()) == before


def test_a_job_may_name_the_file_wherever_it_lies(models_folder, tmp_path):
    path = write_model(tmp_path / "elsewhere.safetensors")
    card = find_card(CARD.id, str(path))
    assert (card.id, card.model_file) == (CARD.id, str(path))
    with pytest.raises(InputError, match=r"no method 'fields_2024'.*import its model file"):
        find_card(CARD.id)
    with pytest.raises(ModelFileError, match="wants the model 'other', but elsewhere"):
        find_card("other", str(path))
    with pytest.raises(ModelFileError, match=r"gone\.safetensors cannot be read"):
        find_card(CARD.id, str(tmp_path / "gone.safetensors"))


# --- import, export, remove ---


def test_what_is_exported_can_be_imported_elsewhere(models_folder, tmp_path, monkeypatch):
    model_store.import_model(write_model(tmp_path / "from a friend.safetensors"))
    assert os.listdir(models_folder) == ["fields_2024.safetensors"]
    shared = model_store.export_model(CARD.id, tmp_path / "share" / "model")
    assert shared == tmp_path / "share" / "model.safetensors"
    monkeypatch.setenv("RASTERFUSE_MODELS", str(tmp_path / "other computer"))
    assert model_store.import_model(shared).trained == CARD
    own = [card.id for card in load_cards().values() if card.model_file is not None]
    assert own == [CARD.id]
    model_store.remove_model(CARD.id)
    assert CARD.id not in load_cards()


def test_importing_twice_changes_nothing_but_another_model_of_that_id_is_refused(
    models_folder, tmp_path
):
    path = write_model(tmp_path / "a.safetensors")
    first = model_store.import_model(path)
    assert model_store.import_model(path) == first
    other = write_model(tmp_path / "b.safetensors", name="Other fields")
    with pytest.raises(ModelFileError, match="already a method with the id fields_2024"):
        model_store.import_model(other)
    assert read_model_card(models_folder / "fields_2024.safetensors").name == CARD.name


def test_what_is_part_of_rasterfuse_is_neither_removed_nor_exported(models_folder, tmp_path):
    with pytest.raises(InputError, match="part of RasterFuse and cannot be removed"):
        model_store.remove_model("starfm")
    with pytest.raises(InputError, match="STARFM has no model file"):
        model_store.export_model("starfm", tmp_path / "x")


def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left(models_folder, tmp_path):
    models_folder.write_text("a file is in the way")
    with pytest.raises(OutputError, match=r"folder .*/models for the model file cannot be made"):
        model_store.import_model(write_model(tmp_path / "a.safetensors"))
    assert models_folder.read_text() == "a file is in the way"


def test_a_new_model_gets_a_file_whose_id_is_free(models_folder):
    write_model(models_folder / "a.safetensors", id="my_model")
    path = model_store.new_model_path("My model")
    assert path == str(models_folder / "my_model_2.safetensors")
    assert model_store.new_model_path("ESTARFM").endswith("estarfm_2.safetensors")


@given(data=st.binary(max_size=400), at=st.integers(0, 400), cut=st.integers(0, 600))
def test_no_damage_is_a_traceback(tmp_path_factory, data, at, cut):
    path = write_model(tmp_path_factory.mktemp("damage") / "a.safetensors")
    good = path.read_bytes()
    path.write_bytes((good[:at] + data + good[at + len(data) :])[:cut])
    try:
        card = read_model_card(path)
    except ModelFileError as error:
        assert "a.safetensors" in error.sentence
    else:
        assert json.loads(card.to_json())


def test_two_cards_differ_when_their_weights_were_trained_on_other_data():
    assert "more fields" in about(replace(CARD, data="more fields"))


def test_a_checkpoint_of_torch_under_its_own_name_is_refused(models_folder, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"w": [1.0]}))
    for name in ("net.pt", "net.pth", "net.ckpt"):
        (tmp_path / name).write_bytes(buffer.getvalue())
        with pytest.raises(ModelFileError, match=f"{name} cannot be used. It is a zip archive"):
            model_store.import_model(tmp_path / name)
