"""The part of the options page that installs, repairs and removes the managed Python."""

from __future__ import annotations

import platform

from qgis.core import QgsApplication
from qgis.gui import QgsCollapsibleGroupBox, QgsFileWidget
from qgis.PyQt.QtCore import Qt, QUrl
from qgis.PyQt.QtGui import QDesktopServices, QPixmap
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...models.errors import CancelledError
from .. import settings
from ..runtime.find import explicit
from ..runtime.install.endings import unsupported
from ..runtime.install.folder import Current, default_root
from ..runtime.install.plan import Build, Plan, standard
from ..runtime.install.steps import ENVIRONMENT, LIBRARIES, PROBE, PYTHON, STEPS, TORCH
from .installer import Installer, Outlook
from .log import level_icon
from .network_settings import qgis_network


class InstallBox(QGroupBox):
    """Shows what is installed, the steps of an installation, and its buttons."""

    def __init__(self, installer: Installer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTitle(self.tr("Managed Python"))
        self._installer = installer
        self._outlook: Outlook | None = None
        self.icon = QLabel(self)
        self.state = QLabel(self)
        self.build = QComboBox(self)
        self.bar = QProgressBar(self)
        self.install_button = QPushButton(self.tr("Install"), self)
        self.cancel_button = QPushButton(self.tr("Cancel"), self)
        self.repair_button = QPushButton(self.tr("Repair"), self)
        self.remove_button = QPushButton(self.tr("Remove"), self)
        self.log_button = QPushButton(self.tr("Open log"), self)
        self.folder = self._folder_field(self.tr("Choose a folder for the managed Python"))
        self.folder.lineEdit().setPlaceholderText(str(default_root()))
        self.folder.setFilePath(settings.runtime_folder() or "")
        self.wheels = self._folder_field(self.tr("Choose a folder of wheels"))
        self.wheels.lineEdit().setPlaceholderText(self.tr("[Download from the internet]"))
        self.steps = _Steps(self)
        self._build()
        self._connect()
        self.refresh()

    def _folder_field(self, title: str) -> QgsFileWidget:
        field = QgsFileWidget(self)
        field.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        field.setDialogTitle(title)
        return field

    def _build(self) -> None:
        self.state.setWordWrap(True)
        self.state.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.bar.setRange(0, 100)
        state = QHBoxLayout()
        state.addWidget(self.icon, 0, Qt.AlignmentFlag.AlignTop)
        state.addWidget(self.state, 1)
        form = QFormLayout()
        form.addRow(self.tr("Compute with"), self.build)
        more = QgsCollapsibleGroupBox(self.tr("More"), self)
        places = QFormLayout(more)
        places.addRow(self.tr("Folder"), self.folder)
        places.addRow(self.tr("Folder of wheels"), self.wheels)
        more.setCollapsed(True)
        buttons = QHBoxLayout()
        for button in (
            self.install_button, self.cancel_button, self.repair_button, self.remove_button,
            self.log_button,
        ):  # fmt: skip
            button.setAutoDefault(False)
            buttons.addWidget(button)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.addLayout(state)
        layout.addLayout(form)
        layout.addWidget(self.steps)
        layout.addWidget(self.bar)
        layout.addLayout(buttons)
        layout.addWidget(more)

    def _connect(self) -> None:
        self.install_button.clicked.connect(lambda _checked=False: self.install())
        self.repair_button.clicked.connect(lambda _checked=False: self.repair())
        self.remove_button.clicked.connect(lambda _checked=False: self._installer.remove())
        self.cancel_button.clicked.connect(lambda _checked=False: self._installer.cancel())
        self.log_button.clicked.connect(lambda _checked=False: self.open_log())
        self.build.currentIndexChanged.connect(lambda _index: self.refresh())
        self.wheels.fileChanged.connect(lambda _path: self.refresh())
        self._installer.looked.connect(self._take_outlook)
        self._installer.changed.connect(self.refresh)
        self._installer.progressed.connect(self._show_fraction)

    # --- what the user does -------------------------------------------------------------------

    def plan(self) -> Plan | None:
        """What the fields ask for; None as long as nothing can be chosen."""
        build = self.build.currentData()
        return standard(build, self.wheels.filePath().strip()) if build is not None else None

    def install(self) -> None:
        """Begin an installation or continue it."""
        self.apply()
        plan = self.plan()
        if plan is not None:
            self._installer.install(plan.build, plan.wheels, qgis_network())

    def repair(self) -> None:
        """Make the environment in use anew."""
        outlook = self._outlook
        if outlook is None or outlook.current is None:
            return
        ids = [build.id for build in outlook.builds]
        if outlook.current.build in ids:
            self.build.setCurrentIndex(ids.index(outlook.current.build))
        self.install()

    def open_log(self) -> None:
        if self._outlook is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._outlook.place.log)))

    def apply(self) -> None:
        """Take up the folder; what lies in another one is not moved."""
        wanted = self.folder.filePath().strip()
        if wanted != (settings.runtime_folder() or ""):
            settings.set_runtime_folder(wanted)
            self._installer.look()

    # --- what is shown ------------------------------------------------------------------------

    def _take_outlook(self, outlook: Outlook) -> None:
        self._outlook = outlook
        if [self.build.itemData(n) for n in range(self.build.count())] != outlook.builds:
            self.build.clear()
            for build in outlook.builds:
                self.build.addItem(build_text(build), build)
        self.refresh()

    def refresh(self) -> None:
        """Show what is the case now."""
        running, outlook, plan = self._installer.is_running(), self._outlook, self.plan()
        current = outlook.current if outlook is not None else None
        begun = outlook is not None and plan is not None and outlook.place.is_begun(plan.key)
        kind, text = self._describe()
        self.icon.setPixmap(_pixmap(kind))
        self.state.setText(text)
        self.install_button.setText(self.tr("Continue") if begun else self.tr("Install"))
        same = current is not None and plan is not None and current.key == plan.key
        self.install_button.setVisible(not running and not same)
        self.install_button.setEnabled(plan is not None and not (outlook and outlook.busy))
        self.cancel_button.setVisible(running)
        self.repair_button.setVisible(not running and current is not None)
        self.remove_button.setVisible(not running and (begun or current is not None))
        self.log_button.setVisible(outlook is not None and outlook.place.log.exists())
        for field in (self.build, self.folder, self.wheels):
            field.setEnabled(not running)
        self.bar.setVisible(running)
        self.steps.setVisible(running or not same)
        if plan is not None:
            self.steps.show_plan(plan)
        self.steps.show_step(self._installer.step if running else "")

    def _show_fraction(self, fraction: float) -> None:
        self.bar.setValue(round(100 * fraction))

    def _describe(self) -> tuple[str, str]:
        """Icon and sentence."""
        error = self._installer.error
        if self._installer.is_running():
            text = self.tr("Installing. You may close this window; QGIS stays usable.")
            return "", text if self._installer.step else self.tr("Working …")
        if error is not None:
            return "info" if isinstance(error, CancelledError) else "error", error.sentence
        if self._outlook is None:
            return "", self.tr("Looking at this machine …")
        return self._describe_outlook(self._outlook)

    def _describe_outlook(self, outlook: Outlook) -> tuple[str, str]:
        if outlook.busy:
            return "info", self.tr("{} is installing.").format(outlook.busy)
        if outlook.current is not None:
            return self._describe_current(outlook, outlook.current)
        if not outlook.builds:
            return "warning", unsupported(platform.platform()).sentence
        return "info", self.tr(
            "Not installed. Install puts a Python with torch and rasterio into a folder of its "
            "own; nothing else on this machine is changed."
        )

    def _describe_current(self, outlook: Outlook, current: Current) -> tuple[str, str]:
        text = self.tr("Installed: torch {} on Python {}, in {}").format(
            current.hello.get("packages", {}).get("torch", "?"),
            current.hello.get("python", "?"),
            current.environment,
        )
        if all(standard(build).key != current.key for build in outlook.builds):
            text += self.tr(". This RasterFuse wants newer versions: install them.")
            return "warning", text
        if explicit(settings.worker_python()):
            text += self.tr(". Not in use, since another Python is chosen.")
            return "info", text
        return "success", text


