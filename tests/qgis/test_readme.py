"""The examples of the README, as they stand there, and the demo behind its picture."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from osgeo import gdal
from qgis.core import QgsProject
from qgis.PyQt.QtGui import QImage

ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / "build" / "worker" / "bin" / "python"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)

pytestmark = pytest.mark.skipif(not WORKER.exists(), reason="make setup makes the worker")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder with a small scene, in place of build/demo."""
    folder = tmp_path_factory.mktemp("demo")
    script = ROOT / "plugin" / "engine" / "simulate.py"
    subprocess.run(
        [str(WORKER), str(script), str(folder / "scene"), "--size", "120"],
        check=True, stdout=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    return folder


def example(language: str, word: str, demo: Path) -> str:
    """The one block of code that holds a word, made to work in the folder of the test."""
    found = [text for kind, text in BLOCKS if kind == language and word in text]
    assert len(found) == 1, f"{len(found)} blocks of {language} hold {word}"
    places = {"build/demo": str(demo), "build/scene": str(demo / "plain")}
    for here, there in places.items():
        found[0] = found[0].replace(here, there if language == "python" else shlex.quote(there))
    return found[0]


def shell(commands: str) -> str:
    """Run commands as a user does in the checkout; what they print."""
    clean = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=ROOT, env=clean, check=False, timeout=240,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def is_fused(path: Path, size: int = 120) -> bool:
    raster = gdal.Open(str(path))
    return (raster.RasterXSize, raster.RasterYSize, raster.RasterCount) == (size, size, 4)


def test_the_example_for_the_console_fuses_and_names_the_layer(qgis_new_project, demo, capsys):
    exec(compile(example("python", "import fuse", demo), "README.md", "exec"), {})
    assert is_fused(demo / "console.tif")
    assert "starfm" in capsys.readouterr().out


def test_the_example_for_processing_prints_how_much_better_the_result_is(
    qgis_processing, provider, demo, capsys
):
    exec(compile(example("python", "import processing", demo), "README.md", "exec"), {})
    assert is_fused(demo / "processing.tif")
    result, copy = map(float, capsys.readouterr().out.split()[-2:])
    assert result < copy


@pytest.fixture
def provider(qgis_app):
    """The plugin without a window, as QGIS loads it for Processing."""
    import rasterfuse

    plugin = rasterfuse.classFactory(None)
    plugin.initProcessing()
    yield
    plugin.unload()


def test_the_example_for_qgis_process_runs_after_make_env(demo):
    commands = example("sh", "qgis_process.bin run", demo)
    if not Path("/usr/bin/qgis_process.bin").exists():
        commands = commands.replace("qgis_process.bin", "qgis_process")
    printed = shell(commands)
    assert "RMSE_RESULT" in printed
    assert is_fused(demo / "qgis_process.tif")


def test_the_example_without_qgis_prints_a_report(demo):
    printed = shell(example("sh", "worker.py", demo))
    assert '"verdict"' in printed
    assert is_fused(demo / "plain" / "fused.tif", 300)


def test_the_demo_leaves_image_project_picture_and_table(tmp_path, qgis_new_project):
    command = 'eval "$(tools/environment)" && exec "$1" tools/demo.py "$2"'
    done = subprocess.run(
        ["bash", "-euc", command, "demo", sys.executable, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert is_fused(tmp_path / "fused.tif", 400)
    picture = QImage(str(tmp_path / "demo.png"))
    panels = {picture.pixel(x, y) for x in range(12, picture.width(), 9) for y in range(80, 400, 9)}
    assert len(panels) > 100, "the picture is all but empty"
    table = (tmp_path / "accuracy.txt").read_text(encoding="utf-8")
    assert table in done.stdout
    errors = {line[:28].strip(): float(line[28:36]) for line in table.splitlines()[2:]}
    assert errors["STARFM"] < errors["copy of the fine reference"]
    project = QgsProject.instance()
    assert project.read(str(tmp_path / "demo.qgz"))
    layers = project.mapLayers().values()
    assert len(layers) == 5
    assert all(layer.isValid() and layer.temporalProperties().isActive() for layer in layers)
