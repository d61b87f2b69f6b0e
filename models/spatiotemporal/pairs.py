"""Reference pairs: how they count by their days, what to call them, whether they know enough."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import SceneReader
from ..errors import InputError

FEW_CELLS = 6  # coarse cells: with less, hardly more than the mean change is found


def by_nearness(days: tuple[float, ...], pairs: int) -> list[int]:
    """Indices of all pairs, the nearest in time first, of two as near the earlier.

    As the user listed them where dates are not known.
    """
    known = days or (0.0,) * pairs
    return sorted(range(pairs), key=lambda pair: (abs(known[pair]), known[pair]))


def nearest_pair(days: tuple[float, ...]) -> int:
    """Index of the pair nearest in time; the first where dates are not known."""
    return by_nearness(days, len(days) or 1)[0]


def nearness(days: tuple[float, ...], pairs: int, device: torch.device) -> Tensor:
    """(pairs, 1, 1, 1) inverse of the distance; all alike where dates are not known."""
    known = torch.tensor(days or [1.0] * pairs, dtype=torch.float32, device=device)
    # Half a day at least: a pair of the target date itself must not weigh infinitely.
    return (1 / known.abs().clamp(min=0.5))[:, None, None, None]


def images_of(scene: SceneReader, pair: int) -> str:
    """What the user calls the images of a change: the target and those of a pair."""
    roles = ("coarse_target", f"coarse {pair + 1}", f"fine {pair + 1}")
    target, coarse, fine = (scene.label(role) for role in roles)
    return f"{target}, {coarse} and {fine}"


def nothing_in_common(scene: SceneReader, pair: int) -> InputError:
    """What to raise where no coarse cell has data in all images of a change."""
    return InputError(
        f"No coarse cells have data in {images_of(scene, pair)} alike, so no change can be learnt. "
        "Choose a larger extent or clearer images."
    )


def notes_on_cells(cells: float, scene: SceneReader, pair: int) -> list[str]:
    """For the report: a sentence where few cells are known in all images of a change.

    Raises:
        InputError: None is.
    """
    if not cells:
        raise nothing_in_common(scene, pair)
    if cells >= FEW_CELLS:
        return []
    return [
        f"Only {cells:.2g} coarse cells have data in {images_of(scene, pair)} alike, too few to "
        "learn much more from than the mean change."
    ]
