"""Run a job in a process of its own and measure it.

This process must stay small and import no torch: Linux counts what a parent held when it started a
child into the child's peak memory.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / "plugin" / "engine" / "worker.py"
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
_LOWER_IS_BETTER = ("wall", "cpu", "start_up", "engine_seconds", "engine_cpu", "peak_mb")


@dataclass(frozen=True)
class Sample:
    """One run: the whole process as the system saw it, the engine as its report says.

    Attributes:
        wall: Seconds from the start of the process to its end.
        cpu: Seconds of all cores, of the process and all it started.
        peak_mb: Most memory that one of these processes held, MiB.
        report: The engine's report.
    """

    wall: float
    cpu: float
    peak_mb: float
    report: dict[str, Any]

    @property
    def amount(self) -> float:
        """Megapixels times bands of the result."""
        grid = self.report["grid"]
        return float(grid["rows"] * grid["cols"] * grid["bands"]) / 1e6

    @property
    def engine_seconds(self) -> float:
        return float(self.report["seconds"]["total"])

    @property
    def engine_cpu(self) -> float:
        return float(self.report["cpu_seconds"])

    @property
    def start_up(self) -> float:
        """Seconds for starting Python, importing and leaving."""
        return self.wall - self.engine_seconds

    @property
    def engine_rate(self) -> float:
        """Mpixel·band per core-second in the engine."""
        return self.amount / self.engine_cpu

    @property
    def engine_speed(self) -> float:
        """Mpixel·band per second in the engine."""
        return self.amount / self.engine_seconds

    @property
    def rate(self) -> float:
        """Mpixel·band per core-second of the whole process."""
        return self.amount / self.cpu

    @property
    def speed(self) -> float:
        """Mpixel·band per second of the whole process."""
        return self.amount / self.wall


@dataclass(frozen=True)
class Result:
    """Repeated runs of one job."""

    samples: tuple[Sample, ...]

    @property
    def backend(self) -> str:
        return str(self.samples[0].report["backend"])

    def median(self, name: str) -> float:
        """The median of an attribute of ``Sample``."""
        return statistics.median(getattr(sample, name) for sample in self.samples)

    def best(self, name: str) -> float:
        """The best of an attribute: the smallest time, the highest rate."""
        values = [getattr(sample, name) for sample in self.samples]
        return min(values) if name in _LOWER_IS_BETTER else max(values)


def repeat(title: str, run: Callable[[], Sample], times: int, warm_up: bool = True) -> Result:
    """Run ``times`` times; before that once more for nothing, which fills caches on the disk."""
    if warm_up:
        run()
    samples = tuple(run() for _ in range(times))
    result = Result(samples)
    print(
        f"{title}: {result.median('wall'):.1f} s, {result.median('engine_rate'):.3f} "
        f"Mpx·band per core-second in the engine ({result.backend})",
        file=sys.stderr,
        flush=True,
    )
    return result


def run_job(job: dict[str, Any], folder: Path) -> Sample:
    """Run a job as ``worker.py job.json`` does; what it writes is removed.

    Raises:
        RuntimeError: The worker did not fuse it; the text says why.
    """
    output = folder / "result.tif"
    path = folder / "job.json"
    path.write_text(json.dumps({**job, "output": str(output)}), encoding="utf-8")
    try:
        return watch([sys.executable, "-E", str(WORKER), str(path)], json.loads)
    finally:
        output.unlink(missing_ok=True)


def watch(command: Sequence[str], report_of: Callable[[str], dict[str, Any]]) -> Sample:
    """Run a command that prints a report and measure its process.

    Raises:
        RuntimeError: It failed; the text is what it said.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        usages = [usage, *_orphans()]
        out.seek(0)
        errors.seek(0)
        said, trouble = out.read(), errors.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed ({process.returncode}):\n{said}{trouble}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return Sample(wall, cpu, max(usage.ru_maxrss for usage in usages) / unit, report_of(said))


def adopt_orphans() -> None:
    """Become the parent of what a child of ours leaves behind (Linux), so that it is measured."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _orphans() -> Iterator[resource.struct_rusage]:
    """Wait for the processes that were adopted; what they used."""
    while True:
        try:
            yield os.wait4(-1, 0)[2]
        except ChildProcessError:
            return
