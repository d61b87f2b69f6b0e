"""Find the day of an image in its name. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

FIRST_YEAR, LAST_YEAR = 1970, 2099  # Landsat 1 flew in 1972; other numbers are no years here

_DAY = r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})"
_ORDINAL = r"(?P<year>\d{4})(?P<doy>\d{3})"
_CLOCK = r"(?:\d{4}|\d{6})?"  # a time glued to the day, as in 20180606143317

# Names that say which of their numbers is the day, whatever else looks like one.
_PRODUCTS = (
    # Landsat before the collections: LT51950251986123KIS00 (sensor, path, row, year and day).
    re.compile(rf"(?<![A-Z0-9])L[COTEM]\d\d{{6}}{_ORDINAL}(?:[A-Z]{{3}}\d\d|(?=[-_.]|$))", re.I),
    # Landsat ordered from ESPA: LC080440342014031801T1-SC20181010.
    re.compile(rf"(?<![A-Z0-9])L[COTEM]0\d\d{{6}}{_DAY}\d\d(?:T1|T2|RT)", re.I),
    # Sentinel-2 before 2016, whose first number is the day of processing: …_V20160604T101031_….
    re.compile(rf"_V{_DAY}T\d{{6}}", re.I),
    # MODIS and VIIRS: MOD09GA.A2020068.h18v04.…; AppEEARS: …_doy2020068_….
    re.compile(rf"(?<![A-Z0-9])(?:A|doy){_ORDINAL}(?!\d)", re.I),
)
_ANYWHERE = re.compile(
    r"(?<!\d)(?:"
    r"(?P<iso_year>\d{4})(?P<mark>[-_.])(?P<iso_month>\d{2})(?P=mark)(?P<iso_day>\d{2})"
    rf"|{_DAY}{_CLOCK}"
    r"|(?P<ordinal_year>\d{4})(?P<doy>\d{3})"
    r")(?!\d)"
)


def date_in_name(text: str) -> date | None:
    """The day in a file or layer name, None when there is none.

    Understood are YYYYMMDD (also with a time), YYYY-MM-DD (also with ``_`` or ``.``) and YYYYDDD;
    the names of Landsat, MODIS, VIIRS and Sentinel products tell the day of the image from that of
    its processing; otherwise the first possible day counts.
    """
    for pattern in _PRODUCTS:
        for match in pattern.finditer(text):
            found = _day_of(match.groupdict().get)
            if found is not None:
                return found
    position = 0
    while True:
        candidate = _ANYWHERE.search(text, position)
        if candidate is None:
            return None
        found = _day_of(candidate.groupdict().get)
        if found is not None:
            return found
        position = candidate.start() + 1


def _day_of(group: Callable[[str], str | None]) -> date | None:
    """The day that a match means; None when the calendar has no such day."""
    year = int(group("year") or group("iso_year") or group("ordinal_year") or 0)
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    doy = group("doy")
    if doy is not None:
        return _from_ordinal(year, int(doy))
    month, day = group("month") or group("iso_month"), group("day") or group("iso_day")
    try:
        return date(year, int(month or 0), int(day or 0))
    except ValueError:
        return None


def _from_ordinal(year: int, day_of_year: int) -> date | None:
    if day_of_year < 1:
        return None
    found = date(year, 1, 1) + timedelta(days=day_of_year - 1)
    return found if found.year == year else None
