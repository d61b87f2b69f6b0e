"""The real worker process: its protocol, its command line, and how it ends."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from faults import assert_explained
from rasters import WORKER, Rasters

SOON = 60  # seconds that anything may take on a busy machine; nothing may hang


class Worker:
    """A worker process and what it says."""

    def __init__(self, command, folder, **popen):
        self.log = open(folder / f"worker{id(self)}.log", "wb")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, cwd=folder,
            **popen,
        )  # fmt: skip
        self.messages = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.messages.put(json.loads(line))
        self.messages.put(None)

    def send(self, message):
        self.send_bytes(json.dumps(message).encode() + b"\n")

    def send_bytes(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def next(self, timeout=SOON):
        message = self.messages.get(timeout=timeout)
        assert message is not None, "the worker left"
        return message

    def until(self, *kinds, number=None, timeout=SOON):
        """The next message of one of the kinds; those before it are dropped."""
        end = time.monotonic() + timeout
        while True:
            message = self.next(max(end - time.monotonic(), 0.01))
            if message["type"] in kinds and (number is None or message["id"] == number):
                return message

    def run(self, number, job):
        self.send({"type": "run", "id": number, "job": job})
        return self.until("result", "error", number=number)

    def end(self):
        """Close the pipes and wait; give back the exit code."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            return self.process.wait(SOON)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.log.close()


@pytest.fixture(scope="module")
def command():
    return [sys.executable, "-E", "-u", str(WORKER)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory, command):
    """One warm worker for all tests that leave it alive, with a scene beside it."""
    folder = tmp_path_factory.mktemp("shared")
    worker = Worker([*command, "--idle", "100"], folder)
    worker.hello = worker.until("hello")
    yield worker
    assert worker.end() in (0, 1)


@pytest.fixture
def fresh(tmp_path, command):
    """Start a worker of one's own."""
    started = []

    def start(*arguments, command=command, **popen):
        worker = Worker([*command, *arguments], tmp_path, **popen)
        started.append(worker)
        worker.hello = worker.until("hello")
        return worker

    yield start
    for worker in started:
        worker.end()


def small_job(rasters, seed=1, **options):
    rng = np.random.default_rng(seed)
    fine = rng.random((1, 32, 32))
    grid = rasters.grid(120.0)
    coarse = rasters.write("c", fine[:, ::4, ::4], grid)
    target = rasters.write("t", fine[:, ::4, ::4] + 0.1, grid)
    return rasters.spatiotemporal(target, (coarse, rasters.write("f", fine)), **options).to_dict()


def long_job(rasters, window=201):
    """Minutes of work unless it is cancelled; most of a minute for one tile if window is 201."""
    rng = np.random.default_rng(1)
    fine = rng.random((4, 1500, 1500), dtype="float32")
    grid = rasters.grid(300.0)
    coarse = rasters.write("c", fine[:, ::10, ::10], grid)
    pair = coarse, rasters.write("f", fine)
    return rasters.spatiotemporal(
        coarse, pair, model="starfm", parameters={"window": window}, backend="torch", tile=256
    ).to_dict()


def wait_for(condition, timeout=SOON):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def assert_an_error_a_user_can_read(message):
    assert message["type"] == "error"
    assert message["code"] in {"input", "read", "write", "card"}, message["detail"]
    assert_explained(message["code"], message["sentence"])


# --- the protocol ---


def test_hello_says_what_is_there(shared):
    hello = shared.hello
    assert hello["protocol"] == 1
    assert hello["missing"] == []
    assert hello["packages"]["torch"][0].isdigit()
    assert hello["devices"][-1]["id"] == "cpu"
    assert hello["devices"][-1]["memory_mb"] > 100
    assert "GTiff" in hello["drivers"]


def test_a_job_gives_progress_and_a_result(shared, rasters):
    shared.send({"type": "run", "id": "a job", "job": small_job(rasters)})
    seen = []
    while not seen or seen[-1]["type"] == "progress":
        seen.append(shared.next())
    *progress, result = seen
    assert result["type"] == "result"
    assert {message["id"] for message in seen} == {"a job"}
    fractions = [message["fraction"] for message in progress]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] == 1
    assert progress[0]["stage"] == "Opening"
    assert result["path"] == rasters.output
    assert result["report"]["model"] == "fine_plus_change"
    fused = rasters.read(rasters.output)
    np.testing.assert_allclose(fused, rasters.read(rasters.folder / "f.tif") + 0.1, atol=1e-4)


