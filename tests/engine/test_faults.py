"""Every code of the error catalogue, caused for real, and what must hold after every fault."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faults import (
    assert_clean_failure,
    assert_explained,
    assert_gone,
    assert_nothing_left,
    processes_below,
    stop,
    wait_for,
    workers_of,
)
from rasterfuse.models.catalogue import CATALOGUE
from rasterfuse.models.errors import CancelledError, FusionError
from rasterfuse.plugin.job import Limits, RasterSource
from rasterfuse.plugin.runtime import client
from rasterfuse.plugin.runtime.client import WorkerClient
from rasterfuse.plugin.runtime.runtime import Runtime
from rasters import Rasters

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
LIBRARIES = Path(sysconfig.get_path("purelib"))  # of the worker's own environment
MISSING, GRACE = "there is no such place", 2.0


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A multispectral image and a panchromatic one with four times the pixels."""
    rasters = Rasters(tmp_path_factory.mktemp("images"))
    pan = np.random.default_rng(3).uniform(100, 900, (1, 384, 384)).astype("float32")
    coarse = pan.reshape(1, 96, 4, 96, 4).mean(axis=(2, 4)) * np.ones((3, 1, 1), "float32")
    rasters.write("pan", pan)
    rasters.write("ms", coarse, rasters.grid(120.0))
    return rasters


@pytest.fixture(scope="module")
def warm():
    """One runtime for all faults that its worker survives."""
    item = Runtime(sys.executable)
    yield item
    item.close()
    assert workers_of(os.getpid()) == []


class Lab:
    """Causes faults in real workers that run real jobs."""

    def __init__(self, images, warm, folder, monkeypatch):
        self.images, self.warm, self.folder = images, warm, folder
        self.monkeypatch = monkeypatch
        (folder / "out").mkdir()
        self.output = str(folder / "out" / "fused.tif")
        self.made, self.mounts, self.pids = [], [], set()

    # --- jobs ---

    def job(self, tile=None, **more):
        """Takes seconds and tells of its progress often with tiles of 8 pixels."""
        return self.images.pansharpening(
            self.images.folder / "ms.tif", self.images.folder / "pan.tif",
            model="gsa", output=self.output, **({"tile": tile} if tile else {}), **more,
        )  # fmt: skip

    def runtime(self, python=sys.executable):
        self.made.append(Runtime(str(python)))
        return self.made[-1]

    def fault_of(self, runtime, job=None, on_progress=None, is_cancelled=lambda: False, **more):
        """The error with which a job ends."""
        told = more.pop("told", [])
        try:
            runtime.run(job or self.job(), on_progress or (lambda stage, fraction: None),
                        is_cancelled, lambda level, text: told.append(text))  # fmt: skip
        except FusionError as error:
            return error
        raise AssertionError("the job did not fail")

    def at_work(self, act, runtime=None, **more):
        """The error of a job during which ``act`` is done to its worker, once it writes."""
        runtime = runtime or self.runtime()
        done = []

        def on_progress(stage, fraction):
            if not done and os.path.exists(self.output + ".part"):
                (pid,) = self.workers()
                done.append(pid)
                act(pid)

        return self.fault_of(runtime, self.job(tile=8), on_progress, **more)

    def workers(self):
        """The workers that are not the warm one."""
        kept = {w._process.pid for w in self.warm._pool._alive if w._process}
        found = [pid for pid in workers_of(os.getpid()) if pid not in kept]
        self.pids.update(found)
        return found

    # --- surroundings ---

    def mount(self, *options):
        """A small file system; root only."""
        place = self.folder / f"mount{len(self.mounts)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.call(command):
            pytest.skip("only root can mount a small disk, and not in every container")
        self.mounts.append(place)
        self.output = str(place / "fused.tif")

    def python(self, libraries=True, **shadows):
        """An environment of its own; ``shadows`` are modules that hide the real ones."""
        place = self.folder / "environment"
        base = Path(sys.base_exec_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        subprocess.run([base, "-m", "venv", "--without-pip", place], check=True)
        (site,) = place.glob("lib/python3*/site-packages")
        if libraries:
            (site / "real.pth").write_text(f"{LIBRARIES}\n")
        for name, text in shadows.items():
            (site / name).mkdir()
            (site / name / "__init__.py").write_text(text)
        return place / "bin" / "python"

    def script(self, *lines):
        """A program in place of the interpreter; "$@" are the interpreter's arguments."""
        path = self.folder / "python3"
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)
        return path

    def copy(self, name, old, new):
        """Let workers run from a copy of the plugin in which a file is changed."""
        copied = self.folder / "copy"
        for room in ("plugin", "models"):
            shutil.copytree(ROOT / room, copied / room, ignore=shutil.ignore_patterns("*.pyc"))
        shutil.copy(ROOT / "__init__.py", copied)
        text = (copied / name).read_text(encoding="utf-8")
        assert old in text
        (copied / name).write_text(text.replace(old, new, 1), encoding="utf-8")
        worker = copied / "plugin" / "engine" / "worker.py"
        self.monkeypatch.setattr(client, "WORKER", worker)

    def leave(self):
        for item in self.made:
            item.close()
        for place in self.mounts:
            subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def lab(images, warm, tmp_path, monkeypatch):
    made = Lab(images, warm, tmp_path, monkeypatch)
    yield made
    made.leave()


