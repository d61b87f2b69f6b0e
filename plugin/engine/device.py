"""Which devices there are, and what a job may use of them."""

from __future__ import annotations

import gc
import math
import os
import re

import torch
from rasterio._err import CPLE_OutOfMemoryError

from ...models.errors import InputError

# "CUDA error: out of memory", "MPS backend out of memory", "Triton Error [CUDA]: out of memory",
# "DefaultCPUAllocator: not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", and oneDNN's word for it,
# "could not create a primitive".
_OUT_OF_MEMORY = re.compile(
    r"(out of|not enough) memory|alloc|could not create a (primitive|memory)", re.IGNORECASE
)


def memory_mb() -> int:
    """Memory of this machine that is free for use, in MiB; 4096 where it cannot be told."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) // 1024
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**21
    except (OSError, ValueError, AttributeError):
        return 4096


def devices() -> list[dict[str, object]]:
    """The devices to compute on, best first, as the protocol's ``hello`` lists them."""
    found: list[dict[str, object]] = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            found.append(
                {
                    "id": f"cuda:{number}",
                    "name": properties.name,
                    "memory_mb": properties.total_memory // 2**20,
                }
            )
    cores = os.cpu_count() or 1
    found.append({"id": "cpu", "name": f"CPU, {cores} cores", "memory_mb": memory_mb()})
    # Last: there are no compiled kernels for it, and it has no float64.
    if torch.backends.mps.is_available():
        found.append({"id": "mps", "name": "Apple GPU", "memory_mb": memory_mb()})
    return found


def choose_device(wanted: str) -> torch.device:
    """The device for ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        InputError: There is no such device here.
    """
    known = [str(device["id"]) for device in devices()]
    if wanted == "auto":
        return torch.device(known[0])
    name = "cuda:0" if wanted == "cuda" else wanted
    if name not in known:
        raise InputError(
            f"There is no device {wanted!r} here. Choose auto or one of: {', '.join(known)}."
        )
    return torch.device(name)


def budget_mb(limit_mb: int | None) -> float:
    """Memory for tiles and buffers: the limit, else a share of what is free."""
    return limit_mb if limit_mb is not None else min(memory_mb() // 4, 4096)


def tile_memory_bytes(limit_mb: int | None) -> float:
    """Memory for one tile: a quarter of the budget, since reading and writing hold tiles too."""
    return budget_mb(limit_mb) * 2**20 / 4


def gpu_tile_bytes(device: torch.device, limit_mb: int | None) -> float | None:
    """Memory of a GPU for its one tile: half of what is free there, at most the limit.

    None where the device does not tell, as the CPU.
    """
    free = gpu_memory_mb(device)
    if free is None:
        return None
    return min(free[0] / 2, math.inf if limit_mb is None else limit_mb) * 2**20


def gpu_memory_mb(device: torch.device) -> tuple[float, float] | None:
    """MiB of a GPU that a job can have, and MiB that it has; None where it does not tell."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # What torch keeps of a former job is free, too.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return (free + kept) / 2**20, total / 2**20
    if device.type == "mps" and hasattr(torch.mps, "recommended_max_memory"):  # torch 2.5
        total = torch.mps.recommended_max_memory()
        return (total - torch.mps.current_allocated_memory()) / 2**20, total / 2**20
    return None


def empty_cache(device: torch.device) -> None:
    """Let go of what the device keeps of freed tensors."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception of Python, NumPy, GDAL, torch, Triton or a driver means that."""
    while error is not None:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError, CPLE_OutOfMemoryError)):
            return True
        if isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)):
            return True
        error = error.__cause__
    return False


def cache_bytes(limit_mb: int | None) -> int:
    """Memory for GDAL's blocks, which would else take a twentieth of the machine's."""
    return int(min(max(budget_mb(limit_mb) / 4, 32), 256) * 2**20)


def peak_memory_mb(device: torch.device) -> float:
    """Most memory that this process held so far, plus the GPU's, in MiB."""
    own = 0.0
    try:
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        own = used / (2**20 if os.uname().sysname == "Darwin" else 2**10)
    except (ImportError, AttributeError):  # Windows
        own = 0.0
    if device.type == "cuda":
        own += torch.cuda.max_memory_allocated(device) / 2**20
    return own
