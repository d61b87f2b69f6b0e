"""Installs: one step after another, each at most once however often it is interrupted."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ....models.errors import WorkerError
from ..find import WORKER
from . import bases, endings, lock, pip
from .children import STALL_S, Surroundings, run
from .folder import Place, free_mb, interpreter, size
from .network import Network
from .plan import BEST_PYTHON, Plan, pinned

PYTHON, ENVIRONMENT, TORCH, LIBRARIES, PROBE = STEPS = (
    "python", "environment", "torch", "libraries", "probe",
)  # fmt: skip
_SHARES = {PYTHON: 0.06, ENVIRONMENT: 0.06, TORCH: 0.6, LIBRARIES: 0.2, PROBE: 0.08}
_UNPACKING = 0.8  # of a step's share is for fetching
_UV_INSTALL = ("python", "install", "--no-bin", "--no-config", "--no-progress")


@dataclass(frozen=True)
class Listener:
    """Who wants to hear; called on the thread that installs.

    Attributes:
        on_step: Gets a step that begins.
        on_fraction: Gets how far all of it is, 0 to 1.
        is_cancelled: Asked ten times a second.
        may_sweep: Asked before the former environment is removed; a job may run in it.
    """

    on_step: Callable[[str], None] = lambda step: None
    on_fraction: Callable[[float], None] = lambda fraction: None
    is_cancelled: Callable[[], bool] = lambda: False
    may_sweep: Callable[[], bool] = lambda: True


@dataclass
class _State:
    """What is finished; in a file, so that another process can go on."""

    done: list[str] = field(default_factory=list)
    base: str = ""
    before: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, value: dict[str, Any]) -> _State:
        try:
            before = {str(k): list(map(str, v)) for k, v in value["before"].items()}
            return cls([str(s) for s in value["done"]], str(value["base"]), before)
        except (KeyError, TypeError, AttributeError):
            return cls()


def install(
    plan: Plan,
    place: Place,
    listener: Listener | None = None,
    network: Network | None = None,
    stall_s: float = STALL_S,
) -> dict[str, Any]:
    """Make an environment and use it from now on; what another one has begun is continued.

    The former environment stays in use until the new one has shown that it works.

    Returns:
        What the new environment's worker says of itself.

    Raises:
        WorkerError: It failed; what is finished is kept.
        CancelledError: The user cancelled; likewise.
    """
    try:
        with lock.held(place.lock):
            return _Installation(
                plan, place, listener or Listener(), network or Network(), stall_s
            ).run()
    except OSError as error:
        raise endings.no_folder(place.root, error) from error


def remove(place: Place) -> None:
    """Remove everything that was installed.

    Raises:
        WorkerError: Another window installs, or something cannot be removed.
    """
    try:
        with lock.held(place.lock):
            whole = place.remove()
    except OSError as error:
        raise endings.no_folder(place.root, error) from error
    if not whole:
        raise endings.not_removed(place.root)


class _Installation:
    """One run of all steps."""

    def __init__(
        self, plan: Plan, place: Place, listener: Listener, network: Network, stall_s: float
    ) -> None:
        self._plan, self._place, self._listener = plan, place, listener
        self._environment = place.target(plan.key)
        self._python = interpreter(self._environment)
        self._state = _State.read(place.state(self._environment))
        if ENVIRONMENT in self._state.done and not self._python.is_file():
            self._state = _State()  # somebody has removed it, or the Python that it was made with
        for folder in (place.cache, place.tmp):
            folder.mkdir(parents=True, exist_ok=True)
        variables = {
            **network.variables(place.tmp),
            **pip.variables(place.cache, bool(plan.wheels)),
            **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(place.tmp)),
        }
        self._around = Surroundings(
            place.root, place.log, variables, listener.is_cancelled,
            lambda: size(place.root), stall_s,
        )  # fmt: skip

    def run(self) -> dict[str, Any]:
        """All steps that are not done yet."""
        place, plan = self._place, self._plan
        self._check()
        place.log.write_text(
            f"{time.strftime('%Y-%m-%d %H:%M')} {plan.build.id} {plan.key}\n", encoding="utf-8"
        )
        self._once(PYTHON, self._get_python)
        self._once(ENVIRONMENT, self._make_environment)
        self._once(TORCH, self._install_torch)
        self._once(LIBRARIES, self._install_libraries)
        self._begin(PROBE)
        hello = self._probe()
        place.switch(self._environment, plan.key, plan.build.id, hello)
        if self._listener.may_sweep():
            place.sweep()
        self._listener.on_fraction(1.0)
        return hello

    def _check(self) -> None:
        if self._plan.wheels and not Path(self._plan.wheels).is_dir():
            raise endings.no_wheels(self._plan.wheels)
        needed = sum(self._needs_mb(step) for step in STEPS if step not in self._state.done)
        free = free_mb(self._place.root)
        if free < needed:
            raise endings.no_space(self._place.root, needed, free)

    def _needs_mb(self, step: str) -> int:
        return sum(self._plan.step_mb(step == TORCH)) if step in (TORCH, LIBRARIES) else 0

    # --- steps --------------------------------------------------------------------------------

    def _once(self, step: str, work: Callable[[], None]) -> None:
        if step in self._state.done:
            return
        self._begin(step)
        work()
        self._state.done.append(step)
        self._save()

    def _begin(self, step: str) -> None:
        if self._listener.is_cancelled():
            raise endings.cancelled()
        self._listener.on_fraction(sum(_SHARES[s] for s in STEPS[: STEPS.index(step)]))
        self._listener.on_step(step)

    def _save(self) -> None:
        state = {"done": self._state.done, "base": self._state.base, "before": self._state.before}
        self._place.set_state(self._environment, state)

    def _get_python(self) -> None:
        newest = self._plan.build.newest_python
        if self._plan.base:
            self._state.base = bases.named(self._plan.base, newest, self._around).python
            return
        fetched = bases.fetched(self._place.pythons)
        if fetched is None and not self._plan.wheels:
            fetched = self._fetch_python()
        self._state.base = fetched or bases.on_this_machine(newest, self._around).python

    def _fetch_python(self) -> str | None:
        """Let uv fetch a Python; None where that is not possible, as without its server."""
        try:
            uv = bases.uv() or self._get_uv()
            if uv is None:
                return None
            version = ".".join(map(str, BEST_PYTHON))
            folders = ["--install-dir", str(self._place.pythons),
                       "--cache-dir", str(self._place.cache)]  # fmt: skip
            run([uv, *_UV_INSTALL, *folders, version], self._around, PYTHON)
        except WorkerError as error:  # the log says more; there may be a Python on this machine
            self._note(error)
        return bases.fetched(self._place.pythons)

    def _get_uv(self) -> str | None:
        """Install uv for this time, with whatever Python there is."""
        base = bases.any_with_venv(self._around)
        if base is None:
            return None
        tools = self._place.tools
        self._make_venv(base.python, tools)
        pip.install(interpreter(tools), [pinned(self._plan.lock, "uv")], self._around, PYTHON)
        return str(interpreter(tools).with_name("uv" + interpreter(tools).suffix))

    def _make_environment(self) -> None:
        self._make_venv(self._state.base, self._environment)
        if not self._plan.wheels:
            # A pip that says how far it is and resumes downloads; nothing replaces them later.
            tools = [pinned(self._plan.lock, name) for name in ("pip", "setuptools")]
            pip.install(self._python, ["--upgrade", *tools], self._around, ENVIRONMENT)

    def _make_venv(self, base: str, folder: Path) -> None:
        command = pip.guarded(base, "venv", "--clear", str(folder))
        outcome = run(command, self._around, ENVIRONMENT)
        if outcome.code != 0:
            raise endings.of_pip(outcome.text, outcome.code, folder)

    def _install_torch(self) -> None:
        build, wheels = self._plan.build, self._plan.wheels
        plain = f"torch=={build.torch}"
        with self._undoable(TORCH):
            if wheels:
                self._install(TORCH, [plain, *pip.from_folder(wheels), *self._lock()])
                return
            try:
                # The index has old versions of other packages: it decides itself which fit.
                index = ["--index-url", build.index] if build.index else self._lock()
                patience = ["--retries", "2"] if build.also_on_pypi and build.index else []
                self._install(TORCH, [build.requirement, *index, *patience])
                return
            except WorkerError as error:
                if not build.also_on_pypi or error.code not in (endings.NETWORK, endings.ABSENT):
                    raise
        with self._undoable(TORCH):
            self._install(TORCH, [plain, *self._lock()])

    def _install_libraries(self) -> None:
        # Nothing may replace torch by another build.
        kept = self._place.tmp / "torch.txt"
        kept.write_text(f"torch=={self._plan.build.torch}\n", encoding="utf-8")
        options = [*pip.from_folder(self._plan.wheels), *self._lock(), "-c", str(kept)]
        with self._undoable(LIBRARIES):
            self._install(LIBRARIES, [*self._plan.libraries, *options])
            self._install_extras(options)

    def _install_extras(self, options: Sequence[str]) -> None:
        """Install what can be done without; not every machine or folder of wheels has it."""
        if not self._plan.extras:
            return
        already = 1e6 * self._plan.libraries_mb[0]
        try:
            self._install(LIBRARIES, ["--no-deps", *self._plan.extras, *options], already)
        except WorkerError as error:
            if error.code not in (endings.NETWORK, endings.ABSENT):
                raise
            self._note(error)

    def _note(self, error: WorkerError) -> None:
        with open(self._place.log, "a", encoding="utf-8") as log:
            log.write(error.sentence + "\n")

    def _lock(self) -> list[str]:
        path = self._place.tmp / "lock.txt"
        path.write_text(self._plan.lock, encoding="utf-8")
        return ["-c", str(path)]

    def _install(self, step: str, arguments: Sequence[str], already: float = 0.0) -> None:
        """Let pip install something in a step that has fetched some bytes already."""
        expected = max(1e6 * self._plan.step_mb(step == TORCH)[0], 1.0)
        begin = sum(_SHARES[s] for s in STEPS[: STEPS.index(step)])

        def on_bytes(count: int) -> None:
            self._listener.on_fraction(
                begin + _SHARES[step] * _UNPACKING * min((already + count) / expected, 1.0)
            )

        bar = pip.progress_options(self._packages())
        pip.install(self._python, [*bar, *arguments], self._around, step, on_bytes)

    # --- undo ---------------------------------------------------------------------------------

    @contextmanager
    def _undoable(self, step: str) -> Iterator[None]:
        """Whatever interrupts the block, the next try begins with what was there before it.

        A pip that was killed leaves packages that look installed and are not whole.
        """
        before = self._state.before.get(step)
        if before is None:
            self._state.before[step] = self._packages()
            self._save()
        else:
            for path in set(self._packages()) - set(before):
                _remove(self._environment / path)
        yield

    def _packages(self) -> list[str]:
        """What lies where packages and their programs are put."""
        folders = [*self._environment.glob("lib/python3*/site-packages"),
                   self._environment / "Lib" / "site-packages",
                   self._python.parent]  # fmt: skip
        return [
            str(path.relative_to(self._environment))
            for folder in folders
            if folder.is_dir()
            for path in folder.iterdir()
        ]

    # --- probe --------------------------------------------------------------------------------

    def _probe(self) -> dict[str, Any]:
        """Let the new environment show that it works.

        Raises:
            WorkerError: It does not; it is made anew next time.
        """
        device = self._plan.build.device
        words = self._plan.probe or (str(WORKER), "--probe", "--thorough", device)
        answers: list[str] = []

        def on_line(line: str) -> bool:
            answers.append(line)
            return False

        command = [str(self._python), "-E", "-u", "-X", "utf8", *words]
        outcome = run(command, self._around, PROBE, on_line)
        hello, fault = read_answer(answers)
        if outcome.code != 0 or fault:
            fault = fault or f"its worker ended with exit code {outcome.code}."
            self._place.forget(self._environment)
            raise endings.probe_failed(fault, outcome.text)
        return hello


def read_answer(lines: Sequence[str]) -> tuple[dict[str, Any], str]:
    """What a probe said of its Python, and what is wrong with it; empty when nothing is."""
    try:
        hello = json.loads(lines[-1])
        if hello["missing"]:
            return hello, f"{', '.join(hello['missing'])} cannot be imported."
        return hello, str(hello["trial"]["fault"])
    except (IndexError, ValueError, KeyError, TypeError):
        return {}, "its worker gave no answer."


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
