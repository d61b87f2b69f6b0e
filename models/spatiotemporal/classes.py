"""Classes of land cover: learnt from the fine image by k-means, or taken from a class layer.

The k-means always gives the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..base import Progress, SceneReader, Tile
from ..cards import CLASS_LAYER
from ..errors import InputError

_SAMPLE = 20_000  # pixels that the centres are learnt from
_SEEN = 1_000_000  # pixels of the scene that are looked at
_ROUNDS = 50
_AUTOMATIC = range(5, 11)  # numbers of classes to choose from
_CELLS = 9  # coarse cells that the change of a class wants to be learnt from
_MOST_CODES = 60  # a raster with more is a quantity or too finely divided to be unmixed
_LARGEST_CODE = 2**24  # float32 tells whole numbers apart up to here


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


@dataclass(frozen=True)
class Classes:
    """The class of every pixel of a tile.

    Attributes:
        guess: Tells the class of a pixel from its fine values.
        pair: Index of the reference pair whose fine image it looks at.
        codes: (classes,) rising codes of the class layer, which comes first where it says
            something; None without one.
        note: A sentence for the report.
    """

    guess: Classifier
    pair: int
    note: str
    codes: Tensor | None = None

    @property
    def count(self) -> int:
        """How many classes there are."""
        return len(self.guess.centres)

    def __call__(self, tile: Tile) -> Tensor:
        """(rows, cols) int64 class of every pixel, from 0; also where the tile has nodata."""
        guessed = self.guess(tile["fine_references"][self.pair])
        if self.codes is None:
            return guessed
        here = tile[CLASS_LAYER][0].contiguous()
        at = torch.searchsorted(self.codes, here).clamp(max=self.count - 1)
        known = tile.masks[CLASS_LAYER][0] & (self.codes[at] == here)
        return torch.where(known, at, guessed)

    def shares(self, scene: SceneReader, progress: Progress) -> Tensor:
        """(classes, cell_rows, cell_cols): which part of a cell each class has, NaN for nodata."""

        def of_pixels(tile: Tile) -> Tensor:
            known = tile.masks["fine_references"][self.pair].all(dim=0)
            mine = self(tile) == torch.arange(self.count)[:, None, None]
            return mine.float().masked_fill_(~known, torch.nan)

        return scene.average(of_pixels, progress)

    def to(self, device: torch.device) -> Classes:
        """The same on another device."""
        codes = None if self.codes is None else self.codes.to(device)
        return replace(self, guess=self.guess.to(device), codes=codes)


def find_classes(scene: SceneReader, pair: int, count: int | None) -> Classes:
    """The classes of the user's class layer, else those of a fine reference.

    Args:
        scene: The scene.
        pair: Index of the reference pair.
        count: Number of classes to learn; None chooses the one whose classes stand apart best.
            Without meaning beside a class layer.

    Raises:
        InputError: The class layer holds no classes.
    """
    label = scene.label(CLASS_LAYER)
    if label is not None:
        return _given_classes(scene, pair, label)
    learnt = learn_classes(scene, pair, _AUTOMATIC if count is None else [count])
    return Classes(learnt, pair, _note(len(learnt.centres), count))


def fit_to_cells(scene: SceneReader, classes: Classes, count: int | None, cells: int) -> Classes:
    """Classes whose changes so many coarse cells can tell: those given, or fewer; the note says so.

    Args:
        scene: The scene.
        classes: From ``find_classes``.
        count: What its user chose; with a number, or a class layer, the classes stay.
        cells: How many coarse cells have data.
    """
    most = max(cells // _CELLS, 2 if cells >= _CELLS else 1)
    if classes.count <= most:
        return classes
    few = f"few coarse cells with data ({cells})"
    if count is not None or classes.codes is not None:
        doubt = f"There are {few} for so many, so their changes are uncertain. Choose a larger "
        return replace(classes, note=f"{classes.note} {doubt}extent or fewer classes.")
    counts = range(min(_AUTOMATIC[0], most), most + 1)
    learnt = learn_classes(scene, classes.pair, counts)
    found = len(learnt.centres)
    note = (
        f"Only {found} of {classes.count} classes of land cover were kept apart, as there are too "
        f"{few} to learn the changes of more. Choose a larger extent to see more."
        if found > 1
        else "All of the scene was taken for one class of land cover, so it changes by the mean: "
        f"there are too {few} to tell classes apart. Choose a larger extent to see more."
    )
    return Classes(learnt, classes.pair, note)


def _note(found: int, wanted: int | None) -> str:
    if found == 1:
        return (
            "The fine reference has the same values everywhere, so all of it is one class of land "
            "cover. Choose another date to see classes apart."
        )
    if wanted is not None and found < wanted:
        return (
            f"{found} classes of land cover were found in the fine reference, not {wanted}: it "
            "has no more different values."
        )
    return f"{found} classes of land cover were found in the fine reference."


def _given_classes(scene: SceneReader, pair: int, label: str) -> Classes:
    values, codes = [], []
    for tile in scene.sample(_SEEN):
        valid = tile.masks["fine_references"][pair].all(dim=0) & tile.masks[CLASS_LAYER][0]
        values.append(tile["fine_references"][pair][:, valid])
        codes.append(tile[CLASS_LAYER][0][valid])
    found, at = torch.unique(torch.cat(codes), return_inverse=True)
    _check_codes(found, label)
    pixels = torch.cat(values, dim=1).T.double()
    level, spread = _level_and_spread(pixels)
    sums = torch.zeros(len(found), pixels.shape[1], dtype=torch.float64)
    sums.index_add_(0, at, (pixels - level) / spread)
    centres = sums / torch.bincount(at)[:, None]
    note = f"The class layer {label} with {len(found)} classes was used."
    return Classes(Classifier(centres.float(), level.float(), spread.float()), pair, note, found)


def _check_codes(codes: Tensor, label: str) -> None:
    """Refuse what cannot be classes; ``codes`` are all different."""
    layer, advice = f"The class layer {label}", "or leave it out"
    broken = codes[codes != codes.round()]
    if len(broken):
        raise InputError(
            f"{layer} holds the value {float(broken[0]):g}, which is no whole number. Give a "
            f"raster whose values are codes of classes, such as 1, 2, 3, {advice}."
        )
    if len(codes) > _MOST_CODES:
        raise InputError(
            f"{layer} has {len(codes)} different codes, from {int(codes[0])} to {int(codes[-1])}; "
            f"at most {_MOST_CODES} classes can be told apart. Merge some of them, {advice}."
        )
    if len(codes) < 2:
        only = f"only the code {int(codes[0])}" if len(codes) else "no code"
        raise InputError(
            f"{layer} has {only} where the fine image has data. Give one with at least two "
            f"classes there, {advice}."
        )
    if float(codes.abs().max()) >= _LARGEST_CODE:
        raise InputError(
            f"{layer} holds the code {int(codes[codes.abs().argmax()])}; codes must be smaller "
            f"than {_LARGEST_CODE}. Renumber its classes, state its nodata value, {advice}."
        )


def _level_and_spread(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """(bands,) mean and standard deviation of (n, bands) pixels; the latter never 0."""
    return pixels.mean(dim=0), pixels.std(dim=0, correction=0).clamp(min=1e-9)


def learn_classes(scene: SceneReader, pair: int, counts: Sequence[int]) -> Classifier:
    """Learn classes of a fine reference.

    Args:
        scene: The scene.
        pair: Index of the reference pair.
        counts: Numbers of classes to try; that whose classes stand apart best is taken.
    """
    pixels = []
    for tile in scene.sample(_SEEN):
        valid = tile.masks["fine_references"][pair].all(dim=0)
        pixels.append(tile["fine_references"][pair][:, valid])
    all_pixels = torch.cat(pixels, dim=1).T.double()
    every = max(len(all_pixels) // _SAMPLE, 1)
    sample = all_pixels[::every]
    level, spread = _level_and_spread(sample)
    scaled = (sample - level) / spread
    distinct = len(torch.unique(scaled, dim=0))
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
