"""Runs a trained network: OpenVINO on the CPU where it is installed, else torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from .errors import InputError


class Network(Protocol):
    """What is asked of a network, a ``torch.nn.Module``.

    Attributes:
        channels: Of the planes that it takes.
        scalars: How many it takes of every sample.
    """

    channels: int
    scalars: int

    def __call__(self, planes: Tensor, scalars: Tensor) -> Tensor:
        """(samples, answers, rows, cols) from (samples, channels, rows, cols)."""

    def eval(self) -> Any: ...


Run = Callable[[Tensor, Tensor], Tensor]

_NAMES = ("auto", "numba", "openvino", "torch", "triton")  # numba and triton are of other methods


def runner(
    network: Network, device: torch.device, wanted: str, reduced: bool = False
) -> tuple[str, Run]:
    """Make a network ready to run.

    Args:
        network: On that device, in its ``layout``; takes planes and scalars.
        device: Where the tensors will be.
        wanted: ``auto``, ``openvino`` or ``torch``; those of other methods mean ``auto``.
        reduced: Compute with bfloat16, where that is faster.

    Returns:
        Name of the back-end, and what runs the network without gradients.

    Raises:
        InputError: There is no such back-end, or it cannot run here.
    """
    if wanted not in _NAMES:
        raise InputError(f"There is no back-end {wanted!r}. Choose one of: {', '.join(_NAMES)}.")
    network.eval()
    library = None
    if wanted != "torch" and device.type == "cpu":
        library = _openvino()
    if library is not None:
        return "openvino", _with_openvino(library, network, reduced)
    if wanted == "openvino":
        raise InputError(
            f"The back-end openvino cannot run on {device}: it needs the CPU and the package "
            "openvino. Choose auto."
        )
    return "torch", _with_torch(network, device, reduced)


def layout(device: torch.device) -> torch.memory_format:
    """The order in memory with which torch convolves fastest on a device."""
    last = device.type in ("cpu", "cuda")
    return torch.channels_last if last else torch.contiguous_format


def _openvino() -> Any:
    # It would report to its makers when it is imported; without this package it cannot.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    except ImportError:
        return None


def _with_torch(network: Network, device: torch.device, reduced: bool) -> Run:
    def run(planes: Tensor, scalars: Tensor) -> Tensor:
        precision = torch.autocast(device.type, torch.bfloat16) if reduced else nullcontext()
        with torch.no_grad(), precision:
            return network(planes.contiguous(memory_format=layout(device)), scalars).float()

    return run


def _with_openvino(library: Any, network: Network, reduced: bool) -> Run:
    example = torch.zeros(2, network.channels, 32, 32), torch.zeros(2, network.scalars)
    with torch.no_grad():
        # OpenVINO would trace it with a check that imports a second's worth of modules.
        traced = torch.jit.trace(network, example, check_trace=False)
        graph = library.convert_model(traced, example_input=example)
    compiled = library.Core().compile_model(
        graph,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16" if reduced else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        },
    )

    def run(planes: Tensor, scalars: Tensor) -> Tensor:
        inputs = [planes.contiguous().numpy(), scalars.contiguous().numpy()]
        # The output belongs to the request that the next call uses again.
        return torch.from_numpy(compiled(inputs)[0].copy())

    return run
