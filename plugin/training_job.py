"""The training job: all that a training needs to know, as plain data that round-trips through JSON.

All doors build it and the worker runs it, as with ``job.py``. Standard library only.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union

from ..models.cards import Card, find_card, load_cards
from ..models.errors import InputError, shown
from ..models.model_file import SUFFIX, id_of_name, read_model_card
from ..models.trained import card_of
from . import reading
from .job import Job, RasterSource, ReferencePair, absolute, read_pairs

VERSION = 1
KIND = "train"
LEAST_DATES = 2
_DATES_TO_MEASURE = 3  # from so many on, one is kept aside


@dataclass(frozen=True)
class TrainingJob(reading.PlainData):
    """One training.

    Attributes:
        method: Id of the card of the method to train.
        pairs: Coarse and fine images of different days. Every ordered two of them are a sample: a
            reference pair and what should become of it at the other's day.
        output: Path of the model file to write; its name without ending gives the model's id.
        name: What users will call the model.
        start_from: Path of a model file whose weights to go on with; None: the method's own, else
            random ones.
        minutes: Time that the training may take.
        steps: Most steps of the optimiser; None: as many as fit into the time.
        patch: Side of a sample in fine pixels.
        batch: Samples per step; None lets the engine choose.
        seed: Of all random numbers.
        validation: Share of the area that is kept aside to measure on, 0 to 0.5.
        device: ``auto``, ``cpu``, ``cuda`` …
        simulate: Share of simulated scenes among the samples, 0 to 1; with 1 no pairs are needed.
        resume: Go on with the same training where it was stopped.
        wavelengths: Of the fine images' bands in nanometres; empty: not known. Goes into the model
            card.
        licence: Of the images, hence of the model; goes into the model card.
        notes: On the images; goes into the model card.
    """

    method: str
    pairs: tuple[ReferencePair, ...]
    output: str
    name: str
    start_from: str | None = None
    minutes: float = 10.0
    steps: int | None = None
    patch: int = 48
    batch: int | None = None
    seed: int = 0
    validation: float = 0.2
    device: str = "auto"
    simulate: float = 0.0
    resume: bool = True
    wavelengths: tuple[float, ...] = ()
    licence: str = ""
    notes: str = ""
    kind: str = KIND
    version: int = VERSION

    @property
    def model_id(self) -> str:
        """The id of the model in jobs and algorithms."""
        return id_of_name(os.path.splitext(os.path.basename(self.output))[0])

    @property
    def outputs(self) -> tuple[str, ...]:
        """The files to write."""
        return (self.output,)

    @property
    def keeps_a_day(self) -> bool:
        """Whether a model is measured on a day that it has not learnt from: the last one."""
        days = {pair.date for pair in self.pairs}
        return bool(self.validation) and len(days) >= _DATES_TO_MEASURE

    def check(self) -> None:
        """Raise InputError when the numbers, dates or the output do not fit a training."""
        _between(self.minutes, "minutes", 0.01, 100_000)
        _between(self.patch, "patch", 16, 1024)
        _between(self.validation, "validation", 0.0, 0.5)
        _between(self.simulate, "simulate", 0.0, 1.0)
        if not self.output.lower().endswith(SUFFIX):
            raise InputError(
                f"The model file {self.output} does not end in {SUFFIX}. Choose another name."
            )
        if self.simulate < 1:
            self._check_dates()

    def _check_dates(self) -> None:
        for number, pair in enumerate(self.pairs, 1):
            if pair.date is None:
                raise InputError(
                    f"Pair {number} ({pair.fine.label}) has no date. Training needs the day of "
                    "every pair; give it."
                )
        days = {pair.date for pair in self.pairs}
        if len(days) < LEAST_DATES:
            raise InputError(
                f"{len(days)} usable date{'' if len(days) == 1 else 's'}; training needs at least "
                f"{LEAST_DATES}, each with a coarse and a fine image. Add pairs of other days."
            )

    def card(self) -> Card:
        """The card of what the training starts from: of a model file, else of the method.

        Raises:
            InputError: There is no such method, it has no weights, or the model is of another one.
            ModelFileError: The model file cannot be used.
        """
        card = find_card(self.method)
        if not card.trainable:
            raise InputError(f"{card.name} has no weights to train. Choose another method.")
        if self.start_from is None:
            return card
        model = read_model_card(self.start_from)
        if model.method != self.method:
            raise InputError(
                f"{model.name} is a model of the method {model.method}, not of {self.method}. "
                "Start from another."
            )
        return card_of(model, load_cards(), Path(self.start_from))

    def with_images(self, swap: Callable[[RasterSource], RasterSource]) -> TrainingJob:
        """The same job with every image replaced."""
        return replace(self, pairs=tuple(pair.with_images(swap) for pair in self.pairs))

    def with_absolute_paths(self) -> TrainingJob:
        """The same job for a process that works in another folder."""
        start = self.start_from and os.path.abspath(self.start_from)
        job = replace(self, output=os.path.abspath(self.output), start_from=start)
        return job.with_images(absolute)

    @staticmethod
    def from_json(text: str) -> TrainingJob:
        """Read a training job.

        Raises:
            InputError: The text is no JSON, lacks a field, or a field is of the wrong type or
                does not fit.
        """
        return TrainingJob.from_dict(reading.parsed(text))

    @staticmethod
    def from_dict(raw: Any) -> TrainingJob:
        """Build a training job from parsed JSON. Raises InputError as ``from_json`` does."""
        raw = reading.version(raw, VERSION)
        reading.only_known(TrainingJob, raw)
        start = raw.get("start_from")
        job = TrainingJob(
            method=reading.text(raw, "method"),
            pairs=read_pairs(raw.get("pairs", []), "pairs"),
            output=reading.text(raw, "output"),
            name=reading.text(raw, "name"),
            start_from=None if start is None else reading.text(raw, "start_from"),
            minutes=_number(raw, "minutes"),
            steps=reading.whole(raw.get("steps"), "steps"),
            patch=reading.whole(raw.get("patch"), "patch") or TrainingJob.patch,
            batch=reading.whole(raw.get("batch"), "batch"),
            seed=_seed(raw.get("seed", 0)),
            validation=_number(raw, "validation"),
            device=reading.text(raw, "device", "auto"),
            simulate=_number(raw, "simulate"),
            resume=reading.flag(raw, "resume", True),
            wavelengths=_wavelengths(raw.get("wavelengths", [])),
            licence=_remark(raw, "licence"),
            notes=_remark(raw, "notes"),
            kind=reading.choice(raw, "kind", (KIND,)),
        )
        job.check()
        return job


# What the worker runs.
AnyJob = Union[Job, TrainingJob]


def job_of(raw: Any) -> AnyJob:
    """The job of parsed JSON, of whatever kind. Raises InputError as ``Job.from_dict`` does."""
    if isinstance(raw, dict) and raw.get("kind") == KIND:
        return TrainingJob.from_dict(raw)
    return Job.from_dict(raw)


def _number(raw: dict[str, Any], key: str) -> float:
    value = reading.number(raw.get(key), key)
    return float(getattr(TrainingJob, key)) if value is None else value


def _wavelengths(value: Any) -> tuple[float, ...]:
    good = isinstance(value, list) and all(
        type(item) in (int, float) and 0 < item < math.inf for item in value
    )
    if not good:
        raise InputError(
            f"The job's wavelengths are {shown(value)}. Give numbers of nanometres, as in "
            "[482, 655]."
        )
    return tuple(map(float, value))


def _seed(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise InputError(f"The job's seed is {shown(value)}. Give a whole number from 0.")
    return value


def _remark(raw: dict[str, Any], key: str) -> str:
    """A text that may be empty."""
    return reading.text(raw, key) if raw.get(key) else ""


def _between(value: float, key: str, low: float, high: float) -> None:
    if not low <= value <= high:  # also false for NaN
        raise InputError(f"The job's {key} is {value:g}. Give a value from {low:g} to {high:g}.")
