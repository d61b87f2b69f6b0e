"""Run one job: open, learn, prepare, fuse tile by tile, write, report.

Reading ahead and writing behind overlap with computing. Each has one thread, since a file must not
be used by two at once; at most one tile waits on either side, so memory stays bounded.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import rasterio
import torch
from torch import Tensor

from ...models.base import FusionModel, Tile
from ...models.cards import Card, find_card
from ...models.errors import CancelledError, InputError, MemoryLimitError
from ..grid import Window, pixel_size
from ..job import Job
from . import VERSION
from .device import cache_bytes, choose_device, peak_memory_mb, tile_memory_bytes
from .raster import crs_name
from .scene import Scene
from .tiles import tile_side, tile_windows, with_halo
from .trust import TrustCheck
from .writer import Writer, remove_part

try:  # here, so that it counts as start-up and not as part of a job
    import numba
except ImportError:
    numba = None  # type: ignore[assignment]

OnProgress = Callable[[str, float], None]
IsCancelled = Callable[[], bool]

# Share of the whole job at which each stage ends.
_STAGES = {"Opening": 0.02, "Reading the scene": 0.08, "Preparing": 0.12, "Fusing": 0.97}
_TEMPORARIES = 3  # copies of a tile that a method may need beside the card's figure


def run(
    job: Job,
    on_progress: OnProgress = lambda stage, fraction: None,
    is_cancelled: IsCancelled = lambda: False,
) -> dict[str, Any]:
    """Run a job and return its report (see the README for the fields).

    Raises:
        InputError: The inputs or parameters do not fit.
        RasterReadError: An image cannot be read.
        OutputError: The result cannot be written.
        MemoryLimitError: Memory ran out.
        CancelledError: ``is_cancelled`` said so; nothing is left behind.
    """
    this = _Run(job, on_progress, is_cancelled)
    try:
        with rasterio.Env(GDAL_CACHEMAX=cache_bytes(job.limits.memory_mb)):
            return this.run()
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _out_of_memory(job, error) from error
    except RuntimeError as error:
        if "not enough memory" in str(error) or "alloc" in str(error):
            raise _out_of_memory(job, error) from error
        raise
    finally:
        # The writer removes its part; this is for signals, which may come before it can.
        if this.writes:
            remove_part(job.part)


def _out_of_memory(job: Job, error: BaseException) -> MemoryLimitError:
    if isinstance(error, MemoryLimitError):
        return error
    return MemoryLimitError(
        "Memory ran out while fusing. Lower the memory limit of the job (it makes smaller tiles) "
        "or close other programs.",
        detail=f"{job.limits}: {error}",
    )


class _Run:
    """One pass through the pipeline; keeps the clock."""

    def __init__(self, job: Job, on_progress: OnProgress, is_cancelled: IsCancelled) -> None:
        self.job = job
        self.card: Card = find_card(job.model)
        self.seconds: dict[str, float] = {}
        self.cpu_seconds = 0.0
        self._on_progress = on_progress
        self._is_cancelled = is_cancelled
        self.writes = False

    def run(self) -> dict[str, Any]:
        started, cpu_started = time.perf_counter(), time.process_time()
        _limit_threads(self.job.limits.threads)
        device = choose_device(self.job.device)
        model = load_model(self.card, self.job, device)
        with self._stage("Opening", "open"):
            scene = Scene(self.job, self.card)
        with scene:
            with self._stage("Reading the scene", "harmonise"):
                scene.learn(self._within("Reading the scene"))
            with self._stage("Preparing", "prepare"):
                model.prepare(scene, self._within("Preparing"))
            trust = TrustCheck(scene)
            tags = {"RASTERFUSE_JOB": self.job.to_json(), "RASTERFUSE_VERSION": VERSION}
            self.writes = True
            with Writer(self.job.output, scene.grid, scene.template, tags) as writer:
                self._fuse_tiles(scene, model, writer, trust)
                self._check_cancelled()
                if writer.valid == 0:
                    raise InputError(
                        "No pixel is valid in all images, so nothing could be fused. Look at "
                        "clouds, nodata values and the extent of the images."
                    )
                writer.finish()
            self.seconds["total"] = time.perf_counter() - started
            self.cpu_seconds = time.process_time() - cpu_started  # of all threads
            self._on_progress("Done", 1.0)
            return self._report(scene, model, writer, trust)

    # --- tiles --------------------------------------------------------------------------------

    def _fuse_tiles(
        self, scene: Scene, model: FusionModel, writer: Writer, trust: TrustCheck
    ) -> None:
        windows = tile_windows(*scene.shape, self._tile_side(scene, model))
        halo, report = model.halo, self._within("Fusing")
        for key in ("read", "compute", "write"):
            self.seconds[key] = 0.0
        pending: Future[None] | None = None
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as recorder:
            ahead = reader.submit(self._read, scene, with_halo(windows[0], halo))
            for number, window in enumerate(windows):
                tile = ahead.result()
                if number + 1 < len(windows):
                    ahead = reader.submit(self._read, scene, with_halo(windows[number + 1], halo))
                self._check_cancelled()
                core, result = self._compute(model, tile, window)
                if pending is not None:
                    pending.result()
                pending = recorder.submit(self._record, writer, trust, window, core, result)
                report((number + 1) / len(windows))
            if pending is not None:
                pending.result()

    def _tile_side(self, scene: Scene, model: FusionModel) -> int:
        if self.job.limits.tile is not None:
            return self.job.limits.tile
        images = 1 + 2 * len(self.job.references) + _TEMPORARIES
        per_pixel = scene.bands * (5 * images + self.card.cost["bytes_per_pixel_band"])
        return tile_side(model.halo, per_pixel, tile_memory_bytes(self.job.limits.memory_mb))

    def _read(self, scene: Scene, window: Window) -> Tile:
        with self._clock("read"):
            return scene.tile(window)

    def _compute(self, model: FusionModel, tile: Tile, window: Window) -> tuple[Tile, Tensor]:
        with self._clock("compute"):
            result = model.fuse(tile.to(model.device)).cpu()
            row, col = window.row - tile.row, window.col - tile.col
            inside = (slice(row, row + window.rows), slice(col, col + window.cols))
            core = Tile(
                {role: array[..., inside[0], inside[1]] for role, array in tile.arrays.items()},
                {role: mask[..., inside[0], inside[1]] for role, mask in tile.masks.items()},
                window.row,
                window.col,
            )
            return core, result[..., inside[0], inside[1]]

    def _record(
        self, writer: Writer, trust: TrustCheck, window: Window, core: Tile, result: Tensor
    ) -> None:
        with self._clock("write"):
            writer.write(result, window)
            trust.add(window, core, result)

    # --- clock and progress -------------------------------------------------------------------

    @contextmanager
    def _clock(self, key: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[key] = self.seconds.get(key, 0.0) + time.perf_counter() - started

    @contextmanager
    def _stage(self, name: str, key: str) -> Iterator[None]:
        self._within(name)(0.0)
        with self._clock(key):
            yield
        self._check_cancelled()

    def _within(self, name: str) -> Callable[[float], None]:
        """A progress function for one stage, which also notices a cancel."""
        stages = list(_STAGES)
        start = _STAGES[stages[stages.index(name) - 1]] if name != stages[0] else 0.0
        span = _STAGES[name] - start

        def report(fraction: float) -> None:
            self._check_cancelled()
            self._on_progress(name, start + span * min(max(fraction, 0.0), 1.0))

        return report

    def _check_cancelled(self) -> None:
        if self._is_cancelled():
            raise CancelledError("The fusion was cancelled. Nothing was written.")

    # --- report -------------------------------------------------------------------------------

    def _report(
        self, scene: Scene, model: FusionModel, writer: Writer, trust: TrustCheck
    ) -> dict[str, Any]:
        rows, cols = scene.shape
        warnings = list(scene.warnings)
        if writer.clipped:
            warnings.append(
                f"{writer.clipped} values did not fit into {writer.dtype} and were clipped."
            )
        return {
            "model": self.card.id,
            "name": self.card.name,
            "version": VERSION,
            "path": self.job.output,
            "device": str(model.device),
            "backend": model.backend,
            "seconds": {key: round(value, 4) for key, value in self.seconds.items()},
            "cpu_seconds": round(self.cpu_seconds, 4),
            "peak_memory_mb": round(peak_memory_mb(model.device), 1),
            "grid": {
                "rows": rows,
                "cols": cols,
                "bands": scene.bands,
                "crs": crs_name(scene.grid.crs),
                "pixel": list(pixel_size(scene.grid.transform)),
                "ratio": scene.ratio,
            },
            "nodata_share": 1 - writer.valid / (rows * cols),
            "harmonisation": scene.harmonisation.report() if scene.harmonisation else None,
            "observation": [sight.report(scene.ratio) for sight in scene.sights.values()] or None,
            "trust": trust.report(),
            "warnings": warnings,
            "notes": scene.notes + model.notes,
            "job": self.job.to_dict(),
        }


def load_model(card: Card, job: Job, device: torch.device) -> FusionModel:
    """The method's object: its class is named by the card, its module lies beside the card.

    Raises:
        InputError: A parameter is not allowed.
    """
    root = __package__.rsplit(".", 2)[0]
    module = importlib.import_module(f"{root}.models.{card.module}")
    return getattr(module, card.class_name)(card, job.parameters, device, job.backend)


_CORES = os.cpu_count() or 1
_USUAL_THREADS = torch.get_num_threads()


def _limit_threads(threads: int | None) -> None:
    """Use so many threads for this job; a worker lives longer than one."""
    torch.set_num_threads(_USUAL_THREADS if threads is None else min(threads, _CORES))
    if numba is None:
        return
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(most if threads is None else min(threads, most))
