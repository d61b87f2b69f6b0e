"""Figures of a whole scene that several spatiotemporal methods need, and window means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..base import SceneReader

_WITHOUT_FLOAT64 = {"mps"}


@dataclass(frozen=True)
class FineStatistics:
    """What the fine references are like, over the whole scene.

    Attributes:
        level: (bands,) mean over pairs.
        spread: (pairs, bands) standard deviation.
        low: (bands,) smallest fine value, less the largest fall that a coarse image saw.
        high: (bands,) largest fine value, plus the largest rise.
        floor: (bands,) smallest spread that still counts: a constant band has none at all.
    """

    level: Tensor
    spread: Tensor
    low: Tensor
    high: Tensor
    floor: Tensor

    def to(self, device: torch.device) -> FineStatistics:
        """The same figures on another device."""
        return FineStatistics(*(getattr(self, name).to(device) for name in self.__annotations__))


def fine_statistics(scene: SceneReader) -> FineStatistics:
    """Collect the figures from a sample of the scene."""
    count = total = squares = torch.zeros((), dtype=torch.float64)
    low, high = torch.full((), torch.inf), torch.full((), -torch.inf)
    for tile in scene.sample():
        valid = tile.masks["fine_references"]
        values = tile["fine_references"].double().where(valid, 0.0)
        count = count + valid.sum(dim=(-2, -1))
        total = total + values.sum(dim=(-2, -1))
        squares = squares + values.square().sum(dim=(-2, -1))
        low = torch.minimum(low, _extreme(tile["fine_references"], valid, torch.amin))
        high = torch.maximum(high, _extreme(tile["fine_references"], valid, torch.amax))
    mean = total / count.clamp(min=1)
    spread = (squares / count.clamp(min=1) - mean.square()).clamp(min=0).sqrt()
    level = mean.mean(dim=0).float()
    floor = (1e-6 * level.abs()).clamp(min=1e-9)
    fall, rise = _coarse_change(scene)
    return FineStatistics(level, spread.float(), low + fall, high + rise, floor)


def _coarse_change(scene: SceneReader) -> tuple[Tensor, Tensor]:
    """(bands,) largest fall, 0 or less, and largest rise that the cells saw since any reference."""
    target = scene.cell_values("coarse_target")
    change = torch.stack(
        [target - scene.cell_values(f"coarse {pair + 1}") for pair in range(scene.pairs)]
    )
    known = torch.isfinite(change)
    fall, rise = _extreme(change, known, torch.amin), _extreme(change, known, torch.amax)
    return fall.clamp(max=0), rise.clamp(min=0)


def _extreme(image: Tensor, known: Tensor, which: Callable[..., Tensor]) -> Tensor:
    """(bands,) smallest or largest known value of (pairs, bands, rows, cols)."""
    nothing = torch.inf if which is torch.amin else -torch.inf
    return which(image.where(known, nothing), dim=(0, 2, 3))


def window_sum(values: Tensor, radius: int) -> Tensor:
    """Sums over a square window, by running sums along rows and columns.

    Args:
        values: (..., rows + 2 radius, cols + 2 radius), halo included.
        radius: Half the window without its centre.

    Returns:
        (..., rows, cols), float64 where the device has it, else float32.
    """
    size = 2 * radius + 1
    sums = in_float64(values)
    for dim in (-2, -1):
        running = torch.cumsum(sums, dim=dim)
        zero = torch.zeros_like(running.narrow(dim, 0, 1))
        running = torch.cat([zero, running], dim=dim)
        length = running.shape[dim]
        sums = running.narrow(dim, size, length - size) - running.narrow(dim, 0, length - size)
    return sums if sums.device == values.device else sums.float().to(values.device)


def in_float64(values: Tensor) -> Tensor:
    """The values in float64, on the CPU where their device has none."""
    return (values.cpu() if values.device.type in _WITHOUT_FLOAT64 else values).double()
