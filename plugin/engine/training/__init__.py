"""Training: from the user's images, simulated scenes or both to a model file with its card."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

import torch

from ....models.errors import CancelledError, FusionError, MemoryLimitError
from ....models.spatiotemporal.gated_network import GatedNetwork
from ....models.spatiotemporal.rasterfuse_net import load_network
from ...paths import part_of, remove_part
from ...reading import plain
from ...training_job import TrainingJob
from ..device import choose_device, ran_out_of_memory
from .checkpoint import claim, read_checkpoint, remove_checkpoint, write_checkpoint
from .preview import write_preview
from .product import save
from .scores import Score, score
from .series import Series, read_series
from .simulated import Simulated
from .sources import Mixed
from .trainer import Plan, Trainer
from .verdict import judge

OnProgress = Callable[..., None]
IsCancelled = Callable[[], bool]

_BATCH = 128
_RATE, _GENTLE_RATE = 2e-3, 5e-4  # from random weights, and from trained ones
_SCENES, _SCENES_ASIDE, _EVERY = 128, 16, 5  # simulated; steps after which one is replaced
_THREADS = 2  # that draw scenes
_STATE = ".training"  # what the name of the state on disk ends with


def run(
    job: TrainingJob,
    on_progress: OnProgress = lambda stage, fraction, detail=None: None,
    is_cancelled: IsCancelled = lambda: False,
) -> dict[str, Any]:
    """Train, write the model file, and return the report.

    The report has: path, curve ([step, training loss, validation error] each; the latter relative
    to the best trivial answer), metrics (by answer, with those before the training), seconds,
    device, steps, warnings, job; and start (the name of the model that it began with, None for
    random weights), better and verdict, which say whether to use the model.

    Raises:
        InputError: The images or settings do not fit, or there is too little to learn from.
        ModelFileError: The weights to start from cannot be used.
        OutputError: The model or the state of the training cannot be written.
        MemoryLimitError: Memory ran out.
        CancelledError: ``is_cancelled`` said so. What was learnt is kept for going on.
    """
    try:
        with _Training(job, on_progress, is_cancelled) as training:
            return training.run()
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, FusionError) or not ran_out_of_memory(error):
            raise
        raise MemoryLimitError(
            "Memory ran out in the training, even with one patch per step. Choose smaller patches "
            f"than {job.patch} pixels, or close other programs.",
            detail=str(error),
        ) from error


class _Training:
    """One training; keeps the clock."""

    def __init__(
        self, job: TrainingJob, on_progress: OnProgress, is_cancelled: IsCancelled
    ) -> None:
        self._job, self._on_progress, self._is_cancelled = job, on_progress, is_cancelled
        self._state = job.output + _STATE
        self._preview = self._state + ".png"
        self._started = time.perf_counter()

    def __enter__(self) -> _Training:
        return self

    def __exit__(self, *exc: object) -> None:
        for path in (self._preview, part_of(self._preview)):
            remove_part(path)

    def run(self) -> dict[str, Any]:
        job = self._job
        job.check()
        card = job.card()
        device = choose_device(job.device)
        claim(self._state)
        torch.manual_seed(job.seed)
        path = (card.weights or {}).get("path") if job.pairs or job.start_from else None
        network = load_network(path) if path else GatedNetwork()
        network.to(device)
        with ExitStack() as stack:
            simulated = stack.enter_context(self._simulated())
            series = self._read()
            aside = series.aside if series else simulated.aside(_SCENES_ASIDE)
            before = score(network, aside)
            source = Mixed(series.training if series else [], simulated, job.simulate, job.patch)
            trainer = Trainer(network, self._plan(bool(path), series), source, aside)
            self._resume(trainer)
            weights = trainer.run(
                lambda found: self._told(trainer, found), lambda: self._check(trainer)
            )
        network.load_state_dict(weights)
        after = score(network, aside)
        # The truth of simulated scenes has no noise, so it cannot say that intervals are too wide.
        more = after.calibration if series else max(after.calibration, 0.0)
        network.calibration.fill_(float(network.calibration) + more)
        start, other_day = card.name if path else None, series is None or series.other_day
        report = {
            **self._report(trainer, after, series, str(device)),
            **_judged(before, after, start, other_day),
        }
        save(job, network, report, series)
        remove_checkpoint(self._state)
        self._on_progress("Done", 1.0)
        return report

    # --- data ---------------------------------------------------------------------------------

    @contextmanager
    def _simulated(self) -> Iterator[Simulated]:
        count = _SCENES if self._job.simulate else 0
        with Simulated(self._job.seed, count, _EVERY, _THREADS) as simulated:
            yield simulated

    def _read(self) -> Series | None:
        if not self._job.pairs:
            return None
        return read_series(
            self._job, lambda done: self._on_progress("Reading", 0.1 * done), self._check_cancelled
        )

    def _plan(self, known: bool, series: Series | None) -> Plan:
        job = self._job
        rate = _GENTLE_RATE if known else _RATE
        return Plan(
            job.minutes, job.steps, job.batch or _BATCH, rate, job.seed, choose=series is not None
        )

    # --- progress -----------------------------------------------------------------------------

    def _resume(self, trainer: Trainer) -> None:
        if not self._job.resume:
            remove_checkpoint(self._state)
            return
        found = read_checkpoint(self._state)
        if found is None or found.state.get("job") != _identity(self._job):
            return
        trainer.restore(found)

    def _told(self, trainer: Trainer, found: Score) -> None:
        """After a validation: keep the state, tell how far it is."""
        checkpoint = trainer.checkpoint({"job": _identity(self._job)})
        write_checkpoint(self._state, checkpoint)
        step, train, validation = trainer.reached.curve[-1]
        with trainer.averaged() as network:
            write_preview(self._preview, network, trainer.validation[0])
        detail = {
            "step": step, "train": train, "validation": validation, "preview": self._preview
        }  # fmt: skip
        self._on_progress("Training", self._fraction(trainer), detail)

    def _check(self, trainer: Trainer) -> None:
        self._check_cancelled()
        self._on_progress("Training", self._fraction(trainer))

    def _fraction(self, trainer: Trainer) -> float:
        reached = trainer.reached
        return 0.1 + 0.88 * (reached.step / reached.total if reached.total else 0.0)

    def _check_cancelled(self) -> None:
        if self._is_cancelled():
            raise CancelledError(
                "The training was cancelled. Start the same one again to go on where it was."
            )

    # --- report -------------------------------------------------------------------------------

    def _report(
        self, trainer: Trainer, after: Score, series: Series | None, device: str
    ) -> dict[str, Any]:
        return {
            "path": self._job.output,
            "curve": trainer.reached.curve,
            "steps": trainer.reached.step,
            "covered_90": after.covered,
            "kept_aside": "images" if series else "simulated scenes",
            "seconds": round(time.perf_counter() - self._started, 2),
            "device": device,
            "warnings": (series.warnings if series else []) + trainer.reached.warnings,
            "job": self._job.to_dict(),
        }


def _judged(before: Score, after: Score, start: str | None, other_day: bool) -> dict[str, Any]:
    """What the report says of how good the model is."""
    metrics = after.figures()
    metrics["model_before"] = before.figures()["model"]
    verdict = judge(metrics, start, other_day)
    return {
        "metrics": metrics, "start": start, "better": verdict.better, "verdict": verdict.sentence
    }  # fmt: skip


def _identity(job: TrainingJob) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    told = asdict(job)
    for name in ("resume", "minutes", "name", "licence", "notes"):
        told.pop(name)
    return plain(told)
