"""Fusions as tasks of QGIS: they show in its task manager, with progress and a cancel that works.

A task only supervises; the worker process computes.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from qgis.core import Qgis, QgsApplication, QgsMessageLog, QgsTask
from qgis.PyQt.QtCore import pyqtSignal

from ..models.errors import CancelledError, FusionError, OutputError
from . import recent_errors, settings
from .layers.handover import hand_over
from .model_store import make_room
from .runtime.client import OnDetail
from .runtime.endings import TEMPORARY
from .runtime.install.folder import placed_by
from .runtime.known import remembered_by
from .runtime.runtime import Runtime, chosen_by
from .training_job import AnyJob, TrainingJob

TAG = "RasterFuse"
_HANDING_OVER = "Handing the images over"
# QGIS forgets a task that Python forgets: these are kept until QGIS says that they have ended.
_ALIVE: set[FusionTask] = set()

# Every door comes by here before it runs anything.
chosen_by(settings.worker_python)
placed_by(settings.runtime_folder)
remembered_by(settings.known_pythons, settings.set_known_pythons)


def run_job(
    job: AnyJob,
    runtime: Runtime,
    on_progress: Callable[[str, float], None],
    is_cancelled: Callable[[], bool],
    on_log: Callable[[str, str], None] | None = None,
    on_detail: OnDetail | None = None,
) -> dict[str, Any]:
    """The one road of all doors: hand over what the worker cannot open, run, return the report.

    Blocks; fit for any thread. The callbacks are called on this one.

    Raises:
        FusionError: With a sentence for the user. Nothing is left of the job then.
    """
    try:
        return _run_job(job, runtime, on_progress, is_cancelled, on_log, on_detail)
    except FusionError as error:
        recent_errors.note(error)
        raise


def _run_job(
    job: AnyJob,
    runtime: Runtime,
    on_progress: Callable[[str, float], None],
    is_cancelled: Callable[[], bool],
    on_log: Callable[[str, str], None] | None,
    on_detail: OnDetail | None,
) -> dict[str, Any]:
    if isinstance(job, TrainingJob):
        make_room(job.output)
    status = runtime.prepare(is_cancelled, on_progress)
    with _scratch() as folder:
        on_progress(_HANDING_OVER, 0.0)
        handed = hand_over(job, status.hello.get("drivers") or (), folder, is_cancelled)
        report = runtime.run(handed, on_progress, is_cancelled, on_log, on_detail)
    report["job"] = job.to_dict()  # copies that are gone by now must not stand in the history
    return report


@contextmanager
def _scratch() -> Iterator[str]:
    try:
        folder = tempfile.mkdtemp(prefix="rasterfuse-")
    except OSError as error:
        raise OutputError(
            f"No temporary folder can be made ({error}). Free some space on the disk for "
            "temporary files.",
            code=TEMPORARY,
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Task(QgsTask):
    """Runs something long on a thread of QGIS's pool; never raises.

    Attributes:
        error: Why it failed; a CancelledError when the user wanted it to end.
        ended: Set when nothing of the task runs any more.
    """

    cancelled_text = "Cancelled. Nothing was written."

    def __init__(self, title: str) -> None:
        super().__init__(title, QgsTask.Flag.CanCancel)
        self.error: FusionError | None = None
        self.ended = threading.Event()

    def work(self) -> None:
        """What there is to do; raises a FusionError, or whatever nobody foresaw."""
        raise NotImplementedError

    def run(self) -> bool:
        """QGIS calls this on a thread of its pool."""
        try:
            self.work()
        except FusionError as error:
            self.error = error
        except Exception as error:
            self.error = unexpected(error)
        self.ended.set()
        return self.error is None

    def finished(self, result: bool) -> None:
        """QGIS calls this on the main thread, also when the task never ran."""
        if not result and self.error is None:
            self.error = CancelledError(self.cancelled_text)
        self.ended.set()


class FusionTask(Task):
    """Runs one job. Keep it in a ``TaskRegistry``.

    Attributes:
        job: What to do.
        report: What was done; None until then, and after a failure.
    """

    stage_changed = pyqtSignal(str, float)
    cancelled_text = "The fusion was cancelled. Nothing was written."

    def __init__(self, job: AnyJob, runtime: Runtime, title: str) -> None:
        super().__init__(title)
        self.job = job
        self.report: dict[str, Any] | None = None
        self._runtime = runtime

    def work(self) -> None:
        self.report = run_job(
            self.job, self._runtime, self._tell, self.isCanceled, log_message, self.tell_detail
        )

    def tell_detail(self, detail: dict[str, Any]) -> None:
        """Take what the worker tells beside its progress, on the task's thread."""

    def _tell(self, stage: str, fraction: float) -> None:
        self.setProgress(100 * fraction)
        self.stage_changed.emit(stage, fraction)

    def finished(self, result: bool) -> None:
        super().finished(result)
        _log_failure(self.error)
        _ALIVE.discard(self)


class TrainingTask(FusionTask):
    """Trains a model, which is a method as soon as the task has ended.

    ``measured`` carries the step, the training and validation losses and the path of a preview.
    """

    measured = pyqtSignal(object)
    cancelled_text = "The training was cancelled. Train again with the same settings to go on."

    def __init__(self, job: TrainingJob, runtime: Runtime, title: str) -> None:
        super().__init__(job, runtime, title)

    def tell_detail(self, detail: dict[str, Any]) -> None:
        self.measured.emit(detail)

    def finished(self, result: bool) -> None:
        if result:
            refresh_methods()
        super().finished(result)


def refresh_methods() -> None:
    """Let all lists of methods follow the model files; for the main thread.

    The provider tells it on with its signal ``algorithmsLoaded``.
    """
    provider = QgsApplication.processingRegistry().providerById("rasterfuse")
    if provider is not None:
        provider.refreshAlgorithms()


class TaskRegistry:
    """Starts tasks and keeps them alive; for the main thread."""

    def __init__(self) -> None:
        self._tasks: list[FusionTask] = []

    def start(self, task: FusionTask) -> None:
        """Hand a task to QGIS's task manager."""
        self._tasks = [*self.running(), task]
        _ALIVE.add(task)
        QgsApplication.taskManager().addTask(task)

    def running(self) -> list[FusionTask]:
        """The tasks that have not ended, those that wait for their turn included."""
        return [task for task in self._tasks if not task.ended.is_set()]

    def cancel_all(self, wait_s: float) -> bool:
        """Cancel all tasks and wait for them to end, but no longer than ``wait_s`` seconds.

        Returns:
            Whether all have ended.
        """
        tasks = self.running()
        for task in tasks:
            task.cancel()
        deadline = time.monotonic() + wait_s
        return all(task.ended.wait(max(0.0, deadline - time.monotonic())) for task in tasks)


def unexpected(error: Exception) -> FusionError:
    """An error that nobody foresaw, in words for the user and with its trace for the log."""
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    found = FusionError(
        f"Something unexpected went wrong in RasterFuse ({type(error).__name__}: {error}). Report "
        "it with the diagnostics.",
        detail=trace,
    )
    recent_errors.note(found)
    return found


def log_message(level: str, text: str) -> None:
    """Write to RasterFuse's tab of the log panel; fit for any thread."""
    warning = level == "warning"
    kind = Qgis.MessageLevel.Warning if warning else Qgis.MessageLevel.Info
    QgsMessageLog.logMessage(text, TAG, kind, False)


def _log_failure(error: FusionError | None) -> None:
    if error is None or isinstance(error, CancelledError):
        return
    QgsMessageLog.logMessage(error.log_text, TAG, Qgis.MessageLevel.Critical, False)
