"""Bad jobs of all kinds to one warm worker: each ends in exactly one sentence."""

from __future__ import annotations

import json
import math
import os
import stat
import sys

import numpy as np
import pytest
from faults import assert_explained
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine
from rasters import WORKER, Rasters
from test_worker_process import Worker, changed, places, small_job

DEEP = "[" * 700 + "]" * 700
NUMBERS = st.one_of(
    st.sampled_from(
        [0, -1, 1e308, -1e308, 5e-324, 10**30, -(10**400), 2**31, 2**63, math.nan, math.inf,
         -math.inf, True, 0.1, "nan", "-inf"]
    ),
    st.integers(),
    st.floats(),
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=12),
    st.text(st.characters(categories=["Cc", "Cs", "Cf", "Zl"]), min_size=1, max_size=6),
    st.sampled_from(
        ["", " ", "auto", "x" * 5000, "%s{0}", "\udcff", "\0", "\x1b[31mred", "\u202e"]
    ),
)
PATHS = st.sampled_from(
    ["", ".", "..", "/", "~", "-", "\\\\server\\share\\a.tif", "C:\\a.tif", "a\nb.tif", "a\0b.tif",
     "\udcff.tif", "x" * 300 + ".tif", "/" + "x/" * 3000 + "a.tif", "/dev/null", "/dev/zero",
     "/dev/full", "/dev/stdin", "/dev/fd/0", "/dev/fd/1", "/proc/self/mem", "/proc/self/environ",
     "/proc/1/root/a.tif", "/vsimem/a.tif", "/vsistdin/", "/vsizip/a.zip/b.tif",
     "/vsizip//dev/zero", "/vsigzip//dev/urandom", "/vsisubfile/0_-1,/dev/zero",
     "http://127.0.0.1:9/a.tif", "/vsicurl/http://127.0.0.1:9/a.tif", "WMS:http://127.0.0.1:9/",
     "PG:dbname=x", "MEM:::", "MEM:::DATAPOINTER=1,PIXELS=9,LINES=9", "GTIFF_DIR:9:a.tif",
     "<VRTDataset rasterXSize='99999999' rasterYSize='9'/>", "<VRTDataset", "{}",
     "NETCDF:\"/dev/zero\":a", "HDF5:/dev/zero://a", "$HOME/a.tif", "`reboot`", "; rm -rf /",
     "FOLDER", "PIPE", "EMPTY", "TEXT", "ZERO_PIXELS", "NAN_GRID", "FAR_GRID", "HUGE_GRID",
     "SHEARED", "COMPLEX", "MANY_BANDS", "ONE_PIXEL", "FLIPPED", "OUTPUT"]
)  # fmt: skip
# Relative ones lie in the worker's own folder: a test must not write elsewhere.
OUTPUTS = st.sampled_from(
    ["", ".", "..", "/", "~", "-", "C:\\a.tif", "a\nb.tif", "a\0b.tif", "\udcff.tif", "MEM:::a",
     "GTIFF_DIR:1:a.tif", "<VRTDataset", "WMS:x", "PG:dbname=x", "{}", "`reboot`", "%s{0}", "con",
     "x" * 300 + ".tif", "x/" * 3000 + "a.tif", "no/folder/a.tif", "/vsimem/a.tif", "/vsistdout/a",
     "/proc/self/a.tif", "/sys/a.tif", "FOLDER", "PIPE", "COMPLEX"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
ANYTHING = JSON | PATHS | st.just("DEEP")
SETTINGS = {
    "window", "classes", "tile", "threads", "memory_mb", "scale", "offset", "nodata", "cell_size",
    "bands", "version", 0,
}  # fmt: skip
EXTENTS = st.lists(NUMBERS, min_size=3, max_size=5)


class Lab:
    """A warm worker, a sound job, and the odd files that bad jobs name."""

    def __init__(self, folder):
        self.rasters = Rasters(folder)
        self.job = small_job(self.rasters, model="starfm", parameters={"window": 5, "classes": 4})
        self.job["extent"] = [500_000.0, 5_299_100.0, 500_900.0, 5_300_000.0]
        self.job["limits"] = {"tile": 256, "threads": 1, "memory_mb": 500}
        for source in (self.job["inputs"]["coarse_target"], *self.pair.values()):
            source.update(scale=1.0, offset=0.0, nodata=-1.0, cell_size=120.0, date="2020-05-01")
            source.update(bands=[1], name="an image")
        self.files = {name: str(path) for name, path in self.odd_files(folder)}
        self.files["OUTPUT"] = self.job["output"]
        self.before = sorted(os.listdir(folder))
        self.worker = Worker([sys.executable, "-E", "-u", str(WORKER), "--idle", "250"], folder)
        self.before += [name for name in os.listdir(folder) if name.startswith("worker")]
        self.worker.until("hello")
        self.count = 0

    @property
    def pair(self):
        return self.job["inputs"]["references"][0]

    def odd_files(self, folder):
        (folder / "folder").mkdir()
        yield "FOLDER", folder / "folder"
        os.mkfifo(folder / "pipe")
        yield "PIPE", folder / "pipe"  # who opens it waits for ever
        (folder / "empty.tif").touch()
        yield "EMPTY", folder / "empty.tif"
        (folder / "text.tif").write_text("no image\n")
        yield "TEXT", folder / "text.tif"
        square = np.ones((1, 8, 8))
        grids = {
            "ZERO_PIXELS": Affine(0, 0, 0, 0, 0, 0), "NAN_GRID": Affine(math.nan, 0, 0, 0, 1, 0),
            "FAR_GRID": Affine(1, 0, 1e300, 0, -1, -1e300),
            "HUGE_GRID": Affine(1e300, 0, 0, 0, -1e300, 0),
            "SHEARED": Affine(1, 1, 5e5, 1, 1, 5e6), "FLIPPED": Affine(-120, 0, 5e5, 0, 120, 5.3e6),
        }  # fmt: skip
        for name, grid in grids.items():
            yield name, self.rasters.write(name, square, grid)
        yield "COMPLEX", self.rasters.write("complex", square, dtype="complex64")
        yield "MANY_BANDS", self.rasters.write("many", np.ones((300, 2, 2)))
        yield "ONE_PIXEL", self.rasters.write("one", np.ones((1, 1, 1)))

    def line(self, job, number):
        """The job as a line; names of odd files become their paths."""
        text = json.dumps({"type": "run", "id": number, "job": job})
        for name, path in self.files.items():
            text = text.replace(f'"{name}"', json.dumps(path))
        return text.replace('"DEEP"', DEEP).encode("ascii") + b"\n"

    def answer(self, line):
        """The final answers to a line: what comes before that to a job that is sent after it."""
        self.count += 1
        fence = f"fence {self.count}"
        self.worker.send_bytes(line)
        self.worker.send({"type": "run", "id": fence, "job": {}})
        finals = []
        while True:
            final = self.worker.until("result", "error")
            if final["id"] == fence:
                return finals
            if not final["id"].startswith("fence"):
                finals.append(final)

    def check(self, line, number):
        """One answer, in words; no part of a result."""
        finals = self.answer(line)
        assert [final["id"] for final in finals] == [number]
        if finals[0]["type"] == "error":
            assert_explained(finals[0]["code"], finals[0]["sentence"])
            assert finals[0]["code"] != "internal", finals[0]["detail"]
        left = set(os.listdir(self.rasters.folder)) - set(self.before)
        allowed = {os.path.basename(self.job["output"])} if finals[0]["type"] == "result" else set()
        assert not [name for name in left - allowed if name.endswith(".part")]
        return finals[0]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("lab"))
    yield made
    assert made.worker.end() in (0, 1)


def try_many(examples, lab, check):
    """Run a check on seeded random data so many times."""
    quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
    settings(max_examples=examples, derandomize=True, **quiet)(given(data=st.data())(check))()


def spoiled(lab, data):
    """A job that is spoiled in one place of a kind, or in several of any."""
    everywhere = [*places(lab.job)][1:]
    of_kind = {
        "path": ([p for p in everywhere if p[-1] == "path"], PATHS),
        "output": ([("output",)], OUTPUTS),
        "extent": ([("extent",)], EXTENTS),
        "number": ([p for p in everywhere if p[-1] in SETTINGS], NUMBERS),
        "type": ([p for p in everywhere if p != ("output",)], ANYTHING),
    }
    job = lab.job
    for _ in range(data.draw(st.integers(1, 2))):
        spots, values = of_kind[data.draw(st.sampled_from([*of_kind]))]
        job = replaced(job, data.draw(st.sampled_from(spots)), data.draw(values))
    return job


def replaced(job, path, value):
    """The job with another value, as long as there still is such a place."""
    try:
        return changed(job, path, value)
    except (TypeError, KeyError, IndexError, ValueError):
        return job


def broken_line(lab, data, number):
    """A line that is hardly JSON: cut, with a byte changed, or pure noise."""
    line = lab.line(lab.job, number)[:-1]
    kind = data.draw(st.sampled_from(["cut", "byte", "noise", "twice"]))
    if kind == "cut":
        line = line[: data.draw(st.integers(1, len(line) - 1))]
    elif kind == "byte":
        at = data.draw(st.integers(0, len(line) - 1))
        line = line[:at] + data.draw(st.binary(min_size=1, max_size=1)) + line[at + 1 :]
    elif kind == "noise":
        line = data.draw(st.binary(min_size=1, max_size=60))
    else:
        line = line + line
    return line.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"


def bad_jobs(examples, lab):
    def check(data):
        lab.check(lab.line(spoiled(lab, data), "bad"), "bad")

    try_many(examples, lab, check)


def bad_lines(examples, lab):
    def check(data):
        line = broken_line(lab, data, "bad")
        try:
            number = str(json.loads(line.decode("utf-8", "replace")).get("id"))
        except (ValueError, AttributeError, RecursionError):
            number = ""
        final = lab.check(line, number)
        assert number or final["code"] == "worker_protocol"

    try_many(examples, lab, check)


def test_bad_jobs_end_in_one_sentence_each(lab):
    bad_jobs(45, lab)


def test_bad_lines_end_in_one_sentence_each(lab):
    bad_lines(15, lab)


@pytest.mark.slow
def test_a_thousand_bad_jobs_end_in_one_sentence_each(lab):
    bad_jobs(750, lab)
    bad_lines(250, lab)


@pytest.mark.parametrize(
    ("spot", "code"),
    [(("inputs", "coarse_target", "path"), "read"), (("output",), "input")],
    ids=["input", "output"],
)
def test_a_pipe_or_device_is_neither_read_nor_replaced(lab, spot, code):
    """Reading one may never end; as root, renaming onto a device would take it from the system."""
    job = changed(lab.job, spot, "PIPE")
    assert lab.check(lab.line(job, "pipe"), "pipe")["code"] == code
    assert stat.S_ISFIFO(os.stat(lab.files["PIPE"]).st_mode)


def test_the_sound_job_is_sound(lab):
    """Else the tests above would only show that nothing works."""
    assert lab.answer(lab.line(lab.job, "good"))[0]["type"] == "result"
    os.remove(lab.job["output"])
