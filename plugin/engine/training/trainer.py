"""The training loop: steps, averages of the weights, validation, and what to do when it fails."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ....models.errors import FusionError
from ....models.spatiotemporal.gated_network import GatedNetwork
from ..device import empty_cache, ran_out_of_memory
from .batches import Batch
from .checkpoint import Checkpoint
from .losses import loss
from .samples import Sample
from .scores import Score, score

_DECAY, _CLIP, _AVERAGE = 0.03, 1.0, 0.995  # of the weights; of the gradient; of the mean weights
_WARM_UP, _LAST_RATE = 60, 0.03  # steps; share of the learning rate at the end
_TIMED = 12  # steps by which the time of all is told
_VALIDATIONS = 16  # in all of a training
_PATIENCE = 8  # validations without a better one after which it ends


class Source(Protocol):
    """Gives batches; the same state of the generator and step give the same batch."""

    def batch(self, step: int, size: int, rng: np.random.Generator) -> Batch:
        """The batch of a step, of about so many patches."""


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes:
        minutes: Time it may take; asked only when ``steps`` is None.
        steps: How many; None: as many as fit into the time.
        batch: Patches in a step.
        rate: Largest learning rate.
        seed: Of the batches.
        choose: Whether the weights that validated best are kept, else the last ones.
    """

    minutes: float
    steps: int | None
    batch: int
    rate: float
    seed: int
    choose: bool


@dataclass
class Progress:
    """What a training has reached."""

    step: int = 0
    total: int = 0
    batch: int = 0
    curve: list[list[float]] = field(default_factory=list)
    best: float = math.inf
    best_step: int = 0
    warnings: list[str] = field(default_factory=list)


