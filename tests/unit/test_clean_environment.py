"""The worker must load its own libraries, whatever QGIS has put into the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from rasterfuse.plugin.job import Job
from rasterfuse.plugin.runtime.client import Listener, WorkerClient
from rasterfuse.plugin.runtime.process import clean_environment, end, inside_qgis, spawn
from scripted_worker import scripted_worker

# What QGIS and its launchers set on Windows, macOS and Linux.
POISON = {
    "PYTHONHOME": "/opt/qgis/python",
    "PYTHONPATH": "/opt/qgis/python/plugins",
    "PYTHONSTARTUP": "x.py",
    "PROJ_LIB": "/usr/share/proj",
    "PROJ_DATA": "/usr/share/proj",
    "PROJ_NETWORK": "ON",
    "GDAL_DATA": "/usr/share/gdal",
    "GDAL_DRIVER_PATH": "/usr/lib/gdalplugins",
    "LD_LIBRARY_PATH": "/opt/qgis/lib",
    "LD_PRELOAD": "libqgis.so",
    "DYLD_LIBRARY_PATH": "/Applications/QGIS.app/Contents/MacOS/lib",
    "QGIS_PREFIX_PATH": "/usr",
    "QGIS_PLUGINPATH": "/plugins",
    "OSGEO4W_ROOT": "C:\\OSGeo4W",
    "VIRTUAL_ENV": "/home/me/env",
    "PIP_INDEX_URL": "http://mirror",
    "QT_PLUGIN_PATH": "/usr/lib/qt",
    "__PYVENV_LAUNCHER__": "/Applications/QGIS.app/Contents/MacOS/bin/python3",
}
KEPT = {
    "HOME": "/home/me",
    "LANG": "sl_SI.UTF-8",
    "HTTPS_PROXY": "http://proxy:3128",
    "CUDA_VISIBLE_DEVICES": "1",
    "OMP_NUM_THREADS": "4",
    "SystemRoot": "C:\\Windows",
    "TEMP": "C:\\Temp",
    "AWS_PROFILE": "maps",
    "PROJECTS": "/home/me/projects",
}


def test_only_what_would_lead_to_the_libraries_of_qgis_is_dropped():
    assert clean_environment({**POISON, **KEPT}) == KEPT


def test_variables_are_found_in_any_case_as_on_windows():
    assert clean_environment({"PythonHome": "x", "Proj_Lib": "y", "Temp": "z"}) == {"Temp": "z"}


def test_certificates_are_dropped_only_when_they_lie_inside_qgis():
    ours = {"SSL_CERT_FILE": "/etc/ssl/company.pem"}
    theirs = {"SSL_CERT_FILE": "/Applications/QGIS.app/Contents/Resources/certs.pem"}
    assert clean_environment(ours) == ours
    assert clean_environment(theirs) == {}


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        (r"C:\OSGeo4W\bin", True),
        (r"C:\OSGeo4W64\apps\qgis\bin", True),
        (r"C:\Program Files\QGIS 3.34.1\bin", True),
        (r"c:\program files\qgis 3.40.2\apps\Python312\Scripts", True),
        ("/Applications/QGIS.app/Contents/MacOS/bin", True),
        ("/Applications/QGIS-LTR.app/Contents/MacOS/bin", True),
        ("/opt/qgis/bin", True),
        ("/usr/bin", False),
        ("/usr/local/bin", False),
        (r"C:\Windows\System32", False),
        ("/home/me/qgis-plugins/tools/bin", False),
        ("/home/me/.local/share/QGIS_data/bin", False),
        ("", False),
    ],
)
def test_folders_of_qgis_are_known_by_their_names(path, inside):
    assert inside_qgis(path) is inside


def test_a_bundle_of_any_name_is_known_by_its_variable():
    assert inside_qgis(r"D:\Maps\apps\gdal\bin", r"D:\Maps")
    assert not inside_qgis(r"D:\MapsToo\bin", r"D:\Maps")


def test_the_path_keeps_its_order_and_is_never_empty():
    path = os.pathsep.join(["/b", "/opt/qgis/bin", "", "/a"])
    assert clean_environment({"PATH": path}) == {"PATH": os.pathsep.join(["/b", "/a"])}
    assert clean_environment({"PATH": "/opt/qgis/bin"}) == {"PATH": os.defpath}


def test_the_environment_of_qgis_itself_is_left_alone():
    environment = {**POISON, **KEPT}
    clean_environment(environment)
    assert environment == {**POISON, **KEPT}


def test_a_real_worker_sees_the_clean_environment(tmp_path, monkeypatch):
    for name, value in POISON.items():
        if not name.startswith("LD_"):  # the loader of this very test would read them
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"/opt/qgis/bin{os.pathsep}{os.environ['PATH']}")
    client = WorkerClient(scripted_worker(tmp_path, [{"environment": True}]))
    try:
        client.start()
        seen = client.run(Job("starfm", {}, str(tmp_path / "out.tif")), Listener())
    finally:
        client.close()
    assert set(seen["environment"]) & set(POISON) == set()
    assert "/opt/qgis/bin" not in seen["environment"]["PATH"].split(os.pathsep)
    assert Path(seen["folder"]).name.startswith("rasterfuse-")
    assert os.environ["PROJ_LIB"] == POISON["PROJ_LIB"]


def test_a_python_of_a_poisoned_session_starts_and_finds_its_own_library(tmp_path, monkeypatch):
    """PYTHONHOME alone would keep every interpreter from starting."""
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugins"))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "json.py").write_text("raise SystemExit('the wrong json')")
    process = spawn([sys.executable, "-c", "import json"], tmp_path, tmp_path / "log")
    assert end(process, 20) == 0
    process.stdin.close()
    process.stdout.close()


def test_the_child_inherits_no_file_but_its_three(tmp_path):
    secret = open(tmp_path / "secret", "w")  # noqa: SIM115
    os.set_inheritable(secret.fileno(), True)
    code = "import os; print(sorted(os.listdir('/proc/self/fd')))"
    process = spawn([sys.executable, "-c", code], tmp_path, tmp_path / "log")
    with process.stdin, process.stdout, secret:
        # The last is the folder that is being listed.
        assert process.stdout.read().decode().strip() == "['0', '1', '2', '3']"
        end(process, 20)
