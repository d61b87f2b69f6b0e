"""The scenes of the benchmarks: simulated once, kept in build/bench."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import ROOT

HOME = ROOT / "build" / "bench"
RATIO = 16
_SIMULATOR = ROOT / "plugin" / "engine" / "simulate.py"
_MAKER = Path(__file__).with_name("rasters.py")
_REPEATED = 2000  # pixels of the scene that the large one repeats
# The simulator's grid begins here; for extents of a part of a scene.
_LEFT, _TOP, _PIXEL = 600000.0, 5400000.0, 30.0
_BEFORE, _TARGET, _AFTER = "2024-05-12", "2024-07-15", "2024-08-20"


def standard(size: int, bands: int) -> dict[str, Any]:
    """Inputs of a simulated scene: a pair before the target and one after it."""
    before = _simulated(size, bands, _BEFORE)
    after = _simulated(size, bands, _AFTER)
    return {
        "coarse_target": _source(before / "coarse_20240715.tif", _TARGET),
        "references": [
            _pair(before / "coarse_20240512.tif", before / "fine_20240512.tif", _BEFORE),
            _pair(after / "coarse_20240820.tif", after / "fine_20240820.tif", _AFTER),
        ],
    }


def sharp(size: int, bands: int) -> dict[str, Any]:
    """Inputs for pansharpening: four bands at a quarter of the resolution of their mean."""
    source = _simulated(size, bands, _BEFORE)
    folder = _kept(f"sharp-{size}", lambda out: _python(_MAKER, "sharp", source, out))
    return {
        "multispectral": {"path": str(folder / "ms.tif")},
        "panchromatic": {"path": str(folder / "pan.tif")},
    }


def large(size: int, bands: int) -> dict[str, Any]:
    """Inputs of a scene of any size with one pair: a simulated one, repeated."""
    source = _simulated(min(_REPEATED, size), bands, _BEFORE)
    folder = _kept(f"large-{size}x{bands}", lambda out: _python(_MAKER, "large", source, out, size))
    return {
        "coarse_target": _source(folder / "coarse_target.tif", _TARGET),
        "references": [_pair(folder / "coarse_reference.tif", folder / "fine.tif", _BEFORE)],
    }


def corner(size: int) -> list[float]:
    """Extent of so many fine pixels in the upper left of any of these scenes."""
    return [_LEFT, _TOP - size * _PIXEL, _LEFT + size * _PIXEL, _TOP]


def _simulated(size: int, bands: int, reference: str) -> Path:
    options = {
        "size": size, "bands": bands, "ratio": RATIO, "reference": reference, "target": _TARGET,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    name = f"simulated-{size}x{bands}-{reference}"
    return _kept(name, lambda out: _python(_SIMULATOR, out, *words))


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """A folder that was made once; one that was not finished is made anew."""
    folder = HOME / name
    finished = folder / "finished"
    if not finished.exists():
        print(f"Making {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)
        finished.touch()
    return folder


def _python(script: Path, *words: object) -> None:
    command = [sys.executable, str(script), *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _source(path: Path, day: str) -> dict[str, str]:
    return {"path": str(path), "date": day}


def _pair(coarse: Path, fine: Path, day: str) -> dict[str, dict[str, str]]:
    return {"coarse": _source(coarse, day), "fine": _source(fine, day)}
