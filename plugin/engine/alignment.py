"""Where the coarse images lie against the fine ones: found once, reported, mended if wished."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..grid import Window, pixel_size, shift
from .cells import CellGrid, CellMeans, block_cells, native_cells, native_values
from .observation import FineView, Observation, estimate, multiple_correlation
from .raster import Grid, Raster

TARGET = "coarse_target"
# Side of the part of the scene that is looked at: enough cells, few enough pixels.
_REGION_CELLS, _REGION_LEAST, _REGION_MOST = 32, 512, 1024
_LEAST = 0.2  # cells: less than this is not worth moving an image
_COVERAGE = 0.9  # share of a cell that must be covered
_MUCH = 0.5  # cells: a shift beyond this is warned of


@dataclass(frozen=True)
class Sight:
    """How a coarse image sees a fine one.

    Attributes:
        image: The coarse image's name in ``job.sources``.
        pair: Number of the reference pair, from 1, whose fine image it was compared with.
        found: Width and shift as estimated.
        plain: What ``found.unshifted`` is for plain means over the cells; NaN where not asked.
        moved: Whether the image was moved by that shift.
    """

    image: str
    pair: int
    found: Observation
    plain: float = math.nan
    moved: bool = False

    @property
    def rest(self) -> Observation:
        """What is true of the image as it is read now."""
        return replace(self.found, shift=(0.0, 0.0)) if self.moved else self.found

    def report(self, ratio: float) -> dict[str, Any]:
        found = self.found
        return {
            "image": self.image,
            "pair": self.pair,
            "sigma": found.sigma,
            "sigma_cells": found.sigma / ratio,
            "shift": list(found.shift),
            "shift_cells": [size / ratio for size in found.shift],
            "correlation": found.correlation,
            "unshifted_correlation": found.unshifted,
            "plain_correlation": self.plain,
            "reliable": found.reliable,
            "moved": self.moved,
        }


def sights(
    rasters: Mapping[str, Raster], cells: CellGrid, pairs: int, ratio: float
) -> dict[str, Sight]:
    """Every coarse image's sight: a pair's of its own fine image, the target's of the best one.

    Args:
        rasters: By the names of ``job.sources``, not moved yet.
        cells: The scene's cells.
        pairs: Number of reference pairs.
        ratio: Fine pixels per coarse pixel along one axis.
    """
    window = _region(cells, ratio)
    whole = cells.fine
    start = shift(whole.transform, window.row, window.col)
    region = Grid(start, window.rows, window.cols, whole.crs)
    seen: dict[str, tuple[Tensor, CellGrid]] = {}
    found: dict[str, Sight] = {}
    for pair in range(1, pairs + 1):
        fine = torch.from_numpy(rasters[f"fine {pair}"].read(window))
        view = FineView(fine, ratio)
        likely = (0.0, 0.0)
        for name in (f"coarse {pair}", TARGET):
            if name not in seen:
                seen[name] = _own_cells(rasters[name], rasters[TARGET], cells, window, region)
            values, mine = seen[name]
            sight = Sight(name, pair, estimate(view, values, mine.centres().flatten(1), likely))
            if name != TARGET:
                # Images of one sensor are often off in one way, and that is seen best in a pair.
                likely = sight.found.shift
                sight = replace(sight, plain=_plain(fine, values, mine))
            if name not in found or _explains(sight) > _explains(found[name]):
                found[name] = sight
    return found


def _plain(fine: Tensor, values: Tensor, cells: CellGrid) -> float:
    """How well plain means of the fine image over the cells explain their values."""
    means = CellMeans(cells, len(fine))
    means.add(fine, Window(0, 0, *fine.shape[1:]))
    plain = means.means(_COVERAGE).flatten(1)
    both = torch.isfinite(plain).all(dim=0) & torch.isfinite(values).all(dim=0)
    if int(both.sum()) <= 2 * len(fine):
        return math.nan
    return multiple_correlation(plain[:, both].double(), values[:, both].double())


def _explains(sight: Sight) -> tuple[bool, float]:
    return sight.found.reliable, sight.found.correlation


def _region(cells: CellGrid, ratio: float) -> Window:
    """The middle of the scene; where cells are blocks of fine pixels, it starts with a block."""
    side = min(max(round(_REGION_CELLS * ratio), _REGION_LEAST), _REGION_MOST)
    rows, cols = min(cells.fine.rows, side), min(cells.fine.cols, side)
    top, left = (cells.fine.rows - rows) // 2, (cells.fine.cols - cols) // 2
    if cells.native is None:
        top, left = (round(int(first / ratio) * ratio) for first in (top, left))
    return Window(top, left, rows, cols)


def _own_cells(
    raster: Raster, target: Raster, cells: CellGrid, window: Window, region: Grid
) -> tuple[Tensor, CellGrid]:
    """The cells of a coarse image in a region, and their values, (bands, cells)."""
    if cells.native is None:
        mine = block_cells(region, *_block(cells))
    elif _alike(raster, target):
        mine = native_cells(region, raster.transform, raster.crs)
        return native_values(raster, mine).flatten(1), mine
    else:
        mine = native_cells(region, target.transform, target.crs)
    means = CellMeans(mine, len(raster.bands))
    means.add(torch.from_numpy(raster.read(window)), Window(0, 0, window.rows, window.cols))
    return means.means(0.5).flatten(1), mine


def _block(cells: CellGrid) -> tuple[float, float]:
    """Width and height of an original cell in fine pixels."""
    (width, height), (x, y) = pixel_size(cells.transform), pixel_size(cells.fine.transform)
    return round(width / x / cells.step, 6), round(height / y / cells.step, 6)


def _alike(raster: Raster, target: Raster) -> bool:
    """Whether the pixels of a coarse image are as large as the target's, wherever they start."""
    sizes = [pixel_size(image.transform) for image in (raster, target)]
    return raster.crs == target.crs and all(
        math.isclose(mine, its, rel_tol=1e-3) for mine, its in zip(*sizes)
    )