def test_jobs_run_one_after_the_other_in_a_warm_worker(shared, rasters):
    job = small_job(rasters)
    for number in range(3):
        job["output"] = str(rasters.folder / f"result{number}.tif")
        shared.send({"type": "run", "id": f"n{number}", "job": job})
    for number in range(3):
        assert shared.until("result", "error")["id"] == f"n{number}"
        assert os.path.exists(rasters.folder / f"result{number}.tif")


def test_numbers_that_json_lacks_become_null(shared, rasters):
    """A band without cells has no correlation: NaN is no JSON."""
    rasters.write("c", np.full((1, 8, 8), 0.5), rasters.grid(120.0))
    job = small_job(rasters)
    rasters.write("c", np.full((1, 8, 8), 0.5), rasters.grid(120.0))
    result = shared.run("flat", job)
    assert result["report"]["harmonisation"]["bands"][0]["correlation"] is None


@pytest.mark.parametrize(
    "line",
    [b"\n", b"no json\n", b"{}\n", b"[]\n", b"7\n", b"null\n", b'"run"\n', b"\xff\xfe\x00\n",
     b"[" * 100_000 + b"\n", b'{"type": "dance"}\n', b'{"type": ["run"]}\n',
     b'{"type": "cancel"}\n', b'{"type": "run"}\n',
     b'{"type": "run", "id": {"a": 1}, "job": 7}\n', b"x" * 3_000_000 + b"\n",
     b'{"type": "run", "id": "\\ud800", "job": {"model": "\\udfff"}}\n'],
    ids=range(16),
)  # fmt: skip
def test_garbage_does_not_disturb_the_next_job(shared, rasters, line):
    shared.send_bytes(line)
    assert shared.run("after garbage", small_job(rasters))["type"] == "result"


@pytest.mark.slow
def test_a_cancel_ends_a_long_job_within_seconds_and_the_worker_goes_on(shared, rasters):
    shared.send({"type": "run", "id": "long", "job": long_job(rasters, window=21)})
    while shared.until("progress")["stage"] != "Fusing":
        pass
    wait_for(lambda: os.path.exists(rasters.output + ".part"))
    shared.send({"type": "cancel", "id": "long"})
    error = shared.until("error", "result", number="long")
    assert error["code"] == "cancelled"
    assert rasters.leftovers() == []
    assert shared.run("next", small_job(rasters))["type"] == "result"


def test_a_job_that_waits_can_be_cancelled(shared, rasters):
    first = small_job(rasters)
    second = {**first, "output": str(rasters.folder / "two.tif")}
    shared.send({"type": "cancel", "id": "second"})
    shared.send({"type": "run", "id": "first", "job": first})
    shared.send({"type": "run", "id": "second", "job": second})
    assert shared.until("result", "error", number="first")["type"] == "result"
    assert shared.until("result", "error", number="second")["code"] == "cancelled"
    assert not os.path.exists(second["output"])


def test_every_line_of_the_protocol_stays_one_line(shared, rasters):
    job = small_job(rasters)
    job["model"] = "two\nlines\u2028\u0085"
    error = shared.run("line\nbreak", job)
    assert error["code"] == "input"


@pytest.mark.parametrize("path", ["/vsistdin/", "/dev/stdin", "/dev/fd/0"])
def test_a_path_to_standard_input_does_not_swallow_the_protocol(shared, rasters, path):
    job = small_job(rasters)
    job["inputs"]["coarse_target"]["path"] = path
    assert_an_error_a_user_can_read(shared.run("greedy", job))
    assert shared.run("next", small_job(rasters))["type"] == "result"


# --- broken jobs ---


