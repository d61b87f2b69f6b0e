"""tools/qt6_check.py finds what Qt 6 refuses, and nothing in what runs on both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "qt6_check.py"
IMPORTS = "from qgis.core import Qgis, QgsProcessing, QgsTask\n"
IMPORTS += "from qgis.PyQt.QtCore import Qt, QDateTime, QSize\n"
IMPORTS += "from qgis.PyQt.QtWidgets import QDialog, QSizePolicy\n"


def found(tmp_path, code):
    path = tmp_path / "module.py"
    path.write_text(IMPORTS + code + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(TOOL), str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1 if done.stdout else 0, "")
    return [line.removeprefix(f"{path}:") for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("label.setAlignment(Qt.AlignLeft)", "Qt.AlignLeft has no enum in its name"),
        ("pen.setColor(Qt.red)", "Qt.red has no enum in its name"),
        ("dialog.exec() == QDialog.Accepted", "QDialog.Accepted has no enum"),
        ("policy = QSizePolicy.Expanding | 0", "QSizePolicy.Expanding has no enum"),
        ("bar.pushMessage('x', Qgis.Critical)", "Qgis.Critical has no enum"),
        ("kinds = [QgsProcessing.TypeRaster]", "QgsProcessing.TypeRaster has no enum"),
        ("button = Qt.MouseButton.MidButton", "Use MiddleButton"),
        ("f(Qt.ApplicationAttribute.AA_UseHighDpiPixmaps)", "it is always on"),
        ("number = int(Qt.CheckState.Checked)", "makes a number of an enum"),
        ("dialog.exec_()", "Use exec()"),
        ("def exec_(self): pass", "Call it exec"),
        ("import PyQt5.QtCore", "Import it from qgis.PyQt"),
        ("from PyQt6.QtCore import QObject", "Import it from qgis.PyQt"),
        ("import sip", "Import it from qgis.PyQt"),
        ("from qgis.PyQt.Qt import QUrl", "qgis.PyQt.Qt is gone"),
        ("from . import resources_rc", "Load icons by the path"),
        ("from .icons_rc import qInitResources", "Load icons by the path"),
        ("from qgis.PyQt.QtGui import QAction", "Import it from there"),
        ("from qgis.PyQt.QtCore import QRegExp", "QRegularExpression"),
        ("from qgis.PyQt.QtCore import QTextCodec", "Python's codecs"),
        ("from qgis.PyQt.QtWidgets import QDesktopWidget", "QScreen"),
        ("from qgis.PyQt.QtWidgets import qApp", "QApplication.instance()"),
        ("kind = QVariant.Int", "QMetaType.Type"),
        ("empty = QVariant()", "NULL"),
        ("moment = QDateTime(QDate(2001, 5, 24))", "a QDate and a QTime"),
        ("moment = QDateTime(2001, 5, 24, 1, 2, 3, 4, 5)", "a QDate and a QTime"),
        ("menu.addAction(icon, 'Run', run, 'Ctrl+R')", "Make a QAction"),
        ("combo.activated[str].connect(use)", "whose name says the type"),
        ("wide = self.fontMetrics().width('x')", "horizontalAdvance"),
        ("widget.resize(width / 2, 100)", "takes whole numbers"),
        ("size = QSize(8, 2 + height / 3)", "takes whole numbers"),
        ("place = QApplication.desktop().screenGeometry()", "QScreen"),
    ],
)
def test_what_qt_6_refuses_is_found_in_its_line(tmp_path, code, word):
    lines = found(tmp_path, code)
    assert len(lines) == 1
    assert lines[0].startswith("4: ")
    assert word in lines[0]


@pytest.mark.parametrize(
    "code",
    [
        "label.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)",
        "def tick(state: Qt.CheckState) -> QDialog.DialogCode: pass",
        "version = Qgis.QGIS_VERSION_INT",
        "where = QgsProcessing.TEMPORARY_OUTPUT",
        "from qgis.PyQt.QtWidgets import QAction, QShortcut",
        "from qgis.PyQt import sip",
        "dialog.exec()",
        "moment = QDateTime(day, QTime(0, 0))",
        "half = QSize(width // 2, round(height / 2))",
        "class Ours(QgsTask): pass\nOurs.Anything",
        "from module import QRegExp",
        "our_signal[str].connect(use)",
    ],
)
def test_what_runs_on_both_is_left_alone(tmp_path, code):
    assert found(tmp_path, code) == []