class _Steps(QWidget):
    """The steps with their sizes; the one at work is marked, those before it are ticked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows = {step: (QLabel(self), QLabel(self)) for step in STEPS}
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setColumnStretch(1, 1)
        for number, (icon, text) in enumerate(self._rows.values()):
            icon.setFixedWidth(18)
            layout.addWidget(icon, number, 0)
            layout.addWidget(text, number, 1)

    def show_plan(self, plan: Plan) -> None:
        """Say what every step does, and about how much it fetches."""
        torch, libraries = plan.step_mb(True)[0], plan.step_mb(False)[0]
        texts = {
            PYTHON: self.tr("Python"),
            ENVIRONMENT: self.tr("Environment"),
            TORCH: f"torch {plan.build.torch}" + self._fetched(torch),
            LIBRARIES: ", ".join(plan.libraries + plan.extras) + self._fetched(libraries),
            PROBE: self.tr("Trial: compute, write and read a raster"),
        }
        for step, text in texts.items():
            self._rows[step][1].setText(text)

    def _fetched(self, megabytes: int) -> str:
        return self.tr(" (about {} to fetch)").format(size_text(megabytes)) if megabytes else ""

    def show_step(self, at_work: str) -> None:
        """Mark the step at work; none when it is empty."""
        position = STEPS.index(at_work) if at_work in STEPS else -1
        for number, step in enumerate(STEPS):
            icon, text = self._rows[step]
            done = number < position
            icon.setPixmap(_pixmap("success" if done else ""))
            if number == position:
                icon.setText("▸")
            font = text.font()
            font.setBold(number == position)
            text.setFont(font)


def build_text(build: Build) -> str:
    """A build in a list: what it computes with, and what it takes."""
    names = {"cpu": "CPU", "pypi": "CPU + Apple GPU"}
    if build.id.startswith("rocm"):
        name = f"AMD GPU (ROCm {build.id[4:]})"
    else:
        name = names.get(build.id, f"NVIDIA GPU (CUDA {build.id[2:-1]}.{build.id[-1]})")
    plan = Plan(build)
    fetched, kept = size_text(plan.download_mb()), size_text(plan.disk_mb())
    return f"{name}: {fetched} to fetch, {kept} on the disk"


def size_text(megabytes: int) -> str:
    """A size in words, roughly."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{round(megabytes, -1)} MB"


def _pixmap(kind: str) -> QPixmap:
    """The icon of a state; empty for none."""
    if not kind:
        return QPixmap()
    if kind == "success":
        return QgsApplication.getThemeIcon("/mIconSuccess.svg").pixmap(16, 16)
    return level_icon(kind).pixmap(16, 16)
