"""Finding an interpreter, warm workers, queues per device, and the end of it all."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from rasterfuse.models.errors import CancelledError, FusionError, InputError, WorkerError
from rasterfuse.plugin.job import Job, RasterSource, ReferencePair
from rasterfuse.plugin.runtime import find, runtime
from rasterfuse.plugin.runtime.runtime import STARTING, WAITING, Runtime, device_key
from scripted_worker import (
    HELLO,
    REPORT,
    SAY_HELLO,
    STUBBORN,
    UNTIL_GO,
    error,
    go,
    is_running,
    jobs,
    progress,
    scripted_worker,
    starts,
)

TESTS = Path(__file__).resolve().parents[1]


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


def job_to(folder, name="out.tif", device="auto"):
    return Job("starfm", {}, str(folder / name), device=device)


def run(item, job, is_cancelled=lambda: False, heard=None):
    """The report, or the error that came instead of it."""

    def on_progress(stage, fraction):
        if heard is not None:
            heard.append(stage)

    try:
        return item.run(job, on_progress, is_cancelled)
    except FusionError as fault:
        return fault


def at_once(*calls, meanwhile=lambda: None):
    """Run every call on a thread of its own; their answers in order."""
    answers = [None] * len(calls)

    def keep(number, call):
        answers[number] = call()

    threads = [threading.Thread(target=keep, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join(60)
    return answers


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


# --- status -----------------------------------------------------------------------------------


def test_a_fit_interpreter_is_ready_and_asked_only_once(runtime_for, tmp_path):
    item = runtime_for([REPORT])
    assert item.cached_status() is None
    status = item.status()
    assert (status.ready, status.python, status.reason) == (True, item.chosen, "")
    assert status.hello["devices"] == HELLO["devices"]
    assert item.status() is item.cached_status()
    assert len(starts(tmp_path)) == 1


def test_looking_leaves_no_process(runtime_for, tmp_path):
    runtime_for([REPORT]).status()
    assert not is_running(starts(tmp_path)[0])


def test_an_interpreter_made_anew_is_looked_at_again(runtime_for, tmp_path):
    item = runtime_for([REPORT])
    item.status()
    scripted_worker(tmp_path, [REPORT], hello={"missing": ["torch"]})
    os.utime(item.chosen, (1, 1))
    assert not item.status().ready


def test_an_unfit_interpreter_is_named_and_looked_at_again_after_mending(runtime_for, tmp_path):
    item = runtime_for([REPORT], hello={"missing": ["torch"]})
    status = item.status()
    assert not status.ready
    assert status.reason.startswith(f"{item.chosen} cannot import torch. Install what is missing")
    assert status.hello["packages"]["rasterio"] == "1.4.4"
    scripted_worker(tmp_path, [REPORT])  # the file's time may be the same
    assert item.status().ready


def test_status_says_what_is_wrong_with_the_choice_and_takes_no_other(tmp_path):
    status = Runtime(str(tmp_path / "python3")).status()
    assert not status.ready
    assert status.reason.startswith(f"The Python {tmp_path / 'python3'} does not exist. Choose")


def test_many_askers_make_one_search(runtime_for, tmp_path):
    item = runtime_for([REPORT], before=[{"sleep": 0.5}, SAY_HELLO])
    answers = at_once(*[item.status] * 4)
    assert [status.ready for status in answers] == [True] * 4
    assert len(starts(tmp_path)) == 1


def test_without_a_choice_the_first_fit_interpreter_is_taken(tmp_path, monkeypatch):
    bad = scripted_worker(tmp_path, [], hello={"missing": ["torch"]}, name="bad")
    good = scripted_worker(tmp_path, [REPORT], name="good")
    monkeypatch.setattr(runtime, "candidates", lambda chosen: [bad, good])
    assert Runtime().status().python == good
    monkeypatch.setattr(runtime, "candidates", lambda chosen: [bad, str(tmp_path / "none")])
    reason = Runtime().status().reason
    assert reason == (
        f"No Python with torch and rasterio was found (looked at {bad} and {tmp_path / 'none'}). "
        "Choose one in Settings ▸ Options ▸ RasterFuse."
    )
    monkeypatch.setattr(runtime, "candidates", lambda chosen: [])
    assert Runtime().status().reason.startswith("No Python with torch and rasterio was found. ")


# --- jobs -------------------------------------------------------------------------------------


def test_the_first_job_starts_one_worker_and_the_next_finds_it_warm(runtime_for, tmp_path):
    item, heard = runtime_for([progress(0.5), REPORT]), []
    assert run(item, job_to(tmp_path), heard=heard) == REPORT["report"]
    assert run(item, job_to(tmp_path), heard=heard) == REPORT["report"]
    assert heard == [STARTING, "Fusing", "Fusing"]
    assert len(starts(tmp_path)) == 1
    assert item.cached_status().ready


def test_an_idle_worker_that_left_is_replaced_without_a_word(runtime_for, tmp_path):
    item = runtime_for([REPORT, {"exit": 0}])
    for _ in range(3):
        assert run(item, job_to(tmp_path)) == REPORT["report"]
        wait_until(lambda: not is_running(starts(tmp_path)[-1]))
    assert len(starts(tmp_path)) == 3


def test_a_worker_that_leaves_at_the_very_moment_of_a_job_is_replaced(
    runtime_for, tmp_path, monkeypatch
):
    item = runtime_for([REPORT, {"exit": 0}])
    run(item, job_to(tmp_path))
    wait_until(lambda: not is_running(starts(tmp_path)[-1]))
    # It looked alive when it was taken.
    monkeypatch.setattr("rasterfuse.plugin.runtime.pool._fits", lambda worker, python: bool(worker))
    assert run(item, job_to(tmp_path)) == REPORT["report"]
    assert len(starts(tmp_path)) == 2


def test_after_a_crash_the_next_job_gets_a_fresh_worker(runtime_for, tmp_path):
    item = runtime_for([{"make": "part"}, {"signal": 9}])
    assert run(item, job_to(tmp_path)).code == "worker_killed"
    assert not Path(job_to(tmp_path).part).exists()
    scripted_worker(tmp_path, [REPORT])
    assert run(item, job_to(tmp_path)) == REPORT["report"]


def test_without_a_worker_a_job_fails_with_the_reason(tmp_path):
    fault = run(Runtime(str(tmp_path / "python3")), job_to(tmp_path))
    assert isinstance(fault, WorkerError)
    assert fault.code == "worker_missing"
    assert "python3 does not exist" in fault.sentence


def test_a_worker_that_became_unfit_is_noticed(runtime_for, tmp_path):
    item = runtime_for([REPORT])
    assert item.status().ready
    before = os.stat(item.chosen)
    scripted_worker(tmp_path, [REPORT], hello={"missing": ["torch"]})
    os.utime(item.chosen, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "cannot import torch" in run(item, job_to(tmp_path)).sentence
    assert "cannot import torch" in item.status().reason


def test_relative_paths_mean_the_same_to_the_worker(runtime_for, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("coarse.tif").write_text("")
    Path("fine.tif").write_text("")
    item = runtime_for([REPORT])
    pair = ReferencePair(RasterSource("coarse.tif"), RasterSource("fine.tif", (1,)))
    strange = RasterSource("WMS:elsewhere")
    run(item, Job("starfm", {"coarse_target": strange, "references": (pair,)}, "out.tif"))
    sent = Job.from_dict(jobs(tmp_path)[0]["job"])
    assert sent.output == str(tmp_path / "out.tif")
    assert sent.references[0].fine == RasterSource(str(tmp_path / "fine.tif"), (1,))
    assert sent.sources["coarse_target"] == strange


# --- queues -----------------------------------------------------------------------------------


def spans(folder):
    return sorted((job["begun"], job["ended"]) for job in jobs(folder))


def test_one_job_at_a_time_per_device_and_auto_is_the_first_device(runtime_for, tmp_path):
    item, heard = runtime_for([UNTIL_GO, REPORT]), []

    def let_them_queue():
        wait_until(lambda: heard.count(WAITING) == 2)
        go(tmp_path)

    answers = at_once(
        *[
            lambda name=f"{device}.tif", device=device: run(
                item, job_to(tmp_path, name, device), heard=heard
            )
            for device in ("auto", "cuda", "cuda:0")
        ],
        meanwhile=let_them_queue,
    )
    assert answers == [REPORT["report"]] * 3
    first, second, third = spans(tmp_path)
    assert first[1] <= second[0]
    assert second[1] <= third[0]
    assert len(starts(tmp_path)) == 1


def test_jobs_on_two_devices_run_side_by_side(runtime_for, tmp_path):
    item = runtime_for([{"make": "part"}, UNTIL_GO, REPORT])

    def wait_for_both():
        wait_until(lambda: len(list(tmp_path.glob("*.part"))) == 2)
        go(tmp_path)

    answers = at_once(
        lambda: run(item, job_to(tmp_path, "a.tif", "cpu")),
        lambda: run(item, job_to(tmp_path, "b.tif", "cuda")),
        meanwhile=wait_for_both,
    )
    assert answers == [REPORT["report"]] * 2


def test_two_devices_never_write_one_file_at_once(runtime_for, tmp_path):
    item, heard = runtime_for([UNTIL_GO, REPORT]), []

    def let_one_wait():
        wait_until(lambda: WAITING in heard)
        go(tmp_path)

    at_once(
        lambda: run(item, job_to(tmp_path, device="cpu"), heard=heard),
        lambda: run(item, job_to(tmp_path, device="cuda"), heard=heard),
        meanwhile=let_one_wait,
    )
    first, second = spans(tmp_path)
    assert first[1] <= second[0]


def test_a_waiting_job_can_be_cancelled_and_touches_nothing(runtime_for, tmp_path):
    item, heard = runtime_for([{"make": "part"}, UNTIL_GO, REPORT]), []
    part, first = Path(job_to(tmp_path).part), []
    thread = threading.Thread(target=lambda: first.append(run(item, job_to(tmp_path))))
    thread.start()
    wait_until(part.exists)
    fault = run(item, job_to(tmp_path), lambda: WAITING in heard, heard)
    assert isinstance(fault, CancelledError)
    assert part.exists()  # it belongs to the job that runs
    go(tmp_path)
    thread.join(60)
    assert first == [REPORT["report"]]


def test_after_a_failed_job_the_queue_goes_on(runtime_for, tmp_path):
    item = runtime_for([error("input", "No overlap.")])
    answers = at_once(*[lambda: run(item, job_to(tmp_path))] * 3)
    assert [type(answer) for answer in answers] == [InputError] * 3


@pytest.mark.parametrize(
    ("device", "key"),
    [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")],
)
def test_devices_have_one_name_each(device, key):
    assert device_key(device, HELLO) == key


def test_auto_is_the_cpu_when_the_worker_names_no_device():
    assert device_key("auto", {}) == "cpu"


# --- the end ----------------------------------------------------------------------------------


def test_close_ends_idle_workers_and_refuses_more_work(runtime_for, tmp_path):
    item = runtime_for([REPORT])
    run(item, job_to(tmp_path))
    item.close()
    item.close()
    assert not is_running(starts(tmp_path)[0])
    fault = run(item, job_to(tmp_path))
    assert (fault.code, len(starts(tmp_path))) == ("worker_closed", 1)
    assert "unloaded" in fault.sentence
    assert item.is_closed


def test_close_ends_running_waiting_and_starting_jobs_together(runtime_for, tmp_path):
    item = runtime_for([{"make": "part"}, STUBBORN])
    answers, names = [], ["a.tif", "b.tif", "c.tif"]
    devices = dict(zip(names, ["cpu", "cpu", "cuda"]))
    threads = [
        threading.Thread(
            target=lambda n=name: answers.append(run(item, job_to(tmp_path, n, devices[n])))
        )
        for name in names
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(list(tmp_path.glob("*.part"))) == 2)
    item.close()
    assert [pid for pid in starts(tmp_path) if is_running(pid)] == []
    for thread in threads:
        thread.join(60)
    assert len(answers) == 3
    assert all(isinstance(answer, FusionError) for answer in answers)
    assert list(tmp_path.glob("*.tif*")) == []


def test_close_while_a_worker_starts_ends_it_without_grace(runtime_for, tmp_path, monkeypatch):
    monkeypatch.setattr("rasterfuse.plugin.runtime.pool.GRACE_S", STUBBORN["sleep"])
    item, answers = runtime_for([], before=[STUBBORN]), []
    thread = threading.Thread(target=lambda: answers.append(run(item, job_to(tmp_path))))
    thread.start()
    wait_until(lambda: starts(tmp_path))
    begun = time.monotonic()
    item.close()
    assert time.monotonic() - begun < STUBBORN["sleep"] / 2  # before its hello it cannot obey
    thread.join(60)
    assert isinstance(answers[0], CancelledError)


def test_a_retired_runtime_ends_its_job_and_keeps_no_worker(runtime_for, tmp_path):
    item, answers = runtime_for([{"make": "part"}, UNTIL_GO, REPORT]), []
    thread = threading.Thread(target=lambda: answers.append(run(item, job_to(tmp_path))))
    thread.start()
    wait_until(Path(job_to(tmp_path).part).exists)
    item.retire()
    go(tmp_path)
    thread.join(60)
    assert answers == [REPORT["report"]]
    wait_until(lambda: not is_running(starts(tmp_path)[0]))


def test_a_warm_worker_of_a_retired_runtime_leaves(runtime_for, tmp_path):
    item = runtime_for([REPORT])
    run(item, job_to(tmp_path))
    item.retire()
    wait_until(lambda: not is_running(starts(tmp_path)[0]))


def test_the_shared_runtime_follows_the_users_choice(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "_SHARED", runtime._Shared())
    automatic = runtime.shared()
    assert automatic.chosen is None
    assert runtime.shared() is automatic
    runtime.chosen_by(lambda: "/opt/other/bin/python")
    other = runtime.shared()
    assert other.chosen == "/opt/other/bin/python"
    other.close()
    assert runtime.shared() is not other
    assert not runtime.shared().is_closed


def test_close_all_ends_all_workers_also_those_of_a_choice_that_was_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "_SHARED", runtime._Shared())
    first = scripted_worker(tmp_path, [{"make": "part"}, STUBBORN], name="first")
    second = scripted_worker(tmp_path, [REPORT], name="second")
    runtime.chosen_by(lambda: first)
    thread = threading.Thread(target=run, args=(runtime.shared(), job_to(tmp_path)))
    thread.start()
    wait_until(Path(job_to(tmp_path).part).exists)
    runtime.chosen_by(lambda: second)
    item = runtime.shared()
    run(item, job_to(tmp_path, "other.tif"))
    runtime.close_all()
    assert [pid for pid in starts(tmp_path) if is_running(pid)] == []
    assert len(starts(tmp_path)) == 2
    assert runtime.shared() is not item
    thread.join(60)


def test_the_worker_of_a_forgotten_runtime_leaves(tmp_path):
    item = Runtime(scripted_worker(tmp_path, [REPORT]))
    run(item, job_to(tmp_path))
    assert is_running(starts(tmp_path)[0])
    del item
    gc.collect()
    wait_until(lambda: not is_running(starts(tmp_path)[0]))


@pytest.mark.parametrize("end", ["sys.exit()", "os.kill(os.getpid(), 9)"], ids=["exit", "killed"])
def test_no_worker_outlives_the_process_that_started_it(tmp_path, end):
    """Two workers, so the pipe of one could have been inherited by the other."""
    python = scripted_worker(tmp_path, [progress(0.5), {"sleep": 0.1}, REPORT])
    script = f"""
        import os, sys, threading
        sys.path.insert(0, {str(TESTS)!r})
        import conftest
        from rasterfuse.plugin.job import Job
        from rasterfuse.plugin.runtime.runtime import Runtime
        item = Runtime({python!r})
        for device in ("cpu", "cuda"):
            job = Job("starfm", {{}}, {str(tmp_path / "out.tif")!r}, device=device)
            item.run(job, lambda stage, fraction: None, lambda: False)
        {end}
        """
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # who is killed cannot tidy up
    code = textwrap.dedent(script)
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60, env=environment)
    assert len(starts(tmp_path)) == 2
    wait_until(lambda: not any(is_running(pid) for pid in starts(tmp_path)))


def test_candidates_come_from_the_search_by_default(monkeypatch):
    assert runtime.candidates is find.candidates
