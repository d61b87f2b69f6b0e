"""STARFM as a shell user of QGIS runs it: through qgis_process, start-up included."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from measure import ROOT, Sample, adopt_orphans, watch

# The wrapper of Debian 12 does not start; newer ones and other systems have both or only that.
_PROGRAM = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
IS_THERE = _PROGRAM is not None and sys.platform == "linux"


def run_in_qgis(inputs: dict[str, Any], folder: Path) -> Sample:
    """Run STARFM with one pair; the worker counts too, though QGIS does not wait for its end.

    Raises:
        RuntimeError: QGIS or the fusion failed.
    """
    adopt_orphans()
    output = folder / "result.tif"
    pair, target = inputs["references"][0], inputs["coarse_target"]
    words = [
        "--json", "run", "rasterfuse:starfm", f"--COARSE_TARGET={target['path']}",
        f"--TARGET_DATE={target['date']}", f"--COARSE_REFERENCES={pair['coarse']['path']}",
        f"--FINE_REFERENCES={pair['fine']['path']}", "--DEVICE=cpu", f"--OUTPUT={output}",
    ]  # fmt: skip
    script = f'eval "$({ROOT}/tools/environment)" && exec "$@"'
    try:
        return watch(["bash", "-euc", script, "bash", str(_PROGRAM), *words], _report)
    finally:
        output.unlink(missing_ok=True)


def _report(said: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(json.loads(said)["results"]["REPORT"])
    return report
