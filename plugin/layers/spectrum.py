"""What is known of a band's place in the spectrum, from its metadata or its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .header import BandHeader

# Centres of the bands in nanometres, from the sensors' user guides.
_OLI = {"1": 443.0, "2": 482.0, "3": 561.5, "4": 655.0, "5": 865.0, "6": 1608.5, "7": 2200.5,
        "9": 1373.5, "10": 10895.0, "11": 12005.0}  # fmt: skip
_ETM = {"1": 485.0, "2": 560.0, "3": 660.0, "4": 835.0, "5": 1650.0, "6": 11450.0, "7": 2220.0}
_TM = {**_ETM, "4": 830.0, "7": 2215.0}
_MSI = {"1": 443.0, "2": 492.0, "3": 560.0, "4": 665.0, "5": 704.0, "6": 740.0, "7": 783.0,
        "8": 833.0, "8a": 865.0, "9": 945.0, "10": 1374.0, "11": 1614.0, "12": 2202.0}  # fmt: skip
_MODIS = {"1": 645.0, "2": 858.5, "3": 469.0, "4": 555.0, "5": 1240.0, "6": 1640.0, "7": 2130.0,
          "31": 11030.0, "32": 12020.0}  # fmt: skip
_VIIRS = {"i1": 640.0, "i2": 865.0, "i3": 1610.0, "m1": 412.0, "m2": 445.0, "m3": 488.0,
          "m4": 555.0, "m5": 672.0, "m7": 865.0, "m8": 1240.0, "m10": 1610.0,
          "m11": 2250.0}  # fmt: skip
_OLCI = dict(
    zip(
        map(str, range(1, 22)),
        (400.0, 412.5, 442.5, 490.0, 510.0, 560.0, 620.0, 665.0, 673.75, 681.25, 708.75, 753.75,
         761.25, 764.375, 767.5, 778.75, 865.0, 885.0, 900.0, 940.0, 1020.0),
    )
)  # fmt: skip

# Names of files, layers and metadata that tell the sensor.
_SENSORS = (
    (re.compile(r"(?<![A-Z0-9])(?:L[CO]0?[89]|HLS[._]L30|LANDSAT[_ -]?[89])", re.I), _OLI),
    (re.compile(r"(?<![A-Z0-9])(?:LE0?7|LANDSAT[_ -]?7)", re.I), _ETM),
    (re.compile(r"(?<![A-Z0-9])(?:L[TM]0?[45]|LANDSAT[_ -]?[45])", re.I), _TM),
    (
        re.compile(
            r"(?<![A-Z0-9])(?:S2[ABCD](?![A-Z0-9])|HLS[._]S30|SENTINEL[_ -]?2"
            r"|T\d\d[A-Z]{3}_\d{8}T\d{6})",
            re.I,
        ),
        _MSI,
    ),
    (re.compile(r"(?<![A-Z0-9])(?:M[OYC]D\d\d|MODIS)", re.I), _MODIS),
)
_MODIS_BAND = re.compile(r"(?:sur_refl_b|reflectance_band_?)0?(\d+)", re.I)
_OLCI_BAND = re.compile(r"(?<![a-z0-9])oa(\d\d)", re.I)
_VIIRS_BAND = re.compile(r"(?:surfreflect|reflectance)_([im])0?(\d+)", re.I)
_NUMBERED = re.compile(r"(?:^|[_\W])b0?(\d{1,2}a?)(?:$|[_\W])", re.I)

# Words that name a part of the spectrum; the first that fits counts.
_WORDS = (
    (re.compile(r"(?<![a-z])red[ _-]?edge[ _-]?3|(?<![a-z])re3(?![a-z0-9])"), 783.0),
    (re.compile(r"(?<![a-z])red[ _-]?edge[ _-]?2|(?<![a-z])re2(?![a-z0-9])"), 740.0),
    (re.compile(r"(?<![a-z])red[ _-]?edge|(?<![a-z])re1(?![a-z0-9])"), 708.0),
    (re.compile(r"coastal|^aerosol|ultra[ _-]?blue"), 443.0),
    (re.compile(r"(?:swir|(?<![a-z])mir|short[ _-]?wave[ _-]?infra[ _-]?red)[ _-]?2"), 2200.0),
    (re.compile(r"swir|(?<![a-z])mir[ _-]?1|short[ _-]?wave[ _-]?infra[ _-]?red"), 1610.0),
    (re.compile(r"therm|(?<![a-z])l?tirs?(?![a-z])|(?<![a-z])lwir"), 10900.0),
    (re.compile(r"(?<![a-z])v?nir(?![a-z])|near[ _-]?infra[ _-]?red|^n$"), 850.0),
    (re.compile(r"(?<![a-z])blue(?![a-z])|^b$"), 480.0),
    (re.compile(r"(?<![a-z])green(?![a-z])|^g$"), 560.0),
    (re.compile(r"(?<![a-z])yellow(?![a-z])"), 605.0),
    (re.compile(r"(?<![a-z])red(?![a-z])|^r$"), 660.0),
)
_UNIT = r"\s*(?P<unit>nm|nano\s?met\w*|µm|μm|um|micro\s?met\w*|microns?)(?![a-z])"
_RANGE = re.compile(rf"(\d+(?:\.\d+)?)\s*(?:-|–|to)\s*(\d+(?:\.\d+)?){_UNIT}", re.I)
_SINGLE = re.compile(rf"(\d+(?:\.\d+)?){_UNIT}", re.I)
_WAVELENGTH_TAGS = ("wavelength", "center_wavelength", "central_wavelength", "centre_wavelength")
_UNIT_TAGS = ("wavelength_units", "wavelength_unit", "wavelengthunits")
_SHORTEST, _LONGEST = 200.0, 20_000.0
# Names that programs give to bands without a name.
_NO_NAME = re.compile(r"(?:b|band|layer|gray|grey|undefined)?[ _:-]*\d*[a-z]?", re.I)


@dataclass(frozen=True)
class Spectral:
    """What is known of a band.

    Attributes:
        name: Its own name in lower case, empty when it is but a number.
        wavelength: Centre in nanometres, or None.
        measured: Whether the wavelength is stated or that of a known sensor's band; otherwise it
            only stands for a word such as "red".
    """

    name: str = ""
    wavelength: float | None = None
    measured: bool = False


def spectral_bands(bands: Sequence[BandHeader], hints: Iterable[str]) -> list[Spectral]:
    """What is known of the bands of an image.

    Args:
        bands: What the file says of them.
        hints: Names of the file and the layer, and metadata that may name the sensor.
    """
    hints = [hint for hint in hints if hint]
    sensor = _sensor(hints, [band.description for band in bands])
    # The name of a file with one band is the name of the band: …_B4.TIF, …:sur_refl_b01_1.
    more = hints if len(bands) == 1 else []
    return [_spectral(band, sensor, more) for band in bands]


def _spectral(band: BandHeader, sensor: Mapping[str, float], more: Sequence[str]) -> Spectral:
    texts = [band.tags.get("bandname", ""), band.description, *more]
    own = band.description.strip().lower()
    name = "" if _NO_NAME.fullmatch(own) or _NUMBERED.search(own) else own
    stated = _stated(band.tags) or _in_words(band.description)
    if stated is not None:
        return Spectral(name, stated, True)
    for text in texts:
        known = _numbered(text, sensor)
        if known is not None:
            return Spectral(name, known, True)
    for text in texts:
        for pattern, wavelength in _WORDS:
            if pattern.search(text.lower().strip()):
                return Spectral(name, wavelength, False)
    return Spectral(name)


def _sensor(hints: Sequence[str], descriptions: Sequence[str]) -> Mapping[str, float]:
    """The wavelengths of a sensor's numbered bands; empty when it is not known."""
    for hint in hints:
        for pattern, bands in _SENSORS:
            if pattern.search(hint):
                return bands
    numbers = {m.group(1).lower() for text in descriptions if (m := _NUMBERED.search(text))}
    if numbers & {"8a", "12"}:
        return _MSI
    if all("sr_b" in text.lower() for text in descriptions if text) and numbers >= {"5", "7"}:
        return _OLI if "6" in numbers else _TM
    return {}