# --- a fault per code ---


def cause_worker_missing(lab):
    return lab.fault_of(lab.runtime(lab.folder / "no" / "python"))


def cause_worker_library(lab):
    torch = "raise ImportError('libtorch_cpu.so: cannot open shared object file')"
    return lab.fault_of(lab.runtime(lab.python(torch=torch)))


def cause_worker_silent(lab):
    """It stands still before its first word."""
    try:
        WorkerClient(str(lab.script("kill -STOP $$")), hello_s=0.5).start()
    except FusionError as error:
        return error
    raise AssertionError("it started")


def cause_worker_version(lab):
    lab.copy("plugin/engine/__init__.py", 'VERSION = "', 'VERSION = "9.')
    return lab.fault_of(lab.runtime())


def cause_worker_protocol(lab):
    garbage = "head -c 200000 /dev/urandom"
    return lab.fault_of(lab.runtime(lab.script(garbage, f'exec {sys.executable} "$@"')))


def cause_temporary(lab):
    lab.monkeypatch.setattr("tempfile.tempdir", str(lab.folder / MISSING))
    return lab.fault_of(lab.runtime())


def cause_worker_killed(lab):
    return lab.at_work(lambda pid: os.kill(pid, signal.SIGKILL))


def cause_worker_crashed(lab):
    return lab.at_work(lambda pid: os.kill(pid, signal.SIGSEGV))


def cause_worker_ended(lab):
    lab.copy("models/pansharpening/gsa.py", "def fuse(self,", "def fuse(self, *_):\n"
             "        import os\n        os._exit(3)\n\n    def unused(self,")  # fmt: skip
    return lab.fault_of(lab.runtime())


def cause_worker_stalled(lab):
    lab.monkeypatch.setattr(client, "STALL_S", 3.0)
    lab.monkeypatch.setattr(client, "STALL_TOLD_S", 1.0)
    told = []
    fault = lab.at_work(stop, told=told)
    assert "no sign of life for 1 seconds" in told[0]
    return fault


def cause_worker_closed(lab):
    runtime = lab.runtime()
    runtime.close()
    return lab.fault_of(runtime)


def cause_input(lab):
    return lab.fault_of(lab.warm, lab.job(parameters={"colour": "red"}))


def cause_read(lab):
    half = lab.folder / "half.tif"
    half.write_bytes((lab.images.folder / "ms.tif").read_bytes()[:60_000])
    inputs = {**lab.job().inputs, "multispectral": RasterSource(str(half))}
    return lab.fault_of(lab.warm, replace(lab.job(), inputs=inputs))


def cause_write(lab):
    lab.mount("size=64k")
    return lab.fault_of(lab.warm)


