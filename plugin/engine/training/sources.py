"""Where batches come from: the user's samples, simulated ones, or both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .batches import Batch, draw_batch
from .samples import Sample
from .simulated import Simulated


class Mixed:
    """Draws every batch from real samples or from simulated ones.

    Args:
        real: Of the user's images.
        simulated: Of simulated scenes.
        share: Of the batches that are simulated.
        patch: Side of a patch in fine pixels.
    """

    def __init__(
        self, real: Sequence[Sample], simulated: Simulated, share: float, patch: int
    ) -> None:
        self._real, self._simulated, self._share = real, simulated, share
        self._patch = patch

    def batch(self, step: int, size: int, rng: np.random.Generator) -> Batch:
        """The batch of a step, of about so many patches."""
        use_simulated = rng.random() < self._share
        samples = self._simulated.at(step) if use_simulated else self._real
        return draw_batch(samples, size, self._patch, rng)
