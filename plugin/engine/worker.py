"""The worker process: reads jobs as JSON lines, or runs one job file from a shell.

    python plugin/engine/worker.py job.json     run one job; the report goes to standard output
    python plugin/engine/worker.py --probe      say what is installed (and with --thorough cpu
                                                whether it works on that device)
    python plugin/engine/worker.py              speak the protocol on standard input and output

The protocol (version 1): ``hello`` first; then ``run``, ``cancel`` and ``quit`` come in,
``progress``, ``log``, ``alive``, ``result`` and ``error`` go out. Every line that comes in and is
no ``cancel`` or ``quit`` gets one ``result`` or one ``error``. A job of the kind ``train`` trains a
model, any other fuses. Pixels never cross the pipe.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import queue
import signal
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

PROTOCOL = 1
_REQUIRED = ("torch", "rasterio", "numpy")
_OPTIONAL = ("numba", "safetensors")
_GRACE = 5.0  # seconds that a job may take to end after QGIS is gone
_HEARTBEAT = 2.0  # seconds between signs of life while a job runs


def _register_package() -> None:
    """Make the checkout importable as ``rasterfuse``, whatever its folder is called."""
    root = Path(__file__).resolve().parents[2]
    # The script's own folder would let ``import device`` find our modules: drop it.
    sys.path[:] = [
        path for path in sys.path if Path(path or ".").resolve() != root / "plugin/engine"
    ]
    spec = importlib.util.spec_from_file_location(
        "rasterfuse", root / "__init__.py", submodule_search_locations=[str(root)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{root} is no RasterFuse folder.")
    module = importlib.util.module_from_spec(spec)
    sys.modules["rasterfuse"] = module
    spec.loader.exec_module(module)


def _let_threads_rest() -> None:
    """Before torch is imported: its threads shall wait for a moment only before they sleep.

    Else they keep their cores busy, which slows down all that shares them: tenfold on a loaded
    machine. To wake them for each of many small steps costs up to half of the time.
    """
    if sys.platform.startswith("linux"):
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        os.environ.setdefault("KMP_BLOCKTIME", "1")  # of torch's builds by others
    else:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


_let_threads_rest()
if "rasterfuse" not in sys.modules:
    _register_package()

from rasterfuse.models.errors import FusionError, readable, shown  # noqa: E402
from rasterfuse.plugin.engine import VERSION  # noqa: E402
from rasterfuse.plugin.engine.heap import give_back_memory, keep_freed_memory  # noqa: E402
from rasterfuse.plugin.paths import part_of, remove_part  # noqa: E402
from rasterfuse.plugin.reading import parsed  # noqa: E402
from rasterfuse.plugin.training_job import AnyJob, TrainingJob, job_of  # noqa: E402


def hello() -> dict[str, Any]:
    """Versions, devices and readable formats; ``missing`` names what cannot be imported."""
    packages: dict[str, str | None] = {}
    missing = []
    for name in _REQUIRED + _OPTIONAL:
        try:
            packages[name] = importlib.import_module(name).__version__
        except Exception as error:  # a broken library raises anything, OSError of a DLL included
            packages[name] = None
            print(f"{name} cannot be imported: {error!r}", file=sys.stderr)
            if name in _REQUIRED:
                missing.append(name)
    message = {
        "type": "hello",
        "protocol": PROTOCOL,
        "version": VERSION,
        "heartbeat": _HEARTBEAT,
        "python": platform.python_version(),
        "packages": packages,
        "missing": missing,
        "externally_managed": _is_externally_managed(),
        "devices": [],
        "drivers": [],
    }
    if not missing:
        from rasterfuse.plugin.engine.device import devices
        from rasterio.env import Env

        with Env() as env:
            message["drivers"] = sorted(env.drivers())
        message["devices"] = devices()
    return message


def _is_externally_managed() -> bool:
    """Whether the system lets nobody install into this Python (PEP 668)."""
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    return sys.prefix == sys.base_prefix and marker.exists()


def probe(device: str | None) -> dict[str, Any]:
    """The hello; with a device also ``trial``, whether computing and writing work there."""
    message = hello()
    if device and not message["missing"]:
        from rasterfuse.plugin.engine.trial import try_out

        message["trial"] = {"device": device, "fault": try_out(device)}
    return message


def error_message(error: BaseException) -> dict[str, str]:
    """An exception as the protocol's ``error``: code, sentence for the user, detail for the log."""
    detail = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if isinstance(error, FusionError):
        return {"code": error.code, "sentence": error.sentence, "detail": detail}
    sentence = (
        f"Something unexpected went wrong in RasterFuse ({type(error).__name__}: {error}). Nothing "
        "was written; please report it with the log."
    )
    return {"code": "internal", "sentence": readable(sentence), "detail": detail}


