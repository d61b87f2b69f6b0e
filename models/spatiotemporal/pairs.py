"""How reference pairs count, by their distance in days from the target date."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest_pair(days: tuple[float, ...]) -> int:
    """Index of the pair nearest in time; the first where dates are not known."""
    return min(range(len(days)), key=days.__getitem__) if days else 0


def nearness(days: tuple[float, ...], pairs: int, device: torch.device) -> Tensor:
    """(pairs, 1, 1, 1) inverse of the days; all alike where dates are not known."""
    known = torch.tensor(days or [1.0] * pairs, dtype=torch.float32, device=device)
    # Half a day at least: a pair of the target date itself must not weigh infinitely.
    return (1 / known.clamp(min=0.5))[:, None, None, None]
