"""The ZIP of `make package`, unpacked into a new profile as the plugin manager does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from osgeo import gdal
from shells import Profile, needs_program

pytest_plugins = ["small_scene"]

ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / "build" / "worker" / "bin" / "python"

pytestmark = [
    needs_program,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="for a checkout with git"),
    pytest.mark.skipif(not WORKER.exists(), reason="make setup makes the worker"),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A profile into which the ZIP was installed and switched on; the checkout is nowhere in it."""
    made = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "package.py")],
        stdout=subprocess.PIPE, text=True, check=True, timeout=60,
    )  # fmt: skip
    python = os.environ.get("RASTERFUSE_PYTHON", str(WORKER))
    profile = Profile(tmp_path_factory.mktemp("user"), RASTERFUSE_PYTHON=python)
    with zipfile.ZipFile(made.stdout.strip()) as archive:
        archive.extractall(profile.path / "python" / "plugins")
    profile.enable("rasterfuse")
    return profile


def test_the_installed_plugin_fuses_with_code_of_the_profile_alone(
    installed, small_scene, tmp_path
):
    output = tmp_path / "fused.tif"
    done = installed.qgis_process(
        "run", "rasterfuse:starfm", f"--COARSE_TARGET={small_scene.target}",
        f"--COARSE_REFERENCES={small_scene.coarse[0]}",
        f"--FINE_REFERENCES={small_scene.fine[0]}", "--TARGET_DATE=2001-07-11",
        "--WINDOW=17", f"--OUTPUT={output}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    raster = gdal.Open(str(output))
    fine = gdal.Open(small_scene.fine[0])
    assert raster.ReadAsArray().shape == (3, 64, 80)
    assert raster.GetGeoTransform() == fine.GetGeoTransform()
    assert raster.GetRasterBand(1).ComputeStatistics(False)[3] > 100  # fields, not one grey
    code = installed.path / "python" / "plugins" / "rasterfuse"
    assert list((code / "plugin" / "processing").glob("__pycache__/*.pyc")) != []


def test_every_method_is_in_the_toolbox_and_has_its_icon(installed):
    listed = installed.qgis_process("list").stdout
    cards = {path.stem for path in (ROOT / "models").glob("*/*.json")}
    assert {name for name in cards if f"rasterfuse:{name}\t" not in listed} == set()
    helped = installed.qgis_process("help", "rasterfuse:gsa")
    assert (helped.returncode, "Traceback" in helped.stderr) == (0, False)


def test_without_a_python_for_the_worker_the_plugin_says_what_to_do(
    installed, small_scene, tmp_path, monkeypatch
):
    wanted = shutil.which("true")
    monkeypatch.setitem(installed.environment, "RASTERFUSE_PYTHON", wanted)
    done = installed.qgis_process(
        "run", "rasterfuse:gsa", f"--MULTISPECTRAL={small_scene.multispectral}",
        f"--PANCHROMATIC={small_scene.panchromatic}", f"--OUTPUT={tmp_path / 'sharp.tif'}",
    )  # fmt: skip
    assert done.returncode != 0
    assert wanted in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
