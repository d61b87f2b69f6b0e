"""A real child process that speaks the worker's protocol and plays what a test tells it.

    python = scripted_worker(tmp_path, [progress(0.5), REPORT])
    Runtime(python).run(job, ...)

Its path stands for the interpreter; it ignores the arguments that a Python would get. Steps are
dicts: with "type" a message (it gets the job's id), else one of

    {"sleep": s} {"exit": code} {"signal": number} {"raw": text} {"flood": lines} {"stderr": text}
    {"make": "part" | "output"} {"until_cancel": true} {"until_go": true} (the test calls ``go``)
    {"child": true} {"close_stdout": true}
    {"environment": true} (the report's ``environment``) {"hello": true} (say the hello)
    {"deaf": true} (only in ``before``: standard input is never read, and no job taken)
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

Step = dict[str, Any]
_METADATA = (Path(__file__).parents[1] / "metadata.txt").read_text(encoding="utf-8")

HELLO: Step = {
    "type": "hello",
    "protocol": 1,
    "version": _METADATA.split("\nversion=")[1].split("\n")[0],
    "python": "3.11.2",
    "packages": {"torch": "2.13.0", "rasterio": "1.4.4", "numpy": "2.3.0", "numba": None},
    "missing": [],
    "devices": [
        {"id": "cuda:0", "name": "Scripted GPU", "memory_mb": 8000},
        {"id": "cpu", "name": "CPU, 2 cores", "memory_mb": 4000},
    ],
    "drivers": ["GTiff"],
}
REPORT: Step = {"type": "result", "path": "", "report": {"model": "scripted", "warnings": []}}
SAY_HELLO: Step = {"hello": True}
UNTIL_GO: Step = {"until_go": True}
STUBBORN: Step = {"sleep": 120}  # twice as long as any test waits: who does not wait was faster
DEAF: Step = {"deaf": True}


def progress(fraction: float, stage: str = "Fusing") -> Step:
    return {"type": "progress", "stage": stage, "fraction": fraction}


def error(code: str, sentence: str, detail: str = "") -> Step:
    return {"type": "error", "code": code, "sentence": sentence, "detail": detail}


def scripted_worker(
    folder: Path,
    steps: list[Step],
    hello: Step | None = None,
    before: list[Step] | None = None,
    name: str = "python3",
) -> str:
    """Write the program and return its path.

    Args:
        folder: Where to write it; also gets ``starts.log`` (a process id per start),
            ``heard.log`` (the type of every message that came) and ``jobs.log`` (a line per job).
        steps: Played for every job.
        hello: Changes to the usual hello.
        before: Played instead of only saying hello.
        name: File name, which several in one folder must not share.
    """
    script = {
        "hello": {**HELLO, **(hello or {})},
        "before": [SAY_HELLO] if before is None else before,
        "steps": steps,
        "folder": str(folder),
    }
    play = folder / f"{name}.json"
    play.write_text(json.dumps(script), encoding="utf-8")
    program = folder / name
    program.write_text(
        f"#!/bin/sh\nexec '{sys.executable}' -E -u '{Path(__file__).resolve()}' '{play}' \"$@\"\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return str(program)


def starts(folder: Path) -> list[int]:
    """Process ids of all that were started, probes included."""
    log = folder / "starts.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def heard(folder: Path) -> list[str]:
    """Types of the messages that the workers got, in the order in which they came."""
    log = folder / "heard.log"
    return log.read_text().split() if log.exists() else []


def go(folder: Path) -> None:
    """Let all that wait at ``UNTIL_GO`` go on, now and later."""
    (folder / "go").touch()


def jobs(folder: Path) -> list[dict[str, Any]]:
    """The jobs that arrived, with ``pid``, ``begun`` and ``ended``."""
    log = folder / "jobs.log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return state.rsplit(")", 1)[1].split()[0] != "Z"


# --- what runs in the child -------------------------------------------------------------------


class Player:
    def __init__(self, script: dict[str, Any], probe: bool) -> None:
        self.script, self.probe = script, probe
        self.folder = Path(script["folder"])
        self.job: dict[str, Any] = {}
        self.id = ""
        self.child_pid = 0

    def say(self, message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    def play(self, step: Step) -> None:
        if "type" in step:
            self.say({"id": self.id, **step})
            return
        ((action, value),) = step.items()
        getattr(self, f"do_{action}")(value)

    def do_hello(self, _: Any) -> None:
        self.say(self.script["hello"])

    def do_deaf(self, _: Any) -> None:
        """Known from the start, see below."""

    def do_sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def do_exit(self, code: int) -> None:
        os._exit(code)

    def do_signal(self, number: int) -> None:
        os.kill(os.getpid(), number)

    def do_raw(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def do_flood(self, lines: int) -> None:
        for number in range(lines):
            self.do_raw(f"chatter {number}\n")

    def do_stderr(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    def do_make(self, what: str) -> None:
        """Write as the engine does: beside the output, then perhaps rename."""
        part = Path(self.job["output"] + ".part")
        part.write_text("pixels")
        if what == "output":
            os.replace(part, self.job["output"])

    def do_until_cancel(self, _: Any) -> None:
        while (message := inbox.get())["type"] != "cancel" or message["id"] != self.id:
            continue

    def do_until_go(self, _: Any) -> None:
        while not (self.folder / "go").exists():
            time.sleep(0.01)

    def do_child(self, _: Any) -> None:
        """Start a process that outlives this one and holds its pipes."""
        self.child_pid = os.fork()
        if self.child_pid == 0:
            time.sleep(STUBBORN["sleep"])
            os._exit(0)
        (self.folder / "child.pid").write_text(str(self.child_pid))

    def do_close_stdout(self, _: Any) -> None:
        os.close(1)

    def do_environment(self, _: Any) -> None:
        report = {"environment": dict(os.environ), "folder": os.getcwd(), "arguments": sys.argv}
        self.say({"type": "result", "id": self.id, "report": report})

    def work(self, message: dict[str, Any]) -> None:
        self.id, self.job = message["id"], message["job"]
        record = {"pid": os.getpid(), "begun": time.time(), "job": self.job}
        for step in self.script["steps"]:
            if step.get("type") in ("result", "error"):
                self.record(record)
            self.play(step)

    def record(self, record: dict[str, Any]) -> None:
        with open(self.folder / "jobs.log", "a", encoding="utf-8") as log:
            log.write(json.dumps({**record, "ended": time.time()}) + "\n")

    def serve(self) -> None:
        with open(self.folder / "starts.log", "a", encoding="utf-8") as log:
            log.write(f"{os.getpid()}\n")
        for step in self.script["before"]:
            self.play(step)
        if self.probe or DEAF in self.script["before"]:
            return
        while (message := inbox.get())["type"] != "quit":
            if message["type"] == "run":
                self.work(message)


def listen(folder: Path) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        with open(folder / "heard.log", "a", encoding="utf-8") as log:
            log.write(message["type"] + "\n")
        inbox.put(message)
    inbox.put({"type": "quit"})
    time.sleep(STUBBORN["sleep"])  # one may go on, but not outlive the tests for long
    os._exit(0)


if __name__ == "__main__":
    import queue
    import threading
    import time

    inbox: queue.Queue[dict[str, Any]] = queue.Queue()
    sys.stdin.reconfigure(encoding="utf-8")
    script = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    if DEAF not in script["before"]:
        threading.Thread(target=listen, args=(Path(script["folder"]),), daemon=True).start()
    Player(script, "--probe" in sys.argv).serve()
