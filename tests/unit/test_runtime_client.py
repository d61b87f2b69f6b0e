"""One worker process, against real child processes that play good and bad workers."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest
from rasterfuse.models.errors import (
    CancelledError,
    FusionError,
    InputError,
    MemoryLimitError,
    WorkerError,
)
from rasterfuse.plugin.job import Job, RasterSource
from rasterfuse.plugin.runtime.client import GRACE_S, Listener, WorkerClient
from scripted_worker import (
    DEAF,
    REPORT,
    SAY_HELLO,
    STUBBORN,
    error,
    heard,
    is_running,
    jobs,
    progress,
    scripted_worker,
    starts,
)


@pytest.fixture
def job(tmp_path):
    return Job("starfm", {"coarse_target": RasterSource("coarse.tif")}, str(tmp_path / "out.tif"))


@pytest.fixture
def client_for(tmp_path):
    """Make clients of scripted workers; none of their processes may outlive the test."""
    made = []

    def make(steps, hello_s=60.0, **script):
        client = WorkerClient(scripted_worker(tmp_path, steps, **script), hello_s=hello_s)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()
    assert [pid for pid in starts(tmp_path) if is_running(pid)] == []


def cancel_when(condition):
    return Listener(is_cancelled=condition)


def at_work(job):
    """Cancels when the worker has begun to write."""
    return cancel_when(Path(job.part).exists)


def nothing_left(job):
    folder = Path(job.output).parent
    return sorted(folder.glob("out.tif*")) == []


# --- what should happen -----------------------------------------------------------------------


def test_a_job_gives_progress_logs_and_its_report(client_for, job):
    heard = []
    client = client_for(
        [progress(0.25, "Opening"), {"type": "log", "level": "warning", "text": "cloudy"}, REPORT]
    )
    hello = client.start()
    listener = Listener(
        on_progress=lambda stage, fraction: heard.append((stage, fraction)),
        on_log=lambda level, text: heard.append((level, text)),
    )
    assert client.run(job, listener) == REPORT["report"]
    assert heard == [("Opening", 0.25), ("warning", "cloudy")]
    assert hello["packages"]["torch"] == "2.13.0"


def test_a_warm_worker_takes_the_next_job(client_for, job, tmp_path):
    client = client_for([REPORT])
    client.start()
    client.run(job, Listener())
    client.run(job, Listener())
    assert len(starts(tmp_path)) == 1
    assert len(jobs(tmp_path)) == 2


def test_every_file_name_reaches_the_worker(client_for, job, tmp_path):
    name = "Žužemberk 夏 \udcff.tif"  # the last sign stands for a byte that is no valid Unicode
    client = client_for([REPORT])
    client.start()
    client.run(job.with_output(str(tmp_path / name)), Listener())
    assert jobs(tmp_path)[0]["job"]["output"] == str(tmp_path / name)


def test_a_very_large_job_to_a_worker_that_does_not_read_can_be_cancelled(client_for, job):
    client = client_for([], before=[DEAF, SAY_HELLO, STUBBORN])
    client.start()
    large = Job("starfm", {}, job.output, {"text": "x" * 3_000_000})
    questions = iter([False, False, True])
    with pytest.raises(CancelledError):
        client.run(large, cancel_when(lambda: next(questions)))
    assert not client.is_alive()


def test_a_slow_worker_without_any_word_is_left_in_peace(client_for, job):
    client = client_for([{"sleep": 1.5}, REPORT])
    client.start()
    assert client.run(job, Listener()) == REPORT["report"]


def test_a_few_prints_between_the_messages_do_no_harm(client_for, job):
    noise = {"raw": 'loading weights 100%\n[1, 2]\n"text"\n{"no": "type"}\n\n'}
    client = client_for([noise, progress(0.5), {"flood": 150}, REPORT])
    client.start()
    for _ in range(3):  # each job may be noisy anew
        assert client.run(job, Listener()) == REPORT["report"]


def test_messages_of_another_job_and_senseless_progress_are_overlooked(client_for, job):
    heard = []
    client = client_for(
        [
            {"type": "result", "id": "0", "report": {"model": "an old one"}},
            {"type": "progress", "fraction": "half"}, {"type": "progress"},
            {"type": "news", "text": "of a later protocol"}, progress(7.0), REPORT,
        ]
    )  # fmt: skip
    client.start()
    report = client.run(job, Listener(on_progress=lambda *step: heard.append(step)))
    assert report == REPORT["report"]
    assert heard == [("Fusing", 1.0)]


# --- what the worker reports ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [("input", InputError), ("out_of_memory", MemoryLimitError), ("cancelled", CancelledError),
     ("internal", FusionError), ("of_tomorrow", FusionError)],
)  # fmt: skip
def test_a_reported_error_keeps_kind_code_sentence_and_log(client_for, job, code, kind):
    client = client_for([{"make": "part"}, error(code, "No overlap. Choose others.", "Trace")])
    client.start()
    with pytest.raises(kind, match=r"^No overlap\. Choose others\.$") as caught:
        client.run(job, Listener())
    assert (caught.value.code, caught.value.detail) == (code, "Trace")
    assert nothing_left(job)


def test_after_a_wrong_input_the_worker_stays_but_not_after_a_fault(client_for, job):
    client = client_for([error("input", "No overlap.")])
    client.start()
    with pytest.raises(InputError, match="No overlap"):
        client.run(job, Listener())
    assert client.is_alive()
    broken = client_for([error("internal", "CUDA error.")], name="python4")
    broken.start()
    with pytest.raises(FusionError, match="CUDA error"):
        broken.run(job, Listener())
    assert not broken.is_alive()


# --- how it may die ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "sentence", "code"),
    [
        ({"signal": signal.SIGKILL}, "was killed, most often because memory ran out",
         "worker_killed"),
        ({"exit": 137}, "was killed, most often because memory ran out", "worker_killed"),
        ({"signal": signal.SIGSEGV}, r"crashed \(signal 11, segmentation fault\)",
         "worker_crashed"),
        ({"signal": signal.SIGABRT}, r"crashed \(signal 6, abort\)", "worker_crashed"),
        ({"exit": 3}, r"ended without an answer \(exit code 3\).*Run the job again",
         "worker_ended"),
    ],
    ids=["killed", "killed-in-a-shell", "segfault", "abort", "just-gone"],
)  # fmt: skip
def test_a_worker_that_dies_says_why_and_leaves_nothing(client_for, job, end, sentence, code):
    client = client_for(
        [progress(0.5), {"make": "part"}, {"stderr": "last words\n"}, {"sleep": 0.2}, end]
    )
    client.start()
    with pytest.raises(WorkerError, match=sentence) as caught:
        client.run(job, Listener())
    assert caught.value.code == code
    assert "last words" in caught.value.detail
    assert client.python in caught.value.sentence
    assert not client.is_alive()
    assert nothing_left(job)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ModuleNotFoundError: No module named 'rasterio'\n", "lacks the library rasterio"),
        ("ImportError: libcuda.so.1: cannot open shared object file\n", "cannot load a library"),
        ("MemoryError\n", "ran out of memory"),
    ],
)
def test_the_last_words_of_a_worker_tell_what_it_lacked(client_for, job, text, sentence):
    client = client_for([], before=[{"stderr": "Traceback\n" + text}, {"exit": 1}])
    with pytest.raises(WorkerError, match=sentence):
        client.start()


def test_only_the_end_of_a_long_log_is_kept(client_for, job):
    client = client_for([{"stderr": "chatter\n" * 20000 + "the end\n"}, {"exit": 3}])
    client.start()
    with pytest.raises(WorkerError) as caught:
        client.run(job, Listener())
    assert "the end" in caught.value.detail
    assert len(caught.value.detail) < 5000


def test_what_an_earlier_job_printed_does_not_explain_the_end_of_this_one(client_for, job):
    client = client_for([{"stderr": "MemoryError\n"}, REPORT, {"sleep": 0.3}, {"exit": 3}])
    client.start()
    client.run(job, Listener())
    with pytest.raises(WorkerError, match=r"exit code 3") as caught:
        client.run(job, Listener())
    assert "MemoryError" not in caught.value.detail


def test_a_worker_that_babbles_is_ended(client_for, job):
    client = client_for([{"make": "part"}, {"flood": 5000}, STUBBORN, REPORT])
    client.start()
    with pytest.raises(WorkerError, match=r"cannot understand .*chatter 0") as caught:
        client.run(job, Listener())
    assert caught.value.code == "worker_protocol"
    assert nothing_left(job)


def test_an_endless_line_does_not_fill_the_memory(client_for, job):
    client, stages = client_for([{"raw": "x" * 17_000_000}, REPORT, progress(1.0)]), []
    client.start()
    # Cut into pieces that are no messages; the rest of it spoils the report's line.
    listener = Listener(lambda *stage: stages.append(stage), lambda: bool(stages))
    with pytest.raises(CancelledError):
        client.run(job, listener)


def test_a_result_without_a_report_is_no_result(client_for, job):
    client = client_for([{"make": "output"}, {"type": "result", "report": None}])
    client.start()
    with pytest.raises(WorkerError, match=r"cannot understand"):
        client.run(job, Listener())
    assert nothing_left(job)


def test_a_worker_that_closes_its_output_is_ended(client_for, job):
    client = client_for([{"close_stdout": True}, STUBBORN])
    client.start()
    with pytest.raises(WorkerError, match="closed its output without an answer"):
        client.run(job, Listener())


@pytest.mark.parametrize("end", [{"signal": signal.SIGKILL}, {"exit": 0}], ids=["killed", "left"])
def test_a_child_that_holds_the_pipe_neither_hides_the_death_of_the_worker_nor_outlives_it(
    client_for, job, tmp_path, end
):
    client = client_for([{"child": True}, end])
    client.start()
    with pytest.raises(WorkerError, match=r"was killed|ended without an answer"):
        client.run(job, Listener())
    child = int((tmp_path / "child.pid").read_text())
    wait_until(lambda: not is_running(child))


def test_what_the_worker_started_dies_with_it(client_for, job, tmp_path):
    client = client_for([{"child": True}, {"make": "part"}, STUBBORN])
    client.start()
    with pytest.raises(CancelledError):
        client.run(job, at_work(job))
    child = int((tmp_path / "child.pid").read_text())
    wait_until(lambda: not is_running(child))


# --- start ------------------------------------------------------------------------------------


def test_a_worker_that_says_no_hello_is_ended(client_for):
    client = client_for([], hello_s=0.5, before=[STUBBORN])
    with pytest.raises(WorkerError, match=r"did not answer within 0.5 seconds") as caught:
        client.start()
    assert caught.value.code == "worker_silent"
    assert not client.is_alive()


def test_an_interpreter_that_does_not_exist_is_named(tmp_path):
    client = WorkerClient(str(tmp_path / "python9"))
    with pytest.raises(WorkerError, match=r"python9 does not exist\. Choose another in Settings"):
        client.start()


def test_a_file_that_is_no_program_is_named(tmp_path):
    path = tmp_path / "python3"
    path.write_text("no program")
    with pytest.raises(WorkerError, match=r"python3 cannot be started \(Permission denied\)"):
        WorkerClient(str(path)).start()


def test_a_program_that_is_no_python_is_found_out(tmp_path):
    path = tmp_path / "python3"
    path.write_text("#!/bin/sh\nyes | head -n 1000\n")
    path.chmod(0o755)
    with pytest.raises(WorkerError, match=r"cannot understand .*Choose another Python"):
        WorkerClient(str(path)).start()


@pytest.mark.parametrize(
    ("hello", "theirs"),
    [({"protocol": 2}, r" \(protocol 2\)"), ({"version": "9.0"}, r"9\.0 \(protocol 1\)"),
     ({"version": None}, r"None \(protocol 1\)")],
    ids=["protocol", "version", "no version"],
)  # fmt: skip
def test_a_worker_of_another_version_is_refused(client_for, hello, theirs):
    """An update put other files on the disk than QGIS has loaded."""
    client = client_for([], hello=hello)
    with pytest.raises(WorkerError, match=rf"{theirs}, QGIS has loaded .* Restart QGIS") as caught:
        client.start()
    assert caught.value.code == "worker_version"
    assert not client.is_alive()


def test_a_worker_that_gives_no_sign_of_life_is_told_of_and_then_given_up(
    client_for, job, monkeypatch
):
    monkeypatch.setattr("rasterfuse.plugin.runtime.client.STALL_TOLD_S", 0.5)
    monkeypatch.setattr("rasterfuse.plugin.runtime.client.STALL_S", 1.5)
    client, told = client_for([{"make": "part"}, STUBBORN], hello={"heartbeat": 0.1}), []
    client.start()
    with pytest.raises(
        WorkerError, match=r"no sign of life for 1\.5 seconds and was ended"
    ) as caught:
        client.run(job, Listener(on_log=lambda level, text: told.append((level, text))))
    assert caught.value.code == "worker_stalled"
    assert [level for level, _ in told] == ["warning"]
    assert "no sign of life for 0.5 seconds" in told[0][1]
    assert not client.is_alive()
    assert nothing_left(job)


def test_signs_of_life_keep_a_slow_worker_from_being_given_up(client_for, job, monkeypatch):
    monkeypatch.setattr("rasterfuse.plugin.runtime.client.STALL_S", 2.0)
    steps = [{"type": "alive"}, {"sleep": 0.5}] * 6
    client = client_for([*steps, REPORT], hello={"heartbeat": 0.5})
    client.start()
    assert client.run(job, Listener()) == REPORT["report"]


def test_missing_libraries_are_all_named(client_for):
    client = client_for(
        [], hello={"missing": ["torch", "rasterio", "numpy"]},
        before=[{"stderr": "torch cannot be imported: OSError('c10.dll')\n"}, SAY_HELLO],
    )  # fmt: skip
    with pytest.raises(WorkerError, match="cannot import torch, rasterio and numpy") as caught:
        client.start()
    assert caught.value.code == "worker_library"
    assert "c10.dll" in caught.value.detail


def test_a_start_can_be_cancelled(client_for, tmp_path):
    client = client_for([], before=[STUBBORN])
    with pytest.raises(CancelledError):
        client.start(lambda: bool(starts(tmp_path)))
    assert not is_running(starts(tmp_path)[0])


# --- cancel and close -------------------------------------------------------------------------


def test_a_cancelled_worker_that_obeys_stays_warm(client_for, job):
    client = client_for(
        [{"make": "part"}, {"until_cancel": True}, error("cancelled", "The user did.")]
    )
    client.start()
    with pytest.raises(CancelledError, match="Nothing was written"):
        client.run(job, at_work(job))
    assert client.is_alive()
    assert nothing_left(job)


def test_a_cancelled_worker_that_does_not_obey_is_killed_after_the_grace(client_for, job, tmp_path):
    client = client_for([{"make": "part"}, progress(0.5), STUBBORN])
    client.start()
    begun = time.monotonic()
    with pytest.raises(CancelledError, match="Nothing was written"):
        client.run(job, at_work(job))
    assert GRACE_S < time.monotonic() - begun < STUBBORN["sleep"] / 2
    assert heard(tmp_path) == ["run", "cancel"]  # it was asked first
    assert not client.is_alive()
    assert nothing_left(job)


def test_a_worker_that_dies_of_the_cancel_was_cancelled(client_for, job, tmp_path):
    client = client_for([{"until_cancel": True}, {"signal": signal.SIGSEGV}])
    client.start()
    with pytest.raises(CancelledError):
        client.run(job, cancel_when(lambda: heard(tmp_path) == ["run"]))


def test_a_result_that_comes_after_the_cancel_is_taken_away(client_for, job, tmp_path):
    client = client_for([{"until_cancel": True}, {"make": "output"}, REPORT])
    client.start()
    with pytest.raises(CancelledError):
        client.run(job, cancel_when(lambda: heard(tmp_path) == ["run"]))
    assert nothing_left(job)


def test_a_cancelled_job_leaves_an_older_result_alone(client_for, job):
    Path(job.output).write_text("older")
    client = client_for([{"make": "part"}, progress(0.5), STUBBORN])
    client.start()
    with pytest.raises(CancelledError):
        client.run(job, at_work(job))
    assert Path(job.output).read_text() == "older"
    assert not Path(job.part).exists()


def test_an_error_in_a_callback_ends_the_worker(client_for, job):
    def fail(stage, fraction):
        raise RuntimeError("wrapped C/C++ object has been deleted")

    client = client_for([{"make": "part"}, progress(0.5), STUBBORN])
    client.start()
    with pytest.raises(RuntimeError, match="wrapped"):
        client.run(job, Listener(on_progress=fail))
    assert not client.is_alive()
    assert nothing_left(job)


def test_close_from_another_thread_ends_a_running_job(client_for, job, tmp_path):
    client = client_for([{"make": "part"}, progress(0.5), STUBBORN])
    client.start()
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(failure(client, job)))
    thread.start()
    wait_until(lambda: Path(job.part).exists())
    client.close()
    assert heard(tmp_path) == ["run", "quit"]
    assert not is_running(starts(tmp_path)[0])
    assert nothing_left(job)
    thread.join(60)
    assert isinstance(outcome[0], CancelledError)
    client.close()


def test_close_removes_the_temporary_folder(client_for, job, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    client = client_for([REPORT])
    client.start()
    assert len(list(scratch.iterdir())) == 1
    client.close()
    assert list(scratch.iterdir()) == []


def failure(client, job):
    try:
        return client.run(job, Listener())
    except FusionError as error:
        return error


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