def _numbered(text: str, sensor: Mapping[str, float]) -> float | None:
    match = _MODIS_BAND.search(text)
    if match:
        return _MODIS.get(match.group(1))
    match = _OLCI_BAND.search(text)
    if match:
        return _OLCI.get(str(int(match.group(1))))
    match = _VIIRS_BAND.search(text)
    if match:
        return _VIIRS.get("".join(match.groups()).lower())
    match = _NUMBERED.search(text)
    return sensor.get(match.group(1).lower()) if match else None


def _stated(tags: Mapping[str, str]) -> float | None:
    """The wavelength in a band's metadata in nanometres."""
    if "central_wavelength_um" in tags:
        return _nanometres(tags["central_wavelength_um"], "um")
    unit = next((tags[name] for name in _UNIT_TAGS if name in tags), "")
    value = next((tags[name] for name in _WAVELENGTH_TAGS if name in tags), "")
    return _in_words(value) or _nanometres(value, unit)


def _in_words(text: str) -> float | None:
    """The wavelength in a text such as "645 nm" or "SWIR 1 (1.57-1.65 µm)"."""
    match = _RANGE.search(text)
    if match:
        middle = (float(match.group(1)) + float(match.group(2))) / 2
        return _nanometres(str(middle), match.group("unit"))
    match = _SINGLE.search(text)
    return _nanometres(match.group(1), match.group("unit")) if match else None


def _nanometres(text: str, unit: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    unit = unit.strip().lower()
    micro = unit.startswith(("um", "µm", "μm", "micro"))
    if not micro and not unit.startswith(("nm", "nano")):
        micro = value < 30  # no unit: nobody counts light in tens of nanometres
    value = value * 1000 if micro else value
    return value if _SHORTEST <= value <= _LONGEST else None
