"""Which back-end runs the kernels; one choice for ``similar`` and ``neighbours``."""

from __future__ import annotations

import importlib
import os

import torch

from ..errors import InputError
from .neighbours import find_neighbours
from .similar import Candidates, similar_sums
from .window import search_window

_NAMES = ("auto", "numba", "torch", "triton")
_proven: set[torch.device] = set()  # devices where Triton's kernels gave the right numbers


def choose_backend(wanted: str, device: torch.device, notes: list[str]) -> str:
    """The back-end to use: numba on the CPU, triton on a GPU of NVIDIA or AMD, else torch.

    Args:
        wanted: ``auto``, ``numba``, ``torch`` or ``triton``.
        device: Where the tensors are.
        notes: Sentences for the report; gets one where a GPU has to do without triton.

    Raises:
        InputError: The one that was asked for cannot run here.
    """
    if wanted not in _NAMES:
        raise InputError(f"There is no back-end {wanted!r}. Choose one of: {', '.join(_NAMES)}.")
    if wanted == "torch":
        return wanted
    if wanted == "numba" or (wanted == "auto" and device.type == "cpu"):
        if device.type == "cpu" and _has_numba():
            return "numba"
        if wanted == "auto":
            return "torch"
        raise InputError(
            f"The numba back-end cannot run on {device}: it needs the CPU and the package numba. "
            "Choose auto."
        )
    fault = _fault_of_triton(device)
    if not fault:
        return "triton"
    if wanted == "triton":
        raise InputError(f"The triton back-end cannot run on {device}: {fault}. Choose auto.")
    if device.type == "cuda":
        notes.append(f"The back-end triton cannot run here, so torch was used: {fault}.")
    return "torch"


def can_compile(wanted: str, device: torch.device) -> bool:
    """Whether numba runs the kernels ``bilateral`` and ``waves``, else torch, as wanted."""
    return wanted != "torch" and device.type == "cpu" and _has_numba()


def _has_numba() -> bool:
    """Whether the loops for numba can be imported."""
    try:
        importlib.import_module(".neighbours_numba", __package__)
    except ImportError:
        return False
    return True


def _fault_of_triton(device: torch.device) -> str:
    """Why Triton's kernels cannot be used on a device; empty when they can."""
    # Its interpreter, meant for tests, runs them anywhere.
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return "it needs a GPU of NVIDIA or AMD"
    if device in _proven:
        return ""
    try:
        right = _kernels_agree(device)
    except ImportError as error:
        return f"the package triton cannot be imported ({error})"
    except Exception as error:  # compilers and drivers raise anything
        reason = str(error).strip().partition("\n")[0][:200]
        return f"its kernels cannot be compiled or started ({type(error).__name__}: {reason})"
    if not right:
        return "its kernels gave other numbers than torch in a small trial"
    _proven.add(device)
    return ""


def _kernels_agree(device: torch.device) -> bool:
    """Compile both kernels, run them on small images and compare with torch."""
    planes = torch.rand(8, 12, 40, generator=torch.Generator().manual_seed(0)).to(device)
    window = search_window(2)
    kernel = planes[7, :5, :5] * (planes[7, :5, :5] > 0.3)
    candidates = Candidates(3 * planes[0], *planes[1:7])

    def answers(backend: str) -> list[torch.Tensor]:
        found = find_neighbours(planes[:3], planes[7] > 0.2, window, 5, 0.6, backend)
        # The order of the neighbours is the back-end's own.
        in_order = [part.sort(dim=0).values.float() for part in (found.place, found.score)]
        return [*similar_sums(candidates, kernel, backend), *in_order]

    return all(
        torch.allclose(one, other, rtol=1e-5, atol=1e-6)
        for one, other in zip(answers("triton"), answers("torch"))
    )
