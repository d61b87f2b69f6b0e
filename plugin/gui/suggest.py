"""Guess from the project's layers which images belong together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer

from ..layers.request import guess_date

_METRES_PER_DEGREE = 111_320.0
_CLEARLY_LARGER = 1.5


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
    return size * _METRES_PER_DEGREE if layer.crs().isGeographic() else size


def suggest_spatiotemporal(layers: list[QgsRasterLayer]) -> Suggestion:
    """Two layers of one day make a pair; a coarse layer of a day without a fine one, the target."""
    days: dict[str, list[QgsRasterLayer]] = {}
    for layer in layers:
        day = guess_date(layer)
        if day:
            days.setdefault(day, []).append(layer)
    found = Suggestion()
    alone = []
    for _day, group in sorted(days.items()):
        group.sort(key=pixel_metres)
        if pixel_metres(group[-1]) > _CLEARLY_LARGER * pixel_metres(group[0]):
            found.pairs.append((group[-1], group[0]))
        else:
            alone += group[:1]
    coarse_size = min((pixel_metres(coarse) for coarse, _fine in found.pairs), default=0.0)
    targets = [layer for layer in alone if _CLEARLY_LARGER * pixel_metres(layer) > coarse_size > 0]
    found.target = targets[0] if targets else None
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
