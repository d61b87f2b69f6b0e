"""The import rules between the rooms, followed through all modules of the checkout."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKER_ONLY = {"torch", "rasterio", "numba", "triton", "safetensors"}
QGIS_ONLY = {"qgis", "osgeo", "processing", "PyQt5", "PyQt6", "sip"}
PLAIN = (
    "models.errors", "models.catalogue", "models.cards", "models.model_file", "models.trained",
    "plugin.job", "plugin.reading", "plugin.training_job", "plugin.model_store", "plugin.checks",
    "plugin.grid", "plugin.paths", "plugin.layers.dates",
)  # fmt: skip


class Code:
    """The modules of a checkout and what they import.

    Names are dotted and relative to the root, whose own module is "". An import inside a function
    counts for what the module needs; only those at the top level run when it is loaded.
    """

    def __init__(self, root: Path) -> None:
        self.files = {}
        for folder in ("plugin", "models"):
            for path in sorted((root / folder).rglob("*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                self.files[".".join(parts).removesuffix(".__init__")] = path
        self.files[""] = root / "__init__.py"
        self.all = {name: self._imports(name, lazy=True) for name in self.files}
        self.loaded = {name: self._imports(name, lazy=False) for name in self.files}

    def _imports(self, name: str, lazy: bool) -> set[str]:
        tree = ast.parse(self.files[name].read_text(encoding="utf-8"))
        found: set[str] = set()
        for node in nodes(tree, lazy):
            if isinstance(node, ast.Import):
                found.update(self._known(alias.name) for alias in node.names)
            else:
                base = self._base(name, node)
                found.update(self._known(f"{base}.{alias.name}") for alias in node.names)
        return found - {name}

    def _base(self, name: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = ["rasterfuse", *name.split(".")] if name else ["rasterfuse"]
        if self.files[name].name != "__init__.py":
            package = package[:-1]
        package = package[: len(package) - node.level + 1]
        return ".".join([*package, *([node.module] if node.module else [])])

    def _known(self, dotted: str) -> str:
        """The module of ours that a dotted name lies in, else the foreign package."""
        parts = dotted.split(".")
        if parts[0] != "rasterfuse":
            return parts[0]
        for length in range(len(parts), 0, -1):
            name = ".".join(parts[1:length])
            if name in self.files:
                return name
        raise ValueError(dotted)

    def needs(self, start: str) -> dict[str, list[str]]:
        """All that a module imports, directly or not, each with a way to it."""
        ways = {start: [start]}
        todo = [start]
        while todo:
            name = todo.pop()
            following = set(self.all[name])
            parts = name.split(".")
            for length in range(len(parts)):  # packages around a module are loaded with it
                following |= self.loaded.get(".".join(parts[:length]), set())
            for other in sorted(following - set(ways)):
                ways[other] = [*ways[name], other]
                if other in self.files:
                    todo.append(other)
        del ways[start]
        return ways

    def violations(self, names: list[str], forbidden: set[str]) -> list[str]:
        """Ways from the modules to what they must not need, as "a > b > torch"."""
        return [
            " > ".join(part or "__init__" for part in way)
            for name in names
            for end, way in self.needs(name).items()
            if end in forbidden
        ]

    def circle(self) -> list[str]:
        """A circle of imports at load time, or nothing."""
        done: set[str] = set()

        def visit(name: str, way: list[str]) -> list[str]:
            if name in way:
                return [*way[way.index(name) :], name]
            if name in done:
                return []
            for other in sorted(self.loaded[name] & set(self.files)):
                found = visit(other, [*way, name])
                if found:
                    return found
            done.add(name)
            return []

        return next((found for name in self.files if (found := visit(name, []))), [])


def nodes(tree: ast.AST, lazy: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not lazy:
            continue
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from nodes(ast.Module(node.orelse, []), lazy)
        else:
            yield from nodes(node, lazy)


@pytest.fixture(scope="module")
def code() -> Code:
    return Code(ROOT)


def in_engine(name: str) -> bool:
    return name.startswith("plugin.engine")


def in_models(name: str) -> bool:
    return name.startswith("models")


def is_method_side(name: str) -> bool:
    return in_models(name) and name not in ("models", *PLAIN)


def test_every_room_is_looked_at(code):
    assert {"", "models.cards", "plugin.job", "plugin.engine.worker"} <= set(code.files)


def test_the_qgis_side_never_needs_torch_or_rasterio(code):
    names = [n for n in code.files if not in_engine(n) and not is_method_side(n)]
    assert code.violations(names, WORKER_ONLY) == []


def test_the_engine_and_the_methods_never_need_qgis(code):
    names = [n for n in code.files if in_engine(n) or in_models(n)]
    assert code.violations(names, QGIS_ONLY) == []


def test_the_models_know_nothing_of_the_plugin(code):
    ours = {n for n in code.files if n.startswith("plugin")}
    assert code.violations([n for n in code.files if in_models(n)], ours) == []


def test_what_both_sides_share_needs_the_standard_library_only(code):
    names = [n for n in (*PLAIN, "") if n in code.files]
    names += [n for n in code.files if n.startswith("plugin.runtime")]
    foreign = {
        end
        for name in names
        if name  # the package itself reaches everything, lazily
        for end in code.needs(name)
        if end not in code.files and end not in sys.stdlib_module_names
    }
    assert foreign == set()


def test_loading_the_package_loads_nothing(code):
    assert {n for n in code.loaded[""] if n not in sys.stdlib_module_names} == set()


def test_qt_is_imported_through_qgis_only(code):
    direct = {n: code.all[n] & {"PyQt5", "PyQt6", "PySide2", "PySide6", "sip"} for n in code.files}
    assert {name for name, found in direct.items() if found} == set()


def test_nobody_imports_in_a_circle(code):
    assert code.circle() == []


def test_a_hidden_way_to_torch_is_found(tmp_path):
    write(tmp_path, "__init__.py", "")
    write(tmp_path, "models/__init__.py", "")
    write(tmp_path, "models/deep.py", "def f():\n    import torch\n")
    write(tmp_path, "plugin/__init__.py", "")
    write(tmp_path, "plugin/door.py", "from ..models import deep\n")
    assert Code(tmp_path).violations(["plugin.door"], {"torch"}) == [
        "plugin.door > models.deep > torch"
    ]


def test_what_a_package_loads_counts_for_its_modules(tmp_path):
    write(tmp_path, "__init__.py", "")
    write(tmp_path, "plugin/__init__.py", "import rasterio\n")
    write(tmp_path, "plugin/door.py", "import os\n")
    assert Code(tmp_path).violations(["plugin.door"], {"rasterio"}) == ["plugin.door > rasterio"]


def test_imports_for_type_checkers_do_not_count(tmp_path):
    write(tmp_path, "__init__.py", "")
    write(
        tmp_path, "plugin/door.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n",
    )  # fmt: skip
    assert Code(tmp_path).violations(["plugin.door"], {"torch"}) == []


def test_a_circle_is_found_but_not_one_broken_by_a_late_import(tmp_path):
    write(tmp_path, "__init__.py", "")
    write(tmp_path, "plugin/a.py", "from . import b\n")
    write(tmp_path, "plugin/b.py", "from .a import thing\n")
    assert Code(tmp_path).circle() == ["plugin.a", "plugin.b", "plugin.a"]
    write(tmp_path, "plugin/b.py", "def f():\n    from .a import thing\n")
    assert Code(tmp_path).circle() == []


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
