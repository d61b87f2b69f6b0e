"""The checkout as a QGIS plugin: what QGIS, the plugin site and old Pythons need of it."""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path

import pytest
from rasterfuse.models.cards import load_cards
from rasterfuse.plugin.engine import VERSION

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("plugin", "models", "tools")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
REQUIRED = (
    "name", "qgisMinimumVersion", "description", "version", "author", "email", "about",
    "hasProcessingProvider", "icon",
)  # fmt: skip
short = {"ids": lambda path: str(path.relative_to(ROOT))}


@pytest.fixture(scope="module")
def metadata():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "metadata.txt", encoding="utf-8")
    return parser["general"]


def test_qgis_finds_what_it_needs_to_list_the_plugin(metadata):
    assert [key for key in REQUIRED if not metadata.get(key)] == []
    assert (ROOT / metadata["icon"]).is_file()
    assert metadata["qgisMinimumVersion"] == "3.22"
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_plugin_manager_names_the_methods_that_there_are(metadata):
    listed = re.search(r"Methods: (.*?)\.", metadata["about"]).group(1).split(", ")
    assert sorted(listed) == sorted(card.name for card in load_cards().values())


def test_there_is_one_version(metadata):
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert metadata["version"] == VERSION
    assert f'version = "{VERSION}"' in project
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE)[0] == VERSION


def test_everything_that_is_installed_is_pinned():
    for name in ("worker", "qgis", "qt6"):
        text = (ROOT / "tools" / f"{name}-requirements.txt").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert lines
        pinned = r"[\w-]+==[\w.]+(; sys_platform == .*)?"
        assert [line for line in lines if not re.fullmatch(pinned, line)] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_of_the_documentation_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("path", SOURCES, **short)
def test_sources_are_readable_for_python_3_9(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("path", SOURCES, **short)
def test_files_and_functions_stay_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    assert {node.name: lines(node) for node in functions if lines(node) > 60} == {}


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its documentation."""
    first = function.body[1] if ast.get_docstring(function) and function.body[1:] else function
    return function.end_lineno - first.lineno + 1
