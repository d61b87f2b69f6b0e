"""What to install: which build of torch fits a machine, how large it is, what comes beside it.

Pure functions and data only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

TORCH_INDEX = "https://download.pytorch.org/whl/"
LOCK = Path(__file__).with_name("lock.txt")
LIBRARIES = ("rasterio", "numpy", "numba", "safetensors")
CPU_EXTRAS = ("openvino",)  # runs networks on the CPU twice as fast
OLDEST_PYTHON = (3, 10)
BEST_PYTHON = (3, 12)
OWN_ENVIRONMENT = "~/rasterfuse-python"
# Of one's own Python, as the line to copy names them.
REQUIREMENTS = {
    "torch": "torch>=2.4",
    "rasterio": "rasterio",
    "numpy": "numpy",
    "numba": "numba",
    "safetensors": "safetensors",
}


@dataclass(frozen=True)
class Gpu:
    """A graphics card of NVIDIA.

    Attributes:
        name: As its maker calls it.
        driver: Version of the driver, major and minor.
        capability: Compute capability, major and minor.
    """

    name: str
    driver: tuple[int, int]
    capability: tuple[int, int]


@dataclass(frozen=True)
class Machine:
    """What the choice of a build depends on.

    Attributes:
        system: ``Linux``, ``Windows`` or ``Darwin``.
        processor: ``x86_64``, ``arm64`` or what else there is.
        nvidia: The cards of NVIDIA.
        amd: The kinds of AMD cards, in the kernel's numbers: 110000 is gfx1100.
    """

    system: str
    processor: str
    nvidia: tuple[Gpu, ...] = ()
    amd: tuple[int, ...] = ()


@dataclass(frozen=True)
class Build:
    """A build of torch.

    Attributes:
        id: Names it in settings, and the folder of its index.
        torch: Its version.
        index: Where it comes from; empty is PyPI.
        device: What it has to compute on.
        download_mb: About how much is fetched, libraries of torch included.
        disk_mb: About how much it takes when installed.
        newest_python: The newest Python that it is made for.
        also_on_pypi: PyPI has a build that serves as well when the index cannot be reached.
    """

    id: str
    torch: str
    index: str
    device: str
    download_mb: int
    disk_mb: int
    newest_python: tuple[int, int] = (3, 14)
    also_on_pypi: bool = False

    @property
    def requirement(self) -> str:
        """For pip; a build for a GPU by its full name, lest an index answers with another."""
        exact = self.index and self.device != "cpu"
        return f"torch=={self.torch}" + (f"+{self.id}" if exact else "")


@dataclass(frozen=True)
class _Cuda:
    """What a build for NVIDIA needs: drivers on Linux and Windows, and compute capabilities."""

    build: Build
    linux: tuple[int, int]
    windows: tuple[int, int]
    oldest: tuple[int, int]
    newest: tuple[int, int]

    def fits(self, machine: Machine, card: Gpu) -> bool:
        needed = self.windows if machine.system == "Windows" else self.linux
        return card.driver >= needed and self.oldest <= card.capability <= self.newest


def _gpu(name: str, torch: str, sizes: tuple[int, int], **more: object) -> Build:
    return Build(name, torch, TORCH_INDEX + name, "cuda:0", *sizes, **more)  # type: ignore[arg-type]


# Best first. Drivers and capabilities as in the tables of CUDA's and PyTorch's release notes.
_CUDA = (
    _Cuda(_gpu("cu130", "2.13.0", (2500, 6000), also_on_pypi=True),
          (580, 65), (580, 65), (7, 5), (12, 1)),
    _Cuda(_gpu("cu126", "2.13.0", (2600, 6500)), (560, 28), (560, 76), (5, 0), (9, 0)),
    _Cuda(_gpu("cu128", "2.11.0", (2900, 7200)), (570, 26), (570, 65), (7, 5), (12, 1)),
    _Cuda(_gpu("cu118", "2.7.1", (2800, 6000), newest_python=(3, 13)),
          (450, 80), (452, 39), (5, 0), (9, 0)),
)  # fmt: skip
_ROCM = _gpu("rocm7.2", "2.13.0", (4500, 16000))
_ROCM_CARDS = {
    90008, 90010, 90402, 90500, 100300, 110000, 110001, 110002, 110500, 110501, 120000, 120001,
}  # fmt: skip
_CPU = Build("cpu", "2.13.0", TORCH_INDEX + "cpu", "cpu", 220, 900, also_on_pypi=True)
_MAC = Build("pypi", "2.13.0", "", "cpu", 120, 450)
_BASE_MB = (60, 200)  # Python itself: to fetch, on the disk
_X86 = ("x86_64", "amd64")
_SERVED = (("Linux", _X86), ("Linux", ("aarch64",)), ("Windows", _X86), ("Darwin", ("arm64",)))


def builds(machine: Machine) -> list[Build]:
    """The builds of torch that a machine can run, the recommended one first, the CPU's last.

    Empty where torch or rasterio are not made for it.
    """
    served = [
        processors
        for system, processors in _SERVED
        if system == machine.system and machine.processor.lower() in processors
    ]
    if not served:
        return []
    if machine.system == "Darwin":
        return [_MAC]  # has the CPU and the Apple GPU in one
    fit = _for_nvidia(machine) if machine.processor.lower() in _X86 else []
    if machine.system == "Linux" and _ROCM_CARDS.intersection(machine.amd):
        fit.append(_ROCM)
    return [*fit, _CPU]


def _for_nvidia(machine: Machine) -> list[Build]:
    """Builds that fit some card; those that fit every card come first."""
    ranked = [(sum(row.fits(machine, card) for card in machine.nvidia), row.build) for row in _CUDA]
    fit = [item for item in ranked if item[0]]
    # PyPI's torch has CUDA on Linux only.
    linux = machine.system == "Linux"
    return [
        replace(build, also_on_pypi=build.also_on_pypi and linux)
        for _, build in sorted(fit, key=lambda item: -item[0])
    ]


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
        build: Of torch.
        libraries: What else, by name; versions come from ``lock``.
        libraries_mb: About how much of them is fetched, and how much they take.
        lock: Text of the constraints.
        wheels: A folder to install from without network; empty to download.
        base: The Python to begin with; empty to get or find one.
        probe: What the new interpreter runs to show that it works; empty for the worker.
        extras: What is done without where it is not to be had, by name; nothing that they ask for
            is installed with them.
        extras_mb: About how much of them is fetched, and how much they take.
    """

    build: Build
    libraries: tuple[str, ...] = LIBRARIES
    libraries_mb: tuple[int, int] = (120, 420)
    lock: str = ""
    wheels: str = ""
    base: str = ""
    probe: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    extras_mb: tuple[int, int] = (70, 190)

    @property
    def key(self) -> str:
        """Names what will be in the environment, wherever it comes from."""
        parts = [self.build.requirement, *self.libraries, *self.extras, self.lock]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    def download_mb(self) -> int:
        """About how much is fetched in all."""
        fetched = self.step_mb(torch=True)[0] + self.step_mb(torch=False)[0]
        return 0 if self.wheels else fetched + _BASE_MB[0]

    def disk_mb(self) -> int:
        """About how much the environment takes."""
        return self.step_mb(torch=True)[1] + self.step_mb(torch=False)[1] + _BASE_MB[1]

    def step_mb(self, torch: bool) -> tuple[int, int]:
        """What the step of torch, or else that of the libraries, fetches and takes."""
        sizes = [(self.build.download_mb, self.build.disk_mb)] if torch else [self.libraries_mb]
        if self.extras and not torch:
            sizes.append(self.extras_mb)
        down, disk = (sum(parts) for parts in zip(*sizes))
        return (0 if self.wheels else down), disk


