"""The one installation of this QGIS: a task that goes on when its window is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QCoreApplication, QObject, pyqtSignal

from ...models.errors import CancelledError, FusionError
from .. import recent_errors
from ..runtime.install import lock, steps
from ..runtime.install.folder import Current, Place, root
from ..runtime.install.machine import this_machine
from ..runtime.install.network import Network
from ..runtime.install.plan import Build, Plan, builds, standard
from ..runtime.runtime import renew
from ..tasks import Task
from .log import log_error

_LEAVE_S = 5.0  # for idle workers to leave the environment that is replaced
_UNLOAD_S = 3.0


@dataclass(frozen=True)
class Outlook:
    """What is installed and what can be.

    Attributes:
        place: The folder.
        current: What is in use from it.
        builds: Of torch for this machine, the recommended one first.
        busy: Another window that installs, in words.
    """

    place: Place
    current: Current | None
    builds: list[Build]
    busy: str


class _Work(Task):
    """Installs or removes."""

    stepped = pyqtSignal(str)
    cancelled_text = "The installation was cancelled."

    def __init__(self, title: str, work: Callable[[_Work], object]) -> None:
        super().__init__(title)
        self._work = work

    def work(self) -> None:
        self._work(self)


class Installer(QObject):
    """Starts the installation and tells everybody how it goes; for the main thread.

    ``changed`` comes with every step and at the end; ``progressed`` carries a fraction;
    ``looked`` an Outlook; ``ended`` the error, None when all went well.
    """

    changed = pyqtSignal()
    progressed = pyqtSignal(float)
    looked = pyqtSignal(object)
    ended = pyqtSignal(object)

    def __init__(self) -> None:
        super().__init__()
        self.step = ""
        self.fraction = 0.0
        self.error: FusionError | None = None
        self.outlook: Outlook | None = None
        self._task: _Work | None = None
        self.looked.connect(self._keep)

    def is_running(self) -> bool:
        return self._task is not None

    def look(self) -> None:
        """Find out what is installed and what fits this machine; ``looked`` follows."""
        threading.Thread(target=self._look, args=(root(),), daemon=True).start()

    def _look(self, folder: Path) -> None:
        place = Place(folder)
        busy = "" if self.is_running() else lock.holder(place.lock)
        found = Outlook(place, place.current(), builds(this_machine()), busy)
        try:
            self.looked.emit(found)
        except RuntimeError:  # the plugin was unloaded meanwhile
            return

    def _keep(self, outlook: Outlook) -> None:
        self.outlook = outlook

    def install(self, build: Build, wheels: str, network: Network) -> None:
        """Install a build of torch and what belongs to it, from wheels or the network."""
        plan, place = standard(build, wheels), Place(root())
        title = QCoreApplication.translate("Installer", "RasterFuse: installing Python and torch")
        self._start(title, lambda task: _install(task, plan, place, network))

    def remove(self) -> None:
        """Remove everything that was installed."""
        place = Place(root())
        title = QCoreApplication.translate("Installer", "RasterFuse: removing Python and torch")
        self._start(title, lambda task: _remove(place))

    def _start(self, title: str, work: Callable[[_Work], object]) -> None:
        if self.is_running():
            return
        task = self._task = _Work(title, work)
        self.step, self.fraction, self.error = "", 0.0, None
        task.stepped.connect(self._take_step)
        task.progressChanged.connect(self._take_progress)
        task.taskCompleted.connect(self._end)
        task.taskTerminated.connect(self._end)
        QgsApplication.taskManager().addTask(task)
        self.changed.emit()

    def cancel(self) -> None:
        """Stop what runs; what is finished is kept."""
        if self._task is not None:
            self._task.cancel()

    def _take_step(self, step: str) -> None:
        self.step = step
        self.changed.emit()

    def _take_progress(self, percent: float) -> None:
        self.fraction = percent / 100
        self.progressed.emit(self.fraction)

    def _end(self) -> None:
        # Only Python attributes from here on: QGIS is about to delete the task's C++ half.
        task, self._task = self._task, None
        if task is None:
            return
        self.error = task.error
        if task.error is not None and not isinstance(task.error, CancelledError):
            recent_errors.note(task.error)
            log_error(task.error)
        self.changed.emit()
        self.ended.emit(task.error)
        self.look()

    def leave(self) -> None:
        """Cancel what runs and wait a little; for unload."""
        task = self._task
        if task is not None:
            task.cancel()
            task.ended.wait(_UNLOAD_S)


def _install(task: _Work, plan: Plan, place: Place, network: Network) -> None:
    listener = steps.Listener(
        on_step=task.stepped.emit,
        on_fraction=lambda fraction: task.setProgress(100 * fraction),
        is_cancelled=task.isCanceled,
        may_sweep=lambda: renew(_LEAVE_S),
    )
    steps.install(plan, place, listener, network)


def _remove(place: Place) -> None:
    renew(_LEAVE_S)
    steps.remove(place)


class _Shared:
    """The one of this QGIS."""

    def __init__(self) -> None:
        self.installer: Installer | None = None


_SHARED = _Shared()


def shared() -> Installer:
    """The installer of this QGIS, made on first use."""
    if _SHARED.installer is None:
        _SHARED.installer = Installer()
    return _SHARED.installer


def close_shared() -> None:
    """Stop what runs and forget the installer; for unload."""
    installer, _SHARED.installer = _SHARED.installer, None
    if installer is not None:
        installer.leave()
        installer.deleteLater()
