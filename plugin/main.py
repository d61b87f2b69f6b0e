"""What QGIS loads: the menu entry, the options page and the Processing provider.

Only light imports here: QGIS runs ``initGui`` while the user waits for it to start.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

if TYPE_CHECKING:
    from qgis.gui import QgisInterface

    from ..models.errors import FusionError
    from .gui.dialog import FusionDialog
    from .gui.options_factory import OptionsFactory
    from .gui.runtime_watch import RuntimeWatch
    from .processing.provider import RasterFuseProvider
    from .tasks import TaskRegistry

MENU = "RasterFuse"
ICON = Path(__file__).resolve().parents[1] / "resources" / "icons" / "rasterfuse.svg"


class RasterFusePlugin:
    """Everything that ``initGui`` and ``initProcessing`` add, ``unload`` takes away."""

    def __init__(self, iface: QgisInterface | None) -> None:
        self.iface = iface
        self.action: QAction | None = None
        self.provider: RasterFuseProvider | None = None
        self.options: OptionsFactory | None = None
        self.dialog: FusionDialog | None = None
        self.watch: RuntimeWatch | None = None
        self.tasks: TaskRegistry | None = None

    def initProcessing(self) -> None:
        """Add the algorithms; qgis_process calls this without a GUI."""
        from .processing.provider import RasterFuseProvider

        self.provider = RasterFuseProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add menu entry, tool button, options page and algorithms."""
        from .gui.options_factory import OptionsFactory

        text = QCoreApplication.translate("RasterFusePlugin", "Fuse coarse and fine images …")
        self.action = QAction(QIcon(str(ICON)), text, self.iface.mainWindow())
        self.action.setObjectName("rasterfuseOpen")
        self.action.triggered.connect(lambda _checked=False: self.open_dialog())
        self.iface.addPluginToRasterMenu(MENU, self.action)
        self.iface.addToolBarIcon(self.action)
        self.options = OptionsFactory(self.use_settings)
        self.iface.registerOptionsWidgetFactory(self.options)
        self.initProcessing()

    def open_dialog(self) -> FusionDialog:
        """Show the window; there is one, which keeps what was typed."""
        if self.dialog is None:
            self.dialog = self._make_dialog()
        self.dialog.show()
        self.dialog.raise_()
        self.dialog.activateWindow()
        return self.dialog

    def _make_dialog(self) -> FusionDialog:
        from .gui import installer
        from .gui.dialog import FusionDialog
        from .gui.runtime_watch import RuntimeWatch
        from .runtime.runtime import shared
        from .tasks import TaskRegistry

        self.watch = RuntimeWatch(shared(), self.iface.mainWindow())
        self.tasks = TaskRegistry()
        installer.shared().ended.connect(self._take_installed)
        return FusionDialog(self.iface, self.watch, self.tasks, self.iface.mainWindow())

    def use_settings(self) -> None:
        """Take up another Python after the user chose one in the options."""
        from .runtime import runtime

        if self.watch is not None:
            self.watch.use(runtime.shared())

    def _take_installed(self, error: FusionError | None) -> None:
        if error is None:
            self.use_settings()

    def unload(self) -> None:
        """Cancel what runs, wait at most about three seconds, and leave QGIS as it was."""
        self._end_work()
        self._drop_window()
        self._drop_entries()
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None

    def _end_work(self) -> None:
        from .runtime.runtime import close_all

        # Who never installed anything need not load the installer to leave it.
        used = sys.modules.get(f"{__package__}.gui.installer")
        if used is not None:
            used.close_shared()
        if self.tasks is not None:
            self.tasks.cancel_all(0)
        close_all()  # gives the workers two seconds to leave, then kills them
        if self.tasks is not None:
            self.tasks.cancel_all(1)
            self.tasks = None

    def _drop_window(self) -> None:
        if self.dialog is not None:
            self.dialog.leave()
            self.dialog.deleteLater()
            self.dialog = None
        if self.watch is not None:
            self.watch.deleteLater()
            self.watch = None

    def _drop_entries(self) -> None:
        if self.options is not None:
            self.iface.unregisterOptionsWidgetFactory(self.options)
            self.options = None
        if self.action is not None:
            self.iface.removePluginRasterMenu(MENU, self.action)
            self.iface.removeToolBarIcon(self.action)
            self.action.deleteLater()
            self.action = None
