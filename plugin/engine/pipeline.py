"""Run one job: open, learn, prepare, fuse tile by tile, write, report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import rasterio
import torch

from ...models.cards import Card, find_card
from ...models.errors import CancelledError, InputError, MemoryLimitError
from ..grid import pixel_size
from ..job import Job
from ..paths import part_of, remove_part
from . import VERSION
from .crs import crs_name
from .device import cache_bytes, choose_device, peak_memory_mb, ran_out_of_memory
from .fusing import Results, TileLoop
from .outputs import Outputs
from .resume.unfinished import Unfinished
from .scene import Scene
from .trust import TrustCheck
from .workplace import Workplace, out_of_memory

try:  # here, so that it counts as start-up and not as part of a job
    import numba
except ImportError:
    numba = None  # type: ignore[assignment]

OnProgress = Callable[[str, float], None]
IsCancelled = Callable[[], bool]

# Share of the whole job at which each stage ends.
_STAGES = {"Opening": 0.02, "Reading the scene": 0.08, "Preparing": 0.12, "Fusing": 0.97}


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
    except MemoryLimitError:
        raise
    except (MemoryError, RuntimeError, OSError) as error:
        if ran_out_of_memory(error):
            raise out_of_memory(job, str(error)) from error
        raise
    finally:
        # The writers remove their parts; this is for signals, which may come before they can.
        for output in job.outputs if this.writes else ():
            remove_part(part_of(output))


class _Run:
    """One pass through the pipeline; keeps the clock."""

    def __init__(self, job: Job, on_progress: OnProgress, is_cancelled: IsCancelled) -> None:
        self.card: Card = find_card(job.model, job.model_file)
        self.job = replace(job, model_file=self.card.model_file)
        self.seconds: dict[str, float] = {}
        self.cpu_seconds = 0.0
        self._on_progress = on_progress
        self._is_cancelled = is_cancelled
        self._reached = 0.0
        self.writes = False

    def run(self) -> dict[str, Any]:
        started, cpu_started = time.perf_counter(), time.process_time()
        _limit_threads(self.job.limits.threads)
        workplace = Workplace(self.job, self.card, choose_device(self.job.device))
        with self._stage("Opening", "open"):
            scene = Scene(self.job, self.card)
        with scene, Unfinished(self.job, scene) as unfinished:
            with self._stage("Reading the scene", "harmonise"):
                scene.learn(self._within("Reading the scene"))
            with self._stage("Preparing", "prepare"):
                workplace.prepare(scene, self._within("Preparing"))
            tags = {"RASTERFUSE_JOB": self.job.to_json(), "RASTERFUSE_VERSION": VERSION}
            self.writes = True
            with Outputs(self.job, scene.grid, scene.template, tags) as outputs:
                results = Results(outputs, TrustCheck(scene), unfinished)
                loop = self._fuse_tiles(scene, workplace, results)
                outputs.finish()
            self.seconds["total"] = time.perf_counter() - started
            self.cpu_seconds = time.process_time() - cpu_started  # of all threads
            self._on_progress("Done", 1.0)
            return self._report(scene, workplace, results, loop)

    def _fuse_tiles(self, scene: Scene, workplace: Workplace, results: Results) -> TileLoop:
        self.seconds.update(read=0.0, compute=0.0, write=0.0)
        loop = TileLoop(scene, workplace, results, self._clock)
        loop.run(self._within("Fusing"), self._check_cancelled)
        self._check_cancelled()
        if results.outputs.result.valid == 0:
            raise InputError(
                "No pixel is valid in all images, so nothing could be fused. Look at "
                "clouds, nodata values and the extent of the images."
            )
        return loop

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
            # A method that is prepared again for the CPU starts its count again.
            self._reached = max(self._reached, start + span * min(max(fraction, 0.0), 1.0))
            self._on_progress(name, self._reached)

        return report

    def _check_cancelled(self) -> None:
        if self._is_cancelled():
            raise CancelledError("The fusion was cancelled. Nothing was written.")

    # --- report -------------------------------------------------------------------------------

    def _report(
        self, scene: Scene, workplace: Workplace, results: Results, loop: TileLoop
    ) -> dict[str, Any]:
        rows, cols = scene.shape
        model, outputs, unfinished = workplace.model, results.outputs, results.unfinished
        writer = outputs.result
        warnings = scene.warnings + workplace.warnings
        if writer.clipped:
            warnings.append(
                f"{writer.clipped} values did not fit into {writer.dtype} and were clipped."
            )
        return {
            "model": self.card.id,
            "name": self.card.name,
            "trained": asdict(self.card.trained) if self.card.trained else None,
            "version": VERSION,
            "path": self.job.output,
            "error_path": self.job.error_output,
            "device": str(model.device),
            "backend": model.backend,
            "seconds": {key: round(value, 4) for key, value in self.seconds.items()},
            "cpu_seconds": round(self.cpu_seconds, 4),
            "peak_memory_mb": round(peak_memory_mb(workplace.device), 1),
            "tile": workplace.side,
            "tiles": loop.tiles,
            "resumed": loop.resumed,
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
            "standard_error": outputs.mean_error(),
            "trust": results.trust.report(),
            "warnings": warnings,
            "notes": scene.notes + model.notes + unfinished.notes(loop.tiles, loop.resumed),
            "job": self.job.to_dict(),
        }


_CORES = os.cpu_count() or 1
_USUAL_THREADS = torch.get_num_threads()


def _limit_threads(threads: int | None) -> None:
    """Use so many threads for this job; a worker lives longer than one."""
    torch.set_num_threads(_USUAL_THREADS if threads is None else min(threads, _CORES))
    if numba is None:
        return
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(most if threads is None else min(threads, most))
