"""Tasks in QGIS's task manager, with real child processes that play the worker."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest
from qgis.core import QgsApplication, QgsTask
from qgis.PyQt.QtCore import QTimer
from rasterfuse.models.errors import CancelledError, FusionError, InputError, WorkerError
from rasterfuse.plugin import settings, tasks
from rasterfuse.plugin.job import Job, RasterSource
from rasterfuse.plugin.runtime import client, runtime
from rasterfuse.plugin.runtime.runtime import Runtime
from rasterfuse.plugin.tasks import FusionTask, TaskRegistry, run_job
from scripted_worker import (
    REPORT,
    SAY_HELLO,
    STUBBORN,
    UNTIL_GO,
    error,
    go,
    heard,
    is_running,
    jobs,
    progress,
    scripted_worker,
    starts,
)

HALFWAY = progress(0.5)
ENDLESS = [{"make": "part"}, HALFWAY, {"until_cancel": True}, error("cancelled", "Cancelled.")]
DEAF = [{"make": "part"}, HALFWAY, STUBBORN]
SOON = 60_000  # milliseconds that anything may take on a busy machine; nothing may hang


@pytest.fixture
def job(tmp_path):
    return Job("gsa", {"multispectral": RasterSource("ms.tif")}, str(tmp_path / "out.tif"))


@pytest.fixture
def runtime_for(tmp_path):
    """Make runtimes with a scripted interpreter; none of its processes may outlive the test."""
    made = []

    def make(steps, **script):
        made.append(Runtime(scripted_worker(tmp_path, steps, **script)))
        return made[-1]

    yield make
    for item in made:
        item.close()
    assert [pid for pid in starts(tmp_path) if is_running(pid)] == []


def nothing_left(job):
    return list(Path(job.output).parent.glob("out.tif*")) == []


# --- how a task ends --------------------------------------------------------------------------


def test_a_task_completes_with_the_report_and_tells_its_stages(qtbot, runtime_for, job):
    task = FusionTask(job, runtime_for([progress(0.25, "Opening"), HALFWAY, REPORT]), "Fusion")
    stages, percents, threads = [], [], []
    task.stage_changed.connect(lambda *stage: stages.append(stage))
    task.stage_changed.connect(lambda *_: threads.append(threading.current_thread()))
    task.progressChanged.connect(percents.append)
    with qtbot.waitSignal(task.taskCompleted, timeout=SOON):
        TaskRegistry().start(task)
    assert task.report["model"] == "scripted"
    assert task.report["job"] == job.to_dict()
    assert task.error is None
    assert stages[0] == ("Starting the worker", 0.0)
    assert stages[-2:] == [("Opening", 0.25), ("Fusing", 0.5)]
    assert 50.0 in percents
    assert set(threads) == {threading.main_thread()}


@pytest.mark.parametrize(
    ("steps", "kind", "code"),
    [
        ([HALFWAY, error("out_of_memory", "The GPU is full.")], MemoryError, "out_of_memory"),
        ([error("input", "No overlap. Choose others.")], InputError, "input"),
        ([{"make": "part"}, {"signal": 9}], WorkerError, "worker_killed"),
        ([{"flood": 1000}, STUBBORN], WorkerError, "worker_protocol"),
    ],
    ids=["memory", "input", "killed", "babble"],
)
def test_a_task_that_fails_keeps_the_error(qtbot, runtime_for, job, steps, kind, code):
    task = FusionTask(job, runtime_for(steps), "Fusion")
    with qtbot.waitSignal(task.taskTerminated, timeout=SOON):
        TaskRegistry().start(task)
    assert isinstance(task.error, kind)
    assert task.error.code == code
    assert task.report is None
    assert nothing_left(job)


def test_a_task_without_a_worker_says_so(qtbot, job, tmp_path):
    task = FusionTask(job, Runtime(str(tmp_path / "python3")), "Fusion")
    with qtbot.waitSignal(task.taskTerminated, timeout=SOON):
        TaskRegistry().start(task)
    assert "python3 does not exist. Choose another in Settings" in task.error.sentence


def test_a_failure_is_written_to_the_log_with_its_detail_but_a_cancel_is_not(
    qtbot, runtime_for, job
):
    heard = []

    def hear(text, tag, level):
        heard.append((tag, text))

    log = QgsApplication.messageLog()
    said = log.messageReceived[str, str, type(tasks.Qgis.MessageLevel.Info)]
    said.connect(hear)
    task = FusionTask(job, runtime_for([error("input", "No overlap.", "Traceback")]), "Fusion")
    with qtbot.waitSignal(task.taskTerminated, timeout=SOON):
        TaskRegistry().start(task)
    cancelled = FusionTask(job, runtime_for(ENDLESS), "Fusion")
    cancelled.stage_changed.connect(lambda *_: cancelled.cancel())
    with qtbot.waitSignal(cancelled.taskTerminated, timeout=SOON):
        TaskRegistry().start(cancelled)
    said.disconnect(hear)
    ours = [text for tag, text in heard if tag == "RasterFuse"]
    assert ours == ["No overlap. [input]\nTraceback"]


def test_an_error_that_nobody_foresaw_does_not_escape(qtbot, runtime_for, job, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr(tasks, "hand_over", fail)
    task = FusionTask(job, runtime_for([REPORT]), "Fusion")
    assert task.run() is False
    assert task.error.code == "internal"
    assert "ZeroDivisionError: by chance" in task.error.sentence
    assert "hand_over" in task.error.detail


# --- cancel -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "lives_on"), [(ENDLESS, True), (DEAF, False)], ids=["obeys", "deaf"]
)
def test_a_cancel_asks_the_worker_and_kills_one_that_does_not_obey(
    qtbot, runtime_for, job, tmp_path, steps, lives_on
):
    task = FusionTask(job, runtime_for(steps), "Fusion")
    TaskRegistry().start(task)
    qtbot.waitUntil(lambda: Path(job.part).exists(), timeout=SOON)
    with qtbot.waitSignal(task.taskTerminated, timeout=SOON):
        task.cancel()
    assert heard(tmp_path) == ["run", "cancel"]
    assert is_running(starts(tmp_path)[0]) == lives_on
    assert isinstance(task.error, CancelledError)
    assert nothing_left(job)


def test_a_cancel_does_not_wait_for_a_worker_that_starts(qtbot, runtime_for, job, tmp_path):
    task = FusionTask(job, runtime_for([], before=[STUBBORN, SAY_HELLO]), "Fusion")
    TaskRegistry().start(task)
    qtbot.waitUntil(lambda: bool(starts(tmp_path)), timeout=SOON)
    with qtbot.waitSignal(task.taskTerminated, timeout=SOON):
        task.cancel()
    assert not is_running(starts(tmp_path)[0])
    assert isinstance(task.error, CancelledError)


def test_a_task_that_was_cancelled_before_its_turn_counts_as_cancelled(qtbot, runtime_for, job):
    task = FusionTask(job, runtime_for([REPORT]), "Fusion")
    task.hold()
    registry = TaskRegistry()
    registry.start(task)
    assert registry.running() == [task]
    with qtbot.waitSignal(task.taskTerminated, timeout=SOON):
        task.cancel()
    assert isinstance(task.error, CancelledError)
    assert registry.running() == []


def test_a_second_task_waits_for_the_first_and_can_be_cancelled_meanwhile(
    qtbot, runtime_for, job, tmp_path
):
    item, registry = runtime_for([{"make": "part"}, UNTIL_GO, REPORT]), TaskRegistry()
    first, second = FusionTask(job, item, "First"), FusionTask(job, item, "Second")
    stages = []
    second.stage_changed.connect(lambda stage, _: stages.append(stage))
    registry.start(first)
    qtbot.waitUntil(lambda: Path(job.part).exists(), timeout=SOON)
    registry.start(second)
    qtbot.waitUntil(lambda: "Waiting for another job" in stages, timeout=SOON)
    with qtbot.waitSignal(second.taskTerminated, timeout=SOON):
        second.cancel()
    assert first.isActive()
    with qtbot.waitSignal(first.taskCompleted, timeout=SOON):
        go(tmp_path)
    assert len(jobs(tmp_path)) == 1


# --- lifetime ---------------------------------------------------------------------------------


def test_a_task_survives_the_garbage_collector(qtbot, runtime_for, job, tmp_path):
    reports = []

    def start():
        task = FusionTask(job, runtime_for([UNTIL_GO, REPORT]), "Fusion")
        task.taskCompleted.connect(lambda: reports.append("completed"))
        TaskRegistry().start(task)

    start()
    gc.collect()
    go(tmp_path)
    qtbot.waitUntil(lambda: reports == ["completed"], timeout=SOON)


def test_nothing_is_kept_of_a_task_that_has_ended(qtbot, runtime_for, job):
    registry = TaskRegistry()
    task = FusionTask(job, runtime_for([REPORT]), "Fusion")
    with qtbot.waitSignal(task.taskCompleted, timeout=SOON):
        registry.start(task)
    assert registry.running() == []
    assert task not in tasks._ALIVE


def test_unload_while_running_leaves_no_process_and_no_file(qtbot, runtime_for, job, tmp_path):
    item, registry = runtime_for(ENDLESS), TaskRegistry()
    waiting = [FusionTask(job, item, f"Fusion {number}") for number in range(3)]
    for task in waiting:
        registry.start(task)
    qtbot.waitUntil(lambda: Path(job.part).exists(), timeout=SOON)
    assert registry.cancel_all(60.0)
    item.close()
    assert not any(is_running(pid) for pid in starts(tmp_path))
    assert nothing_left(job)
    qtbot.waitUntil(lambda: not tasks._ALIVE, timeout=SOON)
    assert all(isinstance(task.error, CancelledError) for task in waiting)


def test_unload_does_not_wait_longer_than_it_may(qtbot, runtime_for, job, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "GRACE_S", STUBBORN["sleep"])  # the worker is not killed meanwhile
    item, registry = runtime_for(DEAF), TaskRegistry()
    registry.start(FusionTask(job, item, "Fusion"))
    qtbot.waitUntil(lambda: Path(job.part).exists(), timeout=SOON)
    assert not registry.cancel_all(0.2)
    assert is_running(starts(tmp_path)[0])
    item.close()
    assert not is_running(starts(tmp_path)[0])
    assert nothing_left(job)
    qtbot.waitUntil(lambda: not tasks._ALIVE, timeout=SOON)


def test_qgis_stays_alive_to_clicks_while_a_task_runs(qtbot, runtime_for, job, tmp_path):
    """The worker goes on only after the event loop has turned often at its work."""
    task = FusionTask(job, runtime_for([{"make": "part"}, UNTIL_GO, REPORT]), "Fusion")
    ticks = []

    def tick():
        ticks.append(task.isActive() and Path(job.part).exists())
        if ticks.count(True) == 30:
            go(tmp_path)

    clock = QTimer()
    clock.timeout.connect(tick)
    clock.start(10)
    with qtbot.waitSignal(task.taskCompleted, timeout=SOON):
        TaskRegistry().start(task)
    clock.stop()
    assert ticks.count(True) >= 30


def test_a_task_may_be_cancelled_in_the_task_manager(runtime_for, job):
    assert FusionTask(job, runtime_for([]), "Fusion").flags() & QgsTask.Flag.CanCancel


# --- the road of all doors --------------------------------------------------------------------


def test_the_temporary_folder_of_a_job_is_gone_afterwards(runtime_for, job, monkeypatch):
    seen = []

    def keep_folder(given, drivers, folder, is_cancelled):
        seen.append((folder, os.path.isdir(folder), list(drivers)))
        return given

    monkeypatch.setattr(tasks, "hand_over", keep_folder)
    item = runtime_for([error("input", "No overlap.")])
    with pytest.raises(FusionError, match="No overlap"):
        run_job(job, item, lambda stage, fraction: None, lambda: False)
    ((folder, was_there, drivers),) = seen
    assert (was_there, drivers) == (True, ["GTiff"])
    assert not os.path.exists(folder)


def test_a_job_that_was_cancelled_before_it_began_starts_no_worker(runtime_for, job, tmp_path):
    with pytest.raises(CancelledError):
        run_job(job, runtime_for([REPORT]), lambda stage, fraction: None, lambda: True)
    assert starts(tmp_path) == []


# --- settings ---------------------------------------------------------------------------------


@pytest.fixture
def clean_settings():
    store = settings.QgsSettings()
    names = [name for name in store.allKeys() if name.startswith("rasterfuse/")]
    kept = {name: store.value(name) for name in names}
    store.remove("rasterfuse")
    yield
    store.remove("rasterfuse")
    for name, value in kept.items():
        store.setValue(name, value)


def test_settings_have_defaults_and_are_remembered(clean_settings):
    assert settings.worker_python() is None
    assert settings.device() == "auto"
    assert settings.output_template() == "{fine}_{date}_{method}"
    assert settings.form_values() == {}
    settings.set_worker_python("/opt/python")
    settings.set_device("cpu")
    settings.set_output_template("{method}")
    settings.set_form_values({"model": "gsa", "bands": [1, 2], "nodata": None})
    assert settings.worker_python() == "/opt/python"
    assert settings.device() == "cpu"
    assert settings.output_template() == "{method}"
    assert settings.form_values() == {"model": "gsa", "bands": [1, 2], "nodata": None}
    settings.set_worker_python(None)
    assert settings.worker_python() is None


@pytest.mark.parametrize("nonsense", ["{broken", "[1]", 5])
def test_nonsense_in_the_settings_counts_as_nothing(clean_settings, nonsense):
    settings.QgsSettings().setValue("rasterfuse/form_values", nonsense)
    assert settings.form_values() == {}


def test_the_shared_runtime_uses_the_interpreter_of_the_settings(clean_settings):
    try:
        settings.set_worker_python("/opt/python")
        assert runtime.shared().chosen == "/opt/python"
        settings.set_worker_python(None)
        assert runtime.shared().chosen is None
    finally:
        runtime.close_all()
