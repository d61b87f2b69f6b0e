"""Cut the target grid into tiles and choose their size. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..grid import Window

BLOCK = 256  # side of a block of the output file; tiles are whole blocks, so none is written twice
_LARGEST = 2048
_USUAL = 512  # larger tiles gain little and make cancelling and progress sluggish
_HALOS = 17  # unless a halo is so wide: a tile of so many halos is read and fused 1.25 times


def tile_windows(rows: int, cols: int, side: int) -> list[Window]:
    """Windows of at most ``side`` x ``side`` pixels that cover the grid once, row by row."""
    return [
        Window(row, col, min(side, rows - row), min(side, cols - col))
        for row in range(0, rows, side)
        for col in range(0, cols, side)
    ]


def cut(window: Window, side: int) -> list[Window]:
    """Windows of at most ``side`` x ``side`` pixels that cover a window once, row by row."""
    return [
        Window(window.row + part.row, window.col + part.col, part.rows, part.cols)
        for part in tile_windows(window.rows, window.cols, side)
    ]


def smaller_side(side: int) -> int | None:
    """About half of a side in whole blocks; None when it is a block already."""
    return max(side // 2 // BLOCK, 1) * BLOCK if side > BLOCK else None


def with_halo(window: Window, halo: int) -> Window:
    """The window grown by ``halo`` pixels on every side."""
    return Window(
        window.row - halo, window.col - halo, window.rows + 2 * halo, window.cols + 2 * halo
    )


def clip(window: Window, rows: int, cols: int) -> tuple[Window | None, slice, slice]:
    """The part of a window inside a raster, and where that part lies in the window."""
    top, left = max(window.row, 0), max(window.col, 0)
    bottom, right = min(window.row + window.rows, rows), min(window.col + window.cols, cols)
    inside = Window(top, left, bottom - top, right - left)
    if inside.rows <= 0 or inside.cols <= 0:
        return None, slice(0), slice(0)
    return (
        inside,
        slice(top - window.row, bottom - window.row),
        slice(left - window.col, right - window.col),
    )


def tile_side(halo: int, bytes_per_pixel: float, memory_bytes: float) -> int:
    """Side of a tile's core, a multiple of the block, such that tile and halo fit into memory."""
    fits = math.sqrt(max(memory_bytes / max(bytes_per_pixel, 1.0), 1.0)) - 2 * halo
    wanted = min(max(_USUAL, _HALOS * halo), _LARGEST, fits)
    return max(int(wanted) // BLOCK * BLOCK, BLOCK)


def sample_windows(rows: int, cols: int, max_pixels: int, side: int = BLOCK) -> Iterator[Window]:
    """Windows spread evenly over the grid, together at most about ``max_pixels``; all if they fit.

    The choice depends on the grid alone, so statistics do not change with tiling.
    """
    every = max(math.ceil(math.sqrt(rows * cols / max_pixels)), 1)
    for row in range(0, rows, side * every):
        for col in range(0, cols, side * every):
            yield Window(row, col, min(side, rows - row), min(side, cols - col))
