"""The catalogue of errors: complete, readable, and the same in the code and the documentation."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path

import pytest
from rasterfuse.models import catalogue, errors
from rasterfuse.models.catalogue import CATALOGUE
from rasterfuse.models.errors import FusionError, InputError, readable, shown

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for room in ("plugin", "models") for path in sorted((ROOT / room).rglob("*.py"))]
LATER = "install_"  # the installer brings its own constants


def codes_in(path):
    """Codes that a file gives to errors: constants of an endings.py, and texts given as code."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            yield from texts(node.value)
    if path.name == "endings.py":
        for node in tree.body:
            if isinstance(node, ast.Assign) and node.targets[0].id.isupper():
                yield from (text for text in texts(node.value) if text.replace("_", "").isalpha())


def texts(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value


def used():
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    found = {kind.code for kind in kinds if issubclass(kind, FusionError)}
    return found.union(*(codes_in(path) for path in SOURCES))


def test_every_code_that_the_code_uses_is_explained():
    assert {"worker_killed", "temporary", "out_of_memory", "internal"} <= used()
    assert sorted(used() - set(CATALOGUE)) == []


def test_nothing_is_explained_that_no_longer_exists():
    assert [code for code in CATALOGUE if code not in used() and not code.startswith(LATER)] == []


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_has_a_meaning_and_a_next_step(code):
    failure = CATALOGUE[code]
    assert code.replace("_", "").isalpha()
    assert code.islower()
    for text in (failure.meaning, failure.advice):
        assert text.endswith(".")
        assert len(text.split()) >= 4
        assert "  " not in text


def test_the_page_in_the_documentation_is_written_from_the_catalogue():
    spec = importlib.util.spec_from_file_location("errors_page", ROOT / "tools" / "errors.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    written = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert written == tool.page(catalogue), "run python tools/errors.py docs/errors.md"
    assert all(f"\n### {code}\n" in written for code in CATALOGUE)


def test_a_sentence_is_one_line_that_can_be_shown():
    error = InputError("two\nlines\u2028and \x1b[31mred\udcff " + "long " * 5000)
    assert error.sentence.isprintable()
    assert len(error.sentence) < 1600
    assert error.sentence.startswith("two\\nlines\\u2028and \\x1b[31mred\\udcff long")
    assert error.coded.endswith("[input]")
    assert readable("Größe ▸ 夏") == "Größe ▸ 夏"


def test_a_value_in_a_sentence_is_short_however_deep_or_long_it_is():
    deep = []
    for _ in range(900):
        deep = [deep]
    for value in (deep, "x" * 10**6, 10**4000, {str(number): number for number in range(9999)}):
        assert len(shown(value)) < 200
    assert shown("red") == "'red'"