def target_view(found: Mapping[str, Sight]) -> Observation | None:
    """How coarse pixels see an image of the target day.

    The width is that of images of one day; the shift is the target's own, since the others may be
    off in another way. None where that is not reliably known, or where plain means over the cells
    are truer: the pixels may be such means.
    """
    best = _clearest(found)
    if best is None:
        return None
    own = found[TARGET] if found[TARGET].found.reliable else best
    if own.rest.shift == (0.0, 0.0) and best.plain >= best.found.unshifted:
        return None
    return replace(best.rest, shift=own.rest.shift)


def _clearest(found: Mapping[str, Sight]) -> Sight | None:
    """The best reliable sight, a pair's rather than the target's; None if there is none."""
    known = [sight for sight in found.values() if sight.found.reliable]
    return max(
        known, key=lambda sight: (sight.image != TARGET, sight.found.correlation), default=None
    )


def coregister(
    found: Mapping[str, Sight], rasters: Mapping[str, Raster], ratio: float
) -> dict[str, Sight]:
    """Move the coarse images that lie clearly off; what then is true of each.

    An image whose own shift is not known follows the one that is seen best: they come from one
    sensor, and must not be torn apart. The images' own transforms move, so no pixel is resampled
    once more.
    """
    best = _clearest(found)
    if best is None:
        return dict(found)
    after = {}
    for name, sight in found.items():
        view = sight.found if sight.found.reliable else replace(sight.found, shift=best.found.shift)
        if math.hypot(*view.shift) < _LEAST * ratio:
            after[name] = sight
        else:
            rasters[name].move(*view.shift)
            after[name] = replace(sight, found=view, moved=True)
    return after


def footprint(raster: Raster) -> CellGrid:
    """The pixels of a file; -1 is the index of fine pixels outside."""
    file = raster.dataset
    return CellGrid(raster.transform, raster.crs, file.height, file.width, None, raster.grid)


def moves(found: Mapping[str, Sight], rasters: Mapping[str, Raster], ratio: float) -> Iterator[str]:
    """A sentence for every image that was moved."""
    for sight in found.values():
        if sight.moved:
            label, fine, far, how = _words(sight, rasters, ratio)
            yield f"{label} was moved {far} onto {fine}: {how}."


def offsets(
    found: Mapping[str, Sight], rasters: Mapping[str, Raster], ratio: float
) -> Iterator[str]:
    """A sentence for every image that lies far off and was not moved."""
    for sight in found.values():
        much = math.hypot(*sight.found.shift) > _MUCH * ratio
        if much and sight.found.reliable and not sight.moved:
            label, fine, far, how = _words(sight, rasters, ratio)
            yield (
                f"{label} lies {far} off {fine}; it should be moved {how}. Switch on the "
                "co-registration of coarse images (coregister), or align it beforehand."
            )


def _words(sight: Sight, rasters: Mapping[str, Raster], ratio: float) -> tuple[str, str, str, str]:
    """Names of the images, how far they are apart, and the way in fine pixels."""
    rows, cols = sight.found.shift
    raster, fine = rasters[sight.image], rasters[f"fine {sight.pair}"]
    a, b, _, d, e, _ = raster.grid.transform
    far = f"{math.hypot(rows, cols) / ratio:.2g} coarse pixels"
    if raster.grid.crs:
        length = math.hypot(a * cols + b * rows, d * cols + e * rows)
        far += f" ({length:.3g} {raster.grid.crs.units_factor[0]})"
    down = f"{abs(rows):.3g} fine pixels {'down' if rows > 0 else 'up'}"
    across = f"{abs(cols):.3g} {'right' if cols > 0 else 'left'}"
    return raster.source.label, fine.source.label, far, f"{down} and {across}"
