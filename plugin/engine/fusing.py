"""Fuse tile by tile: read ahead, compute, record behind.

Reading and recording have one thread each, since a file must not be used by two at once; at most
one tile waits on either side, so memory stays bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor

from ...models.base import Progress, Tile
from ..grid import Window
from .outputs import Outputs
from .resume.unfinished import Unfinished
from .scene import Scene
from .tiles import cut, tile_windows, with_halo
from .trust import TrustCheck
from .workplace import MemoryRanOutError, Workplace, within_memory

_RECORDED = 512  # side of what is recorded at once: it takes several copies in float64

Clock = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Results:
    """Where a finished tile goes to."""

    outputs: Outputs
    trust: TrustCheck
    unfinished: Unfinished


class TileLoop:
    """One pass over the scene.

    Attributes:
        tiles: How many tiles there were.
        resumed: How many of them a former run had finished.
    """

    def __init__(self, scene: Scene, workplace: Workplace, results: Results, clock: Clock) -> None:
        self.tiles = self.resumed = 0
        self._scene = scene
        self._workplace = workplace
        self._results = results
        self._clock = clock
        self._left = deque(tile_windows(*scene.shape, workplace.side))
        self._pixels = scene.shape[0] * scene.shape[1]
        self._done = 0
        # Tiles being read: the one that is fused next, and the one after it.
        self._ahead: deque[tuple[Window, Future[tuple[Tile, Tensor | None]]]] = deque()

    def run(self, progress: Progress, check: Callable[[], None]) -> None:
        """Fuse all tiles; ``check`` is called before each is computed, ``progress`` after it.

        Raises:
            MemoryLimitError: The smallest tiles do not fit into memory.
        """
        pending: Future[None] | None = None
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as recorder:
            self._read_ahead(reader)
            while self._ahead:
                finished, words = None, ""
                try:
                    finished = self._next(reader, check)
                except MemoryRanOutError as error:
                    words = str(error)
                if finished is None:  # the exception is gone here, and the tile that it held
                    self._begin_again(words, check)
                    self._read_ahead(reader)
                    continue
                if pending is not None:
                    pending.result()
                pending = recorder.submit(self._record, *finished)
                self._done += finished[0].rows * finished[0].cols
                progress(self._done / self._pixels)
            if pending is not None:
                pending.result()

    def _next(
        self, reader: ThreadPoolExecutor, check: Callable[[], None]
    ) -> tuple[Window, Tile, Tensor, bool]:
        """The next tile: window, inputs and result, and whether a former run had fused it.

        The result has the layers of ``Workplace.fuse``.
        """
        window, reading = self._ahead[0]
        tile, known = within_memory(reading.result)
        self._read_ahead(reader)
        check()
        result = known
        if result is None:
            result = within_memory(lambda: self._compute(tile, window))
        self._ahead.popleft()
        return window, _inside(tile, window), result, known is not None

    def _begin_again(self, words: str, check: Callable[[], None]) -> None:
        """Put back the tiles that were begun, and make room for them."""
        # The method may have to look at the scene, which the other thread must not read then.
        wait([reading for _, reading in self._ahead])
        self._left.extendleft(window for window, _ in reversed(self._ahead))
        self._ahead.clear()
        self._workplace.give_way(words, 1 - self._done / self._pixels, lambda _: check())

    def _read_ahead(self, reader: ThreadPoolExecutor) -> None:
        """Begin to read the next tile; what was planned too large is cut first."""
        if self._left:
            first, *others = cut(self._left.popleft(), self._workplace.side)
            self._left.extendleft(reversed(others))
            self._ahead.append((first, reader.submit(self._read, first)))

    def _read(self, window: Window) -> tuple[Tile, Tensor | None]:
        with self._clock("read"):
            known = self._results.unfinished.take(window)
            return self._scene.tile(with_halo(window, self._workplace.model.halo)), known

    def _compute(self, tile: Tile, window: Window) -> Tensor:
        with self._clock("compute"):
            result = self._workplace.fuse(tile)
            rows, cols = _place(tile, window)
            return result[..., rows, cols]

    def _record(self, window: Window, core: Tile, result: Tensor, resumed: bool) -> None:
        self.tiles += 1
        self.resumed += resumed
        with self._clock("write"):
            for part in cut(window, _RECORDED):
                rows, cols = _place(core, part)
                image = self._results.outputs.write(result[:, rows, cols], part)
                self._results.trust.add(part, _inside(core, part), image)
            if not resumed:
                self._results.unfinished.keep(window, result)


def _place(tile: Tile, window: Window) -> tuple[slice, slice]:
    """Rows and columns of a window inside a tile that has a halo around it."""
    row, col = window.row - tile.row, window.col - tile.col
    return slice(row, row + window.rows), slice(col, col + window.cols)


def _inside(tile: Tile, window: Window) -> Tile:
    """The part of a tile inside a window."""
    return tile.part(*_place(tile, window))