class Worker:
    """Speaks the protocol: one thread listens, the main thread works."""

    def __init__(self, lines: TextIO, out: TextIO, idle: float) -> None:
        self._lines = lines
        self._out = out
        self._idle = idle
        self._lock = threading.Lock()
        self._jobs: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._cancelled: set[str] = set()
        self._gone = threading.Event()
        self._working = threading.Event()
        self._outputs: tuple[str, ...] = ()

    def serve(self) -> int:
        """Work until told to quit, left idle, or QGIS is gone."""
        self._send(hello())
        for target in (self._listen, self._beat):
            threading.Thread(target=target, daemon=True).start()
        while True:
            try:
                message = self._jobs.get(timeout=self._idle)
            except queue.Empty:
                return 0
            if message is None:
                return 0
            self._work(message)

    def _listen(self) -> None:
        for line in self._lines:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                message = None
            if not isinstance(message, dict):
                self._refuse("", line)
            elif message.get("type") == "cancel":
                self._cancelled.add(str(message.get("id")))
            elif message.get("type") == "run":
                self._jobs.put(message)
            elif message.get("type") == "quit":
                break
            else:
                self._refuse(str(message.get("id")), line)
        self._leave()

    def _refuse(self, number: str, line: str) -> None:
        sentence = f"This is no message: {shown(line)}. Send run, cancel or quit as a line of JSON."
        error = FusionError(sentence, code="worker_protocol")
        self._send({"type": "error", "id": number, **error_message(error)})

    def _beat(self) -> None:
        """Give signs of life, so that a worker that was stopped differs from one at work."""
        while not self._gone.wait(_HEARTBEAT):
            if self._working.is_set():
                self._send({"type": "alive"})

    def _leave(self) -> None:
        """QGIS said quit or is gone: end the job that runs, at the latest after the grace."""
        self._gone.set()
        self._jobs.put(None)
        timer = threading.Timer(_GRACE, self._abandon)
        timer.daemon = True
        timer.start()

    def _abandon(self) -> None:
        """End at once, and take along the unfinished result and what a library has started."""
        for output in self._outputs:
            remove_part(part_of(output))
        _end_group(signal.SIGKILL)
        os._exit(1)

    def _work(self, message: dict[str, Any]) -> None:
        number = str(message.get("id"))
        self._working.set()
        try:
            report = self._run(number, message)
        except Exception as error:
            self._send({"type": "error", "id": number, **error_message(error)})
        else:
            self._send({"type": "result", "id": number, "path": report["path"], "report": report})
        finally:
            self._working.clear()
            self._outputs = ()
            self._cancelled.discard(number)
            give_back_memory()

    def _run(self, number: str, message: dict[str, Any]) -> dict[str, Any]:
        job = job_of(message.get("job"))
        self._outputs = job.outputs

        def on_progress(stage: str, fraction: float, detail: dict[str, Any] | None = None) -> None:
            told = {} if detail is None else {"detail": detail}
            self._send(
                {"type": "progress", "id": number, "stage": stage, "fraction": fraction, **told}
            )

        def is_cancelled() -> bool:
            return number in self._cancelled or self._gone.is_set()

        return run_job(job, on_progress, is_cancelled)

    def _send(self, message: dict[str, Any]) -> None:
        with self._lock:
            try:
                self._out.write(to_line(message))
                self._out.flush()
            except (BrokenPipeError, ValueError):
                self._gone.set()


def run_job(
    job: AnyJob,
    on_progress: Callable[..., None],
    is_cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Fuse or train, and return the report."""
    if isinstance(job, TrainingJob):
        from rasterfuse.plugin.engine import training

        return training.run(job, on_progress, is_cancelled)
    from rasterfuse.plugin.engine import pipeline

    return pipeline.run(job, on_progress, is_cancelled)


def to_line(message: dict[str, Any]) -> str:
    """A message as one line of strict JSON: what is not a finite number becomes null."""
    # ASCII only: file names may hold bytes that are no UTF-8, which no other form survives.
    return json.dumps(_finite(message), allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def run_file(path: str, out: TextIO) -> int:
    """Run the job in a file; 0 when it worked, 1 with the sentence on standard error when not."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"{path} cannot be read ({error}). Give the path of a job file.", file=sys.stderr)
        return 1
    stages: list[str] = []

    def on_progress(stage: str, fraction: float, detail: object = None) -> None:
        if stage not in stages:
            stages.append(stage)
            print(f"{fraction:4.0%} {stage}", file=sys.stderr, flush=True)

    try:
        report = run_job(job_of(parsed(text)), on_progress)
    except ImportError as error:
        print(f"This Python lacks a library ({error}). Install torch and rasterio.",
              file=sys.stderr)  # fmt: skip
        return 1
    except Exception as error:
        message = error_message(error)
        if not isinstance(error, FusionError):
            print(message["detail"], file=sys.stderr)
        print(message["sentence"], file=sys.stderr)
        return 1
    out.write(json.dumps(_finite(report), indent=2) + "\n")
    return 0


def _terminate(number: int, frame: Any) -> None:
    """End by an exception, so that the unfinished result is removed."""
    raise SystemExit(128 + number)


def _end_group(number: int) -> None:
    """Send a signal to all that libraries have started here, and to this process itself.

    QGIS gives the worker a group of its own; from a shell it shares that of others.
    """
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, number)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="The RasterFuse worker.")
    parser.add_argument("job", nargs="?", help="a job file to run")
    parser.add_argument("--probe", action="store_true", help="say what is installed and leave")
    parser.add_argument("--thorough", metavar="DEVICE", help="with --probe: compute and write too")
    parser.add_argument("--idle", type=float, default=300, help="seconds to wait for a job")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    keep_freed_memory()
    # Libraries that print must not disturb the protocol: they get standard error.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    if options.probe:
        out.write(to_line(probe(options.thorough)))
        out.flush()
        return 0
    if options.job:
        return run_file(options.job, out)
    lines = os.fdopen(os.dup(0), "r", encoding="utf-8", errors="replace")
    # Nor must a library that reads standard input take messages away.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        return Worker(lines, out, options.idle).serve()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_group(signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
