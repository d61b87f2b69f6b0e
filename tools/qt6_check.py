"""Find what would break on Qt 6: tools/qt6_check.py FILE_OR_FOLDER...

The rules are those of QGIS's own migration script, plus a few that PyQt6 is strict about. They look
at the text only; ``make qt6`` checks the same sources against PyQt6 itself.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

QGIS_MODULES = re.compile(r"qgis\.(PyQt\.\w+|core|gui|analysis)")
REMOVED = {
    "QRegExp": "Use Python's re or QRegularExpression.",
    "QRegExpValidator": "Use QRegularExpressionValidator.",
    "QDesktopWidget": "Use QScreen.",
    "QTextCodec": "Use Python's codecs.",
    "QMatrix": "Use QTransform.",
    "QGLWidget": "Use QOpenGLWidget.",
    "qApp": "Use QApplication.instance().",
}
# They moved to QtGui in Qt 6; qgis.PyQt.QtWidgets has them on both, QtGui of QGIS 3.22 has not.
MOVED = {"QAction", "QActionGroup", "QShortcut"}
RENAMED = {
    "MidButton": "MiddleButton",
    "TextColorRole": "ForegroundRole",
    "BackgroundColorRole": "BackgroundRole",
    "HighQualityAntialiasing": "Antialiasing",
    "AA_EnableHighDpiScaling": "nothing, it is always on",
    "AA_UseHighDpiPixmaps": "nothing, it is always on",
}
METHODS = {
    "exec_": "Use exec().",
    "print_": "Use print().",
    "desktop": "QDesktopWidget is gone. Use QScreen.",
    "setTabStopWidth": "Use setTabStopDistance().",
}
OVERLOAD = re.compile(
    r"((activated|buttonClicked|currentIndexChanged|highlighted|valueChanged)\[\w+\])\.connect$"
)
# Methods and classes whose numbers are whole in Qt; PyQt6 does not round for us.
WHOLE = {
    "QPoint", "QRect", "QSize", "drawLine", "drawRect", "drawText", "move", "resize",
    "setColumnWidth", "setFixedHeight", "setFixedSize", "setFixedWidth", "setGeometry",
    "setMaximumHeight", "setMaximumWidth", "setMinimumHeight", "setMinimumWidth",
    "setRowHeight", "setSpacing", "singleShot",
}  # fmt: skip


class Finder:
    """The findings in one module, as (line, sentence)."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.parents = {
            child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)
        }
        self.classes = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and QGIS_MODULES.fullmatch(node.module or "")
            for alias in node.names
        }

    def findings(self) -> Iterator[tuple[int, str]]:
        """Everything in the module that Qt 6 would refuse."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found = [text for alias in node.names for text in _module(alias.name)]
            elif isinstance(node, ast.ImportFrom):
                found = [*_module(node.module or ""), *_names(node)]
            elif isinstance(node, ast.Attribute):
                found = [*self._attribute(node), *_attribute(node)]
            elif isinstance(node, ast.Call):
                found = [*self._conversion(node), *_call(node)]
            elif isinstance(node, ast.FunctionDef) and node.name == "exec_":
                found = ["exec_ is exec on Qt 6. Call it exec."]
            else:
                continue
            yield from ((node.lineno, text) for text in found)

    def _attribute(self, node: ast.Attribute) -> Iterator[str]:
        """Members of enums that are taken from the class without the enum's name."""
        if not (isinstance(node.value, ast.Name) and node.value.id in self.classes):
            return
        name, member = node.value.id, node.attr
        parent = self.parents[node]
        if isinstance(parent, ast.Attribute) or self._is_called(node) or self._is_type(node):
            return
        constant = member.isupper() and name != "Qt"  # QGIS_VERSION_INT, TEMPORARY_OUTPUT
        if name == "Qt" or (member[0].isupper() and not constant):
            yield f"{name}.{member} has no enum in its name. Write {name}.<enum>.{member}."

    def _is_called(self, node: ast.AST) -> bool:
        parent = self.parents[node]
        return isinstance(parent, ast.Call) and parent.func is node

    def _is_type(self, node: ast.AST) -> bool:
        """Whether it stands in an annotation."""
        while node in self.parents:
            parent = self.parents[node]
            if node in (getattr(parent, "annotation", None), getattr(parent, "returns", None)):
                return True
            node = parent
        return False

    def _conversion(self, call: ast.Call) -> Iterator[str]:
        """``int(Qt.X.Y)``: enums of PyQt6 are no numbers."""
        if isinstance(call.func, ast.Name) and call.func.id == "int" and call.args:
            root = call.args[0]
            while isinstance(root, ast.Attribute):
                root = root.value
            if root is not call.args[0] and isinstance(root, ast.Name) and root.id in self.classes:
                yield f"{ast.unparse(call)} makes a number of an enum. Compare the enums."