def cause_out_of_memory(lab):
    """The smallest tile does not fit: 600 bands of 256 x 256 pixels are 157 MB in each copy.

    The limit comes once the worker has loaded its libraries, which alone take a gigabyte, and has
    started its threads, for a job before.
    """
    side, runtime = 256, lab.runtime()
    runtime.run(lab.job(), lambda stage, fraction: None, lambda: False)
    os.remove(lab.output)
    (pid,) = lab.workers()
    used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + 130 * 2**20
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    big = Rasters(lab.folder)
    zeros = np.zeros((1, side, side), "uint8")
    pan = big.write("pan", zeros + 7, dtype="uint8", compress="deflate")
    ms = big.write("ms", zeros[:, ::4, ::4] + 5, big.grid(120.0), dtype="uint8")
    job = big.pansharpening(ms, pan, model="brovey", output=lab.output)
    inputs = {**job.inputs, "multispectral": RasterSource(ms, bands=(1,) * 600)}
    return lab.fault_of(runtime, replace(job, inputs=inputs))


def cause_cancelled(lab):
    stages = []
    return lab.fault_of(lab.warm, lab.job(tile=8), lambda stage, _: stages.append(stage),
                        lambda: "Fusing" in stages)  # fmt: skip


def cause_model_file(lab):
    path = lab.folder / "net.safetensors"
    path.write_bytes(b"PK\x03\x04 a checkpoint of torch")
    return lab.fault_of(lab.warm, replace(lab.job(), model="net", model_file=str(path)))


def cause_card(lab):
    lab.copy("models/pansharpening/gsa.json", '"id"', '"identity"')
    return lab.fault_of(lab.runtime())


def cause_internal(lab):
    lab.copy("models/pansharpening/gsa.py", "def fuse(self,", "def fuse(self, *_):\n"
             "        return 1 / 0\n\n    def unused(self,")  # fmt: skip
    return lab.fault_of(lab.runtime())


CODES = [code for code in CATALOGUE if not code.startswith("install_")]  # they have tests of theirs


@pytest.mark.parametrize("code", CODES)
def test_every_code_can_be_caused_and_nothing_is_left(lab, code):
    fault = globals()[f"cause_{code}"](lab)
    assert fault.code == code, fault.log_text
    lab.workers()
    for item in lab.made:
        item.close()
    assert_clean_failure(fault, lab.output, [*lab.pids])
    assert "fused.tif" in os.listdir(os.path.dirname(run_well(lab)))


def run_well(lab):
    """After a fault the next job works: in the warm worker and with nothing changed."""
    lab.monkeypatch.undo()
    lab.output = str(lab.folder / "out" / "fused.tif")
    return lab.warm.run(lab.job(), lambda stage, fraction: None, lambda: False)["path"]


# --- the worker dies, stands still, or has no memory ---


@pytest.mark.slow
def test_a_kill_at_ten_moments_of_a_job_leaves_nothing(lab):
    """Spread over the whole life of a worker, its start included."""
    rng = random.Random(4)
    older = Path(lab.output)
    older.write_bytes(b"an older result")
    took = timed(lab)
    faults = []
    for number in range(10):
        after = took * (number + rng.random()) / 10.5
        runtime = lab.runtime()
        killer = threading.Thread(target=kill_after, args=(lab, after))
        killer.start()
        try:
            runtime.run(lab.job(tile=8), lambda stage, fraction: None, lambda: False)
        except FusionError as error:
            faults.append(error)
            assert_clean_failure(error, lab.output, [*lab.pids], older=b"an older result")
        killer.join()
        runtime.close()
        older.write_bytes(b"an older result")
    assert len(faults) >= 8  # else the moments came too late


def timed(lab):
    begun = time.monotonic()
    lab.runtime().run(replace(lab.job(tile=8), output=lab.output + "2.tif"),
                      lambda stage, fraction: None, lambda: False)  # fmt: skip
    for item in lab.made:
        item.close()
    os.remove(lab.output + "2.tif")
    return time.monotonic() - begun


def kill_after(lab, seconds):
    deadline = time.monotonic() + seconds
    wait_for(lab.workers)
    time.sleep(max(0.0, deadline - time.monotonic()))
    for pid in lab.workers():
        os.kill(pid, signal.SIGKILL)


