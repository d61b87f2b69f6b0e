"""What QGIS runs for ``window.py``: load the plugin, run a job, measure how late a timer comes."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from qgis import utils
from qgis.core import Qgis, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtTest import QTest

TASK = json.loads(os.environ["RASTERFUSE_BENCH"])
PERIOD_MS = 5
WAIT_S = 300
Condition = Callable[[], bool]


class Clock:
    """Notes how much too late a timer of the main thread comes, by what is going on."""

    def __init__(self) -> None:
        self.worst = {"settling": 0.0, "idle": 0.0, "job": 0.0, "end": 0.0}
        self.phase = "settling"
        self._last = time.perf_counter()
        self._timer = QTimer(utils.iface.mainWindow())
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._timer.start(PERIOD_MS)

    def enter(self, phase: str) -> None:
        """What is going on from now on; the time since the last tick still counts before."""
        self._tick()
        self.phase = phase

    def _tick(self) -> None:
        now = time.perf_counter()
        late = 1000 * (now - self._last) - PERIOD_MS
        self.worst[self.phase] = max(self.worst[self.phase], late)
        self._last = now


def load_ms() -> float:
    """Milliseconds to import the plugin and to start it, as when QGIS starts."""
    utils.unloadPlugin("rasterfuse")
    for name in [name for name in sys.modules if name.split(".")[0] == "rasterfuse"]:
        del sys.modules[name]
    begun = time.perf_counter()
    started = utils.loadPlugin("rasterfuse") and utils.startPlugin("rasterfuse")
    took = 1000 * (time.perf_counter() - begun)
    if not started:
        raise RuntimeError("QGIS did not start the plugin.")
    return took


def steps() -> Iterator[Condition]:
    """The story, one condition to wait for after each part; ends by writing the answer."""
    took = load_ms()
    for path in TASK["layers"]:
        QgsProject.instance().addMapLayer(QgsRasterLayer(path, Path(path).stem))
    plugin = utils.plugins["rasterfuse"]
    plugin.action.trigger()
    dialog = plugin.dialog
    dialog.form.output.file.setFilePath(TASK["output"])
    yield lambda: dialog.bar.run.isEnabled() and plugin.watch.status is not None
    yield pause(3000)
    clock = Clock()
    clock.enter("idle")
    yield pause(3000)
    clock.enter("job")
    # Connected before the dialog hears of it: what it then does counts for the end.
    dialog.runner.ended.disconnect(dialog._end)
    dialog.runner.ended.connect(lambda *_: clock.enter("end"))
    dialog.runner.ended.connect(dialog._end)
    QTest.mouseClick(dialog.bar.run, Qt.MouseButton.LeftButton)
    yield lambda: not dialog.runner.is_running()
    yield pause(1000)
    if not Path(TASK["output"]).exists():
        raise RuntimeError(f"The fusion failed: {[item.text for item in dialog.notices.items()]}")
    worst = clock.worst
    write({"load_ms": took, "qgis": Qgis.QGIS_VERSION, "idle_ms": worst["idle"],
           "stall_ms": worst["job"], "end_ms": worst["end"]})  # fmt: skip


def write(answer: dict[str, object]) -> None:
    """Say what was found; the file appears when it is complete."""
    part = Path(TASK["answer"] + ".part")
    part.write_text(json.dumps(answer), encoding="utf-8")
    part.replace(TASK["answer"])


def pause(milliseconds: int) -> Condition:
    """A condition that holds after a while."""
    end = time.monotonic() + milliseconds / 1000
    return lambda: time.monotonic() > end


class Story:
    """Runs the steps from the event loop."""

    def __init__(self) -> None:
        self._steps = steps()
        self._done: Condition = pause(1000)
        self._deadline = time.monotonic() + WAIT_S
        self._timer = QTimer(utils.iface.mainWindow())
        self._timer.timeout.connect(self.go_on)
        self._timer.start(100)

    def go_on(self) -> None:
        """Take the next step when what it waits for has happened."""
        try:
            if time.monotonic() > self._deadline:
                raise RuntimeError("Waited too long for the next step.")
            if self._done():
                self._done = next(self._steps)
        except StopIteration:
            self.leave()
        except Exception:
            write({"error": traceback.format_exc()})
            self.leave()

    def leave(self) -> None:
        """Close QGIS without a question."""
        self._timer.stop()
        QgsProject.instance().clear()
        QTimer.singleShot(0, utils.iface.actionExit().trigger)


story = Story()
