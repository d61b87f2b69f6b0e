"""Tiles in two files that only grow, so that a kill at any moment leaves all but the last tile.

``tiles`` holds raw float32, ``journal`` a line per tile: its window, where it begins in ``tiles``,
and digests of its pixels and of the line itself. What does not fit its digest does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...grid import Window

JOURNAL, TILES = "journal", "tiles"


@dataclass(frozen=True)
class _Piece:
    window: Window
    start: int
    digest: str


class Journal:
    """The tiles in a folder. One thread may read while another one appends.

    Raises:
        OSError: The files cannot be opened, read or written.
    """

    def __init__(self, folder: Path, bands: int) -> None:
        self._bands = bands
        self._lines: BinaryIO = open(folder / JOURNAL, "a+b")  # noqa: SIM115
        self._tiles: BinaryIO = open(folder / TILES, "a+b")  # noqa: SIM115
        self._stored: BinaryIO = open(folder / TILES, "rb")  # noqa: SIM115
        self._pieces = list(_pieces(self._lines))
        if self._lines.tell():
            self._lines.write(b"\n")  # a torn last line must not spoil the next one

    def append(self, window: Window, values: NDArray[np.float32]) -> None:
        """Add a tile: (bands, rows, cols)."""
        pixels = np.ascontiguousarray(values, dtype=np.float32).data.cast("B")
        start = self._tiles.seek(0, 2)
        self._tiles.write(pixels)
        self._tiles.flush()
        place = f"{window.row} {window.col} {window.rows} {window.cols} {start}"
        line = f"{place} {_digest(pixels)}".encode("ascii")
        self._lines.write(line + b" " + _digest(line).encode("ascii") + b"\n")
        self._lines.flush()

    def read(self, window: Window) -> NDArray[np.float32] | None:
        """(bands, rows, cols) of a window; None unless the tiles of former runs cover it."""
        values = np.empty((self._bands, window.rows, window.cols), dtype=np.float32)
        covered = np.zeros((window.rows, window.cols), dtype=bool)
        for piece in list(self._pieces):
            source, target = _overlap(piece.window, window), _overlap(window, piece.window)
            if covered[target].size == 0:
                continue
            pixels = self._pixels(piece)
            if pixels is None:
                self._pieces.remove(piece)
                continue
            values[:, target[0], target[1]] = pixels[:, source[0], source[1]]
            covered[target] = True
        return values if covered.all() else None

    def _pixels(self, piece: _Piece) -> NDArray[np.float32] | None:
        shape = self._bands, piece.window.rows, piece.window.cols
        self._stored.seek(piece.start)
        pixels = self._stored.read(4 * int(np.prod(shape)))
        if _digest(pixels) != piece.digest:
            return None
        return np.frombuffer(pixels, dtype=np.float32).reshape(shape)

    def close(self) -> None:
        for file in (self._lines, self._tiles, self._stored):
            with suppress(OSError):  # a full disk: what was not written is not in the journal
                file.close()


def _pieces(lines: BinaryIO) -> Iterator[_Piece]:
    lines.seek(0)
    for line in lines:
        text, _, check = line.rstrip(b"\n").rpartition(b" ")
        if text and check == _digest(text).encode("ascii"):
            *numbers, digest = text.decode("ascii").split(" ")
            row, col, rows, cols, start = map(int, numbers)
            yield _Piece(Window(row, col, rows, cols), start, digest)


def _overlap(window: Window, other: Window) -> tuple[slice, slice]:
    """Rows and columns of a window that lie in another one too; empty slices if there are none."""
    top, left = max(other.row - window.row, 0), max(other.col - window.col, 0)
    bottom = min(other.row + other.rows - window.row, window.rows)
    right = min(other.col + other.cols - window.col, window.cols)
    return slice(top, max(bottom, top)), slice(left, max(right, left))


def _digest(data: bytes | memoryview) -> str:
    return blake2b(data, digest_size=16).hexdigest()