def test_a_worker_that_stands_still_can_be_cancelled_at_once(lab):
    stopped = []

    def act(pid):
        stop(pid)
        stopped.append(time.monotonic())

    fault = lab.at_work(act, is_cancelled=lambda: bool(stopped))
    took = time.monotonic() - stopped[0]
    assert isinstance(fault, CancelledError)
    assert took < 5 * GRACE  # it was not waited for until it went on, which is never
    assert_clean_failure(fault, lab.output, [*lab.pids])


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [200, 600, 1000, 1400, 2000])
def test_a_memory_limit_on_the_worker_ends_in_a_sentence(lab, megabytes):
    """Whether its libraries cannot even be loaded or only the job does not fit."""
    python = lab.script(f"ulimit -v {megabytes * 1024}", f'exec {sys.executable} "$@"')
    runtime = lab.runtime(python)
    try:
        runtime.run(lab.job(), lambda stage, fraction: None, lambda: False)
    except FusionError as fault:
        assert_clean_failure(fault, lab.output, workers_after(runtime))
        assert fault.code != "internal", fault.log_text


@pytest.fixture
def small_group():
    """A control group of the kernel with little memory, in whose favour it kills."""
    place = Path(f"/sys/fs/cgroup/memory/rasterfuse-{os.getpid()}")
    try:
        place.mkdir()
        (place / "memory.limit_in_bytes").write_text(str(100 * 2**20))
    except OSError as error:
        pytest.skip(f"no control group can be made here ({error})")
    yield place
    wait_for(lambda: not (place / "cgroup.procs").read_text().split())
    place.rmdir()


@pytest.mark.slow
def test_a_worker_that_the_kernel_kills_for_its_memory_says_so(lab, small_group):
    python = lab.script(f"echo $$ > {small_group}/cgroup.procs", f'exec {sys.executable} "$@"')
    runtime = lab.runtime(python)
    fault = lab.fault_of(runtime)
    assert fault.code == "worker_killed", fault.log_text
    assert "memory ran out" in fault.sentence
    assert_clean_failure(fault, lab.output, workers_after(runtime))


def workers_after(runtime):
    runtime.close()
    return []


# --- libraries, files and folders ---


@pytest.mark.parametrize(
    ("shadows", "named"),
    [
        ({"torch": "raise RuntimeError('half an update')"}, "cannot import torch"),
        ({"rasterio": "raise ImportError('libgdal.so.32: cannot open')"}, "cannot import rasterio"),
        ({"numpy": "import no_such_library"}, "cannot import rasterio and numpy"),
        ({"torch": "import os; os._exit(5)"}, "exit code 5"),
        ({"torch": "import os, signal; os.kill(os.getpid(), signal.SIGILL)"}, "processor"),
        ({"torch": "def broken(:"}, "cannot import torch"),
        ({}, "cannot import torch, rasterio and numpy"),
    ],
    ids=["raises", "shared library", "dependency", "exits", "instruction", "syntax", "none at all"],
)
def test_a_python_with_broken_libraries_is_named(lab, shadows, named):
    python = lab.python(libraries=bool(shadows), **shadows)
    runtime = lab.runtime(python)
    fault = lab.fault_of(runtime)
    assert named in fault.sentence
    assert str(python) in fault.sentence
    assert_clean_failure(fault, lab.output, workers_after(runtime))