class Trainer:
    """One training of a network, which it changes.

    Args:
        network: On its device.
        plan: How to train.
        source: Of batches.
        validation: Samples kept aside; none is drawn into a batch.
    """

    def __init__(
        self, network: GatedNetwork, plan: Plan, source: Source, validation: Sequence[Sample]
    ) -> None:
        self.network = network
        self.plan = plan
        self.reached = Progress(total=plan.steps or 0, batch=plan.batch)
        self._source = source
        self.validation = validation
        self._device = next(network.parameters()).device
        self._rng = np.random.default_rng(plan.seed)
        self._optimiser = torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=_DECAY)
        self._mean = {name: value.clone() for name, value in network.state_dict().items()}
        self._best: dict[str, Tensor] = {}
        self._lost: list[float] = []

    # --- the loop -----------------------------------------------------------------------------

    def run(
        self, on_validation: Callable[[Score], None], on_step: Callable[[], None]
    ) -> dict[str, Tensor]:
        """Train to the end; the weights to keep.

        Args:
            on_validation: Told the score after each validation.
            on_step: Called after each step; may raise to stop.

        Raises:
            FusionError: The loss was no number before anything was learnt.
        """
        started = 0.0
        while not self.reached.total or self.reached.step < self.reached.total:
            value = self._step_within_memory()
            if not math.isfinite(value):
                self._note_bad_loss()
                break
            self._lost.append(value)
            self._average()
            self.reached.step += 1
            if self.reached.step == 1:  # the first one waits for what it learns from
                started = time.perf_counter()
            if not self.reached.total and self.reached.step == _TIMED + 1:
                self._plan_steps(time.perf_counter() - started)
            if self.reached.total and self._is_due():
                on_validation(self._validate())
                if self._has_stalled():
                    break
            on_step()
        return self._kept()

    def _step_within_memory(self) -> float:
        while True:
            try:
                return self._step()
            except (RuntimeError, MemoryError) as error:
                if not ran_out_of_memory(error) or self.reached.batch == 1:
                    raise
            empty_cache(self._device)
            self.reached.batch //= 2
            self.reached.warnings.append(
                f"Memory ran out at step {self.reached.step + 1}, so the training went on with "
                f"{self.reached.batch} patches per step."
            )

    def _step(self) -> float:
        batch = self._source.batch(self.reached.step, self.reached.batch, self._rng)
        batch = batch.to(self._device)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate()
        with precision(self._device):
            answers = self.network.alone(batch.planes, batch.scalars, batch.bands)
        value = torch.stack([loss(answer.float(), batch) for answer in answers]).mean()
        if torch.isfinite(value):
            self._optimiser.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
            self._optimiser.step()
        return float(value.detach())

    def _rate(self) -> float:
        step = self.reached.step
        done = step / self.reached.total if self.reached.total else 0.0
        falling = 0.5 * (1 + math.cos(math.pi * done)) * (1 - _LAST_RATE) + _LAST_RATE
        return self.plan.rate * min(1.0, (step + 1) / _WARM_UP) * falling

    @torch.no_grad()
    def _average(self) -> None:
        step = self.reached.step + 1
        share = min(_AVERAGE, step / (step + 10))
        for name, value in self.network.state_dict().items():
            self._mean[name].lerp_(value, 1 - share)

    def _plan_steps(self, seconds: float) -> None:
        each = seconds / _TIMED * 1.1  # validation takes its share
        self.reached.total = max(int(60 * self.plan.minutes / each), 2 * _TIMED)

    # --- validation ---------------------------------------------------------------------------

    def _is_due(self) -> bool:
        every = max(self.reached.total // _VALIDATIONS, 1)
        return self.reached.step % every == 0 or self.reached.step == self.reached.total

    @contextmanager
    def averaged(self) -> Iterator[GatedNetwork]:
        """The network with the running mean of its weights, for a while."""
        mine = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self._mean)
        try:
            yield self.network
        finally:
            self.network.load_state_dict(mine)

    def _validate(self) -> Score:
        with self.averaged() as network:
            found = score(network, self.validation)
        reached = self.reached
        reached.curve.append([reached.step, float(np.mean(self._lost)), found.relative])
        self._lost = []
        if found.relative < reached.best:
            reached.best, reached.best_step = found.relative, reached.step
            self._best = {name: value.clone() for name, value in self._mean.items()}
        return found

    def _has_stalled(self) -> bool:
        later = sum(point[0] > self.reached.best_step for point in self.reached.curve)
        if not self.plan.choose or later < _PATIENCE:
            return False
        self.reached.warnings.append(
            f"The training ended at step {self.reached.step} of {self.reached.total}, since it had "
            f"been best on what was kept aside at step {self.reached.best_step}."
        )
        return True

    def _note_bad_loss(self) -> None:
        if not self._best:
            raise FusionError(
                f"The loss was no number at step {self.reached.step + 1}, before anything was "
                "learnt. Look for extreme values in the images, or start from other weights."
            )
        self.reached.warnings.append(
            f"The loss was no number at step {self.reached.step + 1}, so the training stopped; the "
            f"weights of step {self.reached.best_step} were kept."
        )

    def _kept(self) -> dict[str, Tensor]:
        ended_well = self.reached.step >= self.reached.total
        last = not self.plan.choose and ended_well
        return dict(self._mean) if last or not self._best else dict(self._best)

    # --- state --------------------------------------------------------------------------------

    def checkpoint(self, more: Mapping[str, Any]) -> Checkpoint:
        """All that is needed to go on from here, and more that is to be remembered."""
        tensors = {f"weights.{k}": v for k, v in self.network.state_dict().items()}
        tensors.update({f"mean.{k}": v for k, v in self._mean.items()})
        tensors.update({f"best.{k}": v for k, v in self._best.items()})
        for number, moments in self._optimiser.state_dict()["state"].items():
            tensors.update({f"optimiser.{number}.{k}": v for k, v in moments.items()})
        # A tensor must be stored under one name only.
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        return Checkpoint(tensors, {**self._state(), **more})

    def _state(self) -> dict[str, Any]:
        reached = self.reached
        return {
            "step": reached.step, "total": reached.total, "batch": reached.batch,
            "curve": reached.curve, "best_step": reached.best_step, "lost": self._lost,
            "best": reached.best if math.isfinite(reached.best) else None,
            "warnings": reached.warnings, "rng": self._rng.bit_generator.state,
        }  # fmt: skip

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            KeyError, RuntimeError: It is not one of such a network.
        """
        state = checkpoint.state

        def part(name: str) -> dict[str, Tensor]:
            found = checkpoint.tensors.items()
            return {k[len(name) + 1 :]: v.to(self._device) for k, v in found
                    if k.startswith(f"{name}.")}  # fmt: skip

        self.network.load_state_dict(part("weights"))
        self._mean, self._best = part("mean"), part("best")
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in part("optimiser").items():
            number, _, kind = name.partition(".")
            moments.setdefault(int(number), {})[kind] = tensor
        whole = self._optimiser.state_dict()
        self._optimiser.load_state_dict({**whole, "state": moments})
        best = math.inf if state["best"] is None else state["best"]
        self.reached = Progress(
            state["step"], state["total"], state["batch"], state["curve"], best,
            state["best_step"], state["warnings"],
        )  # fmt: skip
        self._lost = state["lost"]
        self._rng.bit_generator.state = state["rng"]


def precision(device: torch.device) -> Any:
    """Half precision for the convolutions, where the device computes faster with it."""
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    if device.type == "cuda" or (device.type == "cpu" and known is not None and known()):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()