def places(value, path=()):
    """The path of every value inside a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


@pytest.fixture(scope="module")
def sound_job(tmp_path_factory):
    """A job with all fields given, to be broken."""
    rasters = Rasters(tmp_path_factory.mktemp("sound"))
    job = small_job(rasters, model="starfm", parameters={"window": 5, "classes": 4})
    job["extent"] = [500_000.0, 5_299_100.0, 500_900.0, 5_300_000.0]
    job["limits"] = {"tile": 256, "threads": 1, "memory_mb": 500}
    for source in (job["inputs"]["coarse_target"], *job["inputs"]["references"][0].values()):
        source.update(scale=1.0, offset=0.0, nodata=-1.0, cell_size=None, date="2020-05-01")
        source.update(bands=[1], name="an image")
    return job


def test_a_job_without_any_one_of_its_fields(shared, sound_job):
    for path in places(sound_job):
        if path and isinstance(path[-1], str):
            parent = sound_job
            for key in path[:-1]:
                parent = parent[key]
            less = {key: value for key, value in parent.items() if key != path[-1]}
            answer = shared.run("less", changed(sound_job, path[:-1], less))
            if answer["type"] == "error":
                assert_an_error_a_user_can_read(answer)


# --- how it ends ---


def test_quit_ends_the_worker(fresh):
    worker = fresh()
    worker.send({"type": "quit"})
    assert worker.process.wait(SOON) == 0


def test_an_idle_worker_leaves(fresh):
    worker = fresh("--idle", "0.5")
    assert worker.process.wait(SOON) == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["close", "quit"])
def test_the_worker_leaves_when_qgis_is_gone_and_takes_the_part_along(fresh, rasters, how):
    worker = fresh()
    worker.send({"type": "run", "id": "long", "job": long_job(rasters)})
    wait_for(lambda: os.path.exists(rasters.output + ".part"))
    if how == "close":
        worker.process.stdin.close()
    else:
        worker.send({"type": "quit"})
    worker.process.wait(SOON)
    assert rasters.leftovers() == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_worker_and_takes_the_part_along(fresh, rasters, kind):
    worker = fresh()
    worker.send({"type": "run", "id": "long", "job": long_job(rasters)})
    wait_for(lambda: os.path.exists(rasters.output + ".part"))
    worker.process.send_signal(kind)
    worker.process.wait(SOON)
    assert rasters.leftovers() == []


@pytest.mark.slow
def test_the_reader_of_its_answers_may_be_gone(fresh, rasters):
    """QGIS crashed: the pipe is closed while the job runs."""
    worker = fresh()
    worker.send({"type": "run", "id": "long", "job": long_job(rasters)})
    wait_for(lambda: os.path.exists(rasters.output + ".part"))
    worker.process.stdin.close()
    worker.process.wait(SOON)
    assert rasters.leftovers() == []


# --- limits of the machine ---


def limited(tmp_path, lines):
    """A command that runs the worker after some lines of Python in the same process."""
    script = tmp_path / "limited.py"
    script.write_text(
        "import runpy, sys\n"
        f"sys.argv[0] = {str(WORKER)!r}\n"
        + textwrap.dedent(lines)
        + f"\nrunpy.run_path({str(WORKER)!r}, run_name='__main__')\n"
    )
    return [sys.executable, "-E", "-u", str(script)]


def test_a_file_that_may_not_grow_is_a_sentence(fresh, rasters, tmp_path):
    lines = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    """
    fine = np.random.default_rng(1).random((2, 512, 512), dtype="float32")
    grid = rasters.grid(240.0)
    coarse = rasters.write("c", fine[:, ::8, ::8], grid)
    job = rasters.spatiotemporal(coarse, (coarse, rasters.write("f", fine))).to_dict()
    error = fresh(command=limited(tmp_path, lines)).run("large", job)
    assert error["code"] == "write"
    assert_an_error_a_user_can_read(error)
    assert rasters.leftovers() == []


def memory_limited(tmp_path, megabytes):
    """A command for a worker that gets so much memory beside its libraries."""
    lines = f"""
        import resource, torch, rasterio, numba, numpy
        from pathlib import Path
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes}_000_000,) * 2)
    """
    return limited(tmp_path, lines)


def large_job(rasters, bands=4, side=2500):
    """A job of one tile of 100 MB per image."""
    fine = np.random.default_rng(1).random((bands, side, side), dtype="float32")
    coarse = rasters.write("c", fine[:, ::10, ::10], rasters.grid(300.0))
    pair = coarse, rasters.write("f", fine)
    return rasters.spatiotemporal(coarse, pair, tile=5000).to_dict()


@pytest.mark.slow
def test_a_tile_that_does_not_fit_into_memory_is_made_smaller(fresh, rasters, tmp_path):
    job = large_job(rasters)
    answer = fresh(command=memory_limited(tmp_path, 700)).run("large", job)
    assert answer["type"] == "result", answer
    assert answer["report"]["tile"] < 2500
    assert any(
        "Memory ran out with tiles of 2500 x 2500 pixels" in sentence
        for sentence in answer["report"]["warnings"]
    )
    np.testing.assert_array_equal(
        rasters.read(rasters.output), rasters.read(rasters.folder / "f.tif")
    )


@pytest.mark.slow
def test_too_little_memory_is_a_sentence(fresh, rasters, tmp_path):
    worker = fresh(command=memory_limited(tmp_path, 700))
    error = worker.run("large", large_job(rasters, bands=600, side=256))
    assert error["code"] == "out_of_memory"
    assert "memory" in error["sentence"]
    assert rasters.leftovers() == []
    assert worker.run("small", small_job(rasters))["type"] == "result"


