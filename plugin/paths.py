"""What a path is, told without opening it, and where a file grows. Standard library only."""

from __future__ import annotations

import os
import stat


def part_of(output: str) -> str:
    """Where a file grows until it is complete."""
    return output + ".part"


def remove_part(part: str) -> None:
    """Remove an unfinished result and what GDAL may have put beside it."""
    for path in (part, part + ".aux.xml"):
        if os.path.exists(path):
            os.remove(path)


def same_file(one: str, other: str) -> bool:
    """Whether two paths name one file, be it by a link."""
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return os.path.normcase(os.path.abspath(one)) == os.path.normcase(other)


def is_special(path: str) -> bool:
    """Whether a path is a pipe, a socket or a device.

    Whoever reads one may wait for ever; whoever replaces one damages the system.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # not there, or no path at all
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
