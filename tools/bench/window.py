"""How QGIS feels with the plugin: the time it takes to load, and how long a job holds QGIS up."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import scenes
from measure import ROOT
from plan import Plan, table

_SCRIPT = Path(__file__).with_name("in_qgis.py")
_PATIENCE_S = 600
_SCREEN = ["xvfb-run", "-a", "-s", "-screen 0 1400x840x24"]
IS_THERE = None not in (shutil.which("qgis"), shutil.which("xvfb-run"))


def section(plan: Plan, folder: Path) -> str:
    """Measured in a QGIS of its own whose screen nobody sees."""
    if not IS_THERE:
        return "## In QGIS\n\nNot measured: QGIS or Xvfb is not here.\n"
    runs = [_run(plan, folder) for _ in range(plan.repeats)]
    print(f"In QGIS: {runs}", file=sys.stderr, flush=True)
    rows = [
        ["Loading the plugin, ms", *_figures([run["load_ms"] for run in runs])],
        ["Longest stall of QGIS during a job, ms", *_figures([run["stall_ms"] for run in runs])],
        ["Longest stall as the result is shown, ms", *_figures([run["end_ms"] for run in runs])],
        ["Longest stall without a job, ms", *_figures([run["idle_ms"] for run in runs])],
    ]
    return f"""## In QGIS

QGIS {runs[0]["qgis"]} with the dialog open and the standard scene in its map; the job is STARFM at
its defaults, on all cores. A timer of QGIS's main thread is due every 5 ms; a stall is how much
later it came. {plan.repeats} runs. What stalls as the result is shown is mostly QGIS itself, which
opens the new layer.

{table(["", "Median", "Least", "Most"], rows)}
"""


def _figures(values: list[float]) -> list[str]:
    return [f"{figure:.0f}" for figure in (statistics.median(values), min(values), max(values))]


def _run(plan: Plan, folder: Path) -> dict[str, Any]:
    inputs = scenes.standard(plan.size, plan.bands)
    pair = inputs["references"][0]
    answer = folder / "qgis.json"
    task = {
        "layers": [pair["coarse"]["path"], inputs["coarse_target"]["path"], pair["fine"]["path"]],
        "output": str(folder / "fused.tif"), "answer": str(answer),
    }  # fmt: skip
    script = f'eval "$({ROOT}/tools/environment)" && exec "$@"'
    qgis = ["env", "-u", "QT_QPA_PLATFORM", "qgis", "--nologo", "--noversioncheck"]
    command = [*_SCREEN, *qgis, "--code", str(_SCRIPT)]
    done = subprocess.run(
        ["bash", "-euc", script, "bash", *command], check=False, timeout=_PATIENCE_S,
        env={**os.environ, "RASTERFUSE_BENCH": json.dumps(task)}, capture_output=True, text=True,
    )  # fmt: skip
    if not answer.exists():
        raise RuntimeError(f"QGIS gave no answer ({done.returncode}):\n{done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    for path in (answer, Path(task["output"])):
        path.unlink(missing_ok=True)
    if "error" in found:
        raise RuntimeError(found["error"])
    return found
