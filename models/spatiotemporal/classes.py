"""Unsupervised classification of the fine image: k-means that always gives the same answer."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import SceneReader

_SAMPLE = 20_000  # pixels that the centres are learnt from
_ROUNDS = 50
_AUTOMATIC = range(5, 11)  # numbers of classes to choose from


class Classifier:
    """Nearest of a few centres in the space of scaled bands.

    Args:
        centres: (classes, bands) in scaled units.
        level: (bands,) subtracted first.
        spread: (bands,) divided by then.
    """

    def __init__(self, centres: Tensor, level: Tensor, spread: Tensor) -> None:
        self.centres = centres
        self._level, self._spread = level, spread

    def __call__(self, image: Tensor) -> Tensor:
        """(rows, cols) int64 class of every pixel of a (bands, rows, cols) image."""
        flat = ((image - self._level[:, None, None]) / self._spread[:, None, None]).flatten(1).T
        return torch.cdist(flat, self.centres).argmin(dim=1).reshape(image.shape[1:])

    def to(self, device: torch.device) -> Classifier:
        """The same on another device."""
        return Classifier(self.centres.to(device), self._level.to(device), self._spread.to(device))


def learn_classes(scene: SceneReader, pair: int, count: int | None) -> Classifier:
    """Learn classes of a fine reference.

    Args:
        scene: The scene.
        pair: Index of the reference pair.
        count: Number of classes; None chooses the one whose classes stand apart best.
    """
    pixels = []
    for tile in scene.sample(1_000_000):
        valid = tile.masks["fine_references"][pair].all(dim=0)
        pixels.append(tile["fine_references"][pair][:, valid])
    all_pixels = torch.cat(pixels, dim=1).T.double()
    every = max(len(all_pixels) // _SAMPLE, 1)
    sample = all_pixels[::every]
    level, spread = sample.mean(dim=0), sample.std(dim=0).clamp(min=1e-9)
    scaled = (sample - level) / spread
    distinct = len(torch.unique(scaled, dim=0))
    counts = [count] if count is not None else list(_AUTOMATIC)
    tried = [k_means(scaled, min(number, distinct)) for number in counts]
    best = max(tried, key=lambda centres: separation(scaled, centres))
    return Classifier(best.float(), level.float(), spread.float())


def k_means(points: Tensor, count: int) -> Tensor:
    """(count, bands) centres of (n, bands) points, from a start that depends on them alone.

    The start splits the class of the largest scatter at its mean along its main axis, again and
    again; Lloyd's rounds follow.
    """
    labels = torch.zeros(len(points), dtype=torch.long)
    for number in range(1, count):
        scatter = [_scatter(points[labels == k]) for k in range(number)]
        widest = max(range(number), key=scatter.__getitem__)
        inside = points[labels == widest]
        centred = inside - inside.mean(dim=0)
        axis = torch.linalg.eigh(centred.T @ centred)[1][:, -1]
        where = (labels == widest).nonzero()[:, 0]
        labels[where[centred @ axis > 0]] = number
    centres = torch.stack([points[labels == k].mean(dim=0) for k in range(count)])
    for _ in range(_ROUNDS):
        nearest = torch.cdist(points, centres).argmin(dim=1)
        if torch.equal(nearest, labels):
            break
        labels = nearest
        for k in range(count):
            inside = labels == k
            if inside.any():
                centres[k] = points[inside].mean(dim=0)
    return centres


def _scatter(points: Tensor) -> float:
    return float((points - points.mean(dim=0)).square().sum()) if len(points) > 1 else 0.0


def separation(points: Tensor, centres: Tensor) -> float:
    """Variance ratio criterion of Calinski & Harabasz (1974): larger stands further apart."""
    count = len(centres)
    if count < 2 or len(points) <= count:
        return 0.0
    labels = torch.cdist(points, centres).argmin(dim=1)
    within = sum(_scatter(points[labels == k]) for k in range(count))
    between = _scatter(points) - within
    return between / max(within, 1e-30) * (len(points) - count) / (count - 1)
