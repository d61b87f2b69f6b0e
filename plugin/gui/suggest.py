"""Guess from the project's layers which images belong together."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer

from ..grid import METRES_PER_DEGREE
from ..layers.request import guess_date

_CLEARLY_LARGER = 1.5
_COARSE_WORDS = re.compile(
    r"modis|(?<![a-z])(mod|myd|mcd|vnp)\d\d|viirs|(?<![a-z])s3[ab]?[_-]|sentinel-?3|coarse",
    re.IGNORECASE,
)


@dataclass
class Suggestion:
    """A target, if there is one, and pairs of (coarse, fine) in order of their dates."""

    target: QgsRasterLayer | None = None
    pairs: list[tuple[QgsRasterLayer, QgsRasterLayer]] = field(default_factory=list)


def project_rasters(project: QgsProject | None = None) -> list[QgsRasterLayer]:
    """The valid raster layers with files behind them, in the order of the layer tree."""
    project = project or QgsProject.instance()
    layers: Iterable[QgsMapLayer] = project.layerTreeRoot().layerOrder()
    return [
        layer
        for layer in layers
        if isinstance(layer, QgsRasterLayer) and layer.isValid() and layer.providerType() == "gdal"
    ]


def pixel_metres(layer: QgsRasterLayer) -> float:
    """About how large a pixel is, in metres, enough to tell coarse from fine."""
    size = (layer.rasterUnitsPerPixelX() + layer.rasterUnitsPerPixelY()) / 2
    return size * METRES_PER_DEGREE if layer.crs().isGeographic() else size


def named_coarser(one: QgsRasterLayer, other: QgsRasterLayer) -> bool:
    """Whether names or folders tell a coarse image, resampled to the fine grid, from a fine one."""
    words = [{layer.name(), *re.split(r"[\\/]", layer.source())} for layer in (one, other)]
    shared = words[0] & words[1]  # a folder of both tells nothing
    found = [any(map(_COARSE_WORDS.search, own - shared)) for own in words]
    return found == [True, False]


def suggest_spatiotemporal(layers: list[QgsRasterLayer]) -> Suggestion:
    """Two layers of one day make a pair; a coarse layer of a day without a fine one, the target."""
    days: dict[str, list[QgsRasterLayer]] = {}
    for layer in layers:
        day = guess_date(layer)
        if day:
            days.setdefault(day, []).append(layer)
    finest = min((pixel_metres(layer) for group in days.values() for layer in group), default=0.0)

    def is_coarser(one: QgsRasterLayer, other: QgsRasterLayer) -> bool:
        if pixel_metres(one) > _CLEARLY_LARGER * pixel_metres(other):
            return True
        on_fine_grid = pixel_metres(one) < _CLEARLY_LARGER * finest
        return on_fine_grid and named_coarser(one, other)

    found = Suggestion()
    alone = []
    for _day, group in sorted(days.items()):
        pairs = itertools.permutations(sorted(group, key=pixel_metres, reverse=True), 2)
        pair = next((pair for pair in pairs if is_coarser(*pair)), None)
        if pair is not None:
            found.pairs.append(pair)
        else:
            alone += group[:1]
    if found.pairs:
        fine = found.pairs[0][1]
        found.target = next((layer for layer in alone if is_coarser(layer, fine)), None)
    return found


def suggest_sharpening(
    layers: list[QgsRasterLayer],
) -> tuple[QgsRasterLayer | None, QgsRasterLayer | None]:
    """The finest one-band layer as pan and the finest coarser layer of several bands beside it."""
    by_size = sorted(layers, key=pixel_metres)
    pan = next((layer for layer in by_size if layer.bandCount() == 1), None)
    if pan is None:
        return None, None
    wanted = _CLEARLY_LARGER * pixel_metres(pan)
    colour = (item for item in by_size if item.bandCount() > 1 and pixel_metres(item) >= wanted)
    multispectral = next(colour, None)
    return (multispectral, pan) if multispectral is not None else (None, None)
