"""Make the pictures of the README: a real QGIS on a virtual screen, the dialog used by clicks.

    python3 tools/screenshots.py

simulates a scene, starts QGIS with a profile of its own in ``build/screenshots`` (the user's
profile is not touched), and lets ``screenshots_startup.py`` write ``docs/images/dialog.png``,
``docs/images/result.png`` and ``docs/images/train.png``. Needs qgis, xvfb, openbox and the worker's
environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "screenshots"
IMAGES = ROOT / "docs" / "images"
WORKER = ROOT / "build" / "worker" / "bin" / "python"
PICTURES = ("dialog.png", "result.png", "train.png")
SCREEN = "1400x840x24"
PATIENCE_S = 240
LARGEST = 400_000  # bytes of a picture in the repository


def main() -> int:
    """Make the pictures; 0 when they are there."""
    lacking = [name for name in ("qgis", "xvfb-run", "openbox") if shutil.which(name) is None]
    if lacking or not WORKER.exists():
        what = ", ".join(lacking) or str(WORKER.relative_to(ROOT))
        print(f"Not found: {what}. Run “make setup” and install qgis, xvfb and openbox.")
        return 1
    shutil.rmtree(BUILD, ignore_errors=True)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        (IMAGES / name).unlink(missing_ok=True)
    scene = BUILD / "scene"
    simulate(scene, "--size", "600")
    simulate_series(BUILD / "series")
    code = run_desktop(make_profile(), scene)
    bad = [name for name in PICTURES if not is_good(IMAGES / name)]
    if code or bad:
        print(f"QGIS ended with {code}; missing or too large: {', '.join(bad) or 'nothing'}.")
        print((BUILD / "qgis.log").read_text(errors="replace")[-4000:])
        return 1
    print("Written: " + ", ".join(str((IMAGES / name).relative_to(ROOT)) for name in PICTURES))
    return 0


def simulate(folder: Path, *options: str) -> None:
    """Write a simulated scene."""
    command = [str(WORKER), str(ROOT / "plugin" / "engine" / "simulate.py"), str(folder), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def simulate_series(series: Path) -> None:
    """Write two folders with the fine and the coarse images of three days of one place."""
    (series / "fine").mkdir(parents=True)
    (series / "coarse").mkdir()
    for day, target in (("2024-05-12", "2024-07-15"), ("2024-06-13", "2024-07-15")):
        options = ("--size", "320", "--ratio", "8", "--reference", day, "--target", target)
        simulate(series / "all", *options)
    for path in (series / "all").glob("*.tif"):
        kind, _, name = path.name.partition("_")
        kind = "coarse" if kind == "coarse" else "fine"
        path.replace(series / kind / f"{kind}_{name}")


def make_profile() -> Path:
    """A QGIS profile with the plugin switched on and nothing that pops up."""
    profiles = BUILD / "profiles"
    home = profiles / "profiles" / "default"
    plugins = home / "python" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "rasterfuse").symlink_to(ROOT)
    (home / "QGIS").mkdir()
    (home / "QGIS" / "QGIS3.ini").write_text(
        "[PythonPlugins]\nrasterfuse=true\nprocessing=true\n"
        "[qgis]\ncheckVersion=false\nshowTips=false\niconSize=24\n"
        "[app]\nprojections\\unknownCrsBehavior=UseProjectCrs\n"
    )
    return profiles


def run_desktop(profiles: Path, scene: Path) -> int:
    """Run QGIS on a screen that nobody sees; its exit code, 124 when it hung."""
    environment = {
        **os.environ,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "HOME": str(BUILD),
        "XDG_RUNTIME_DIR": str(BUILD / "run"),
        "RASTERFUSE_SCENE": str(scene),
        "RASTERFUSE_SERIES": "series",  # as it is shown: without the way to this checkout
        "RASTERFUSE_IMAGES": str(IMAGES),
        "RASTERFUSE_MODELS": str(BUILD / "models"),
    }
    environment.pop("QT_QPA_PLATFORM", None)
    (BUILD / "run").mkdir(mode=0o700)
    startup = ROOT / "tools" / "screenshots_startup.py"
    qgis = f"openbox & exec qgis --nologo --noversioncheck --profiles-path '{profiles}'"
    command = ["xvfb-run", "-a", "-s", f"-screen 0 {SCREEN}", "sh", "-c",
               f"{qgis} --profile default --code '{startup}'"]  # fmt: skip
    with (BUILD / "qgis.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=BUILD, stdout=log, stderr=log, start_new_session=True
        )
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            return 124
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the session: the screen, the window manager, a hung QGIS."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signum)
            process.wait(5)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def is_good(picture: Path) -> bool:
    return picture.is_file() and 0 < picture.stat().st_size < LARGEST


if __name__ == "__main__":
    sys.exit(main())
