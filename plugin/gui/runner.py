"""Runs one task at a time for a window."""

from __future__ import annotations

from qgis.PyQt.QtCore import QObject, pyqtSignal

from ...models.errors import CancelledError, FusionError
from ..tasks import FusionTask, TaskRegistry


class Runner(QObject):
    """Starts a task, passes on what it says, and forgets it when it has ended.

    ``ended`` carries the job, the report (None without a result) and the error (None when there
    is a result or the user cancelled).
    """

    stage = pyqtSignal(str, float)
    ended = pyqtSignal(object, object, object)

    def __init__(self, tasks: TaskRegistry, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._task: FusionTask | None = None

    def is_running(self) -> bool:
        return self._task is not None

    def start(self, task: FusionTask) -> None:
        """Hand a task to QGIS's task manager."""
        task.stage_changed.connect(self.stage)
        # Methods, not lambdas: Qt then knows that nobody listens any more after an unload.
        task.taskCompleted.connect(self._end)
        task.taskTerminated.connect(self._end)
        self._task = task
        self._tasks.start(task)

    def cancel(self) -> None:
        """Ask the running task to stop; ``ended`` follows."""
        if self._task is not None:
            self._task.cancel()

    def _end(self) -> None:
        # Only Python attributes from here on: QGIS is about to delete the task's C++ half.
        task, self._task = self._task, None
        if task is None:
            return
        error: FusionError | None = task.error
        if isinstance(error, CancelledError):
            error = None
        self.ended.emit(task.job, task.report, error)