@pytest.mark.parametrize("kept", [0, 100, 5000, 700_000])
def test_a_library_that_is_cut_off_is_told_as_damaged(lab, kept):
    """As after a download or an installation that broke off, wherever it did."""
    real, python = LIBRARIES / "torch", lab.python()
    (site,) = (lab.folder / "environment").glob("lib/python3*/site-packages")
    left_out = shutil.ignore_patterns("lib", "test", "include", "_C.*", "__pycache__")
    shutil.copytree(real, site / "torch", copy_function=os.symlink, ignore=left_out)
    (extension,) = real.glob("_C.*")
    shutil.copy(extension, site / "torch")  # the loader would follow a link
    (site / "torch" / "lib").mkdir()
    for path in (real / "lib").glob("*.so*"):
        os.symlink(path, site / "torch" / "lib" / path.name)
    for name in ("libtorch_python.so", "libc10.so"):
        (site / "torch" / "lib" / name).unlink()
        (site / "torch" / "lib" / name).write_bytes((real / "lib" / name).read_bytes()[:kept])
    runtime = lab.runtime(python)
    fault = lab.fault_of(runtime)
    assert fault.code in ("worker_library", "worker_crashed"), fault.log_text
    assert "cannot import torch" in fault.sentence or "is damaged" in fault.sentence
    assert "nstall" in fault.sentence
    assert_clean_failure(fault, lab.output, workers_after(runtime))


def test_an_image_cut_at_any_place_is_a_sentence(lab):
    whole = (lab.images.folder / "ms.tif").read_bytes()
    rng, half = random.Random(7), lab.folder / "half.tif"
    for number in range(24):
        half.write_bytes(whole[: int(len(whole) * (number + rng.random()) / 24)])
        inputs = {**lab.job().inputs, "multispectral": RasterSource(str(half))}
        fault = lab.fault_of(lab.warm, replace(lab.job(), inputs=inputs))
        assert fault.code == "read", fault.log_text
        assert_clean_failure(fault, lab.output, [])


@pytest.mark.parametrize("kind", ["read-only", "unchangeable", "a file"])
def test_a_folder_that_cannot_be_written_is_a_sentence(lab, kind):
    folder = lab.folder / "locked"
    if kind == "read-only":
        lab.mount("size=1m", "ro")
    elif kind == "unchangeable":
        folder.mkdir()
        if subprocess.call(["chattr", "+i", folder], stderr=subprocess.DEVNULL):
            pytest.skip("this file system knows no unchangeable folders")
        lab.output = str(folder / "fused.tif")
    else:
        folder.write_text("no folder")
        lab.output = str(folder / "fused.tif")
    try:
        fault = lab.fault_of(lab.warm)
    finally:
        if kind == "unchangeable":
            subprocess.run(["chattr", "-i", folder], check=True)
    assert fault.code in ("input", "write")
    assert_explained(fault.code, fault.sentence)
    if kind != "a file":
        assert_nothing_left(lab.output)


# --- QGIS dies ---

PARENT = """
import os, sys, time
sys.path.insert(0, {tests!r})
import conftest
from rasterfuse.plugin.job import Job
from rasterfuse.plugin.runtime import client
from rasterfuse.plugin.runtime.runtime import Runtime

client.WORKER = {worker!r}
job = Job.from_json({job!r})
Runtime({python!r}).run(job, lambda stage, fraction: None, lambda: False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("children", [False, True], ids=["alone", "with a child"])
def test_when_qgis_is_killed_in_a_long_tile_all_its_processes_end(lab, rasters, children):
    """The worker computes one tile for a minute and may have started a program itself."""
    if children:
        start = "__import__('subprocess').Popen(['sleep', '300'])\n        model = load_model("
        lab.copy("plugin/engine/pipeline.py", "model = load_model(", start)
    job = endless_job(rasters)
    (lab.folder / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(lab.folder / "tmp")}
    code = PARENT.format(
        tests=str(TESTS), job=job.to_json(), python=sys.executable, worker=str(client.WORKER)
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    wait_for(lambda: os.path.exists(job.part))
    below = processes_below(lab.folder / "tmp")
    assert len(below) == 1 + children
    parent.kill()
    parent.wait()
    assert_gone(below)
    assert_nothing_left(job.output)


def endless_job(rasters):
    """A minute of work for one tile, which nothing interrupts."""
    fine = np.random.default_rng(1).random((4, 1500, 1500), dtype="float32")
    coarse = rasters.write("c", fine[:, ::10, ::10], rasters.grid(300.0))
    pair = coarse, rasters.write("f", fine)
    job = rasters.spatiotemporal(
        coarse, pair, model="starfm", parameters={"window": 201}, backend="torch"
    )
    return replace(job, limits=Limits(tile=256))
