"""Ask for the worker's state without holding up QGIS."""

from __future__ import annotations

import threading
from typing import Any

from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..runtime.runtime import Runtime, RuntimeStatus


class RuntimeWatch(QObject):
    """Knows the latest state of the runtime; ``changed`` comes in the GUI's thread."""

    changed = pyqtSignal(object)
    _answered = pyqtSignal(object, object)

    def __init__(self, runtime: Runtime, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._runtime = runtime
        self.status: RuntimeStatus | None = runtime.cached_status()
        self._answered.connect(self._take)

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    def use(self, runtime: Runtime) -> None:
        """Look at another runtime from now on, since the user chose another Python."""
        self._runtime = runtime
        self.status = None
        self.refresh()

    def refresh(self) -> None:
        """Ask again; the answer comes with ``changed``."""
        threading.Thread(target=self._ask, args=(self._runtime,), daemon=True).start()

    def _ask(self, runtime: Runtime) -> None:
        status = runtime.status()
        try:
            self._answered.emit(runtime, status)
        except RuntimeError:  # the plugin was unloaded meanwhile: nobody wants the answer
            return

    def _take(self, runtime: Any, status: RuntimeStatus) -> None:
        if runtime is self._runtime:
            self.status = status
            self.changed.emit(status)
