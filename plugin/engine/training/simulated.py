"""Simulated samples, drawn in the background and used for a while each."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ....models.spatiotemporal.gated_network import ALIGNED
from ..simulate_training import TrainingScene, draw_scene
from ..simulation.fields import between_log
from .samples import Sample, samples_of

Draw = Callable[[np.random.Generator], TrainingScene]

# Larger changes and not quite as bad coarse images as the simulator draws by itself: what is fused
# has usually changed. Chosen with a look at BOREAS 2001, as the note in the model card says.
_RANGES: dict[str, Any] = {
    "change": (0.2, 2.5),
    "date_noise": (0.01, 0.8),
    "date_bias": (0.01, 0.15),
    "common_noise": (0.03, 0.7),
    "misled": 0.02,
    "hazy": 0.08,
    "bend": (0.0, 0.15),
}
# Coarse images that show the change as it is; among noisy ones alone, a network would never learn
# to believe them altogether.
_GOOD_SHARE = 0.35
_GOOD: dict[str, Any] = {
    "date_noise": (0.003, 0.1),
    "date_bias": (0.001, 0.03),
    "date_shift": (0.0, 0.04),
    "common_noise": (0.003, 0.1),
    "misled": 0.0,
    "hazy": 0.0,
    "oblique": 0.0,
    "bend": (0.0, 0.05),
}


# Rows and columns of a scene: of few cells the experts learn little, of many much.
_SIDES = (192.0, 576.0)


def draw_usual(rng: np.random.Generator) -> TrainingScene:
    """Draw a scene as ``rasterfuse_net`` learns from."""
    good = rng.random() < _GOOD_SHARE
    size = ALIGNED * round(between_log(rng, _SIDES) / ALIGNED)
    return draw_scene(rng, size, **{**_RANGES, **(_GOOD if good else {})})


class Simulated:
    """A window over an endless row of scenes: number n is always the same for a seed.

    Use as a context manager; it ends the threads.

    Args:
        seed: Of the row.
        size: How many scenes there are to draw from at a time.
        every: Steps after which the oldest is replaced by a new one; 0: never.
        threads: That draw.
        draw: Draws a scene.
    """

    def __init__(
        self, seed: int, size: int, every: int, threads: int = 1, draw: Draw = draw_usual
    ) -> None:
        self._seed, self._size, self._every, self._draw = seed, size, every, draw
        self._pool = ThreadPoolExecutor(threads)
        self._coming: dict[int, Future[list[Sample]]] = {}
        self._ready: dict[int, list[Sample]] = {}

    def __enter__(self) -> Simulated:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def at(self, step: int) -> list[Sample]:
        """The samples to draw from at a step; waits for those that are not there yet."""
        first = step // self._every if self._every else 0
        for number in range(first, first + self._size + (4 if self._every else 0)):
            if number not in self._coming and number not in self._ready:
                self._coming[number] = self._pool.submit(self._make, number)
        for number in [old for old in self._ready if old < first]:
            del self._ready[number]
        found: list[Sample] = []
        for number in range(first, first + self._size):
            if number not in self._ready:
                self._ready[number] = self._coming.pop(number).result()
            found += self._ready[number]
        return found

    def aside(self, count: int) -> list[Sample]:
        """Samples of scenes that are in no window."""
        found = (self._make(-1 - number) for number in range(count))
        return [sample for some in found for sample in some]

    def _make(self, number: int) -> list[Sample]:
        rng = np.random.default_rng([self._seed, number % 2**32])
        return samples_of(self._draw(rng))
