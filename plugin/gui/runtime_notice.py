"""What stands at the top of the dialog while no Python can run the worker, and what helps."""

from __future__ import annotations

from collections.abc import Callable

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QObject

from ...models.errors import CancelledError, FusionError, with_code
from .. import settings
from ..checks import ERROR, INFO, WARNING
from ..runtime.find import explicit
from ..runtime.install.plan import command_line, standard
from ..runtime.runtime import RuntimeStatus
from .install_box import size_text
from .installer import Installer
from .messages import Messages
from .network_settings import qgis_network
from .notices import Buttons
from .runtime_watch import RuntimeWatch

_KIND = "worker"


class RuntimeNotice(QObject):
    """Says why fusions cannot run, and offers to install a Python or to copy a command."""

    def __init__(
        self,
        messages: Messages,
        watch: RuntimeWatch,
        installer: Installer,
        open_options: Callable[[], object],
        help_on: Callable[[str], Buttons],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._messages, self._watch, self._installer = messages, watch, installer
        self._open_options, self._help_on = open_options, help_on
        self._status: RuntimeStatus | None = None
        installer.looked.connect(self._look_again)
        installer.changed.connect(self._show_installing)
        installer.ended.connect(self._end)

    def show(self, status: RuntimeStatus) -> None:
        """Say what the matter is, or nothing when all is well."""
        self._status = status
        if status.ready:
            self._messages.withdraw(_KIND)
        elif self._installer.is_running():
            self._show_installing()
        else:
            if self._installer.outlook is None:
                self._installer.look()
            self._show_missing(status)

    def _show_missing(self, status: RuntimeStatus) -> None:
        buttons: dict[str, Callable[[], object]] = {}
        text, outlook = with_code(status.reason, status.code), self._installer.outlook
        if not explicit(settings.worker_python()) and outlook is not None and outlook.builds:
            size = size_text(standard(outlook.builds[0]).download_mb())
            text += self.tr(" Or let RasterFuse install one: about {} to fetch.").format(size)
            buttons[self.tr("Install")] = self._install
        line = command_line(status.python, status.hello)
        if line:
            buttons[self.tr("Copy command")] = lambda: QgsApplication.clipboard().setText(line)
        buttons[self.tr("Open options")] = self._open_options
        buttons[self.tr("Check again")] = self._watch.refresh
        buttons.update(self._help_on(status.code))
        self._messages.tell(_KIND, WARNING, "", text, buttons)

    def _install(self) -> None:
        outlook = self._installer.outlook
        if outlook is not None and outlook.builds:
            self._installer.install(outlook.builds[0], "", qgis_network())

    def _look_again(self) -> None:
        """Add what could be installed; a notice without that stays, also under the mouse."""
        status = self._status
        idle = not self._installer.is_running() and self._installer.error is None
        chosen = explicit(settings.worker_python())
        if idle and not chosen and status is not None and not status.ready:
            self._show_missing(status)

    def _show_installing(self) -> None:
        needed = self._status is not None and not self._status.ready
        if not needed or not self._installer.is_running():
            return  # who began it in the options sees it there
        text = self.tr("Python and torch are being installed. QGIS's status bar shows how far.")
        buttons = {
            self.tr("Show steps"): self._open_options,
            self.tr("Cancel"): self._installer.cancel,
        }
        self._messages.tell(_KIND, WARNING, "", text, buttons)

    def _end(self, error: FusionError | None) -> None:
        self._messages.withdraw(_KIND)
        if error is None:
            return  # the plugin looks anew, see RasterFusePlugin.use_settings
        level = INFO if isinstance(error, CancelledError) else ERROR
        buttons = {
            self.tr("Continue"): self._install,
            self.tr("Open options"): self._open_options,
            **self._help_on(error.code),
        }
        self._messages.tell(_KIND, level, "", error.coded, buttons)