def standard(build: Build, wheels: str = "", base: str = "") -> Plan:
    """The plan under the lock that the plugin ships."""
    extras = CPU_EXTRAS if build == _CPU else ()
    lock = LOCK.read_text(encoding="utf-8")
    return Plan(build, extras=extras, lock=lock, wheels=wheels, base=base)


def pinned(lock: str, name: str) -> str:
    """The requirement of a package in a lock, such as ``pip==26.3``; the name when it has none."""
    found = re.search(rf"^{re.escape(name)}==[\w.]+", lock, re.M)
    return found.group() if found else name


def command_line(python: str, hello: Mapping[str, Any]) -> str:
    """One line for a shell that installs what an interpreter lacks.

    Args:
        python: The interpreter.
        hello: What its worker said of itself.

    Returns:
        The line; empty when nothing is lacking or nothing is known. Where the system allows no
        changes to its Python, an environment beside it is made.
    """
    packages = hello.get("packages")
    if not isinstance(packages, Mapping):
        return ""
    lacking = [name for name, version in packages.items() if version is None]
    if not lacking:
        return ""
    prefix = f'"{python}" -m '
    if hello.get("externally_managed"):
        lacking = list(packages)
        prefix += f"venv {OWN_ENVIRONMENT} && {OWN_ENVIRONMENT}/bin/python -m "
    words = [REQUIREMENTS.get(name, name) for name in lacking]
    quoted = [f'"{word}"' if re.search(r"[<>=]", word) else word for word in words]
    return " ".join([prefix + "pip install", *quoted])
