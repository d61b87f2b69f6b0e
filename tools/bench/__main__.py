"""Measure speed and memory on this machine and write them down.

    make bench            or   python tools/bench docs/benchmarks.md
    make bench-gpu        or   python tools/bench --gpu docs/benchmarks.md

Needs the worker's Python; QGIS is measured where it is installed. The page has two parts, and each
command replaces its own. ``--quick`` runs everything on tiny images: to see that it works.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cpu
import gpu
import machine
import scenes
import window
from plan import FULL, QUICK, Plan

_HEAD = """# Benchmarks

Written by `make bench` and, below, by `make bench-gpu`. A megapixel·band (Mpx·band) is a million
pixels of one band of the result; a core-second is a second of one core (user and system).
"""
_MARK = "\n<!-- what follows is written by make bench-gpu -->\n"
_QUICK = "\n**A quick run on tiny images: these figures mean nothing.**\n"


def main() -> int:
    """Measure, print and write the page; 0 when all went well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("page", type=Path, help="where to write it, as docs/benchmarks.md")
    parser.add_argument("--gpu", action="store_true", help="measure the GPU instead of the CPU")
    parser.add_argument("--quick", action="store_true", help="tiny images, to see that it works")
    parser.add_argument("--repeats", type=int, help="how often everything is measured")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    plan = replace(plan, repeats=max(options.repeats or plan.repeats, 1))
    if options.gpu and not machine.has_gpu():
        print(gpu.NO_GPU, file=sys.stderr)
        return 1
    scenes.HOME.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scenes.HOME) as folder:
        text = (on_gpu if options.gpu else on_cpu)(plan, Path(folder))
    save(options.page, text, options.gpu)
    print(text)
    return 0


def on_cpu(plan: Plan, folder: Path) -> str:
    """The first part of the page."""
    parts = [_HEAD, _QUICK if plan.quick else "", "\n## The machine\n\n", machine.describe()]
    for section in (cpu.methods, cpu.sizes, cpu.windows, cpu.cores, window.section):
        parts += ["\n\n" if len(parts) == 4 else "\n", section(plan, folder)]
    return "".join(parts)


def on_gpu(plan: Plan, folder: Path) -> str:
    """The second part."""
    described = machine.describe()
    note = _QUICK if plan.quick else ""
    jobs = gpu.jobs(plan, folder)
    return f"\n## GPU\n{note}\n{described}\n\n{gpu.kernels(plan)}\n{jobs}"


def save(page: Path, text: str, second: bool) -> None:
    """Replace one part of the page."""
    old = page.read_text(encoding="utf-8") if page.exists() else _HEAD
    first_part, _, second_part = old.partition(_MARK)
    parts = (first_part, text) if second else (text, second_part)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(_MARK.join(parts) if parts[1] else parts[0], encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