def _module(name: str) -> Iterator[str]:
    if name.split(".", maxsplit=1)[0] in ("PyQt4", "PyQt5", "PyQt6", "PySide2", "PySide6", "sip"):
        yield f"{name} is of one Qt only. Import it from qgis.PyQt."
    if name == "qgis.PyQt.Qt":
        yield "qgis.PyQt.Qt is gone. Import from QtCore, QtGui or QtWidgets."
    if name.endswith("_rc"):
        yield f"{name} is a compiled resource. Load icons by the path of their file."


def _names(node: ast.ImportFrom) -> Iterator[str]:
    module = node.module or ""
    for alias in node.names:
        if alias.name.endswith("_rc"):
            yield from _module(alias.name)
        if not module.startswith("qgis.PyQt"):
            continue
        if alias.name in REMOVED:
            yield f"{alias.name} is gone. {REMOVED[alias.name]}"
        if alias.name in MOVED and module != "qgis.PyQt.QtWidgets":
            yield f"{alias.name} is on both in qgis.PyQt.QtWidgets only. Import it from there."


def _attribute(node: ast.Attribute) -> Iterator[str]:
    if node.attr in RENAMED:
        yield f"{node.attr} is gone. Use {RENAMED[node.attr]}."
    if isinstance(node.value, ast.Name) and node.value.id == "QVariant":
        yield f"QVariant.{node.attr} is no type on Qt 6. Use QMetaType.Type."
    metrics = isinstance(node.value, ast.Call) and "fontMetrics" in ast.unparse(node.value.func)
    if node.attr == "width" and metrics:
        yield "width() of font metrics is gone. Use horizontalAdvance()."


def _call(call: ast.Call) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    if isinstance(call.func, ast.Attribute) and name in METHODS:
        yield f"{name}() is gone. {METHODS[name]}"
    if name == "QVariant" and not call.args:
        yield "QVariant() is no null on Qt 6. Use NULL of qgis.core."
    if name == "addAction" and len(call.args) >= 4:
        yield "addAction() with four arguments is fragile. Make a QAction, then add it."
    if name == "QDateTime" and _is_half_a_moment(call):
        yield "QDateTime wants a QDate and a QTime on Qt 6. Give both."
    overload = OVERLOAD.search(ast.unparse(call.func))
    if overload:
        yield f"{overload.group(1)} is gone. Use the signal whose name says the type."
    if name in WHOLE and any(_is_quotient(argument) for argument in call.args):
        yield f"{name}() gets a quotient, but takes whole numbers. Use // or round()."


def _is_half_a_moment(call: ast.Call) -> bool:
    first = call.args[0] if call.args else None
    alone = len(call.args) == 1 and isinstance(first, ast.Call)
    return len(call.args) == 8 or (alone and ast.unparse(first.func) == "QDate")


def _is_quotient(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and (
        isinstance(node.op, ast.Div) or _is_quotient(node.left) or _is_quotient(node.right)
    )


def check(path: Path) -> list[str]:
    """The findings of one file, as ``path:line: sentence``."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return [f"{path}:{line}: {text}" for line, text in sorted(Finder(tree).findings())]


def main(places: list[str]) -> int:
    """Print all findings; 1 when there are some."""
    files: list[Path] = []
    for place in map(Path, places):
        files += sorted(place.rglob("*.py")) if place.is_dir() else [place]
    found = [line for path in files for line in check(path)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
