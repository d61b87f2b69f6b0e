"""A whole scene in large pixels, from one pass over its tiles that reads ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from ...models.base import Progress, Tile
from ...models.errors import InputError
from ...models.spatiotemporal.filter_bank import block_means
from ..grid import Window
from .tiles import BLOCK, tile_windows

_SIDE = 2 * BLOCK


def reduced(
    read: Callable[[Window], Tile],
    shape: tuple[int, int],
    image: Callable[[Tile], Tensor],
    step: int,
    progress: Progress,
) -> Tensor:
    """(bands, rows, cols): means of the known pixels of every step x step block.

    Args:
        read: Reads a tile. It is called in another thread, one call at a time.
        shape: Rows and columns of the scene.
        image: Gives (bands, rows, cols) of a tile, NaN for nodata.
        step: Side of a block in fine pixels; blocks at the end may be cut.
        progress: Told how far it is.

    Raises:
        InputError: The scene has no pixels.
    """
    rows, cols = (-(-size // step) for size in shape)
    windows = tile_windows(*shape, max(_SIDE // step, 1) * step)
    whole: Tensor | None = None
    for done, tile in enumerate(_ahead(read, windows), 1):
        means = block_means(image(tile), step)
        if whole is None:
            whole = torch.full((len(means), rows, cols), torch.nan)
        top, left = tile.row // step, tile.col // step
        whole[:, top : top + means.shape[1], left : left + means.shape[2]] = means
        progress(done / len(windows))
    if whole is None:
        raise InputError("The scene has no pixels. Choose another extent.")
    return whole


def _ahead(read: Callable[[Window], Tile], windows: list[Window]) -> Iterator[Tile]:
    """The tiles one by one, while the next one is read."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, windows[0]) if windows else None
        for following in [*windows[1:], None]:
            if coming is None:
                return
            tile = coming.result()
            coming = reader.submit(read, following) if following else None
            yield tile
