"""The algorithms from a shell: the real qgis_process with its own profile and plugin folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from desktop import write_scene
from faults import assert_nothing_left, wait_for
from osgeo import gdal
from shells import Profile, needs_program

pytest_plugins = ["small_scene"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture()
def shell(tmp_path):
    """Run qgis_process as a user with this plugin switched on would."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "rasterfuse").symlink_to(ROOT, target_is_directory=True)
    profile = Profile(tmp_path, QGIS_PLUGINPATH=str(plugins))
    profile.enable("rasterfuse")
    return profile


def said(done):
    return done.stdout + done.stderr


@needs_program
def test_the_algorithms_are_listed_with_their_help(shell):
    listed = shell.qgis_process("list")
    assert "RasterFuse" in listed.stdout
    assert "rasterfuse:starfm\tSTARFM" in listed.stdout
    helped = shell.qgis_process("help", "rasterfuse:starfm")
    assert helped.returncode == 0
    assert "COARSE_TARGET: Coarse image at the target date" in helped.stdout
    assert "RMSE_RESULT" in helped.stdout
    assert "10.1109/TGRS.2006.872081" in helped.stdout


@needs_program
def test_a_shell_fuses_with_several_pairs_bands_and_an_extent(shell, small_scene, tmp_path):
    output = tmp_path / "fused.tif"
    words = [f"--COARSE_REFERENCES={path}" for path in small_scene.coarse]
    words += [f"--FINE_REFERENCES={path}" for path in small_scene.fine]
    done = shell.qgis_process(
        "run", "rasterfuse:starfm", f"--COARSE_TARGET={small_scene.target}", *words,
        "--TARGET_DATE=2001-07-11", "--COARSE_BANDS=3,1", "--FINE_BANDS=3,1", "--WINDOW=17",
        "--EXTENT=500301,500899,4999101,4999699 [EPSG:32633]", "--COARSE_NODATA=-9999",
        f"--OUTPUT={output}",
    )  # fmt: skip
    assert done.returncode == 0, said(done)
    assert gdal.Open(str(output)).ReadAsArray().shape == (2, 20, 20)
    assert "RMSE_RESULT:" in done.stdout


@needs_program
def test_a_script_gets_the_numbers_and_the_report_as_json(shell, small_scene, tmp_path):
    done = shell.qgis_process(
        "--json", "run", "rasterfuse:gsa", f"--MULTISPECTRAL={small_scene.multispectral}",
        f"--PANCHROMATIC={small_scene.panchromatic}", f"--OUTPUT={tmp_path / 'sharp.tif'}",
    )  # fmt: skip
    assert done.returncode == 0, said(done)
    results = json.loads(done.stdout)["results"]
    assert results["RMSE_RESULT"] > 0
    assert json.loads(results["REPORT"])["model"] == "gsa"


@needs_program
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--MULTISPECTRAL=/no/where.tif"], "where.tif does not exist"),
        (["--OUTPUT=fused.png"], "ends in .png, but RasterFuse writes GeoTIFF only"),
        (["--DEVICE=cuda:9"], "There is no device 'cuda:9' here"),
    ],
    ids=["missing input", "no GeoTIFF", "no device"],
)
def test_a_failure_tells_the_shell_what_to_do(shell, small_scene, tmp_path, words, sentence):
    given = small_scene.pansharpening(OUTPUT=tmp_path / "fused.tif")
    wrong = dict(word[2:].split("=") for word in words)
    done = shell.qgis_process(
        "run",
        "rasterfuse:gsa",
        *(f"--{name}={value}" for name, value in {**given, **wrong}.items()),
    )
    assert done.returncode != 0
    assert sentence in said(done)
    assert not list(tmp_path.glob("fused*"))


@needs_program
def test_no_worker_process_is_left(shell, small_scene, tmp_path):
    done = shell.qgis_process(
        "run", "rasterfuse:brovey", f"--MULTISPECTRAL={small_scene.multispectral}",
        f"--PANCHROMATIC={small_scene.panchromatic}", f"--OUTPUT={tmp_path / 'sharp.tif'}",
    )  # fmt: skip
    assert done.returncode == 0, said(done)
    wait_for(lambda: processes_of(tmp_path / "home") == [])  # it leaves by itself


@needs_program
def test_when_qgis_is_killed_its_worker_ends_and_takes_the_unfinished_result_along(shell, tmp_path):
    scene = write_scene(tmp_path, size=1600)
    output = tmp_path / "fused.tif"
    qgis = shell.start(
        "run", "rasterfuse:starfm", f"--COARSE_TARGET={scene['coarse_20240715']}",
        f"--COARSE_REFERENCES={scene['coarse_20240512']}",
        f"--FINE_REFERENCES={scene['fine_20240512']}", "--WINDOW=151", f"--OUTPUT={output}",
    )  # fmt: skip
    wait_for(Path(f"{output}.part").exists)
    assert len(processes_of(tmp_path / "home")) >= 2
    qgis.kill()
    qgis.wait()
    wait_for(lambda: processes_of(tmp_path / "home") == [])
    assert_nothing_left(output)


@needs_program
def test_a_shell_can_ask_for_the_worker(shell):
    def ask(*words):
        done = shell.qgis_process("--json", "run", "rasterfuse:runtime_status", *words)
        return json.loads(done.stdout)["results"]

    known = ask()
    assert (known["READY"], known["STATE"]) == (False, "not looked at yet")
    assert ask("--CHECK=true")["READY"] is True
    known = ask()
    assert (known["READY"], known["STATE"]) == (True, "ready")


def processes_of(home):
    """Processes that were started with that home folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"HOME={home}".encode() in variables:
            found.append(entry.parent.name)
    return found
