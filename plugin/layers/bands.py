"""Match the bands of a coarse and a fine image: by wavelength, by name, or by order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qgis.core import QgsMapLayer, QgsRasterLayer

from ...models.errors import InputError
from ..job import RasterSource
from .files import plain_path, source_path
from .header import BandHeader, Header, read_header
from .spectrum import Spectral, spectral_bands

# Bands of two sensors that see the same differ by less than this (blue of MODIS and Sentinel-2, 469
# and 492 nm: 4.7 %), others by more (blue of MODIS and coastal of Landsat, 469 and 443 nm: 5.5 %).
_TOLERANCE = 0.05
_SENSOR_TAGS = ("spacecraft_id", "spacecraft_name", "platform", "satellite", "sensor")

Bands = tuple[int, ...]


@dataclass(frozen=True)
class BandMatch:
    """Bands that belong together, 1-based, and a sentence that says how they were found."""

    coarse: Bands
    fine: Bands
    how: str


def match_bands(
    coarse: QgsRasterLayer | str,
    fine: QgsRasterLayer | str,
    coarse_bands: Sequence[int] = (),
    fine_bands: Sequence[int] = (),
) -> BandMatch:
    """Find the bands that mean the same.

    Args:
        coarse: A layer or a path.
        fine: Likewise.
        coarse_bands: The user's choice, which is kept in its order; empty leaves it open.
        fine_bands: Likewise.

    Returns:
        The pairs in the order of the choice, else of the fine image. Where neither wavelengths nor
        names help and the numbers of bands differ, all bands of both: the check then asks.

    Raises:
        RasterReadError: An image cannot be opened.
        InputError: A path is empty, or a layer is no raster.
    """
    chosen_coarse, chosen_fine = tuple(coarse_bands), tuple(fine_bands)
    if chosen_coarse and chosen_fine:
        return BandMatch(chosen_coarse, chosen_fine, "The bands are used as chosen.")
    known = bands_of(coarse), bands_of(fine)
    offered = (
        _existing(chosen_coarse, known[0]) or _all(known[0]),
        _existing(chosen_fine, known[1]) or _all(known[1]),
    )
    pairs, by_name = _pairs(known[0], known[1], offered)
    wanted = len(chosen_coarse) or len(chosen_fine)
    # One odd match among many bands is an accident.
    if len(pairs) < max(wanted, min(len(offered[0]), len(offered[1])) / 2, 1):
        return _by_order(known, chosen_coarse, chosen_fine)
    if chosen_coarse:
        pairs.sort(key=lambda pair: chosen_coarse.index(pair[0]))
    else:
        pairs.sort(key=lambda pair: offered[1].index(pair[1]))
    first, second = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
    return BandMatch(first, second, _sentence(first, second, offered, by_name))


def bands_of(raster: QgsRasterLayer | str | os.PathLike[str]) -> list[Spectral]:
    """What is known of the bands of a layer or file.

    Raises:
        RasterReadError: It cannot be opened.
        InputError: The path is empty, or the layer is no raster.
    """
    if not isinstance(raster, QgsMapLayer):
        return _bands_of_file(plain_path(raster), ())
    if not isinstance(raster, QgsRasterLayer):
        raise InputError(f"{raster.name()} is no raster layer. Choose a raster.")
    if raster.providerType() == "gdal":
        return _bands_of_file(source_path(raster), (raster.name(),))
    names = [raster.bandName(number) for number in range(1, raster.bandCount() + 1)]
    # QGIS puts the number before the name: "Band 1: red".
    headers = [BandHeader(name.partition(": ")[2] or name) for name in names]
    return spectral_bands(headers, (raster.name(),))


def wavelengths_of(source: RasterSource, header: Header) -> tuple[float | None, ...]:
    """Of the bands that a job uses of a file, in nanometres; None where not known."""
    known = _bands_of_header(header, source.path, (source.name,))
    return tuple(
        known[band - 1].wavelength for band in _existing(source.bands, known) or _all(known)
    )


def _bands_of_file(path: str, hints: Iterable[str]) -> list[Spectral]:
    return _bands_of_header(read_header(path), path, hints)


def _bands_of_header(header: Header, path: str, hints: Iterable[str]) -> list[Spectral]:
    tags = (header.tags.get(name, "") for name in _SENSOR_TAGS)
    last = path.replace("\\", "/").rsplit("/", 1)[-1]
    inside = path.rsplit(":", 1)[-1] if '"' in path or path.count(":") > 1 else ""
    stem = os.path.splitext(last)[0] if not inside else last
    return spectral_bands(header.bands, (inside, stem, *hints, *tags))


def _all(bands: Sequence[Spectral]) -> Bands:
    return tuple(range(1, len(bands) + 1))


def _existing(chosen: Bands, bands: Sequence[Spectral]) -> Bands:
    return tuple(band for band in chosen if 1 <= band <= len(bands))


def _pairs(
    coarse: Sequence[Spectral], fine: Sequence[Spectral], offered: tuple[Bands, Bands]
) -> tuple[list[tuple[int, int]], bool]:
    """One-to-one pairs, the nearest first, and whether a name was needed for any."""
    near = []
    for one in offered[0]:
        for other in offered[1]:
            far = _distance(coarse[one - 1], fine[other - 1])
            if far is not None:
                near.append((far, one, other))
    pairs: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for _, one, other in sorted(near):
        if one not in taken[0] and other not in taken[1]:
            pairs.append((one, other))
            taken[0].add(one)
            taken[1].add(other)
    measured = all(coarse[one - 1].measured and fine[other - 1].measured for one, other in pairs)
    return pairs, not measured


def _distance(one: Spectral, other: Spectral) -> float | None:
    """Relative difference of two wavelengths, 0 for equal names, None for no relation."""
    if one.wavelength is None or other.wavelength is None:
        return 0.0 if one.name and one.name == other.name else None
    off = abs(one.wavelength - other.wavelength) / max(one.wavelength, other.wavelength)
    return off if off <= _TOLERANCE else None


def _by_order(
    known: tuple[Sequence[Spectral], Sequence[Spectral]], coarse: Bands, fine: Bands
) -> BandMatch:
    counts = len(known[0]), len(known[1])
    if counts[0] == counts[1]:
        same = coarse or fine or _all(known[0])
        return BandMatch(same, same, "The bands are matched by their order.")
    return BandMatch(
        coarse or _all(known[0]),
        fine or _all(known[1]),
        f"The coarse image has {counts[0]} bands, the fine one {counts[1]}, and neither "
        "wavelengths nor names tell which belong together. Choose them.",
    )


def _sentence(coarse: Bands, fine: Bands, offered: tuple[Bands, Bands], by_name: bool) -> str:
    how = "name" if by_name else "wavelength"
    text = (
        f"The bands are matched by {how}: coarse {', '.join(map(str, coarse))} with fine "
        f"{', '.join(map(str, fine))}."
    )
    left = [
        f"{side} {', '.join(map(str, rest))}"
        for side, rest in (
            ("coarse", [band for band in offered[0] if band not in coarse]),
            ("fine", [band for band in offered[1] if band not in fine]),
        )
        if rest
    ]
    return f"{text} Without partner and left out: {'; '.join(left)}." if left else text
