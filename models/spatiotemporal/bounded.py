"""Many small least squares problems with bounds, solved together."""

from __future__ import annotations

import torch
from torch import Tensor

_TOLERANCE = 1e-10  # of a problem's own size, below which a slope is taken for level


def bounded_minimum(matrix: Tensor, vector: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Minimise x' H x / 2 - g' x with low <= x <= high, exactly but for rounding.

    Args:
        matrix: (problems, n, n) float64 H, symmetric and positive definite.
        vector: (problems, n) g.
        low: (problems, n).
        high: (problems, n), nowhere below ``low``.

    Returns:
        (problems, n).

    Source: the active set method of Stark & Parker (1995), "Bounded-variable least-squares: an
        algorithm and applications", from the clipped unbounded solution.
    """
    answer = torch.linalg.solve(matrix, vector)
    left = ((answer < low) | (answer > high)).any(dim=1).nonzero()[:, 0]
    answer = torch.minimum(torch.maximum(answer, low), high)
    if len(left):
        problem = (matrix[left], vector[left], low[left], high[left])
        answer[left] = _active_set(answer[left], *problem)
    return answer


def _active_set(start: Tensor, matrix: Tensor, vector: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Walk from ``start`` downhill; unknowns on their bounds stay until the slope points inwards.

    Every step ends lower than the one before, so it comes to an end; the limit is for rounding.
    """
    answer, free = start.clone(), (start > low) & (start < high)
    strength = torch.diagonal(matrix, dim1=1, dim2=2).amax(dim=1)
    level = _TOLERANCE * strength * (high - low).amax(dim=1)
    left = torch.arange(len(start))
    for _ in range(100 + 10 * start.shape[1]):
        h, g, lower, upper = matrix[left], vector[left], low[left], high[left]
        here, inside = answer[left], free[left]
        step = _to_minimum(here, inside, h, g)
        limit = torch.where(step < 0, lower, upper)
        room = torch.where(inside & (step != 0), (limit - here) / step, torch.inf)
        share = room.amin(dim=1, keepdim=True).clamp(max=1.0)
        stuck = inside & (room <= share) & (share < 1)
        here = torch.where(stuck, limit, here + share * step)
        inside = inside & ~stuck
        # Only at the minimum for the free unknowns does the slope tell whom to set free.
        slope = (h @ here[..., None])[..., 0] - g
        inwards = torch.where(here <= lower, -slope, slope).where(~inside & (lower < upper), 0.0)
        most, which = inwards.max(dim=1)
        at_rest = share[:, 0] >= 1
        release = at_rest & (most > level[left])
        inside[release, which[release]] = True
        answer[left], free[left] = here, inside
        left = left[~at_rest | release]
        if not len(left):
            break
    return answer


def _to_minimum(here: Tensor, free: Tensor, matrix: Tensor, vector: Tensor) -> Tensor:
    """(problems, n): the step to the minimum that moves only the free unknowns."""
    rest = vector - (matrix @ here[..., None])[..., 0]
    # Rows and columns of fixed unknowns become those of the identity.
    system = matrix * (free[:, :, None] & free[:, None, :])
    system.diagonal(dim1=1, dim2=2).add_((~free).to(system))
    return torch.linalg.solve(system, rest.where(free, 0.0))