def test_prints_of_libraries_do_not_disturb_the_protocol(fresh, rasters, tmp_path):
    lines = """
        import ctypes, importlib.util, os
        import rasterio.vrt
        real = rasterio.vrt.WarpedVRT.__init__
        def noisy(self, *args, **kwargs):
            print("a print")
            os.write(1, b"bytes to descriptor 1\\n")
            ctypes.CDLL(None).puts(b"a print of a C library")
            ctypes.CDLL(None).fflush(None)
            return real(self, *args, **kwargs)
        rasterio.vrt.WarpedVRT.__init__ = noisy
    """
    worker = fresh(command=limited(tmp_path, lines))
    assert worker.run("noisy", small_job(rasters))["type"] == "result"
    worker.end()
    log = next(tmp_path.glob("worker*.log")).read_text()
    assert "a print\n" in log
    assert "bytes to descriptor 1" in log
    assert "a print of a C library" in log


# --- the command line ---


def cli(command, *arguments, **options):
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=SOON,
        stdin=subprocess.DEVNULL, check=False, **options,
    )  # fmt: skip


def test_a_job_file_gives_a_report_on_standard_output(command, rasters):
    path = rasters.folder / "job.json"
    path.write_text(json.dumps(small_job(rasters)))
    done = cli(command, path)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["path"] == rasters.output
    assert report["seconds"]["total"] > 0
    assert report["cpu_seconds"] > 0
    assert "Fusing" in done.stderr
    assert os.path.exists(rasters.output)


def test_a_job_from_the_result_of_a_job_runs_again(command, rasters):
    """The result carries its job."""
    import rasterio

    path = rasters.folder / "job.json"
    path.write_text(json.dumps(small_job(rasters)))
    assert cli(command, path).returncode == 0
    first = rasters.read(rasters.output)
    with rasterio.open(rasters.output) as file:
        again = json.loads(file.tags()["RASTERFUSE_JOB"])
    again["output"] = str(rasters.folder / "again.tif")
    path.write_text(json.dumps(again))
    assert cli(command, path).returncode == 0
    np.testing.assert_array_equal(rasters.read(again["output"]), first)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read"),
        ("{", "The job is no JSON"),
        ("[]", "The job is a list"),
        (b"\xff\xfe", "cannot be read"),
        ('{"model": "starfm", "output": "x.tif"}', "inputs"),
    ],
    ids=["missing", "half", "list", "binary", "no inputs"],
)
def test_a_bad_job_file_gives_one_sentence_and_exit_code_1(command, tmp_path, text, sentence):
    path = tmp_path / "job.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = cli(command, path, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_job_that_fails_gives_its_sentence_and_exit_code_1(command, rasters):
    job = small_job(rasters)
    job["inputs"]["coarse_target"]["path"] = "/nowhere/gone.tif"
    path = rasters.folder / "job.json"
    path.write_text(json.dumps(job))
    done = cli(command, path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "gone.tif cannot be read" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert rasters.leftovers() == []


def test_what_nobody_foresaw_is_a_sentence_too(rasters, tmp_path):
    lines = """
        import rasterio.vrt
        def broken(self, *args, **kwargs):
            raise ZeroDivisionError("a bug")
        rasterio.vrt.WarpedVRT.__init__ = broken
    """
    path = rasters.folder / "job.json"
    path.write_text(json.dumps(small_job(rasters)))
    done = cli(limited(tmp_path, lines), path)
    assert done.returncode == 1
    assert "unexpected" in done.stderr.splitlines()[-1]
    assert rasters.leftovers() == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_on_the_command_line_leaves_no_part(command, rasters, kind):
    path = rasters.folder / "job.json"
    path.write_text(json.dumps(long_job(rasters)))
    process = subprocess.Popen(
        [*command, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        wait_for(lambda: os.path.exists(rasters.output + ".part"))
        process.send_signal(kind)
        assert process.wait(SOON) != 0
    finally:
        process.kill()
        process.communicate()
    assert rasters.leftovers() == []


def test_probe_says_hello_and_leaves(command):
    done = cli(command, "--probe")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["type"] == "hello"


def test_a_python_without_torch_still_says_hello(tmp_path):
    lines = """
        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("torch", "numba"):
                    raise ImportError(f"No module named {name!r}")
        sys.meta_path.insert(0, Nowhere())
    """
    done = cli(limited(tmp_path, lines), "--probe")
    assert done.returncode == 0
    hello = json.loads(done.stdout)
    assert hello["missing"] == ["torch"]
    assert hello["packages"]["torch"] is None
    assert hello["packages"]["rasterio"]
